//! Bounds the number of connections, and selects which one to close when another needs its place.
//! `connection.rs` does the closing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long to wait for a place before selecting another connection to close.
const LOOK: Duration = Duration::from_millis(100);

/// The places of one server.
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Mutex<HashMap<u64, Arc<Standing>>>,
    next: AtomicU64,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max.max(1))),
            taken: Mutex::default(),
            next: AtomicU64::default(),
        })
    }

    /// Waits for a place. If none is free, closes an idle connection. Dropping the future takes no
    /// place.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return Place::new(self, permit);
            }
            self.let_go();
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK, free).await {
                return Place::new(self, permit);
            }
        }
    }

    /// Tells the longest idle connection to close, those on which no request was let in first.
    /// A connection in use keeps its place.
    pub(super) fn let_go(&self) {
        let taken = self.taken();
        let idle = taken.values().filter_map(|standing| {
            let (known, since) = standing.idle()?;
            (!standing.leave.is_cancelled()).then_some(((known, since), standing))
        });
        if let Some((_, standing)) = idle.min_by_key(|(order, _)| *order) {
            standing.leave.cancel();
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, Arc<Standing>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, which is free again once this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(super) standing: Arc<Standing>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(places: &Arc<Places>, permit: OwnedSemaphorePermit) -> Self {
        let number = places.next.fetch_add(1, Ordering::Relaxed);
        let standing = Standing::new();
        places.taken().insert(number, Arc::clone(&standing));
        Self {
            places: Arc::clone(places),
            number,
            standing,
            _permit: permit,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(&self.number);
    }
}

/// Whether a connection is in use, and whether its client is known.
pub(super) struct Standing {
    state: Mutex<State>,
    /// Cancelled when the connection has to make room for another one.
    pub(super) leave: CancellationToken,
}

struct State {
    /// Whether a request on it was let in.
    known: bool,
    /// Requests under way that were not refused.
    requests: u32,
    /// When `requests` changed last.
    since: Instant,
}

impl Standing {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                known: false,
                requests: 0,
                since: Instant::now(),
            }),
            leave: CancellationToken::new(),
        })
    }

    /// Returns whether a request was let in, and since when none is under way; `None` while one is.
    pub(super) fn idle(&self) -> Option<(bool, Instant)> {
        let state = self.state();
        (state.requests == 0).then_some((state.known, state.since))
    }

    /// Counts a request as under way.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Underway> {
        let mut state = self.state();
        state.requests += 1;
        state.since = Instant::now();
        drop(state);
        Arc::new(Underway {
            standing: Arc::clone(self),
            counts: AtomicBool::new(true),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Its connection is in use until the last byte of the response is passed on.
pub(crate) struct Underway {
    standing: Arc<Standing>,
    counts: AtomicBool,
}

impl Underway {
    /// Stops counting the request, since it was refused or needs no token: it does not keep its
    /// connection open.
    pub(crate) fn anonymous(&self) {
        self.end();
    }

    /// Marks the client as known when a response begins, if the request still counts: it was let
    /// in.
    pub(super) fn answered(&self) {
        if self.counts.load(Ordering::Acquire) {
            self.standing.state().known = true;
        }
    }

    fn end(&self) {
        if self.counts.swap(false, Ordering::AcqRel) {
            let mut state = self.standing.state();
            state.requests -= 1;
            state.since = Instant::now();
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the clock shows another time.
    fn moment() {
        let now = Instant::now();
        while Instant::now() == now {}
    }

    /// Returns the order in which these connections are closed, as places are needed one by one.
    fn order(places: &Arc<Places>, taken: &[&Place]) -> Vec<usize> {
        let mut order = Vec::new();
        for _ in taken {
            places.let_go();
            let left = taken
                .iter()
                .map(|place| place.standing.leave.is_cancelled());
            let next = left
                .enumerate()
                .find(|(at, left)| *left && !order.contains(at));
            order.extend(next.map(|(at, _)| at));
        }
        order
    }

    #[tokio::test]
    async fn strangers_leave_first_and_what_is_in_use_stays() {
        let places = Places::new(5);
        let mut taken = Vec::new();
        for _ in 0..5 {
            taken.push(places.take().await);
            moment();
        }
        let [idle, stream, refused, silent, used] = [0, 1, 2, 3, 4];
        for at in [idle, used] {
            taken[at].standing.begin().answered();
        }
        let stream_request = taken[stream].standing.begin();
        stream_request.answered();
        moment();
        let refused_request = taken[refused].standing.begin();
        refused_request.anonymous();
        refused_request.answered();
        moment();
        drop(taken[used].standing.begin());
        let all: Vec<_> = taken.iter().collect();
        assert_eq!(order(&places, &all), [silent, refused, idle, used]);
        assert!(!taken[stream].standing.leave.is_cancelled());
        drop((stream_request, refused_request));
        assert!(
            taken[stream]
                .standing
                .idle()
                .is_some_and(|(known, _)| known)
        );
    }

    #[tokio::test]
    async fn a_place_is_free_again_once_its_connection_is_gone() {
        let places = Places::new(1);
        let first = places.take().await;
        let request = first.standing.begin();
        let mut second = Box::pin(places.take());
        let early = futures_util::future::poll_immediate(second.as_mut()).await;
        assert!(early.is_none());
        assert!(!first.standing.leave.is_cancelled(), "it is in use");
        drop(request);
        tokio::select! {
            _ = second.as_mut() => panic!("its connection is there"),
            () = first.standing.leave.cancelled() => {}
        }
        drop(first);
        second.await;
    }
}
