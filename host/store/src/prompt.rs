//! Prompts, and the idempotency keys of requests, as every backend stores them.

use super::StoreError;
use lastword_types::id::{AgentId, MessageId, QuestionId, RunId, SessionId};
use lastword_types::run::{CarriedUsage, Origin};
use lastword_types::session::{Answer, Part};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// A prompt to a session, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptRecord {
    /// What began the run. If it [brings a message](Origin::brings_message), the parts become a
    /// message of the user.
    pub origin: Origin,
    /// The content of the prompt.
    pub parts: Vec<Part>,
    /// The agent's configuration for this run, as JSON text.
    pub config: String,
    /// The longest time that the run may take after its start.
    pub deadline: Option<Duration>,
    /// The usage of the preceding runs, if a wake began this run without a person in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedUsage>,
    /// Names and values for the embedder's providers; agents do not see them. Runs that continue
    /// this one, and runs that it starts, have them too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl PromptRecord {
    /// Whether a person sent it: the usage that wakes carry over is then reset.
    pub(super) fn is_of_person(&self) -> bool {
        matches!(self.origin, Origin::User | Origin::Answer | Origin::Resume)
    }

    /// Creates the prompt of the run that owns the messages which a fork copies.
    pub(super) fn of_fork() -> Self {
        Self {
            origin: Origin::Fork,
            parts: Vec::new(),
            config: "{}".to_owned(),
            deadline: None,
            carried: None,
            labels: BTreeMap::new(),
        }
    }

    /// Creates the prompt of the run that continues a waiting run with this prompt, once its time
    /// has come.
    pub(super) fn woken(self, carried: Option<CarriedUsage>) -> Self {
        Self {
            origin: Origin::Wake,
            parts: vec![Part::text("The time that you waited for has come.")],
            carried,
            ..self
        }
    }

    /// Creates the prompt that replaces one that cannot be read.
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
    /// Creates the key of a prompt.
    pub fn of_prompt(word: String, prompt: &PromptRecord) -> Result<Self, StoreError> {
        Self::of(word, prompt)
    }

    /// Creates the key of a request to resume a run that is held or ended early.
    pub fn of_resume(word: String, run: RunId) -> Result<Self, StoreError> {
        Self::of(word, &("resume", run))
    }

    /// Creates the key of a fork through a message.
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

    /// Creates the key of an answer to a question.
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

/// Returns the usage that a run which a time begins takes over from the runs before it.
pub(super) fn one_more_wake(before: CarriedUsage) -> CarriedUsage {
    before.plus(CarriedUsage {
        wakes: 1,
        ..CarriedUsage::default()
    })
}

/// A writer that only counts bytes.
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

/// Returns the number of bytes that parts have in the store.
#[must_use]
pub fn kept_bytes(parts: &[Part]) -> usize {
    let mut count = Count(0);
    // Neither the parts nor the count can fail.
    serde_json::to_writer(&mut count, parts).map_or(usize::MAX, |()| count.0)
}
