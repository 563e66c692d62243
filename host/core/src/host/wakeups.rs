//! Continues sessions whose last run ended waiting for a time, and cancels such waits. The waits
//! are on disk; one task per host sleeps until the next one is due.

use super::{Host, HostError, HostInner, Session};
use crate::run::{Cause, Receipt, Run, RunOutcome};
use lastword_store::{Continuation, Due, Key, PromptRecord, ShiftWakes, StoreError, Waits};
use lastword_types::clock::{Clock, UnixMillis};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How long after a failed attempt to continue a session it is tried again, unless an agent is
/// loaded before.
const RETRY: Duration = Duration::from_secs(60);
/// The smallest change of the wall clock, in milliseconds, that counts as the clock being set.
const STEP_MIN: u64 = 1000;
/// The longest time between reading two clocks for which they are compared.
const READ_APART_MAX: Duration = Duration::from_millis(STEP_MIN / 2);

impl HostInner {
    /// Cancels waits of sessions with a cause, so that no time or answer continues them. Returns
    /// the ends of the runs that the waits would have started.
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

    /// Wakes sessions for as long as the host exists.
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
                    // The clock was set before the sleep could notice it.
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

/// Returns by how many milliseconds the wall clock is ahead of the monotonic clock; `None` if too
/// much time passed between reading the two.
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
    /// If the wall clock was set back, moves the times that sessions wait for back by as much:
    /// the sessions asked for a duration, and would otherwise wait longer. A clock that was set
    /// forwards cannot be distinguished from a machine that was asleep, so nothing changes then.
    ///
    /// Returns by how much the wall clock is ahead of the monotonic clock.
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

/// When to check again for due sessions.
struct Next {
    /// The next time that a session waits for, by the wall clock.
    due: Option<UnixMillis>,
    /// Whether a session could not be continued.
    again: bool,
}

impl Host {
    /// Returns how long until the next session that waits for a time is due; zero for one whose
    /// time came in the last minute. No other host continues it while this one is open. `None` if
    /// no session waits, or only sessions that could not be continued.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn next_wake(&self) -> Result<Option<Duration>, HostError> {
        let now = self.inner.dispatcher.clock.now().0;
        let retry = u64::try_from(RETRY.as_millis()).unwrap_or(u64::MAX);
        let after = UnixMillis(now.saturating_sub(retry));
        let next = self.inner.store.next_due(after).await?;
        Ok(next.map(|at| Duration::from_millis(at.0.saturating_sub(now))))
    }

    /// Continues every session whose time has come. The host does this by itself unless
    /// [`HostBuilder::wakes`](super::HostBuilder::wakes) turns that off. Returns the next time
    /// that a session waits for, if any. A session that cannot be continued keeps waiting, and
    /// the reason is logged.
    ///
    /// Dropping the future leaves each session waiting or continued; call this again for the rest.
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

    /// Continues every session whose time came by then, page by page. A session that cannot be
    /// continued does not delay the others. Returns whether all were continued.
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
            // This is tried again once it is closed; waiting here would delay the other sessions.
            return Err(HostError::WorkspaceClosing(session.workspace));
        }

        let goes_on = Continuation {
            run: due.run,
            answer: None,
        };

        // Nothing is left to do for a session that was answered in the meantime.
        self.go_on_reopened(&session, due.prompt, goes_on, None)
            .await
            .map(drop)
    }

    /// Continues a session whose workspace may be closed: the workspace is opened with its last
    /// options, until its runs are over. Returns `None` if another caller has already continued it.
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
