//! Wakes whoever reads the log once more of it is committed. Carries numbers only: the log
//! itself is what is read.
//!
//! Who follows one session watches its last number. Who follows a workspace, or all of them,
//! is told which sessions grew and up to which position everything is told, so that it reads
//! exactly what is new, in order, without an index by workspace.

use super::tx::Grown;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Sessions that one follower is told of at the most before it looks for itself.
const SESSIONS_MAX: usize = 256;

/// The followers of sessions, of workspaces and of everything.
#[derive(Default)]
pub(super) struct Notify {
    followed: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    sessions: HashMap<i64, watch::Sender<i64>>,
    workspaces: HashMap<i64, Vec<Arc<News>>>,
    all: Vec<Arc<News>>,
    closed: bool,
}

/// What one follower of a workspace, or of all, has not read yet.
#[derive(Default)]
pub(super) struct News {
    told: Mutex<Told>,
    arrived: tokio::sync::Notify,
}

#[derive(Default)]
struct Told {
    fresh: Fresh,
    closed: bool,
}

/// What is new since it was last asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The first new number of each session that grew.
    pub(super) sessions: HashMap<i64, i64>,
    /// Everything up to this position is committed, and was told.
    pub(super) through: i64,
    /// More sessions grew than are told one by one: all must be looked at.
    many: bool,
}

impl Fresh {
    /// Whether more sessions grew than are told one by one: all must be looked at.
    #[must_use]
    pub fn is_many(&self) -> bool {
        self.many
    }

    fn add(&mut self, grown: &Grown) {
        if self.many {
            return;
        }
        let first = self.sessions.entry(grown.session).or_insert(i64::MAX);
        *first = (*first).min(grown.first);
        if self.sessions.len() > SESSIONS_MAX {
            self.sessions.clear();
            self.many = true;
        }
    }
}

impl News {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of everything that one commit brought, at once: whoever takes it may not be told
    /// that it has everything up to `through` before it has.
    fn tell<'g>(&self, touched: impl Iterator<Item = &'g Grown>, through: i64) {
        let mut told = self.lock();
        told.fresh.through = through;
        for grown in touched {
            told.fresh.add(grown);
        }
        drop(told);
        self.arrived.notify_one();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }
}

/// A follower's own end. Dropping it ends the following.
pub struct Following {
    news: Arc<News>,
}

impl Following {
    /// Takes what is new, at once; `None` if nothing is.
    pub fn take(&self) -> Option<Fresh> {
        let mut told = self.news.lock();
        let fresh = std::mem::take(&mut told.fresh);
        (fresh.through > 0).then_some(fresh)
    }

    /// Waits until something is new; `false` once nothing will be any more.
    pub async fn arrived(&self) -> bool {
        loop {
            let arrived = self.news.arrived.notified();
            {
                let told = self.news.lock();
                if told.fresh.through > 0 {
                    return true;
                }
                if told.closed {
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
    pub(super) fn follow(&self, session: i64) -> watch::Receiver<i64> {
        let mut followed = self.lock();
        if followed.closed {
            return watch::channel(0).1;
        }
        // Those whom nobody follows any more go when somebody else comes.
        let sessions = &mut followed.sessions;
        sessions.retain(|_, sender| sender.receiver_count() > 0);
        sessions
            .entry(session)
            .or_insert_with(|| watch::channel(0).0)
            .subscribe()
    }

    /// Follows a workspace, or all of them; as [`Notify::follow`].
    pub(super) fn follow_all_of(&self, workspace: Option<i64>) -> Following {
        let news = Arc::new(News::default());
        let mut followed = self.lock();
        if followed.closed {
            news.close();
            return Following { news };
        }
        followed.forget_dropped();
        match workspace {
            Some(no) => followed.workspaces.entry(no).or_default(),
            None => &mut followed.all,
        }
        .push(Arc::clone(&news));
        Following { news }
    }

    /// To be called after COMMIT, with what each session grew by and the highest position
    /// given so far.
    pub(super) fn publish(&self, touched: &[Grown], through: i64) {
        let followed = self.lock();
        if !followed.sessions.is_empty() {
            for grown in touched {
                if let Some(sender) = followed.sessions.get(&grown.session) {
                    sender.send_replace(grown.last);
                }
            }
        }
        if touched.is_empty() {
            return;
        }
        for news in &followed.all {
            news.tell(touched.iter(), through);
        }
        if followed.workspaces.is_empty() {
            return;
        }
        let workspaces: HashSet<i64> = touched.iter().map(|grown| grown.workspace).collect();
        for no in workspaces {
            let own = touched.iter().filter(|grown| grown.workspace == no);
            for news in followed.workspaces.get(&no).into_iter().flatten() {
                news.tell(own.clone(), through);
            }
        }
    }

    /// Nothing more will be committed: whoever follows reads what there is, and ends.
    pub(super) fn close(&self) {
        let mut followed = self.lock();
        followed.closed = true;
        followed.sessions.clear();
        for news in followed.workspaces.values().flatten().chain(&followed.all) {
            news.close();
        }
        followed.workspaces.clear();
        followed.all.clear();
    }
}

impl Followed {
    /// Forgets those who do not follow any more.
    fn forget_dropped(&mut self) {
        let alive = |news: &Arc<News>| Arc::strong_count(news) > 1;
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

    fn commit(number: i64) -> Vec<Grown> {
        let grown = |session| Grown {
            session,
            workspace: session % 2,
            first: number,
            last: number,
        };
        (1..=SESSIONS).map(grown).collect()
    }

    /// A follower that never waits takes whole commits: what it is told to have read through
    /// holds every session that grew until then.
    #[test]
    fn a_commit_is_told_whole() {
        for (workspace, sessions) in [(None, SESSIONS), (Some(1), SESSIONS / 2)] {
            let notify = Notify::default();
            let following = notify.follow_all_of(workspace);
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
                    notify.publish(&commit(number), number);
                }
                over.store(true, Ordering::Release);
                assert_eq!(follower.join().unwrap(), (COMMITS, Vec::new()));
            });
        }
    }
}
