//! Where a person answers a run's questions while following it: takes the questions from the run's
//! log, which also holds those of runs that it started, reads lines from the terminal, and sends
//! answers to the host. `asking.rs` interprets the lines; `follow.rs` calls this file.

use crate::asking::{Prompter, Settled, Step};
use crate::failure::Failure;
use crate::printer::printer;
use crate::remote_run::Shown;
use crate::rendering;
use crate::terminal::Terminal;
use crate::view::View;
use lastword::event::{Event, EventBody};
use lastword::id::QuestionId;
use lastword::session::{Answer, Asked};
use lastword_client::Client;
use rustix::termios::{QueueSelector, tcflush};
use std::collections::HashSet;
use std::future::pending;
use std::io::BufRead;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Bytes of the longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Sends an answer. It is not a failure if another answer came first, since the log reports that.
async fn hand_in(client: Client, id: QuestionId, answer: Answer) -> Result<(), Failure> {
    let key = Uuid::now_v7().to_string();
    match client.answer(id, &answer, &key).await {
        Ok(_) => Ok(()),
        Err(error) => match error.name() {
            Some("already-answered" | "question-dismissed") => Ok(()),
            _ => Err(error.into()),
        },
    }
}

/// How questions reach the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PromptMode {
    /// They are asked here.
    Asks,
    /// They are shown, and answered from another terminal.
    Tells,
    /// They are events among others.
    Silent,
}

/// Where a person answers.
pub(crate) struct QuestionUi<'a> {
    terminal: &'a Terminal,
    client: Client,
    mode: PromptMode,
    /// Whether other commands find the questions.
    elsewhere: bool,
    prompter: Prompter,
    typed: Option<StdinLines>,
    sending: Option<JoinHandle<Result<(), Failure>>>,
    /// Questions whose end was read ahead of the shown events.
    settled: HashSet<QuestionId>,
    /// Whether the run has ended.
    over: bool,
    /// How far standard error is written once the question is on the screen.
    shown_at: u64,
}

/// A typed line, or the result of sending an answer.
pub(crate) enum Turn {
    /// A line was typed; `None` if none will come any more.
    Line(Option<String>),
    /// An answer arrived, or did not.
    Sent(Result<(), Failure>),
}

impl<'a> QuestionUi<'a> {
    /// Asks here if a person is at the terminal and questions are asked at all. Other commands are
    /// named only if they find the session.
    pub(crate) fn new(
        client: &Client,
        elsewhere: bool,
        shown: Shown,
        terminal: &'a Terminal,
    ) -> Self {
        let mode = match (shown.json, shown.asks && terminal.is_attended()) {
            (true, _) => PromptMode::Silent,
            (false, true) => PromptMode::Asks,
            (false, false) => PromptMode::Tells,
        };

        Self {
            terminal,
            client: client.clone(),
            mode,
            prompter: Prompter::new(elsewhere),
            elsewhere,
            typed: None,
            sending: None,
            settled: HashSet::new(),
            over: false,
            shown_at: 0,
        }
    }

    /// Whether a person is being asked, over whose question nothing else may be printed.
    pub(crate) fn is_asking(&self) -> bool {
        self.mode == PromptMode::Asks && !self.over && self.prompter.open().next().is_some()
    }

    /// Handles an event that is read ahead of the shown ones, since it may end an open question.
    pub(crate) fn ahead(&mut self, event: &Event, view: &mut View) {
        match &event.body {
            EventBody::QuestionAnswered { question, .. }
            | EventBody::QuestionDismissed { question }
                if self.prompter.open().any(|open| open.id == *question) =>
            {
                self.event(event, view);
                self.settled.insert(*question);
            }
            EventBody::RunEnded { .. } => self.over = true,
            _ => {}
        }
    }

    /// Handles an event that concerns questions.
    pub(crate) fn event(&mut self, event: &Event, view: &mut View) {
        let text = match &event.body {
            EventBody::QuestionAsked { question } => match self.mode {
                PromptMode::Silent => None,
                PromptMode::Asks => {
                    self.prompter.add((**question).clone());
                    None
                }
                PromptMode::Tells => {
                    let (id, subject) = (question.id, rendering::subject(&question.asked));
                    Some(format!("? {subject}{}", self.how(id, &question.asked)))
                }
            },
            EventBody::QuestionAnswered { question, .. }
            | EventBody::QuestionDismissed { question }
                if self.settled.remove(question) =>
            {
                None
            }
            EventBody::QuestionAnswered {
                question,
                answer,
                by,
                ..
            } => {
                let said = match by {
                    None => rendering::answer(answer),
                    Some(_) => "allowed by what another answer granted".to_owned(),
                };
                match self.prompter.settle(*question, Some(answer)) {
                    Settled::Elsewhere => Some(format!("answered elsewhere: {said}")),
                    Settled::Here => Some(format!("answered: {said}")),
                    Settled::Unseen => {
                        (self.mode != PromptMode::Silent).then(|| format!("answered: {said}"))
                    }
                }
            }
            EventBody::QuestionDismissed { question } => {
                match self.prompter.settle(*question, None) {
                    Settled::Unseen => None,
                    _ => Some("the question is taken back: whoever asked it is over".to_owned()),
                }
            }
            _ => None,
        };

        if let Some(text) = text {
            view.interrupt_line();
            self.terminal.note(&text);
        }
    }

