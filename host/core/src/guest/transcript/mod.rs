//! What the agent says and reads of its conversation. The host owns every message.

mod host;

use super::control::Control;
use crate::guest::failure::OrFailure;
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_store::{OutputError, RunOutputBuffer, Store};
use lastword_types::id::{RunId, SessionId};
use lastword_types::session::Message;
use std::sync::Arc;

/// One guest's access to its session's transcript; none while it only describes itself or
/// closes.
pub(crate) struct Transcript {
    pub(crate) control: Arc<Control>,
    pub(crate) conversation: Option<Conversation>,
}

/// The session and the run that a guest speaks in.
#[derive(Clone)]
pub(crate) struct Conversation {
    pub(crate) store: Store,
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) output: Arc<RunOutputBuffer>,
}

impl Conversation {
    /// Says it, then waits for room: taken first, so that a run that is stopped while it
    /// waits has said it.
    pub(crate) async fn say(
        &self,
        append: impl FnOnce(&Arc<RunOutputBuffer>) -> Result<(), OutputError>,
    ) -> Result<(), Failure> {
        append(&self.output).or_failure()?;
        if self.output.is_full() {
            self.output.room().await;
        }
        Ok(())
    }

    /// Puts every step that is over into the history, and answers with what is open beyond
    /// that: together they are the conversation up to this moment.
    pub(crate) async fn so_far(&self) -> Result<Vec<Message>, Failure> {
        let open = self.output.so_far().or_failure()?;
        self.output.committed().await.or_failure()?;
        Ok(open)
    }
}
