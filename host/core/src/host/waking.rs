//! Going on with sessions whose last run ended waiting for a time. What they wait for is on
//! disk; one task per host sleeps until the next one is due.

use super::{Host, HostError, HostInner, Session};
use crate::clock::UnixMillis;
use crate::run::Run;
use crate::session::Part;
use crate::store::{Due, GoesOn, Key, PromptRecord, StoreError};
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
                let Some(host) = host.upgrade().and_then(|inner| inner.host()) else {
                    return;
                };
                let pause = host.wake().await;
                drop(host);
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
    /// How long until the next session is gone on with that waits for a time, which no other
    /// host does meanwhile; zero for one whose time came in the last minute. `None` if none
    /// waits, or only such as could not be gone on with.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next_wake(&self) -> Result<Option<Duration>, HostError> {
        let now = self.inner.dispatcher.clock.now().0;
        let retry = u64::try_from(RETRY.as_millis()).unwrap_or(u64::MAX);
        let after = UnixMillis(now.saturating_sub(retry));
        let next = self.inner.store.next_due(after).await?;
        Ok(next.map(|at| Duration::from_millis(at.0.saturating_sub(now))))
    }

    /// Goes on with every session whose time has come. Answers how long to sleep; `None`
    /// until something changes.
    async fn wake(&self) -> Option<Duration> {
        let clock = &self.inner.dispatcher.clock;
        let came = clock.now();
        let woken = async {
            let all = self.wake_all(came).await?;
            Ok::<_, StoreError>((all, self.inner.store.next_due(came).await?))
        };
        let (all, next) = match woken.await {
            Ok(woken) => woken,
            Err(error) => {
                tracing::warn!(%error, "waiting sessions cannot be read");
                return Some(RETRY);
            }
        };
        let now = clock.now();
        let until = |at: UnixMillis| Duration::from_millis(at.0.saturating_sub(now.0));
        let next = next.map(until);
        match all {
            true => next,
            false => Some(next.map_or(RETRY, |next| next.min(RETRY))),
        }
    }

    /// Goes on with every session whose time came by then, page by page: one that cannot be
    /// gone on with holds up nobody behind it. Answers whether none had to be left.
    async fn wake_all(&self, came: UnixMillis) -> Result<bool, StoreError> {
        let (mut all, mut after) = (true, None);
        loop {
            let page = self.inner.store.due(came, after).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = Some(last.place);
            for due in page {
                let session = due.session;
                if let Err(error) = self.wake_one(due).await {
                    tracing::warn!(%session, %error, "a session whose time has come waits on");
                    all = false;
                }
            }
        }
    }

    async fn wake_one(&self, due: Due) -> Result<(), HostError> {
        let session = self.session(due.session).await?;
        let workspaces = &self.inner.workspaces;
        if workspaces.lock().closing(session.workspace).is_some() {
            // Once it is closed this is tried again; others are not held up until then.
            return Err(HostError::WorkspaceClosing);
        }
        let record = PromptRecord {
            origin: "wake".to_owned(),
            parts: vec![Part::text("The time that you waited for has come.")],
            ..due.prompt
        };
        let goes_on = GoesOn {
            run: due.run,
            answer: None,
        };
        // Of one that was answered meanwhile there is nothing to do.
        self.go_on_reopened(&session, record, goes_on, None)
            .await
            .map(drop)
    }

    /// Goes on in a session whose workspace may be closed: it is opened as it was last, until
    /// its runs are over. `None` if somebody else was quicker.
    pub(super) async fn go_on_reopened(
        &self,
        session: &Session,
        record: PromptRecord,
        goes_on: GoesOn,
        key: Option<Key>,
    ) -> Result<Option<Run>, HostError> {
        let _kept_open = self.inner.reopen(session.workspace_id()).await?;
        session.go_on(record, goes_on, key).await
    }
}
