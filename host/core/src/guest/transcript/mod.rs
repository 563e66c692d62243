//! Lets an agent write to its conversation and read it. The host owns every message.

mod host;

use super::control::Control;
use crate::guest::failure::OrFailure;
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_store::{OutputError, RunOutputBuffer, Store};
use lastword_types::id::{RunId, SessionId};
use lastword_types::session::Message;
use std::sync::Arc;

/// One guest's access to its session's transcript. It is absent while the guest describes itself or
/// runs its epilogue.
pub(crate) struct Transcript {
    pub(crate) control: Arc<Control>,
    pub(crate) conversation: Option<Conversation>,
}

/// The session and the run of a guest.
#[derive(Clone)]
pub(crate) struct Conversation {
    pub(crate) store: Store,
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) output: Arc<RunOutputBuffer>,
}

impl Conversation {
    /// Adds output, then waits for space in the backlog. The output is accepted first, so that it
    /// is kept if the run is stopped while it waits.
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

    /// Puts every finished step into the history, and returns the messages that are still open.
    /// Together they are the conversation up to this moment.
    pub(crate) async fn so_far(&self) -> Result<Vec<Message>, Failure> {
        let open = self.output.so_far().or_failure()?;
        self.output.committed().await.or_failure()?;
        Ok(open)
    }
}
