//! `lastword show`: one conversation, with the end of each run. Reads it through
//! `reading.rs`, and also prints what a run without an owner has said so far.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::paths;
use crate::reading::{Listed, Source};
use crate::rendering;
use crate::sessions;
use crate::terminal::{Stream, Terminal, line, to_stdout};
use crate::units;
use crate::view;
use lastword::event::{Event, EventBody};
use lastword::run::Transcript;
use lastword::session::{Message, Part, PartBody, Role};
use lastword::{RunRow, RunState, text};
use serde_json::json;

/// Prints a conversation.
pub(crate) async fn show(
    arguments: &arguments::Show,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let terminal = &terminal.raw(arguments.raw);
    let source = Source::of(shared)?;
    let session = source.session(&arguments.session).await?;
    let events = source.events(session.record.id).await?;
    let owned = source.is_owned();
    let runs: Vec<Shown> = source
        .runs(session.record.id)
        .await?
        .into_iter()
        .map(|row| Shown::new(row, owned, &events))
        .collect();
    tell_damaged(&source.damaged(), terminal);
    let text = if arguments.json {
        let mut whole = sessions::as_json(&session);
        whole["runs"] = runs.iter().map(Shown::as_json).collect();
        format!("{whole}\n")
    } else {
        let mut page = Page {
            text: String::new(),
            out: terminal.out,
            verbose: terminal.verbose,
        };
        page.session(&session);
        for run in &runs {
            page.run(run);
        }
        page.text
    };

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

/// A run as it is printed.
struct Shown {
    row: RunRow,
    /// Whether it has neither an owner nor an end.
    left: bool,
    /// Text of it that is in no message yet.
    open: Vec<Part>,
    took_us: Option<u64>,
    /// Questions and answers, as lines.
    asked: Vec<String>,
}

impl Shown {
    fn new(row: RunRow, owned: bool, events: &[Event]) -> Self {
        let begun = matches!(row.state, RunState::Running | RunState::Finishing);
        let ours = || events.iter().filter(|event| event.run == Some(row.id));
        let mut open = Vec::new();
        if begun {
            let mut transcript = Transcript::new(row.id, 0);
            for event in ours() {
                transcript.replay(event.body.clone(), event.at_ms);
            }
            open = transcript.open_parts().to_vec();
        }

        let took_us = row.started_ms.zip(row.ended_ms).map(|(started, ended)| {
            let ms = ended.0.saturating_sub(started.0);
            ms.saturating_mul(1000)
        });
        let asked = ours().filter_map(question).collect();
        Self {
            left: begun && !owned,
            row,
            open,
            took_us,
            asked,
        }
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "run": self.row.id,
            "state": self.row.state,
            "awaiting_recovery": self.left,
            "started_ms": self.row.started_ms,
            "ended_ms": self.row.ended_ms,
            "receipt": self.row.receipt,
            "messages": self.row.messages,
            "said_so_far": self.open,
        })
    }

    fn end(&self, verbose: bool) -> String {
        let run = format!(" · run {}", self.row.id);
        match (&self.row.receipt, self.row.state) {
            (Some(receipt), _) => {
                let mut end = view::end(receipt, self.took_us, verbose);
                end.push_str(&run);
                if let Some(detail) = &receipt.detail {
                    end.push_str(&format!("\n  {}", line(detail, 1000)));
                }
                end
            }
            (None, _) if self.left => format!(
                "awaiting recovery: its host is gone, and the next start writes its end{run}"
            ),
            (None, RunState::Held) => {
                format!("held: its host ended before it began, and it waits to be resumed{run}")
            }
            (None, state) => format!("{state} now{run}"),
        }
    }
}

/// Returns the line for a question of a run, or for its answer.
fn question(event: &Event) -> Option<String> {
    match &event.body {
        EventBody::QuestionAsked { question } => {
            Some(format!("? {}", rendering::subject(&question.asked)))
        }
        EventBody::QuestionAnswered { answer, .. } => {
            Some(format!("answered: {}", rendering::answer(answer)))
        }
        EventBody::QuestionDismissed { .. } => Some("not answered: the run was over".to_owned()),
        _ => None,
    }
}

/// A conversation as text.
struct Page {
    text: String,
    out: Stream,
    /// Whether every figure is wanted.
    verbose: bool,
}

impl Page {
    fn session(&mut self, session: &Listed) {
        let record = &session.record;
        let title = record.title.as_deref().unwrap_or("(no title)");
        self.line(&self.out.bold(&line(title, 200)));
        let mut about = format!(
            "session {} · agent {} · workspace {} · {}",
            record.id,
            text::line(record.agent.as_str()),
            text::line(&paths::workspace(&session.workspace_key)),
            units::count(record.messages, "message"),
        );
        let usage = &record.usage;
        let tokens = view::tokens(usage.input_tokens, usage.output_tokens, self.verbose);
        if let Some(tokens) = tokens {
            about.push_str(&format!(" · {tokens}"));
        }

        self.line(&self.out.dim(&about));
    }

    fn run(&mut self, run: &Shown) {
        for message in &run.row.messages {
            self.message(message);
        }

        if !run.open.is_empty() {
            self.speaker(Role::Assistant, None);
            self.parts(&run.open);
        }

        for asked in &run.asked {
            self.aside(asked);
        }

        self.line(&self.out.dim(&format!("— {}", run.end(self.verbose))));
    }

    fn message(&mut self, message: &Message) {
        if message.role != Role::Tool {
            self.speaker(message.role, message.model.as_deref());
        }
        self.parts(&message.parts);
    }

    fn speaker(&mut self, role: Role, model: Option<&str>) {
        let name = self.out.bold(role.as_str());
        let model = model.map(|model| self.out.dim(&format!(" ({})", line(model, 80))));
        self.text.push('\n');
        self.line(&format!("{name}{}", model.unwrap_or_default()));
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            match &part.body {
                PartBody::Text { text } => {
                    let words = self.out.words(text).into_owned();
                    self.line(&words);
                }
                PartBody::Reasoning { text, .. } => {
                    let words = self.out.dim(&self.out.words(text));
                    self.line(&words);
                }
                PartBody::ToolCall(call) => {
                    self.aside(&rendering::call(&call.name, &call.input));
                }
                PartBody::ToolResult(result) => {
                    self.aside(&rendering::result(result));
                    if let Some(diff) = rendering::diff_of(result) {
                        let shown = rendering::diff(&diff, rendering::DIFF_LINES, &self.out);
                        self.line(&shown);
                    }
                }
                PartBody::Data {
                    media_type,
                    name,
                    bytes,
                    ..
                } => self.aside(&rendering::data(name.as_deref(), media_type, *bytes)),
                PartBody::Other { kind, json } => self.aside(&format!("[{kind}] {json}")),
                // The run's last line tells that.
                PartBody::Finish { .. } => {}
            }
        }
    }

    fn aside(&mut self, text: &str) {
        self.line(&self.out.dim(&line(text, 400)));
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}
