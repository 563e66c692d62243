//! Stops a guest wherever it is: a flag that its epoch callback reads, a token that ends its host
//! calls, and a thread that bumps the engine's epoch until the guest is gone.
//!
//! A bump concerns the whole engine and kills nothing by itself: it makes every guest check its own
//! flag.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmtime::EngineWeak;

/// How often a guest that computes yields its thread.
const TICK: Duration = Duration::from_millis(5);
/// How often the epoch is bumped while a stopped guest is still running.
const REPEAT: Duration = Duration::from_micros(100);

/// One guest's stop switch.
#[derive(Debug, Default)]
pub struct Interrupt {
    stopping: AtomicBool,
    /// Whether there is a guest that has to be bumped.
    guest: AtomicBool,
    /// Ends the future of the call, and with it the host call that the guest waits in.
    token: CancellationToken,
}

impl Interrupt {
    /// Creates a switch that is not thrown.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        fence(Ordering::Acquire);
        self.stopping.load(Ordering::Acquire)
    }

    /// Completes once the guest has to stop.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Marks the guest as present until the returned guard is dropped. The caller checks
    /// [`Interrupt::stopped`] before the guest does anything: a stop that came earlier is followed
    /// by no bump.
    pub(super) fn enter(self: &Arc<Self>) -> GuestGuard {
        self.guest.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        GuestGuard(Arc::clone(self))
    }

    fn has_guest(&self) -> bool {
        self.guest.load(Ordering::SeqCst)
    }
}

/// Marks the guest as gone when it is dropped, also with the future that holds it.
pub(super) struct GuestGuard(Arc<Interrupt>);

impl Drop for GuestGuard {
    fn drop(&mut self) {
        self.0.guest.store(false, Ordering::SeqCst);
    }
}

/// The engine's only thread. It bumps the epoch while a guest has to stop, ticks for fairness while
/// any guest is live, and sleeps otherwise.
pub(super) struct Interrupter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engine: EngineWeak,
    live: AtomicUsize,
    inner: Mutex<Inner>,
    woken: Condvar,
}

#[derive(Default)]
struct Inner {
    stopping: Vec<Arc<Interrupt>>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the ticks going until it is dropped.
pub(super) struct LiveGuard(Arc<Shared>);

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Interrupter {
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            engine,
            live: AtomicUsize::new(0),
            inner: Mutex::default(),
            woken: Condvar::new(),
        });
        let body = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("lastword-epoch".to_owned())
            .spawn(move || bump_epochs(&body))?;

        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Keeps the ticks going until the returned guard is dropped.
    pub(super) fn live(&self) -> LiveGuard {
        if self.shared.live.fetch_add(1, Ordering::AcqRel) == 0 {
            // Under the lock, so that the thread is either before its check or asleep.
            drop(self.shared.lock());
            self.shared.woken.notify_one();
        }
        LiveGuard(Arc::clone(&self.shared))
    }

    /// Stops a guest, wherever it is. Returns at once; the guest ends within microseconds to
    /// milliseconds. A guest that has not started yet will not start.
    pub(super) fn stop(&self, interrupt: &Arc<Interrupt>) {
        interrupt.stopping.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        interrupt.token.cancel();
        fence(Ordering::SeqCst);

        if !interrupt.has_guest() {
            return;
        }

        if let Some(engine) = self.shared.engine.upgrade() {
            engine.increment_epoch();
        }

        self.shared.lock().stopping.push(Arc::clone(interrupt));
        self.shared.woken.notify_one();
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

fn bump_epochs(shared: &Shared) {
    let mut ticked = Instant::now();
    let mut inner = shared.lock();
    while !inner.closed {
        inner.stopping.retain(|interrupt| interrupt.has_guest());
        let stopping = !inner.stopping.is_empty();
        let live = shared.live.load(Ordering::Acquire) > 0;

        if !stopping && !live {
            inner = shared
                .woken
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }

        let wait = if stopping { REPEAT } else { TICK };
        inner = shared
            .woken
            .wait_timeout(inner, wait)
            .unwrap_or_else(PoisonError::into_inner)
            .0;

        let tick = ticked.elapsed() >= TICK;
        if tick {
            ticked = Instant::now();
        }

        if tick || !inner.stopping.is_empty() {
            let Some(engine) = shared.engine.upgrade() else {
                return;
            };
            engine.increment_epoch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Config, Engine};

    fn interrupter() -> (Engine, Interrupter) {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).expect("an engine");
        let interrupter = Interrupter::start(engine.weak()).expect("a thread");
        (engine, interrupter)
    }

    fn stopping(interrupter: &Interrupter) -> usize {
        interrupter.shared.lock().stopping.len()
    }

    #[test]
    fn only_a_live_guest_is_bumped() {
        let (_engine, interrupter) = interrupter();
        let queued = Interrupt::new();
        interrupter.stop(&queued);
        assert!(queued.is_stopping());
        assert_eq!(stopping(&interrupter), 0, "it never had a guest");

        let ended = Interrupt::new();
        drop(ended.enter());
        interrupter.stop(&ended);
        assert_eq!(stopping(&interrupter), 0, "its guest was gone before");

        let running = Interrupt::new();
        let guest = running.enter();
        interrupter.stop(&running);
        assert_eq!(stopping(&interrupter), 1, "its guest is still there");
        drop(guest);

        // The thread removes it at its next round.
        while stopping(&interrupter) > 0 {
            std::thread::yield_now();
        }
    }
}
