//! Reading a run's log back into the transcript that its memory had held: what recovery has
//! instead of the run. Pure; the other half of `transcript`.

use super::Transcript;
use crate::clock::UnixMillis;
use crate::event::EventBody;
use crate::session::{Message, Part, PartBody, Role};

impl Transcript {
    /// Folds an event of the same run back into the transcript: what recovery reads from the
    /// log yields what the run's memory held.
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
            EventBody::TextDelta { part, text, .. } => {
                self.said.text_bytes += text.len() as u64;
                self.replay_delta(part, &text, None);
            }
            EventBody::ReasoningDelta {
                part,
                text,
                appended_ms,
                ..
            } => {
                self.replay_delta(part, &text, Some(appended_ms));
            }
            EventBody::PartAdded { part, .. } => {
                self.said.parts += 1;
                if let Some(message) = &mut self.assistant {
                    message.parts.push(part);
                }
            }
            EventBody::PartFinished {
                index,
                ended_ms,
                input,
                ..
            } => {
                self.replay_part_finished(index, ended_ms, input);
            }
            EventBody::ToolResult { part, .. } => {
                self.said.parts += 1;
                if let Some(message) = &mut self.tool {
                    message.parts.push(part);
                }
            }
            EventBody::UsageAdded { usage } => self.said.usage.add(usage),
            EventBody::MessageFinished { message, .. } => {
                self.assistant.take_if(|open| open.id == message);
                self.tool.take_if(|open| open.id == message);
            }
            other => self.replay_asking(&other),
        }
    }

    fn replay_delta(&mut self, part: u32, delta: &str, reasoning_at: Option<UnixMillis>) {
        let Some(message) = &mut self.assistant else {
            return;
        };
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
