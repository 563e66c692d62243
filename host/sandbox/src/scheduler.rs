//! Shares the processors among the guests that compute. A guest is polled only while it has one of
//! as many places as there are processors; who is next, [`RunQueue`] decides. A guest that is
//! behind the others does not wait for their slices: one of them is made to yield at its next epoch
//! check.
//!
//! The tasks of the guests' threads do not wait for slices either: a run that begins, a host call
//! that is done, a guest that was stopped while it waited. Where such a task becomes ready and all
//! processors compute, those that do yield their threads to it for a moment and keep their places.

use super::run_queue::{Place, Ready, RunQueue};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
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
    /// Set by the epoch callback if the guest yields its thread and keeps its processor.
    keeps: AtomicBool,
    /// Set by the epoch callback while the guest yields: its own wake is then no new work.
    yields: AtomicBool,
    /// Set with a wake if the guest waited and has a processor now.
    granted: AtomicBool,
    waker: Mutex<Option<Waker>>,
    scheduler: Weak<Scheduler>,
}

impl Turn {
    fn wake_task(&self) {
        if let Some(waker) = lock(&self.waker).as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// What a guest waits for is done.
impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_task();
        if !self.yields.load(Ordering::Acquire)
            && let Some(scheduler) = self.scheduler.upgrade()
        {
            scheduler.make_room();
        }
    }
}

impl Scheduler {
    pub(super) fn new(processors: usize, engine: EngineWeak) -> Self {
        Self {
            queue: Mutex::new(RunQueue::new(processors)),
            began: Instant::now(),
            engine,
        }
    }

    /// A turn of a guest of this scheduler.
    pub(super) fn turn(self: &Arc<Self>) -> Arc<Turn> {
        Arc::new(Turn {
            scheduler: Arc::downgrade(self),
            ..Turn::default()
        })
    }

    /// Notes that a guest which computes is at an epoch check, and yields its thread: its slice is
    /// over, another guest has to compute, or a task of these threads became ready. If another guest
    /// is due, it yields its processor as well.
    pub(super) fn yields(&self, turn: &Turn) {
        let place = *lock(&turn.place);
        let is_due = place.is_some_and(|place| self.is_due(place));
        turn.keeps.store(!is_due, Ordering::Release);
        turn.yields.store(true, Ordering::Release);
    }

    /// Has the guests that compute yield their threads for a moment, if they occupy all processors:
    /// a task of theirs became ready.
    pub(super) fn make_room(&self) {
        if self.lock().is_full() {
            self.raise_epoch();
        }
    }

    /// Brings the guests that compute to an epoch check.
    fn raise_epoch(&self) {
        if let Some(engine) = self.engine.upgrade() {
            engine.increment_epoch();
        }
    }

