//! Prompts, and the idempotency keys of requests, as every backend stores them.

use super::StoreError;
use lastword_types::id::{AgentId, MessageId, QuestionId, RunId, SessionId};
use lastword_types::run::{CarriedUsage, Origin};
use lastword_types::session::{Answer, Part};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Duration;

/// A prompt to a session, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptRecord {
    /// What began the run. One that [brings a message](Origin::brings_message) makes one of the
    /// user's.
    pub origin: Origin,
    /// What is asked.
    pub parts: Vec<Part>,
    /// The agent's configuration for this run, as JSON text.
    pub config: String,
    /// How long the run may take once it is running.
    pub deadline: Option<Duration>,
    /// What the runs before it used, of one that a wake began without a person in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedUsage>,
}

impl PromptRecord {
    /// Whether a person asked it: what a wake carries over begins anew behind one.
    pub(super) fn is_of_person(&self) -> bool {
        matches!(self.origin, Origin::User | Origin::Answer | Origin::Resume)
    }

    /// What owns the messages that a fork copies.
    pub(super) fn of_fork() -> Self {
        Self {
            origin: Origin::Fork,
            parts: Vec::new(),
            config: "{}".to_owned(),
            deadline: None,
            carried: None,
        }
    }

    /// What goes on with a run that ended waiting with this prompt, once its time has come.
    pub(super) fn woken(self, carried: Option<CarriedUsage>) -> Self {
        Self {
            origin: Origin::Wake,
            parts: vec![Part::text("The time that you waited for has come.")],
            carried,
            ..self
        }
    }

    /// Stands for the prompt of a run that cannot be read.
    pub(super) fn unreadable() -> Self {
        Self {
            origin: Origin::Other(String::new()),
            ..Self::of_fork()
        }
    }
}

/// An idempotency key, with the digest of all that was asked under it. Unique per session,
/// whatever kind of request it came with; that of a new session is unique per workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) word: String,
    pub(super) content: Vec<u8>,
}

impl Key {
    /// Of a prompt.
    pub fn of_prompt(word: String, prompt: &PromptRecord) -> Result<Self, StoreError> {
        Self::of(word, prompt)
    }

    /// Of going on with a run that is held or ended early.
    pub fn of_resume(word: String, run: RunId) -> Result<Self, StoreError> {
        Self::of(word, &("resume", run))
    }

    /// Of a fork through a message.
    pub fn of_fork(word: String, through: MessageId) -> Result<Self, StoreError> {
        Self::of(word, &("fork", through))
    }

    /// Of a new session. Such a key is unique per workspace.
    pub fn of_session(
        word: String,
        agent: &AgentId,
        parent: Option<SessionId>,
    ) -> Result<Self, StoreError> {
        Self::of(word, &("session", agent, parent))
    }

    /// Of an answer to a question.
    pub fn of_answer(
        word: String,
        question: QuestionId,
        answer: &Answer,
    ) -> Result<Self, StoreError> {
        Self::of(word, &("answer", question, answer))
    }

    fn of(word: String, content: &impl Serialize) -> Result<Self, StoreError> {
        let content = Sha256::digest(serde_json::to_vec(content)?).to_vec();
        Ok(Self { word, content })
    }
}

/// What a run that a time begins takes over from those before it.
pub(super) fn one_more_wake(before: CarriedUsage) -> CarriedUsage {
    before.plus(CarriedUsage {
        wakes: 1,
        ..CarriedUsage::default()
    })
}

/// Counts bytes instead of keeping them.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes that parts have as they are kept.
#[must_use]
pub fn kept_bytes(parts: &[Part]) -> usize {
    let mut count = Count(0);
    // Neither a part nor the count can fail.
    serde_json::to_writer(&mut count, parts).map_or(usize::MAX, |()| count.0)
}
