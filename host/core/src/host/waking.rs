//! Going on with sessions whose last run ended waiting for a time. What they wait for is on
//! disk; one task per host sleeps until the next one is due.

use super::{Host, HostError, HostInner, Session};
use crate::clock::UnixMillis;
use crate::id::{RunId, WorkspaceId};
use crate::run::Run;
use crate::session::Part;
use crate::store::{Due, Over, PromptRecord};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// A session that cannot be gone on with is tried again after this long, or when an agent is
/// loaded.
const RETRY: Duration = Duration::from_secs(60);

impl HostInner {
    /// Wakes sessions for as long as the host is there.
    pub(super) fn keep_waking(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let host: Weak<Self> = Arc::downgrade(self);
        let dispatcher = Arc::clone(&self.dispatcher);
        let task = self.dispatcher.embedder.spawn(async move {
            loop {
                let changed = dispatcher.waits.notified();
                let Some(inner) = host.upgrade() else { return };
                let pause = Host { inner }.wake().await;
                let pause = async {
                    match pause {
                        Some(pause) => dispatcher.clock.sleep(pause).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = pause => {}
                    () = changed => {}
                }
            }
        });
        AbortOnDropHandle::new(task)
    }
}

impl Host {
    /// Goes on with every session whose time has come. Answers how long to sleep; `None`
    /// until something changes.
    async fn wake(&self) -> Option<Duration> {
        let (due, next) = match self.inner.store.due().await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "waiting sessions cannot be read");
                return Some(RETRY);
            }
        };
        let mut failed = false;
        for due in due {
            let session = due.session;
            if let Err(error) = self.wake_one(due).await {
                tracing::warn!(%session, %error, "a session whose time has come waits on");
                failed = true;
            }
        }
        let now = self.inner.dispatcher.clock.now();
        let until = |at: UnixMillis| Duration::from_millis(at.0.saturating_sub(now.0));
        let next = next.map(until);
        match failed {
            true => Some(next.map_or(RETRY, |next| next.min(RETRY))),
            false => next,
        }
    }

    async fn wake_one(&self, due: Due) -> Result<(), HostError> {
        let session = self.session(due.session).await?;
        let record = PromptRecord {
            origin: "wake".to_owned(),
            parts: vec![Part::text("The time that you waited for has come.")],
            ..due.prompt.clone()
        };
        let run = due.run;
        let asked = self.ask_reopened(&session, record, run, Over::Time(due));
        match asked.await {
            // An answer was quicker.
            Ok(_) | Err(HostError::KeyConflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Goes on with a session whose run waited, and whose workspace may be closed: it is opened
    /// as it was last, until its runs are over.
    ///
    /// Accepted under a key of that run's own: once, however often it is tried, and whichever
    /// of what it waited for comes first.
    pub(super) async fn ask_reopened(
        &self,
        session: &Session,
        record: PromptRecord,
        waited: RunId,
        over: Over,
    ) -> Result<Run, HostError> {
        let id: WorkspaceId = session.workspace_id();
        self.inner.reopen(id).await?;
        let asked = session.go_on(record, format!("wait:{waited}"), over).await;
        self.inner.workspaces.lock().let_go(id);
        self.inner.close_if_unclaimed(id);
        asked
    }
}
