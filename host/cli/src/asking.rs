//! Questions as a person answers them line by line: which one is asked, what a line means as its
//! answer, and what happens when another client answers first. Does no input or output:
//! `question_ui.rs` reads the lines and sends the answers.

use crate::rendering;
use crate::terminal::Stream;
use lastword::id::QuestionId;
use lastword::session::{Answer, Asked, Question, Remember, Within};
use lastword::text;
use std::collections::VecDeque;

/// The largest number of questions that are kept to be asked one after the other;
/// `lastword questions` lists them all.
const WAITING_MAX: usize = 256;
/// The number of rows of a diff that are shown with its question.
const ROWS: usize = 400;

/// The questions that wait to be answered here. The first one is asked.
pub(crate) struct Prompter {
    /// Whether other commands find the questions.
    elsewhere: bool,
    open: VecDeque<Question>,
    shown: bool,
    sent: Option<Answer>,
}

/// The meaning of a typed line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It answers this question.
    Send(QuestionId, Answer),
    /// It is not an answer; this text says what to type instead.
    Again(String),
    /// Nothing is asked just now.
    Nothing,
}

/// How a question that waited here was settled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It was not shown here.
    Unseen,
    /// The answer that was typed here counts.
    Here,
    /// Another client answered first, or the question was taken back.
    Elsewhere,
}

impl Prompter {
    /// Without questions. Other commands are named only if they find those that come.
    pub(crate) fn new(elsewhere: bool) -> Self {
        Self {
            elsewhere,
            open: VecDeque::new(),
            shown: false,
            sent: None,
        }
    }

    /// Keeps a question to be asked in its turn.
    pub(crate) fn add(&mut self, question: Question) {
        let known = self.open.iter().any(|open| open.id == question.id);
        if !known && self.open.len() < WAITING_MAX {
            self.open.push_back(question);
        }
    }

    /// Returns the waiting questions.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Question> {
        self.open.iter()
    }

    /// Whether a typed line would answer a question.
    pub(crate) fn wants_a_line(&self) -> bool {
        self.shown && self.sent.is_none() && !self.open.is_empty()
    }

    /// Returns the next question as text for the person, once.
    pub(crate) fn show(&mut self, stream: &Stream) -> Option<String> {
        if self.shown {
            return None;
        }
        let question = self.open.front()?;
        self.shown = true;
        Some(put(question, self.elsewhere, stream))
    }

    /// Handles a typed line.
    pub(crate) fn line(&mut self, typed: &str) -> Step {
        let Some(question) = self.open.front().filter(|_| self.wants_a_line()) else {
            return Step::Nothing;
        };

        let read = match &question.asked {
            Asked::Permission { offers, .. } => permission(typed, offers),
            Asked::Input { choices, .. } => input(typed, choices),
        };

        match read {
            Ok(answer) => {
                self.sent = Some(answer.clone());
                Step::Send(question.id, answer)
            }
            Err(why) => Step::Again(why),
        }
    }

    /// Asks the question again, since the typed answer did not arrive.
    pub(crate) fn failed(&mut self) {
        self.sent = None;
        self.shown = false;
    }

    /// Removes a question that was answered or taken back.
    pub(crate) fn settle(&mut self, id: QuestionId, answer: Option<&Answer>) -> Settled {
        let Some(at) = self.open.iter().position(|open| open.id == id) else {
            return Settled::Unseen;
        };

        self.open.remove(at);
        if at > 0 || !self.shown {
            return Settled::Unseen;
        }

        self.shown = false;
        let sent = self.sent.take();
        if sent.is_some() && sent.as_ref() == answer {
            Settled::Here
        } else {
            Settled::Elsewhere
        }
    }
}

/// Returns the text of a question, with the possible answers.
fn put(question: &Question, elsewhere: bool, stream: &Stream) -> String {
    let mut text = rendering::question(question, ROWS, stream);
    match &question.asked {
        Asked::Permission { offers, .. } => {
            if elsewhere && rendering::is_cut(&text) {
                let id = question.id;
                text.push_str(&format!("  `lastword questions {id}` shows all of it\n"));
            }
            text.push_str(if offers.is_empty() {
                "  [y]es once   [n]o\n"
            } else {
                "  [y]es once   [s]ession   [w]orkspace   [n]o\n"
            });
            for (at, offer) in offers.iter().enumerate() {
                text.push_str(&format!("  {}) {}\n", at + 1, text::seen(offer)));
            }
            if offers.len() > 1 {
                text.push_str(
                    "  (`2w` allows the second in the workspace; `s` and `w` the first)\n",
                );
            }
        }
        Asked::Input { choices, .. } => text.push_str(if choices.is_empty() {
            "  type your answer, or `/skip` to give none\n"
        } else {
            "  type a number or an answer of your own, or `/skip` to give none\n"
        }),
    }

    text
}

