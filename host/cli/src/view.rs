//! Shows a run's events: to people, as text while it arrives and one line at the end; to programs,
//! as the log itself.

use crate::hints::{self, Place};
use crate::rendering;
use crate::terminal::{self, Terminal, to_stdout};
use crate::units::{self, time};
use lastword::event::{Event, EventBody};
use lastword::id::SessionId;
use lastword::session::{Content, Part, PartBody, Role};
use lastword::{Cause, Receipt};
use std::collections::HashMap;
use std::io;

/// How a run's events are shown.
pub(crate) enum View {
    /// Words, and a line at the end.
    People(Box<People>),
    /// One event per line, exactly as the log holds it.
    Json,
}

impl View {
    pub(crate) fn new(json: bool, place: Place, terminal: &Terminal) -> Self {
        if json {
            Self::Json
        } else {
            Self::People(Box::new(People::new(place, *terminal)))
        }
    }

    /// Shows an event.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        match self {
            Self::People(people) => people.event(event),
            Self::Json => {
                let mut line = serde_json::to_string(event)?;
                line.push('\n');
                to_stdout(&line)
            }
        }
    }

    /// Begins a new line on the terminal, so that a note does not end a sentence.
    pub(crate) fn interrupt_line(&mut self) {
        if let Self::People(people) = self {
            people.interrupt_line();
        }
    }

    /// Tells the end on standard error; programs have it on standard output. Without a session, it
    /// is not kept.
    pub(crate) fn conclude(
        &self,
        receipt: &Receipt,
        session: Option<SessionId>,
        terminal: &Terminal,
    ) {
        let people = match self {
            Self::People(people) => people,
            Self::Json if receipt.persisted => return,
            Self::Json => return terminal.warn(NOT_YET),
        };

        if let Some(trouble) = people.trouble(receipt) {
            terminal.error(&trouble);
        }

        if !receipt.persisted {
            terminal.warn(NOT_YET);
        }

        let took = people.took_us();
        let end = end(receipt, took, terminal.verbose);
        terminal.note(&match session {
            Some(session) => format!("{end} · go on with --session {session}"),
            None => end,
        });
    }
}

pub(crate) const NOT_YET: &str = "the disk has not taken the run's end yet, so this receipt is provisional: \
    what was said until the last commit is kept, and the next start writes the end";

/// A receipt in one line. Figures of nothing, and times below a millisecond, are left out unless
/// every figure is wanted.
pub(crate) fn end(receipt: &Receipt, took_us: Option<u64>, verbose: bool) -> String {
    let timed = |what: &str, us: u64| {
        let worth_telling = verbose || us >= 1000;
        worth_telling.then(|| format!("{what} {}", time(us)))
    };

    let mut figures = vec![
        receipt.state.to_string(),
        format!("cause {}", receipt.cause),
    ];
    if receipt.finish_reason.as_str() != receipt.state.as_str() {
        figures.push(receipt.finish_reason.to_string());
    }

    figures.extend(took_us.and_then(|us| timed("took", us)));
    if !matches!(receipt.cause, Cause::Returned(_)) {
        figures.extend(timed("stopped in", receipt.stop_us));
    }

    if !receipt.persisted {
        figures.push("not saved yet".to_owned());
        return terminal::line(&figures.join(" · "), 400);
    }

    figures.extend(receipt.epilogue_us.and_then(|us| timed("epilogue", us)));
    figures.extend(timed("saved in", receipt.persist_us));
    if verbose || receipt.text_bytes > 0 {
        figures.push(format!("{} of text", units::bytes(receipt.text_bytes)));
    }

    let usage = &receipt.usage;
    figures.extend(tokens(usage.input_tokens, usage.output_tokens, verbose));
    terminal::line(&figures.join(" · "), 400)
}

/// The tokens of the prompts and of the answers; `None` if models used none, unless every figure is
/// wanted.
pub(crate) fn tokens(input: u64, output: u64, verbose: bool) -> Option<String> {
    (verbose || input > 0 || output > 0).then(|| format!("{input} + {output} tokens"))
}

/// The view for people.
pub(crate) struct People {
    place: Place,
    terminal: Terminal,
    /// Whether the last character on standard output was no new line.
    mid_line: bool,
    reasoning: bool,
    calls: HashMap<u32, String>,
    trouble: Option<String>,
    details: Option<String>,
    started_ms: Option<u64>,
    ended_ms: u64,
}