    /// Waits for the next line or sent answer. May be dropped while it waits.
    pub(crate) async fn turn(&mut self, view: &mut View) -> Turn {
        printer().err().hold(self.is_asking());
        if let Some(text) = self.prompter.show(&self.terminal.err) {
            // Discards input from before the question was visible, since it is no answer to it.
            let _no_terminal = tcflush(std::io::stdin(), QueueSelector::IFlush);
            if let Some(typed) = &mut self.typed {
                typed.forget();
            }
            view.interrupt_line();
            self.terminal.tell(&text);
            self.shown_at = printer().err().given();
        }

        let reads = self.prompter.wants_a_line();
        tokio::select! {
            sent = done(&mut self.sending) => Turn::Sent(sent),
            line = line(&mut self.typed), if reads => Turn::Line(line),
        }
    }

    /// Handles what [`QuestionUi::turn`] returned.
    pub(crate) fn take(&mut self, turn: Turn, view: &mut View) {
        match turn {
            Turn::Line(None) => {
                self.mode = PromptMode::Tells;
                let prompter = std::mem::replace(&mut self.prompter, Prompter::new(self.elsewhere));
                for question in prompter.open() {
                    let how = self.how(question.id, &question.asked);
                    self.terminal.note(&format!("nobody types here{how}"));
                }
            }
            // A blocked terminal has not shown the question yet.
            Turn::Line(Some(_)) if !printer().err().has_written(self.shown_at) => self
                .terminal
                .note("that was typed before the question was shown; type it again"),
            Turn::Line(Some(typed)) => match self.prompter.line(&typed) {
                Step::Send(id, answer) => {
                    let sending = hand_in(self.client.clone(), id, answer);
                    self.sending = Some(tokio::spawn(sending));
                }
                Step::Again(how) => self.terminal.note(&how),
                Step::Nothing => {}
            },
            Turn::Sent(sent) => {
                self.sending = None;
                if let Err(failure) = sent {
                    view.interrupt_line();
                    self.terminal.warn(&failure.message);
                    self.prompter.failed();
                }
            }
        }
    }

    /// Tells which questions are still open now that the run is over.
    pub(crate) fn close(&self) {
        for question in self.prompter.open() {
            let subject = rendering::subject(&question.asked);
            let how = self.how(question.id, &question.asked);
            self.terminal
                .note(&format!("waits for an answer: {subject}{how}"));
        }
    }

    /// How to answer from another terminal, as the end of a line; empty if no other command finds
    /// the question.
    fn how(&self, id: QuestionId, asked: &Asked) -> String {
        if !self.elsewhere {
            return String::new();
        }

        let words = match asked {
            Asked::Permission { .. } => "yes|session|workspace|no",
            Asked::Input { .. } => "text TEXT",
        };
        format!(" · lastword answer {id} {words}")
    }
}

impl Drop for QuestionUi<'_> {
    fn drop(&mut self) {
        printer().err().hold(false);
    }
}

async fn done(sending: &mut Option<JoinHandle<Result<(), Failure>>>) -> Result<(), Failure> {
    match sending {
        None => pending().await,
        Some(sending) => sending
            .await
            .unwrap_or_else(|died| Err(Failure::failed(format!("answering failed: {died}")))),
    }
}

async fn line(typed: &mut Option<StdinLines>) -> Option<String> {
    typed.get_or_insert_with(StdinLines::new).next().await
}

/// Lines from standard input. A thread reads each line only when it is asked for, so that input for
/// the next program is left to that. The thread ends with the process, which waits for no
/// thread.
struct StdinLines {
    wanted: std::sync::mpsc::SyncSender<()>,
    lines: mpsc::Receiver<Option<String>>,
    reading: bool,
    over: bool,
}

impl StdinLines {
    fn new() -> Self {
        let (wanted, wants) = std::sync::mpsc::sync_channel(1);
        let (sender, lines) = mpsc::channel(1);
        let read = move || {
            while wants.recv().is_ok() {
                let line = read_line(std::io::stdin().lock());
                let over = line.is_none();
                if sender.blocking_send(line).is_err() || over {
                    return;
                }
            }
        };

        // Without the thread no line comes, as at the end of standard input.
        let thread = std::thread::Builder::new().name("lastword-lines".to_owned());
        let over = thread.spawn(read).is_err();
        Self {
            wanted,
            lines,
            reading: false,
            over,
        }
    }

    /// The next line; `None` at the end. May be dropped while it waits: the line is kept.
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }

        if !self.reading {
            self.reading = true;
            let _ended = self.wanted.try_send(());
        }

        let line = self.lines.recv().await.flatten();
        self.reading = false;
        self.over = line.is_none();
        line
    }

    /// Drops a line that was read before the current question was asked.
    fn forget(&mut self) {
        if let Ok(line) = self.lines.try_recv() {
            self.reading = false;
            self.over = line.is_none();
        }
    }
}

/// A line of at most [`LINE_BYTES_MAX`] bytes; `None` at the end, or if it cannot be read.
fn read_line(input: impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    let read = input.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
    match read {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_one_by_one_and_have_an_end() {
        let mut input: &[u8] = b"y\n\xff\nlast";
        assert_eq!(read_line(&mut input).as_deref(), Some("y\n"));
        assert_eq!(read_line(&mut input).as_deref(), Some("\u{fffd}\n"));
        assert_eq!(read_line(&mut input).as_deref(), Some("last"));
        assert_eq!(read_line(&mut input), None);
    }
}
