//! The output of one run so far, and the log entries that each addition makes. Pure: `output` adds
//! to it, and passes its entries to the writer.
//!
//! The output of a run is divided into steps. A step is one assistant message and, once a tool call
//! in it has a result, one tool message. Output after the last result begins the next step.

mod bounds;
mod entry;
mod finalize;
mod open_step;
mod replay;
mod retelling;
mod tool_calls;

pub use bounds::OutputBounds;
pub use entry::{Entry, OutputRefused};
pub use finalize::{FinalEntries, finish};
pub use retelling::{Remains, retell};

use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, QuestionId, RunId};
use lastword_types::run::OutputStats;
use lastword_types::session::{
    Content, FinishReason, Message, Part, PartBody, Role, ToolCall, ToolResult, Usage,
};

/// Adjacent deltas that are not yet committed are merged into one event up to this number of bytes.
pub const DELTA_BYTES_MAX: usize = 16 << 10;

/// The largest number of parts in a message.
pub const MESSAGE_PARTS_MAX: usize = 4096;

/// The output of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    pub(super) run: RunId,
    /// How much more output the transcript accepts.
    pub(super) left: OutputBounds,
    pub(super) said: OutputStats,
    pub(super) assistant: Option<Message>,
    pub(super) tool: Option<Message>,
    /// The open questions.
    pub(super) questions: Vec<QuestionId>,
    /// The number of questions asked.
    pub(super) asked: u32,
    /// The last model that wrote, and its provider.
    model: Option<(String, String)>,
}

/// What comes piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Text,
    Reasoning,
}

impl Speech {
    /// An empty part.
    fn part(self, now: UnixMillis) -> Part {
        match self {
            Self::Text => Part::text(""),
            Self::Reasoning => PartBody::Reasoning {
                text: String::new(),
                started_ms: now,
                ended_ms: None,
            }
            .into(),
        }
    }

    /// The text of a message's last part, if it is of this kind and open.
    fn open_in(self, message: &mut Message) -> Option<&mut String> {
        match (self, &mut message.parts.last_mut()?.body) {
            (Self::Text, PartBody::Text { text })
            | (
                Self::Reasoning,
                PartBody::Reasoning {
                    text,
                    ended_ms: None,
                    ..
                },
            ) => Some(text),
            _ => None,
        }
    }

    /// The event that a piece was appended.
    fn delta(self, message: MessageId, part: u32, delta: &str, now: UnixMillis) -> EventBody {
        let text = delta.to_owned();
        match self {
            Self::Text => EventBody::TextDelta {
                message,
                part,
                text,
            },
            Self::Reasoning => EventBody::ReasoningDelta {
                message,
                part,
                text,
                appended_ms: now,
            },
        }
    }

    /// The text of an event that a piece was appended to this very part.
    fn delta_of(self, event: &mut EventBody, id: MessageId, at: u32) -> Option<&mut String> {
        let (of, in_part, text) = match (self, event) {
            (
                Self::Text,
                EventBody::TextDelta {
                    message,
                    part,
                    text,
                },
            )
            | (
                Self::Reasoning,
                EventBody::ReasoningDelta {
                    message,
                    part,
                    text,
                    ..
                },
            ) => (*message, *part, text),
            _ => return None,
        };
        (of == id && in_part == at).then_some(text)
    }
}

impl Transcript {
    /// Creates an empty transcript that accepts at most `bytes_max` bytes of text, reasoning,
    /// arguments and results together, and any number of entries and bytes of data.
    #[must_use]
    pub fn new(run: RunId, bytes_max: u64) -> Self {
        Self {
            run,
            left: OutputBounds {
                bytes: bytes_max,
                data: u64::MAX,
                entries: u64::MAX,
            },
            said: OutputStats::default(),
            assistant: None,
            tool: None,
            questions: Vec::new(),
            asked: 0,
            model: None,
        }
    }

    /// Returns the counts of the output so far.
    #[must_use]
    pub fn said(&self) -> OutputStats {
        self.said
    }

    /// Returns the parts of the open message, for an epilogue.
    #[must_use]
    pub fn open_parts(&self) -> &[Part] {
        self.assistant
            .as_ref()
            .map_or(&[], |message| &message.parts)
    }

    /// Sets the name of the model that writes from now on.
    pub fn set_model(&mut self, model: String, provider: String) {
        self.model = Some((model, provider));
    }

    /// Appends text. An empty text changes nothing.
    ///
    /// # Errors
    /// [`OutputRefused::Bytes`], [`OutputRefused::Entries`] or [`OutputRefused::Parts`]; nothing is
    /// appended then.
    pub fn text(
        &mut self,
        delta: &str,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        self.say(Speech::Text, delta, now, log)
    }