    /// Whether a guest that computes has to yield its processor to one that waits.
    fn is_due(&self, place: Place) -> bool {
        let now = self.now();
        self.lock().is_due(place, now)
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
            next.granted.store(true, Ordering::Release);
            next.wake_task();
        }
        virtual_time
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guest's call, polled only while the guest has a processor.
pub(super) struct Scheduled<'a, F> {
    future: F,
    scheduler: &'a Scheduler,
    share: &'a Share,
    turn: Arc<Turn>,
    /// The time in which the future was polled.
    busy: &'a mut Duration,
    /// The waker of the call, which is the turn.
    waker: Waker,
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
            waker: Arc::clone(&turn).into(),
            turn,
            busy,
            state: State::Idle,
            virtual_time: share.0.load(Ordering::Relaxed),
        }
    }

    /// Whether the guest has a processor. If it has none, the task is woken once it has.
    fn has_processor(&mut self) -> bool {
        match self.state {
            // The epoch may have been raised for another guest while this one had yielded its thread,
            // which it does not notice by itself.
            State::Runs(place) if self.scheduler.is_due(place) => {
                self.stop();
                self.begin()
            }
            State::Runs(_) => true,
            State::Waits(place) => {
                let granted = self.turn.granted.swap(false, Ordering::AcqRel);
                if granted {
                    self.runs(place);
                }
                granted
            }
            State::Idle => self.begin(),
        }
    }

    fn begin(&mut self) -> bool {
        let scheduler = self.scheduler;
        let now = scheduler.now();
        let turn = Arc::clone(&self.turn);
        let ready = scheduler.lock().ready(self.virtual_time, now, turn);
        match ready {
            Ready::Runs(place) => {
                self.runs(place);
                true
            }
            Ready::Waits {
                place,
                is_far_behind,
            } => {
                self.state = State::Waits(place);
                if is_far_behind {
                    scheduler.raise_epoch();
                }
                false
            }
        }
    }

    fn keep_waker(&self, waker: &Waker) {
        let mut kept = lock(&self.turn.waker);
        match &mut *kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
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
        // Before the guest is looked after: what it waits for may come at any time.
        this.keep_waker(context.waker());
        if !this.has_processor() {
            return Poll::Pending;
        }

        let began = Instant::now();
        this.turn.yields.store(false, Ordering::Release);
        let polled = Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker));
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use std::future::{Ready, ready};
    use std::sync::atomic::AtomicUsize;
    use wasmtime::{Config, Engine};

    fn scheduler() -> (Engine, Arc<Scheduler>) {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).expect("an engine");
        let scheduler = Arc::new(Scheduler::new(1, engine.weak()));
        (engine, scheduler)
    }

    /// Computes until a guest that arrives is behind this one.
    fn compute(scheduler: &Scheduler) {
        let until = scheduler.now() + 2_000_000;
        while scheduler.now() < until {
            std::hint::spin_loop();
        }
    }

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A guest that ends as soon as it is polled.
    fn short<'a>(
        scheduler: &'a Arc<Scheduler>,
        share: &'a Share,
        busy: &'a mut Duration,
    ) -> Scheduled<'a, Ready<()>> {
        Scheduled::new(ready(()), scheduler, share, scheduler.turn(), busy)
    }

    #[test]
    fn a_guest_that_arrives_interrupts_one_that_has_computed() {
        let (_engine, scheduler) = scheduler();
        let share = Share::default();
        let (mut first, mut second) = (Duration::ZERO, Duration::ZERO);
        let mut arriving = short(&scheduler, &share, &mut second);
        let woken = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&woken));

        let turn = scheduler.turn();
        let computing = Arc::clone(&turn);
        let hog = std::future::poll_fn(|_| {
            compute(&scheduler);
            let polled = Pin::new(&mut arriving).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending(), "the only processor is taken");
            scheduler.yields(&computing);
            Poll::<()>::Pending
        });
        let other = Share::default();
        let mut hog = Scheduled::new(hog, &scheduler, &other, turn, &mut first);
        let context = &mut Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut hog).poll(context).is_pending());
        drop(hog);

        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "it has the processor");
        assert!(Pin::new(&mut arriving).poll(context).is_ready());
        assert!(!scheduler.lock().is_full());
    }

    #[test]
    fn a_guest_that_had_yielded_its_thread_gives_way_when_it_goes_on() {
        let (_engine, scheduler) = scheduler();
        let share = Share::default();
        let (mut first, mut second) = (Duration::ZERO, Duration::ZERO);
        let turn = scheduler.turn();
        let computing = Arc::clone(&turn);
        let mut polls = 0;
        let hog = std::future::poll_fn(|_| {
            polls += 1;
            compute(&scheduler);
            scheduler.yields(&computing);
            Poll::<()>::Pending
        });
        let mut hog = Scheduled::new(hog, &scheduler, &share, turn, &mut first);
        let context = &mut Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut hog).poll(context).is_pending());

        // It arrives while the other one has yielded its thread, and sees no epoch.
        let other = Share::default();
        let mut arriving = short(&scheduler, &other, &mut second);
        assert!(Pin::new(&mut arriving).poll(context).is_pending());
        assert!(Pin::new(&mut hog).poll(context).is_pending());
        assert!(Pin::new(&mut arriving).poll(context).is_ready());
        drop(hog);
        assert_eq!(polls, 1, "it gave way before it computed again");
    }

    #[test]
    fn a_task_that_becomes_ready_has_the_thread_and_not_the_processor() {
        let (_engine, scheduler) = scheduler();
        let share = Share::default();
        let mut busy = Duration::ZERO;
        let turn = scheduler.turn();
        let computing = Arc::clone(&turn);
        let hog = std::future::poll_fn(|_| {
            compute(&scheduler);
            scheduler.make_room();
            scheduler.yields(&computing);
            Poll::<()>::Pending
        });
        let mut hog = Scheduled::new(hog, &scheduler, &share, turn, &mut busy);
        let context = &mut Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut hog).poll(context).is_pending());
        assert!(scheduler.lock().is_full(), "it keeps its processor");
        drop(hog);
        assert!(!scheduler.lock().is_full(), "its drop gives it back");
    }
}
