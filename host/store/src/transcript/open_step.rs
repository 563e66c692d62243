//! The output of a run so far, in the form for its next request to a model. Pure.

use super::{Entry, MessageEnd, Transcript};
use lastword_types::clock::UnixMillis;
use lastword_types::session::{FinishReason, Message, PartBody};

impl Transcript {
    /// Ends the step if all of its calls have their results: nothing can be added to it any more,
    /// so that it belongs to the history. Returns whether it did.
    pub fn end_step_if_over(&mut self, now: UnixMillis, log: &mut Vec<Entry>) -> bool {
        let over = self.step_is_over();
        if over {
            let end = MessageEnd {
                reason: FinishReason::ToolUse,
                title: None,
                details: None,
            };
            self.end_step(end, now, log);
        }
        over
    }

    /// Returns the messages of the open step, without calls that have no result yet, since no model
    /// accepts those.
    #[must_use]
    pub fn open_messages(&self) -> Vec<Message> {
        let messages = self.assistant.iter().chain(&self.tool).cloned();
        let answered = messages.map(|mut message| {
            message.parts.retain(|part| match &part.body {
                PartBody::ToolCall(call) => self.answered(&call.id),
                _ => true,
            });
            message
        });
        answered
            .filter(|message| !message.parts.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::id::RunId;
    use lastword_types::session::{Content, Part, Role, ToolCall, ToolResult};

    const NOW: UnixMillis = UnixMillis(7);

    fn call(transcript: &mut Transcript, id: &str) {
        let call = ToolCall {
            id: id.to_owned(),
            name: "t".to_owned(),
            input: "{}".to_owned(),
            finished: true,
            started: false,
        };
        let part = Part::from(PartBody::ToolCall(call));
        transcript.part(part, NOW, &mut Vec::new()).unwrap();
    }

    fn answer(transcript: &mut Transcript, id: &str) {
        let result = ToolResult {
            call_id: id.to_owned(),
            name: String::new(),
            content: vec![Content::Text { text: "r".into() }],
            structured: None,
            metadata: None,
            is_error: false,
        };
        transcript.result(result, NOW, &mut Vec::new()).unwrap();
    }

    #[test]
    fn a_step_ends_once_its_calls_have_results_and_not_before() {
        let mut transcript = Transcript::new(RunId::generate(), 1000);
        let mut log = Vec::new();
        assert!(!transcript.end_step_if_over(NOW, &mut log));
        call(&mut transcript, "a");
        call(&mut transcript, "b");
        answer(&mut transcript, "a");
        assert!(!transcript.end_step_if_over(NOW, &mut log));
        assert!(log.is_empty());
        answer(&mut transcript, "b");
        assert!(transcript.end_step_if_over(NOW, &mut log));
        let roles: Vec<_> = log
            .iter()
            .map(|entry| match entry {
                Entry::Message(message) => message.role,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(roles, [Role::Assistant, Role::Tool]);
        assert!(transcript.open_messages().is_empty());
        assert!(!transcript.end_step_if_over(NOW, &mut log));
    }

    #[test]
    fn what_is_open_has_no_call_without_a_result() {
        let mut transcript = Transcript::new(RunId::generate(), 1000);
        call(&mut transcript, "a");
        assert!(transcript.open_messages().is_empty());
        call(&mut transcript, "b");
        answer(&mut transcript, "b");
        let open = transcript.open_messages();
        assert_eq!(open.len(), 2);
        assert_eq!(open[0].parts.len(), 1);
        let mut transcript = Transcript::new(RunId::generate(), 1000);
        transcript.text("so far", NOW, &mut Vec::new()).unwrap();
        assert_eq!(transcript.open_messages()[0].parts.len(), 1);
    }
}