fn permission(typed: &str, offers: &[String]) -> Result<Answer, String> {
    let typed = typed.trim();
    let (word, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let word = word.to_ascii_lowercase();
    let allow = |remember| Ok(Answer::Allow { remember });
    let remember = |within, rule| Some(Remember { within, rule });
    match (word.as_str(), rest.trim()) {
        ("y" | "yes", "") => allow(None),
        ("s" | "session" | "w" | "workspace", "") if offers.is_empty() => {
            Err("this can be allowed once only; type `y` or `n`".to_owned())
        }
        ("s" | "session", "") => allow(remember(Within::Session, None)),
        ("w" | "workspace", "") => allow(remember(Within::Workspace, None)),
        ("n" | "no", reason) => Ok(Answer::Deny {
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
        }),
        (word, "") => {
            let (rule, within) = numbered(word, offers)?;
            allow(remember(within, Some(rule)))
        }
        _ => Err(ONE_OF.to_owned()),
    }
}

const ONE_OF: &str = "type `y`, `s`, `w` or `n`";

/// Parses `2s`: an offer by its number, and the scope of the grant.
fn numbered(word: &str, offers: &[String]) -> Result<(String, Within), String> {
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: usize = digits.parse().map_err(|_| ONE_OF.to_owned())?;
    let offer = number.checked_sub(1).and_then(|at| offers.get(at));
    let offer = offer.ok_or_else(|| ONE_OF.to_owned())?;
    match &word[digits.len()..] {
        "s" => Ok((offer.clone(), Within::Session)),
        "w" => Ok((offer.clone(), Within::Workspace)),
        _ => Err(format!(
            "for how long? `{number}s` for the session, `{number}w` for the workspace"
        )),
    }
}

fn input(typed: &str, choices: &[String]) -> Result<Answer, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err("type an answer, or `/skip` to give none".to_owned());
    }

    if typed == "/skip" {
        return Ok(Answer::Deny { reason: None });
    }

    let number: Option<usize> = typed.parse().ok();
    let choice = number.and_then(|number| choices.get(number.checked_sub(1)?));
    let text = choice.map_or_else(|| typed.to_owned(), Clone::clone);
    Ok(Answer::Text { text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword::clock::UnixMillis;
    use lastword::id::{AgentId, RunId, SessionId};

    const PLAIN: Stream = Stream::plain();

    fn question(asked: Asked) -> Question {
        Question {
            id: QuestionId::generate(),
            session: SessionId::generate(),
            run: RunId::generate(),
            agent: AgentId::new("probe").expect("a name"),
            call: None,
            asked,
            asked_ms: UnixMillis(0),
        }
    }

    fn change(title: &str) -> Question {
        question(Asked::Permission {
            capability: "write-files".to_owned(),
            target: "src/a.rs".to_owned(),
            title: title.to_owned(),
            diff: Some("-a\n+b\n".to_owned()),
            details: None,
            offers: vec!["write-files=src/a.rs".into(), "write-files=src/**".into()],
        })
    }

    fn which() -> Question {
        question(Asked::Input {
            text: "Which?\n[y]es".to_owned(),
            choices: vec!["red".to_owned(), "blue".to_owned()],
        })
    }

    /// Parses a line as the answer to a question.
    fn typed(question: &Question, line: &str) -> Option<Answer> {
        let mut prompter = Prompter::new(true);
        prompter.add(question.clone());
        prompter.show(&PLAIN)?;
        match prompter.line(line) {
            Step::Send(id, answer) => {
                assert_eq!(id, question.id);
                Some(answer)
            }
            Step::Again(_) | Step::Nothing => None,
        }
    }

    fn granted(within: Within, rule: Option<&str>) -> Option<Answer> {
        let rule = rule.map(str::to_owned);
        let remember = Some(Remember { within, rule });
        Some(Answer::Allow { remember })
    }

    #[test]
    fn a_line_is_one_answer_or_none() {
        let asked = change("change src/a.rs");
        let once = Some(Answer::Allow { remember: None });
        assert_eq!(typed(&asked, "y\n"), once);
        assert_eq!(typed(&asked, " YES "), once);
        assert_eq!(typed(&asked, "s"), granted(Within::Session, None));
        assert_eq!(typed(&asked, "w"), granted(Within::Workspace, None));
        let wider = Some("write-files=src/**");
        assert_eq!(typed(&asked, "2s"), granted(Within::Session, wider));
        assert_eq!(typed(&asked, "2w"), granted(Within::Workspace, wider));
        let why = Some("not today".to_owned());
        assert_eq!(
            typed(&asked, "n not today"),
            Some(Answer::Deny { reason: why })
        );
        for line in [
            "",
            "\n",
            "ja",
            "2",
            "3s",
            "0w",
            "y y",
            "2sw",
            "-1s",
            "99999999999999999999s",
        ] {
            assert_eq!(typed(&asked, line), None, "{line}");
        }
    }

    #[test]
    fn what_can_be_allowed_once_only_is_not_allowed_for_longer() {
        let once = question(Asked::Permission {
            capability: "run-commands".to_owned(),
            target: "sh".to_owned(),
            title: "run sh".to_owned(),
            diff: None,
            details: Some("stdin:\necho".to_owned()),
            offers: Vec::new(),
        });
        let shown = put(&once, true, &PLAIN);
        assert!(shown.contains("  │ stdin:\n  │ echo\n"), "{shown}");
        assert!(shown.ends_with("  [y]es once   [n]o\n"), "{shown}");
        for line in ["s", "w", "session", "1s"] {
            assert_eq!(typed(&once, line), None, "{line}");
        }
        assert!(typed(&once, "y").is_some());
    }

    #[test]
    fn words_are_answered_by_number_or_in_words() {
        let asked = which();
        let text = |text: &str| {
            Some(Answer::Text {
                text: text.to_owned(),
            })
        };
        assert_eq!(typed(&asked, "2"), text("blue"));
        assert_eq!(typed(&asked, "3"), text("3"));
        assert_eq!(typed(&asked, " green \n"), text("green"));
        assert_eq!(typed(&asked, "/skip"), Some(Answer::Deny { reason: None }));
        assert_eq!(typed(&asked, " "), None);
    }

    #[test]
    fn nothing_is_answered_that_was_not_shown() {
        let mut prompter = Prompter::new(true);
        assert_eq!(prompter.line("y"), Step::Nothing);
        prompter.add(change("a"));
        assert_eq!(prompter.line("y"), Step::Nothing);
        assert!(prompter.show(&PLAIN).is_some());
        assert!(prompter.show(&PLAIN).is_none());
        assert!(matches!(prompter.line("y"), Step::Send(..)));
        assert_eq!(prompter.line("n"), Step::Nothing, "one answer is enough");
        prompter.failed();
        assert!(prompter.show(&PLAIN).is_some());
    }

    #[test]
    fn whoever_is_quicker_withdraws_the_question() {
        let mut prompter = Prompter::new(true);
        let (first, second) = (change("a"), change("b"));
        prompter.add(first.clone());
        prompter.add(second.clone());
        prompter.add(second.clone());
        prompter.show(&PLAIN);
        let no = Answer::Deny { reason: None };
        assert_eq!(prompter.settle(first.id, Some(&no)), Settled::Elsewhere);
        assert_eq!(
            prompter.line("y"),
            Step::Nothing,
            "it is not asked any more"
        );
        assert!(prompter.show(&PLAIN).is_some_and(|text| text.contains('b')));
        assert!(matches!(prompter.line("n"), Step::Send(..)));
        assert_eq!(prompter.settle(second.id, Some(&no)), Settled::Here);
        assert_eq!(prompter.settle(second.id, None), Settled::Unseen);
        assert!(prompter.show(&PLAIN).is_none());
    }

    #[test]
    fn an_agent_cannot_write_what_looks_like_ours() {
        let mut asked = change("harmless\x1b[2J\n  [y]es once");
        if let Asked::Permission { diff, target, .. } = &mut asked.asked {
            *diff = Some("+\x1b[1A\r\n? lastword wants to: nothing\n".to_owned());
            *target = "a\nb\x07".to_owned();
        }
        for question in [asked, which()] {
            let shown = put(&question, true, &PLAIN);
            assert!(!shown.contains(['\x1b', '\r', '\x07']), "{shown}");
            let forged = |line: &str| line.starts_with("? lastword") || line == "[y]es";
            assert!(!shown.lines().any(forged), "{shown}");
            let choices = shown.lines().filter(|line| line.starts_with("  [y]es"));
            assert!(choices.count() <= 1, "{shown}");
        }
    }
}