    /// Appends reasoning. An empty text changes nothing.
    ///
    /// # Errors
    /// As for [`Transcript::text`].
    pub fn reasoning(
        &mut self,
        delta: &str,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        self.say(Speech::Reasoning, delta, now, log)
    }

    /// Appends to the last part if it is of this kind and open, or begins one. The log gets an
    /// event, or its last one is extended.
    fn say(
        &mut self,
        what: Speech,
        delta: &str,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        self.spend(delta.len())?;
        if delta.is_empty() {
            return Ok(());
        }

        let message = self.open(now, log)?;
        if what.open_in(message).is_none() {
            close_reasoning(message, now, log);
            message.parts.push(what.part(now));
            self.said.parts += 1;
        }

        let message = self.assistant.as_mut().expect("opened above");
        let (id, part) = (message.id, last_index(message));
        if let Some(text) = what.open_in(message) {
            text.push_str(delta);
        }
        if what == Speech::Text {
            self.said.text_bytes += delta.len() as u64;
        }

        if let Some(Entry::Event(last)) = log.last_mut()
            && let Some(text) = what.delta_of(last, id, part)
            && text.len() + delta.len() <= DELTA_BYTES_MAX
        {
            text.push_str(delta);
            return Ok(());
        }

        log.push(Entry::Event(what.delta(id, part, delta, now)));
        Ok(())
    }

    /// Adds a whole part that is neither text, reasoning nor a result. A tool call whose
    /// input is not JSON counts as unfinished.
    ///
    /// # Errors
    /// As for [`Transcript::text`], and [`OutputRefused::Conflict`] for a call id of this step.
    pub fn part(
        &mut self,
        part: Part,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        self.spend(bounds::part_bytes(&part))?;
        if let PartBody::ToolCall(call) = &part.body
            && !self.step_is_over()
            && self.calls().any(|known| known.id == call.id)
        {
            return Err(OutputRefused::Conflict);
        }
        let message = self.open(now, log)?;
        close_reasoning(message, now, log);
        message.parts.push(part.clone());
        let event = EventBody::PartAdded {
            message: message.id,
            index: last_index(message),
            part,
        };
        log.push(Entry::Event(event));
        self.said.parts += 1;
        Ok(())
    }

    /// Records the result of a call of this step.
    ///
    /// # Errors
    /// [`OutputRefused::UnknownCall`], [`OutputRefused::Conflict`] for a second result, or as for
    /// [`Transcript::text`].
    pub fn result(
        &mut self,
        mut result: ToolResult,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        let Some(call) = self.calls().find(|call| call.id == result.call_id) else {
            return Err(OutputRefused::UnknownCall);
        };
        if result.name.is_empty() {
            result.name.clone_from(&call.name);
        }
        if self.answered(&result.call_id) {
            return Err(OutputRefused::Conflict);
        }
        self.spend(bounds::result_bytes(&result))?;
        self.push_result(result, now, log);
        Ok(())
    }

    /// Adds the tokens of one model call.
    pub fn usage(&mut self, usage: Usage, log: &mut Vec<Entry>) {
        self.said.usage.add(usage);
        log.push(Entry::Event(EventBody::UsageAdded { usage }));
    }

