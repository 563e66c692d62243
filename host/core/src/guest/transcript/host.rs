//! Implements `lastword:agent/transcript`, the transcript interface that a guest imports.

use super::{Conversation, Transcript};
use crate::guest::convert::{extra_in, message_id, message_out, part_in, result_in};
use crate::guest::failure::{OrFailure, failure};
use lastword_sandbox::HostResult;
use lastword_sandbox::bindings::lastword::agent::transcript::Host;
use lastword_sandbox::bindings::lastword::agent::types::{
    self, Body, Failure, Message, Part, ToolResult,
};
use lastword_store::{PAGE_MESSAGES, Summarise};
use lastword_types::id::MessageId;
use lastword_types::session::{BlobId, Message as Stored, Role, title_from};

/// The number of log entries of a summary: the beginning of its message, the message, and the range
/// that it replaces.
const SUMMARY_ENTRIES: usize = 3;

impl types::Host for Transcript {}

type Answer<T> = HostResult<Result<T, Failure>>;

impl Transcript {
    fn conversation(&self) -> Result<&Conversation, Failure> {
        self.control.called();
        let none = || {
            failure(
                "denied",
                "there is no conversation while the agent describes itself or closes",
            )
        };
        self.conversation.as_ref().ok_or_else(none)
    }

    async fn history(&self, before: Option<String>, limit: u32) -> Result<Vec<Message>, Failure> {
        let at = self.conversation()?;
        let before = before.as_deref().map(message_id).transpose()?;
        let limit = limit.min(PAGE_MESSAGES);
        // Puts finished steps into the history, so that the agent sees them.
        at.so_far().await?;
        let messages = at
            .store
            .history(at.session, before, limit)
            .await
            .or_failure()?;
        Ok(messages.iter().map(message_out).collect())
    }

    async fn part(&self, part: Part) -> Result<(), Failure> {
        let at = self.conversation()?;
        match part.body {
            Body::Text(text) if part.extra.is_empty() => at.say(|out| out.text(&text)).await,
            Body::Reasoning(text) if part.extra.is_empty() => {
                at.say(|out| out.reasoning(&text)).await
            }
            Body::ToolResult(result) => self.result(result).await,
            body => {
                let mut blobs = Vec::new();
                let part = part_in(
                    Part {
                        body,
                        extra: part.extra,
                    },
                    &mut blobs,
                )?;
                at.say(|out| out.part(part, blobs.pop())).await
            }
        }
    }

    async fn result(&self, result: ToolResult) -> Result<(), Failure> {
        let at = self.conversation()?;
        let mut blobs = Vec::new();
        let result = result_in(result, &mut blobs)?;
        at.say(|out| out.result(result, blobs)).await
    }

    async fn summary(&self, text: String, through: String) -> Result<(), Failure> {
        let at = self.conversation()?;
        let through = message_id(&through)?;
        at.output.spend(text.len(), SUMMARY_ENTRIES).or_failure()?;
        let now = self.control.clock().now();
        let mut summary = Stored::begin(MessageId::generate(), at.run, Role::System, now);
        summary
            .parts
            .push(lastword_types::session::Part::text(text));
        summary.finished_ms = Some(now);
        summary.extra = extra_in(vec![("summary".to_owned(), "true".to_owned())]);
        let summarise = Summarise {
            run: at.run,
            summary,
            through,
        };

        at.store.execute(summarise).await.or_failure()
    }

    async fn blob(&self, id: String) -> Result<Vec<u8>, Failure> {
        let at = self.conversation()?;
        let found = at.store.blob(at.session, BlobId(id)).await.or_failure()?;
        found.ok_or_else(|| failure("not-found", "this session names no such data"))
    }
}

impl Host for Transcript {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.history",
        skip_all
    )]
    async fn history(&mut self, before: Option<String>, limit: u32) -> Answer<Vec<Message>> {
        Ok(Self::history(self, before, limit).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.append-text",
        skip_all
    )]
    async fn append_text(&mut self, delta: String) -> Answer<()> {
        Ok(match self.conversation() {
            Ok(at) => at.say(|out| out.text(&delta)).await,
            Err(none) => Err(none),
        })
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.append-reasoning",
        skip_all
    )]
    async fn append_reasoning(&mut self, delta: String) -> Answer<()> {
        Ok(match self.conversation() {
            Ok(at) => at.say(|out| out.reasoning(&delta)).await,
            Err(none) => Err(none),
        })
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.append-part",
        skip_all
    )]
    async fn append_part(&mut self, part: Part) -> Answer<()> {
        Ok(self.part(part).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.record-result",
        skip_all
    )]
    async fn record_result(&mut self, result: ToolResult) -> Answer<()> {
        Ok(self.result(result).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.summarise",
        skip_all
    )]
    async fn summarise(&mut self, text: String, through: String) -> Answer<()> {
        Ok(self.summary(text, through).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.set-title",
        skip_all
    )]
    async fn set_title(&mut self, title: String) -> Answer<()> {
        let title = title_from(&title);
        Ok(match self.conversation() {
            Ok(_) if title.is_empty() => Err(failure("invalid", "a title must not be empty")),
            Ok(at) => at.say(|out| out.title(title)).await,
            Err(none) => Err(none),
        })
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "transcript.read-blob",
        skip_all
    )]
    async fn read_blob(&mut self, id: String) -> Answer<Vec<u8>> {
        Ok(self.blob(id).await)
    }
}
