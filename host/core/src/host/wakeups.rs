//! Going on with sessions whose last run ended waiting for a time, and taking that back. What
//! they wait for is on disk; one task per host sleeps until the next one is due.

use super::{Host, HostError, HostInner, Session};
use crate::run::{Cause, Receipt, Run, RunOutcome};
use lastword_store::{Continuation, Due, Key, PromptRecord, ShiftWakes, StoreError, Waits};
use lastword_types::clock::{Clock, UnixMillis};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// A session that cannot be gone on with is tried again after this long, or when an agent is
/// loaded.
const RETRY: Duration = Duration::from_secs(60);
/// Milliseconds by which a wall clock is set at the least, to count as that.
const STEP_MIN: u64 = 1000;
/// Two clocks that were read further apart are not compared.
const READ_APART_MAX: Duration = Duration::from_millis(STEP_MIN / 2);

impl HostInner {
    /// Takes back what sessions wait for, as the end of a cause: nothing goes on by itself any
    /// more. Returns the ends of the runs that will not be.
    pub(super) async fn take_waits_back(
        &self,
        waits: Waits,
        cause: Cause,
        why: &str,
    ) -> Result<Vec<Receipt>, StoreError> {
        let ending = RunOutcome {
            detail: Some(why.to_owned()),
            ..RunOutcome::of(cause)
        };
        self.store.take_waits_back(waits, ending).await
    }

    /// Wakes sessions for as long as the host is there.
    pub(super) fn keep_waking(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let host: Weak<Self> = Arc::downgrade(self);
        let dispatcher = Arc::clone(&self.dispatcher);
        let task = self.dispatcher.embedder.spawn(async move {
            let mut known = None;
            loop {
                let changed = dispatcher.waits.notified();
                let Some(host) = host.upgrade().and_then(|inner| inner.host()) else {
                    return;
                };
                let seen = host.inner.follow_clock(&mut known).await;
                let Next { due, again } = host.wake().await;
                drop(host);
                let clock = &dispatcher.clock;
                let due = due.map(|at| clock.sleep_until(at));
                if was_set(seen, offset(&**clock)) {
                    // It was set before the sleep could notice it.
                    continue;
                }
                let due = async {
                    match due {
                        Some(due) => due.await,
                        None => std::future::pending().await,
                    }
                };
                let again = async {
                    if again {
                        clock.sleep(RETRY).await;
                    } else {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = due => {}
                    () = again => {}
                    () = changed => {}
                }
            }
        });
        AbortOnDropHandle::new(task)
    }
}

/// By how many milliseconds the wall clock is ahead of the one that never runs backwards;
/// none if time passed between reading the one and the other.
fn offset(clock: &dyn Clock) -> Option<i64> {
    let (before, now, after) = (clock.elapsed(), clock.now(), clock.elapsed());
    let passed = i64::try_from(before.as_millis()).ok()?;
    let at_once = after.saturating_sub(before) < READ_APART_MAX;
    at_once.then_some(i64::try_from(now.0).ok()?.saturating_sub(passed))
}

fn was_set(before: Option<i64>, after: Option<i64>) -> bool {
    let both = before.zip(after);
    both.is_some_and(|(before, after)| before.abs_diff(after) >= STEP_MIN)
}

impl HostInner {
    /// Sets the times that sessions wait for back with the wall clock: they said how long, and
    /// would wait for longer by as much. A clock that was set forwards cannot be told from a
    /// machine that was asleep: the time comes when it shows it.
    ///
    /// Returns by how much the wall clock is ahead of the other one.
    async fn follow_clock(&self, known: &mut Option<i64>) -> Option<i64> {
        let offset = offset(&*self.dispatcher.clock)?;
        let by = known.map(|known| offset.saturating_sub(known));
        if known.is_some() && !was_set(*known, Some(offset)) {
            return Some(offset);
        }
        if by.is_none_or(|by| by < 0)
            && let Err(error) = self.store.execute(ShiftWakes { by }).await
        {
            tracing::warn!(%error, "sessions may wait longer, since the clock was set back");
            return Some(offset);
        }
        *known = Some(offset);
        Some(offset)
    }
}

/// When to look again at what is due.
struct Next {
    /// The next time that a session waits for, by the wall clock.
    due: Option<UnixMillis>,
    /// A session could not be gone on with.
    again: bool,
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

    /// Goes on, now, with every session whose time has come: what the host does by itself
    /// unless [`HostBuilder::wakes`](super::HostBuilder::wakes) says otherwise. Returns when
    /// the next time comes that a session waits for, if one does. One that cannot be gone on
    /// with waits on, and the log says why.
    pub async fn wake_due(&self) -> Option<UnixMillis> {
        self.wake().await.due
    }

    async fn wake(&self) -> Next {
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
                (false, None)
            }
        };

        Next {
            due: next,
            again: !all,
        }
    }

    /// Goes on with every session whose time came by then, page by page: one that cannot be
    /// gone on with holds up nobody behind it. Answers whether none had to be left.
    async fn wake_all(&self, came: UnixMillis) -> Result<bool, StoreError> {
        let (mut all, mut after) = (true, None);
        loop {
            let page = self.inner.store.due(came, after).await?;
            if page.last.is_none() {
                return Ok(all);
            }
            after = page.last;
            for due in page.due {
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
            return Err(HostError::WorkspaceClosing(session.workspace));
        }

        let goes_on = Continuation {
            run: due.run,
            answer: None,
        };

        // Of one that was answered meanwhile there is nothing to do.
        self.go_on_reopened(&session, due.prompt, goes_on, None)
            .await
            .map(drop)
    }

    /// Goes on in a session whose workspace may be closed: it is opened as it was last, until
    /// its runs are over. `None` if somebody else was quicker.
    pub(super) async fn go_on_reopened(
        &self,
        session: &Session,
        record: PromptRecord,
        goes_on: Continuation,
        key: Option<Key>,
    ) -> Result<Option<Run>, HostError> {
        let _kept_open = self.inner.reopen(session.workspace_id()).await?;
        session.go_on(record, goes_on, key).await
    }
}
