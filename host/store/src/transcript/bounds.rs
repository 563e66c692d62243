//! Bounds on the output of one run, and what each kind of output counts. Pure.
//!
//! Everything that is written to disk counts: every field of a part, and each entry in the log
//! even if it has no content.

use super::{OutputRefused, Transcript};
use lastword_types::session::{BlobId, Content, Part, PartBody, ToolResult};

/// How much a run may write, or may still write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBounds {
    /// Bytes of text, reasoning, arguments, results, titles and summaries.
    pub bytes: u64,
    /// Bytes of data parts.
    pub data: u64,
    /// Entries in the log.
    pub entries: u64,
}

impl Transcript {
    /// Returns the transcript with these bounds.
    #[must_use]
    pub fn bounded(mut self, bounds: OutputBounds) -> Self {
        self.left = bounds;
        self
    }

    /// Returns how much more is allowed.
    #[must_use]
    pub fn left(&self) -> OutputBounds {
        self.left
    }

    /// Counts bytes of output before they are accepted.
    ///
    /// # Errors
    /// [`OutputRefused::Bytes`] if the run may not write as many more, [`OutputRefused::Entries`]
    /// if it may make no further entry. Nothing is counted then.
    pub fn spend(&mut self, bytes: usize) -> Result<(), OutputRefused> {
        if self.left.entries == 0 {
            return Err(OutputRefused::Entries);
        }
        let left = self.left.bytes.checked_sub(bytes as u64);
        self.left.bytes = left.ok_or(OutputRefused::Bytes)?;
        Ok(())
    }

    /// Counts bytes of data parts before they are accepted.
    ///
    /// # Errors
    /// [`OutputRefused::Data`] if the run may not store as many more. Nothing is counted then.
    pub fn spend_data(&mut self, bytes: usize) -> Result<(), OutputRefused> {
        let left = self.left.data.checked_sub(bytes as u64);
        self.left.data = left.ok_or(OutputRefused::Data)?;
        Ok(())
    }

    /// Counts entries that were made in the log. Entries of the host itself, such as the end of a
    /// message or the tokens of a model, are never refused, and leave fewer for the agent.
    pub fn made_entries(&mut self, entries: usize) {
        self.left.entries = self.left.entries.saturating_sub(entries as u64);
    }
}

/// Returns the bytes of a part, except those that a data part refers to.
pub(super) fn part_bytes(part: &Part) -> usize {
    let body = match &part.body {
        PartBody::Text { text } | PartBody::Reasoning { text, .. } => text.len(),
        PartBody::ToolCall(call) => call.id.len() + call.name.len() + call.input.len(),
        PartBody::ToolResult(result) => result_bytes(result),
        PartBody::Data {
            media_type,
            name,
            blob,
            ..
        } => data_bytes(media_type, name.as_ref(), blob),
        PartBody::Other { kind, json } => kind.len() + json.len(),
        PartBody::Finish { title, details, .. } => {
            let texts = [title, details].into_iter().flatten();
            texts.map(String::len).sum()
        }
    };
    let extra = part.extra.iter();
    body + extra
        .map(|(key, json)| key.len() + json.len())
        .sum::<usize>()
}

/// Returns the bytes of a result, except those that a data part refers to.
pub(super) fn result_bytes(result: &ToolResult) -> usize {
    let content = result.content.iter().map(|content| match content {
        Content::Text { text } => text.len(),
        Content::Data {
            media_type,
            name,
            blob,
            ..
        } => data_bytes(media_type, name.as_ref(), blob),
        Content::Other { kind, json } => kind.len() + json.len(),
    });
    let beside = [&result.structured, &result.metadata];
    let beside = beside.into_iter().flatten().map(String::len);
    result.call_id.len() + content.chain(beside).sum::<usize>()
}

fn data_bytes(media_type: &str, name: Option<&String>, blob: &BlobId) -> usize {
    media_type.len() + name.map_or(0, String::len) + blob.0.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Entry;
    use lastword_types::clock::UnixMillis;
    use lastword_types::event::EventBody;
    use lastword_types::id::RunId;
    use lastword_types::session::ToolCall;

    const NOW: UnixMillis = UnixMillis(7);

    fn within(bytes: u64, data: u64, entries: u64) -> Transcript {
        let bounds = OutputBounds {
            bytes,
            data,
            entries,
        };
        Transcript::new(RunId::generate(), 0).bounded(bounds)
    }

    #[test]
    fn every_field_of_a_part_counts() {
        let word = || "four".to_owned();
        let call = ToolCall {
            id: word(),
            name: word(),
            input: word(),
            finished: true,
            started: false,
        };
        let data = Content::Data {
            media_type: word(),
            name: Some(word()),
            blob: BlobId(word()),
            bytes: 9,
        };
        let result = ToolResult {
            call_id: word(),
            name: String::new(),
            content: vec![
                Content::Text { text: word() },
                data,
                Content::Other {
                    kind: word(),
                    json: word(),
                },
            ],
            structured: Some(word()),
            metadata: Some(word()),
            is_error: false,
        };
        let data = PartBody::Data {
            media_type: word(),
            name: Some(word()),
            blob: BlobId(word()),
            bytes: 9,
        };
        let other = PartBody::Other {
            kind: word(),
            json: word(),
        };
        for (body, words) in [
            (Part::text("four").body, 1),
            (PartBody::ToolCall(call), 3),
            (PartBody::ToolResult(result), 9),
            (data, 3),
            (other, 2),
        ] {
            let mut part = Part::from(body);
            assert_eq!(part_bytes(&part), 4 * words, "{part:?}");
            part.extra.insert(word(), word());
            assert_eq!(part_bytes(&part), 4 * (words + 2), "with extra: {part:?}");
        }
    }

    #[test]
    fn nothing_is_said_without_an_entry_for_it() {
        let mut transcript = within(100, 0, 0);
        let mut log = Vec::new();
        let refused = transcript.text("x", NOW, &mut log);
        assert_eq!(refused, Err(OutputRefused::Entries));
        assert!(log.is_empty());
        assert_eq!(transcript.left().bytes, 100, "nothing was counted");
    }

    #[test]
    fn an_empty_text_changes_nothing() {
        let mut transcript = within(100, 0, 100);
        let mut log = Vec::new();
        transcript.text("", NOW, &mut log).unwrap();
        transcript.reasoning("", NOW, &mut log).unwrap();
        assert!(log.is_empty());
        transcript.text("x", NOW, &mut log).unwrap();
        let last = log.last();
        assert!(matches!(
            last,
            Some(Entry::Event(EventBody::TextDelta { .. }))
        ));
    }

    #[test]
    fn data_has_a_bound_of_its_own() {
        let mut transcript = within(0, 10, 1);
        transcript.spend_data(10).unwrap();
        assert_eq!(transcript.spend_data(1), Err(OutputRefused::Data));
        transcript.made_entries(3);
        assert_eq!(transcript.left().entries, 0);
    }
}