    /// Ends the transcript: dismisses open questions, closes open reasoning, completes unfinished
    /// calls with `{}`, creates missing results with `missing`, and ends the assistant message,
    /// which is begun now if there is none.
    pub fn finish(
        mut self,
        end: MessageEnd,
        missing: impl Fn(&ToolCall) -> String,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> OutputStats {
        self.dismiss_questions(log);
        self.begin_if_none(now, log);
        let message = self.assistant.as_mut().expect("begun above");
        close_reasoning(message, now, log);
        finish_calls(message, log);
        let unanswered: Vec<ToolCall> = self
            .calls()
            .filter(|call| !self.answered(&call.id))
            .cloned()
            .collect();
        for call in unanswered {
            let text = missing(&call);
            let result = ToolResult {
                call_id: call.id,
                name: call.name,
                content: vec![Content::Text { text }],
                structured: None,
                metadata: None,
                is_error: true,
            };
            self.push_result(result, now, log);
        }
        self.end_step(end, now, log);
        self.said
    }

    /// Returns the assistant message for the next output, with space for one more part.
    fn open(
        &mut self,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<&mut Message, OutputRefused> {
        self.end_step_if_over(now, log);
        self.begin_if_none(now, log);
        let message = self.assistant.as_mut().expect("begun above");
        if message.parts.len() >= MESSAGE_PARTS_MAX {
            return Err(OutputRefused::Parts);
        }
        Ok(message)
    }

    fn begin_if_none(&mut self, now: UnixMillis, log: &mut Vec<Entry>) {
        if self.assistant.is_none() {
            let message = Message::begin(MessageId::generate(), self.run, Role::Assistant, now);
            log.push(begun(&message));
            self.assistant = Some(message);
        }
    }

    /// Whether all calls of this step have their results.
    #[must_use]
    pub fn step_is_over(&self) -> bool {
        self.tool.is_some() && self.calls().all(|call| self.answered(&call.id))
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.open_parts()
            .iter()
            .filter_map(|part| match &part.body {
                PartBody::ToolCall(call) => Some(call),
                _ => None,
            })
    }

    pub(super) fn answered(&self, id: &str) -> bool {
        self.tool
            .iter()
            .flat_map(|message| &message.parts)
            .any(|part| matches!(&part.body, PartBody::ToolResult(result) if result.call_id == id))
    }

    fn push_result(&mut self, result: ToolResult, now: UnixMillis, log: &mut Vec<Entry>) {
        let run = self.run;
        let message = self.tool.get_or_insert_with(|| {
            let message = Message::begin(MessageId::generate(), run, Role::Tool, now);
            log.push(begun(&message));
            message
        });
        let part = Part::from(PartBody::ToolResult(result));
        message.parts.push(part.clone());
        let event = EventBody::ToolResult {
            message: message.id,
            index: last_index(message),
            part,
        };
        log.push(Entry::Event(event));
        self.said.parts += 1;
    }

    pub(super) fn end_step(&mut self, end: MessageEnd, now: UnixMillis, log: &mut Vec<Entry>) {
        if let Some(mut message) = self.assistant.take() {
            close_reasoning(&mut message, now, log);
            finish_calls(&mut message, log);
            if let Some((model, provider)) = &self.model {
                message.model = Some(model.clone());
                message.provider = Some(provider.clone());
            }
            log.push(ended(message, end, now));
        }
        if let Some(message) = self.tool.take() {
            let whole = MessageEnd {
                reason: FinishReason::EndTurn,
                title: None,
                details: None,
            };
            log.push(ended(message, whole, now));
        }
    }
}

/// The end of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageEnd {
    /// The finish reason.
    pub reason: FinishReason,
    /// One line for people, if something went wrong.
    pub title: Option<String>,
    /// What happened and what to do, if something went wrong.
    pub details: Option<String>,
}

fn begun(message: &Message) -> Entry {
    Entry::Event(EventBody::MessageCreated {
        message: message.id,
        role: message.role,
        parts: Vec::new(),
    })
}

fn ended(mut message: Message, end: MessageEnd, now: UnixMillis) -> Entry {
    message.finish = Some(end.reason);
    message.finished_ms = Some(now);
    if message.role == Role::Assistant {
        let MessageEnd {
            reason,
            title,
            details,
        } = end;
        message.parts.push(
            PartBody::Finish {
                reason,
                title,
                details,
                at_ms: now,
            }
            .into(),
        );
    }
    Entry::Message(Box::new(message))
}

fn close_reasoning(message: &mut Message, now: UnixMillis, log: &mut Vec<Entry>) {
    let (id, index) = (message.id, message.parts.len().saturating_sub(1) as u32);
    if let Some(Part {
        body: PartBody::Reasoning {
            ended_ms: ended @ None,
            ..
        },
        ..
    }) = message.parts.last_mut()
    {
        *ended = Some(now);
        let event = EventBody::PartFinished {
            message: id,
            index,
            ended_ms: Some(now),
            input: None,
        };
        log.push(Entry::Event(event));
    }
}

fn finish_calls(message: &mut Message, log: &mut Vec<Entry>) {
    for (index, part) in message.parts.iter_mut().enumerate() {
        if let PartBody::ToolCall(call) = &mut part.body
            && !call.finished
        {
            call.finished = true;
            if serde_json::from_str::<serde::de::IgnoredAny>(&call.input).is_err() {
                "{}".clone_into(&mut call.input);
            }
            log.push(Entry::Event(EventBody::PartFinished {
                message: message.id,
                index: index as u32,
                ended_ms: None,
                input: Some(call.input.clone()),
            }));
        }
    }
}

fn last_index(message: &Message) -> u32 {
    message.parts.len().saturating_sub(1) as u32
}

#[cfg(test)]
mod tests;
