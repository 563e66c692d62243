//! Shares the processors among the guests that compute. A guest is polled only while it has one of
//! as many places as there are processors; who is next, [`RunQueue`] decides. A guest that is
//! behind the others does not wait for their slices: one of them is made to yield at its next epoch
//! check.

use super::run_queue::{Place, Ready, RunQueue};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use wasmtime::EngineWeak;

/// Returns the number of guests that compute at the same time: that of the processors this process
/// may use.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What guests that belong together, those of a workspace, say, had of the processors: one that
/// ends and begins again does not come before those that were computing all the while.
#[derive(Debug, Default)]
pub struct Share(AtomicU64);

/// The guests of one engine, and their order.
pub(super) struct Scheduler {
    queue: Mutex<RunQueue<Arc<Turn>>>,
    began: Instant,
    engine: EngineWeak,
}

/// What a guest's future and its epoch callback know of each other.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The place of the guest that computes.
    place: Mutex<Option<Place>>,
    /// Set if the guest has to yield to another one.
    interrupted: AtomicBool,
    /// Set by the epoch callback if the guest yields its thread and keeps its processor.
    keeps: AtomicBool,
    /// Set with a wake if the guest waited and has a processor now.
    granted: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// What a guest does at an epoch check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtCheck {
    Continue,
    /// It yields its thread to other tasks; and its processor, if another guest is due.
    Yield,
}

impl Scheduler {
    pub(super) fn new(processors: usize, engine: EngineWeak) -> Self {
        Self {
            queue: Mutex::new(RunQueue::new(processors)),
            began: Instant::now(),
            engine,
        }
    }

    /// Decides at an epoch check of a guest that computes. `tick` says whether its slice is over.
    pub(super) fn check(&self, turn: &Turn, tick: bool) -> AtCheck {
        let interrupted = turn.interrupted.swap(false, Ordering::AcqRel);
        if !interrupted && !tick {
            return AtCheck::Continue;
        }

        let place = *lock(&turn.place);
        let is_due = place.is_some_and(|place| self.lock().is_due(place, self.now()));
        if is_due {
            return AtCheck::Yield;
        }
        if tick {
            turn.keeps.store(true, Ordering::Release);
            return AtCheck::Yield;
        }
        AtCheck::Continue
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, RunQueue<Arc<Turn>>> {
        lock(&self.queue)
    }

    /// Takes a guest out, and lets the next one compute. Returns the guest's virtual time.
    fn stop(&self, place: Place) -> u64 {
        let (virtual_time, next) = self.lock().stop(place, self.now());
        if let Some(next) = next {
            // Under the lock of the waker: the guest sees either that it may compute, or the wake.
            let waker = lock(&next.waker);
            next.granted.store(true, Ordering::Release);
            if let Some(waker) = waker.as_ref() {
                waker.wake_by_ref();
            }
        }
        virtual_time
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guest's call, polled only while the guest has a processor.
pub(super) struct Scheduled<'a, F> {
    pub(super) future: F,
    pub(super) scheduler: &'a Scheduler,
    pub(super) share: &'a Share,
    pub(super) turn: Arc<Turn>,
    /// The time in which the future was polled.
    pub(super) busy: &'a mut Duration,
    state: State,
    virtual_time: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// It has not begun, or waits for a host call.
    Idle,
    /// It is ready, and waits for a processor.
    Waits(Place),
    Runs(Place),
}

impl<'a, F> Scheduled<'a, F> {
    pub(super) fn new(
        future: F,
        scheduler: &'a Scheduler,
        share: &'a Share,
        turn: Arc<Turn>,
        busy: &'a mut Duration,
    ) -> Self {
        Self {
            future,
            scheduler,
            share,
            turn,
            busy,
            state: State::Idle,
            virtual_time: share.0.load(Ordering::Relaxed),
        }
    }

    /// Whether the guest has a processor. If it has none, its waker is called once it has.
    fn has_processor(&mut self, context: &Context<'_>) -> bool {
        match self.state {
            State::Runs(_) => true,
            State::Waits(place) => {
                let mut waker = lock(&self.turn.waker);
                if self.turn.granted.swap(false, Ordering::AcqRel) {
                    drop(waker);
                    self.runs(place);
                    return true;
                }
                *waker = Some(context.waker().clone());
                false
            }
            State::Idle => self.begin(context),
        }
    }

    fn begin(&mut self, context: &Context<'_>) -> bool {
        *lock(&self.turn.waker) = Some(context.waker().clone());
        let scheduler = self.scheduler;
        let now = scheduler.now();
        let turn = Arc::clone(&self.turn);
        let ready = scheduler.lock().ready(self.virtual_time, now, turn);
        match ready {
            Ready::Runs(place) => {
                self.runs(place);
                true
            }
            Ready::Waits { place, interrupt } => {
                self.state = State::Waits(place);
                if let Some(other) = interrupt
                    && let Some(engine) = scheduler.engine.upgrade()
                {
                    other.interrupted.store(true, Ordering::Release);
                    engine.increment_epoch();
                }
                false
            }
        }
    }

    fn runs(&mut self, place: Place) {
        *lock(&self.turn.place) = Some(place);
        self.state = State::Runs(place);
    }

    fn stop(&mut self) {
        if let State::Waits(place) | State::Runs(place) = self.state {
            self.state = State::Idle;
            self.virtual_time = self.scheduler.stop(place);
        }
    }
}

impl<F: Future + Unpin> Future for Scheduled<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this.has_processor(context) {
            return Poll::Pending;
        }

        let began = Instant::now();
        let polled = Pin::new(&mut this.future).poll(context);
        *this.busy += began.elapsed();

        if !this.turn.keeps.swap(false, Ordering::AcqRel) {
            this.stop();
        }
        polled
    }
}

impl<F> Drop for Scheduled<'_, F> {
    fn drop(&mut self) {
        self.stop();
        self.share.0.fetch_max(self.virtual_time, Ordering::Relaxed);
    }
}
