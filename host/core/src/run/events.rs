//! Reading a session's log as it grows: from the disk, a page at a time, woken by commits.
//! A reader that is slow re-reads later; it holds nobody up and misses nothing.

use crate::event::{Event, EventBody, Seq};
use crate::host::HostError;
use crate::id::{RunId, SessionId};
use crate::store::{SessionNo, Store, StoreError};
use std::collections::VecDeque;
use tokio::sync::watch;

/// A stream of events, replayable from any point of the log.
pub struct Events {
    store: Store,
    session: SessionId,
    committed: watch::Receiver<i64>,
    run: Option<RunId>,
    /// The last event that was read; `None` until the run's first one is found.
    after: Option<Seq>,
    page: VecDeque<Event>,
    over: bool,
}

impl Events {
    /// Follows first and reads then, so that nothing committed in between is missed.
    pub(crate) fn of_session(
        store: Store,
        session: SessionId,
        session_no: SessionNo,
        after: Seq,
    ) -> Self {
        let committed = store.follow(session_no);
        Self {
            store,
            session,
            committed,
            run: None,
            after: Some(after),
            page: VecDeque::new(),
            over: false,
        }
    }

    pub(crate) fn of_run(
        store: Store,
        session: SessionId,
        session_no: SessionNo,
        run: RunId,
    ) -> Self {
        let mut events = Self::of_session(store, session, session_no, Seq(0));
        events.run = Some(run);
        events.after = None;
        events
    }

    pub(crate) fn after(mut self, seq: Seq) -> Self {
        self.after = Some(seq);
        self
    }

    /// The next event: at once if it is in the log, otherwise when it is committed. `None`
    /// after a run's `run.ended`; a session's stream does not end.
    ///
    /// Dropping the future loses nothing: the next call answers the same event.
    pub async fn next(&mut self) -> Option<Result<Event, HostError>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(event) = self.page.pop_front() {
                self.after = Some(event.seq);
                if self.run.is_some() && event.run != self.run {
                    continue;
                }
                self.over = self.run.is_some() && matches!(event.body, EventBody::RunEnded { .. });
                return Some(Ok(event));
            }
            if let Err(error) = self.fill().await {
                self.over = true;
                return Some(Err(error.into()));
            }
        }
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        let after = match (self.after, self.run) {
            (Some(after), _) => after,
            (None, Some(run)) => self.store.before_run(run).await?,
            (None, None) => Seq(0),
        };
        loop {
            self.committed.borrow_and_update();
            let page = self.store.events(self.session, after).await?;
            if !page.is_empty() {
                self.page = page.into();
                return Ok(());
            }
            let closed = || StoreError::Closed("the host has shut down".to_owned());
            self.committed.changed().await.map_err(|_| closed())?;
        }
    }
}
