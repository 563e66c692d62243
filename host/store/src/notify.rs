//! Wakes the readers of logs once more events are committed. It carries ids and numbers only; a
//! reader reads the events themselves through `queries`.
//!
//! A follower of one session watches its last number. A follower of a workspace, or of all, gets
//! the sessions that grew and the position up to which this is complete. So it reads exactly the
//! new events, in order, without an index by workspace.

use lastword_types::id::{SessionId, WorkspaceId};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The numbers that one session's log grew by in a batch. A session may come more than once, and
/// an undone part may have left numbers that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The session.
    pub session: SessionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The first number given; `i64::MAX` where none was, and followers are woken all the same.
    pub first: i64,
    /// The last number given.
    pub last: i64,
}

/// The most sessions that a [`ChangeSet`] names before its follower must look at all.
const SESSIONS_MAX: usize = 256;

/// The followers of sessions, of workspaces and of everything.
#[derive(Default)]
pub(super) struct Notify {
    followed: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    sessions: HashMap<SessionId, watch::Sender<i64>>,
    workspaces: HashMap<WorkspaceId, Vec<Arc<Subscription>>>,
    all: Vec<Arc<Subscription>>,
    closed: bool,
}

/// What one follower of a workspace, or of all, has not read yet.
#[derive(Default)]
pub(super) struct Subscription {
    pending: Mutex<Pending>,
    arrived: tokio::sync::Notify,
}

#[derive(Default)]
struct Pending {
    changes: ChangeSet,
    closed: bool,
}

/// What is new since the last [`Following::take`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// The first new number of each session that grew.
    pub(super) sessions: HashMap<SessionId, i64>,
    /// Everything up to this position is committed, and is named here or was before.
    pub(super) through: u64,
    /// Whether more sessions grew than are listed here, so that all must be looked at.
    many: bool,
}

impl ChangeSet {
    /// Whether more sessions grew than are listed here, so that all must be looked at.
    #[must_use]
    pub fn is_many(&self) -> bool {
        self.many
    }

    fn add(&mut self, range: &LogRange) {
        if self.many {
            return;
        }
        let first = self.sessions.entry(range.session).or_insert(i64::MAX);
        *first = (*first).min(range.first);
        if self.sessions.len() > SESSIONS_MAX {
            self.sessions.clear();
            self.many = true;
        }
    }
}