impl People {
    fn new(place: Place, terminal: Terminal) -> Self {
        Self {
            place,
            terminal,
            mid_line: false,
            reasoning: false,
            calls: HashMap::new(),
            trouble: None,
            details: None,
            started_ms: None,
            ended_ms: 0,
        }
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.ended_ms = event.at_ms.0;
        match &event.body {
            EventBody::RunStarted {} => self.started_ms = Some(event.at_ms.0),
            EventBody::MessageCreated {
                role: Role::Assistant,
                ..
            } => {
                self.calls.clear();
                self.end_line()?;
            }
            EventBody::TextDelta { text, .. } => {
                self.end_reasoning()?;
                self.text(text)?;
            }
            EventBody::ReasoningDelta { text, .. } if self.terminal.out.terminal => {
                self.reasoning = true;
                let words = self.terminal.out.words(text).into_owned();
                self.mid_line = !words.ends_with('\n');
                to_stdout(&self.terminal.out.dim(&words))?;
            }
            EventBody::PartAdded { index, part, .. } => self.part(*index, part),
            EventBody::PartFinished {
                index,
                input: Some(input),
                ..
            } => {
                if let Some(name) = self.calls.remove(index) {
                    self.aside(&rendering::call(&name, input));
                }
            }
            EventBody::ToolResult { part, .. } => {
                if let PartBody::ToolResult(result) = &part.body {
                    self.aside(&rendering::result(result));
                    let mut content = result.content.iter();
                    let hint = content.find_map(|content| of_content(content, self.place));
                    if let Some(hint) = hint.filter(|_| result.is_error) {
                        self.aside(&hint);
                    }
                    if let Some(diff) = rendering::diff_of(result) {
                        self.block(&diff);
                    }
                }
            }
            EventBody::ModelRetrying { cause, wait_ms, .. } => {
                let wait = time(wait_ms.saturating_mul(1000));
                self.aside(&format!("the model is asked again in {wait}: {cause}"));
            }
            EventBody::LogDamaged { why, lost } => {
                self.aside(&format!(
                    "here something cannot be read: {why}; lost: {lost}"
                ));
            }
            EventBody::MessageFinished { title, details, .. } => {
                self.trouble.clone_from(title);
                self.details.clone_from(details);
            }
            EventBody::RunEnded { .. } if self.terminal.out.terminal => self.end_line()?,
            _ => {}
        }

        Ok(())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let words = self.terminal.out.words(text);
        if !words.is_empty() {
            self.mid_line = !words.ends_with('\n');
        }
        to_stdout(&words)
    }

    fn part(&mut self, index: u32, part: &Part) {
        match &part.body {
            PartBody::ToolCall(made) if made.finished => {
                self.aside(&rendering::call(&made.name, &made.input));
            }
            PartBody::ToolCall(open) => {
                self.calls.insert(index, open.name.clone());
            }
            PartBody::Data {
                media_type,
                name,
                bytes,
                ..
            } => self.aside(&rendering::data(name.as_deref(), media_type, *bytes)),
            PartBody::Other { kind, json } => self.aside(&format!("[{kind}] {json}")),
            _ => {}
        }
    }

    /// One line on standard error.
    fn aside(&mut self, line: &str) {
        self.interrupt_line();
        self.terminal.note(&terminal::line(line, ASIDE_CHARS));
    }

    /// A diff on standard error.
    fn block(&mut self, diff: &str) {
        self.interrupt_line();
        let err = &self.terminal.err;
        self.terminal
            .tell(&rendering::diff(diff, rendering::DIFF_LINES, err));
    }

    fn interrupt_line(&mut self) {
        if self.terminal.out.terminal {
            // A closed standard output is noticed at the next word.
            let _closed = self.end_line();
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.reasoning = false;
        if std::mem::take(&mut self.mid_line) {
            return to_stdout("\n");
        }
        Ok(())
    }

    fn end_reasoning(&mut self) -> io::Result<()> {
        if self.reasoning {
            return self.end_line();
        }
        Ok(())
    }

    /// From the agent's call to the run's end.
    fn took_us(&self) -> Option<u64> {
        let started = self.started_ms?;
        Some(self.ended_ms.saturating_sub(started).saturating_mul(1000))
    }

    /// Returns what went wrong, if anything did.
    fn trouble(&self, receipt: &Receipt) -> Option<String> {
        use lastword::RunState::{Failed, Interrupted};
        if !matches!(receipt.state, Failed | Interrupted) {
            return None;
        }

        let title = self.trouble.as_deref().unwrap_or("The run failed");
        let detail = receipt.detail.as_deref().or(self.details.as_deref());
        let told = match detail {
            Some(detail) => format!("{title}: {detail}"),
            None => format!("{title} ({})", receipt.cause),
        };

        Some(match &receipt.cause {
            Cause::Limit(kind) if kind == "wakes" && self.place == Place::Here => {
                format!("{told}; `--max-wakes` allows more")
            }
            Cause::AgentError | Cause::Trap(_) => match hints::of_error(&told, self.place) {
                Some(hint) if told.contains('\n') => format!("{}\n{hint}", told.trim_end()),
                Some(hint) => format!("{told}; {hint}"),
                None => told,
            },
            _ => told,
        })
    }
}

/// Returns what helps against the denial in a tool's answer, if there is one.
fn of_content(content: &Content, place: Place) -> Option<String> {
    match content {
        Content::Text { text } => hints::of_error(text, place),
        _ => None,
    }
}

/// Characters of the longest line about anything else.
const ASIDE_CHARS: usize = 160;
