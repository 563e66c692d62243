//! Rebuilds the transcript of a run from its log. Recovery needs it for a run whose host ended.
//! Pure; the inverse of the rest of `transcript`.

use super::{MESSAGE_PARTS_MAX, Transcript};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, RunId};
use lastword_types::session::{Message, Part, PartBody, Role};

impl Transcript {
    /// Adds an event of the same run to the transcript, as recovery reads it from the log. The
    /// result equals the transcript that the run's host had in memory.
    pub fn replay(&mut self, event: EventBody, at: UnixMillis) {
        match event {
            EventBody::MessageCreated { message, role, .. } => {
                let begun = Message::begin(message, self.run, role, at);
                match role {
                    Role::Assistant => self.assistant = Some(begun),
                    Role::Tool => self.tool = Some(begun),
                    Role::User | Role::System => {}
                }
            }
            EventBody::TextDelta {
                message,
                part,
                text,
            } => {
                self.said.text_bytes += text.len() as u64;
                self.replay_delta((message, part, at), &text, None);
            }
            EventBody::ReasoningDelta {
                message,
                part,
                text,
                appended_ms,
            } => {
                self.replay_delta((message, part, at), &text, Some(appended_ms));
            }
            EventBody::PartAdded {
                message,
                index,
                part,
            } => {
                self.said.parts += 1;
                let message = open(&mut self.assistant, self.run, message, Role::Assistant, at);
                fill(message, index);
                message.parts.push(part);
            }
            EventBody::PartFinished {
                index,
                ended_ms,
                input,
                ..
            } => {
                self.replay_part_finished(index, ended_ms, input);
            }
            EventBody::ToolResult { message, part, .. } => {
                self.said.parts += 1;
                let message = open(&mut self.tool, self.run, message, Role::Tool, at);
                message.parts.push(part);
            }
            EventBody::UsageAdded { usage } => self.said.usage.add(usage),
            EventBody::MessageFinished { message, .. } => self.close(message),
            other => self.replay_asking(&other),
        }
    }

    /// Returns the open messages.
    #[must_use]
    pub fn open_ids(&self) -> Vec<MessageId> {
        let open = self.assistant.iter().chain(&self.tool);
        open.map(|message| message.id).collect()
    }

    /// Returns the run of the transcript.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Returns the parts of an open message.
    #[must_use]
    pub fn open_message(&self, message: MessageId) -> Option<&[Part]> {
        let mut open = self.assistant.iter().chain(&self.tool);
        open.find(|open| open.id == message)
            .map(|open| &open.parts[..])
    }

    /// Treats a message as ended, since it is already stored.
    pub fn close(&mut self, message: MessageId) {
        self.assistant.take_if(|open| open.id == message);
        self.tool.take_if(|open| open.id == message);
    }

    fn replay_delta(
        &mut self,
        (message, part, at): (MessageId, u32, UnixMillis),
        delta: &str,
        reasoning_at: Option<UnixMillis>,
    ) {
        let message = open(&mut self.assistant, self.run, message, Role::Assistant, at);
        fill(message, part);
        if message.parts.len() <= part as usize {
            self.said.parts += 1;
            message.parts.push(match reasoning_at {
                None => Part::text(""),
                Some(started_ms) => PartBody::Reasoning {
                    text: String::new(),
                    started_ms,
                    ended_ms: None,
                }
                .into(),
            });
        }
        if let Some(Part {
            body: PartBody::Text { text } | PartBody::Reasoning { text, .. },
            ..
        }) = message.parts.get_mut(part as usize)
        {
            text.push_str(delta);
        }
    }

    fn replay_part_finished(
        &mut self,
        index: u32,
        ended: Option<UnixMillis>,
        input: Option<String>,
    ) {
        let parts = self.assistant.as_mut().map(|message| &mut message.parts);
        match parts
            .and_then(|parts| parts.get_mut(index as usize))
            .map(|part| &mut part.body)
        {
            Some(PartBody::Reasoning { ended_ms, .. }) => *ended_ms = ended,
            Some(PartBody::ToolCall(call)) => {
                call.finished = true;
                if let Some(input) = input {
                    call.input = input;
                }
            }
            _ => {}
        }
    }
}

/// Returns the message that an event writes to: the open one, or a new one if the event that began
/// it could not be read.
fn open(
    place: &mut Option<Message>,
    run: RunId,
    id: MessageId,
    role: Role,
    at: UnixMillis,
) -> &mut Message {
    if place.as_ref().is_some_and(|open| open.id != id) {
        *place = None;
    }
    place.get_or_insert_with(|| Message::begin(id, run, role, at))
}

/// Adds empty texts in the places of parts that could not be read.
fn fill(message: &mut Message, through: u32) {
    let missing = (through as usize).min(MESSAGE_PARTS_MAX);
    while message.parts.len() < missing {
        message.parts.push(Part::text(""));
    }
}