impl Subscription {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds everything that one commit brought in one step, so that a follower that reads
    /// `through` has all changes up to it.
    fn tell<'g>(&self, touched: impl Iterator<Item = &'g LogRange>, through: u64) {
        let mut pending = self.lock();
        pending.changes.through = through;
        for range in touched {
            pending.changes.add(range);
        }
        drop(pending);
        self.arrived.notify_one();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

/// A follower's subscription. Dropping it ends the subscription.
pub struct Following {
    subscription: Arc<Subscription>,
}

impl Following {
    /// Takes what is new, without waiting; `None` if nothing is.
    pub fn take(&self) -> Option<ChangeSet> {
        let mut pending = self.subscription.lock();
        let changes = std::mem::take(&mut pending.changes);
        (changes.through > 0).then_some(changes)
    }

    /// Waits until something is new. Returns `false` once the store is closed and nothing new will
    /// come.
    pub async fn arrived(&self) -> bool {
        loop {
            let arrived = self.subscription.arrived.notified();
            {
                let pending = self.subscription.lock();
                if pending.changes.through > 0 {
                    return true;
                }
                if pending.closed {
                    return false;
                }
            }
            arrived.await;
        }
    }
}

impl Notify {
    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a session. To be called before the first read, so that nothing committed in
    /// between is missed.
    pub(super) fn follow(&self, session: SessionId) -> watch::Receiver<i64> {
        let mut followed = self.lock();
        if followed.closed {
            return watch::channel(0).1;
        }
        // Sessions without followers are dropped whenever a new follower comes.
        let sessions = &mut followed.sessions;
        sessions.retain(|_, sender| sender.receiver_count() > 0);
        sessions
            .entry(session)
            .or_insert_with(|| watch::channel(0).0)
            .subscribe()
    }

    /// Follows a workspace, or all of them; as [`Notify::follow`].
    pub(super) fn follow_all_of(&self, workspace: Option<WorkspaceId>) -> Following {
        let subscription = Arc::new(Subscription::default());
        let mut followed = self.lock();
        if followed.closed {
            subscription.close();
            return Following { subscription };
        }
        followed.forget_dropped();
        match workspace {
            Some(no) => followed.workspaces.entry(no).or_default(),
            None => &mut followed.all,
        }
        .push(Arc::clone(&subscription));
        Following { subscription }
    }

    /// Wakes the followers. Call it after COMMIT, with the new numbers of each session and the
    /// highest position given so far.
    pub(super) fn publish(&self, touched: &[LogRange], through: u64) {
        let followed = self.lock();
        if !followed.sessions.is_empty() {
            for range in touched {
                if let Some(sender) = followed.sessions.get(&range.session) {
                    sender.send_replace(range.last);
                }
            }
        }
        if touched.is_empty() {
            return;
        }
        for subscription in &followed.all {
            subscription.tell(touched.iter(), through);
        }
        if followed.workspaces.is_empty() {
            return;
        }
        let workspaces: HashSet<WorkspaceId> =
            touched.iter().map(|range| range.workspace).collect();
        for no in workspaces {
            let own = touched.iter().filter(|range| range.workspace == no);
            for subscription in followed.workspaces.get(&no).into_iter().flatten() {
                subscription.tell(own.clone(), through);
            }
        }
    }

    /// Ends all subscriptions, since nothing more will be committed: a follower reads what is
    /// left, and ends.
    pub(super) fn close(&self) {
        let mut followed = self.lock();
        followed.closed = true;
        followed.sessions.clear();
        for subscription in followed.workspaces.values().flatten().chain(&followed.all) {
            subscription.close();
        }
        followed.workspaces.clear();
        followed.all.clear();
    }
}

impl Followed {
    /// Removes the subscriptions whose followers were dropped.
    fn forget_dropped(&mut self) {
        let alive = |subscription: &Arc<Subscription>| Arc::strong_count(subscription) > 1;
        self.all.retain(alive);
        self.workspaces.retain(|_, of_one| {
            of_one.retain(alive);
            !of_one.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    const SESSIONS: i64 = 16;
    const COMMITS: i64 = 2_000;

    fn workspace(number: i64) -> WorkspaceId {
        WorkspaceId::from_bytes(i128::from(number).to_be_bytes())
    }

    fn commit(number: i64) -> Vec<LogRange> {
        let range = |session: i64| LogRange {
            session: SessionId::from_bytes(i128::from(session).to_be_bytes()),
            workspace: workspace(session % 2),
            first: number,
            last: number,
        };
        (1..=SESSIONS).map(range).collect()
    }

    /// A follower that never waits takes whole commits: what it is told to have read through
    /// holds every session that grew until then.
    #[test]
    fn a_commit_is_told_whole() {
        for (of, sessions) in [(None, SESSIONS), (Some(workspace(1)), SESSIONS / 2)] {
            let notify = Notify::default();
            let following = notify.follow_all_of(of);
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let follower = scope.spawn(|| {
                    let (mut through, mut halves) = (0, Vec::new());
                    loop {
                        let last = over.load(Ordering::Acquire);
                        if let Some(fresh) = following.take() {
                            through = fresh.through;
                            if fresh.sessions.len() as i64 != sessions {
                                halves.push(fresh);
                            }
                        } else if last {
                            return (through, halves);
                        }
                    }
                });
                for number in 1..=COMMITS {
                    notify.publish(&commit(number), number as u64);
                }
                over.store(true, Ordering::Release);
                assert_eq!(follower.join().unwrap(), (COMMITS as u64, Vec::new()));
            });
        }
    }
}
