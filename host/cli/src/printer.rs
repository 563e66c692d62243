//! Standard output and error, each written by a thread of its own, so that a reader that stops
//! reading (a pager, Ctrl-S, a full pipe) delays neither signals nor a run's end. If both go to one
//! place they share a thread, which keeps their order.
//!
//! ```text
//! words ─▶ lane ─▶ thread ─▶ terminal, pipe, file
//!            └─ has room: less than ROOM bytes wait; without it, more words are not even read
//! ```

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::isatty;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout_at;

/// Bytes that may wait for a reader before producers pause.
const ROOM: usize = 256 << 10;
/// Bytes of log lines that may wait; further lines are dropped and counted.
const LOG_MAX: usize = 256 << 10;
/// The number of bytes of one write. Each write shows that the reader still reads.
const WRITE_MAX: usize = 16 << 10;
/// How long a reader may read nothing after a signal asked for the end.
const STALL: Duration = Duration::from_secs(1);
/// How long it may take to read the rest, even if it reads steadily.
const LEAVE: Duration = Duration::from_secs(10);

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    Out,
    Err,
}

/// Both streams of this process.
pub(crate) struct Printer {
    out: Arc<Lane>,
    err: Arc<Lane>,
    /// Whether a signal asked for the end.
    hurried: watch::Sender<bool>,
}

/// Returns the printer of this process.
pub(crate) fn printer() -> &'static Printer {
    static PRINTER: OnceLock<Printer> = OnceLock::new();
    PRINTER.get_or_init(Printer::new)
}

impl Printer {
    fn new() -> Self {
        let place = |file: &Option<OwnedFd>| {
            let stat = rustix::fs::fstat(file.as_ref()?).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };

        // `None` if it is closed.
        let out = io::stdout().as_fd().try_clone_to_owned().ok();
        let err = io::stderr().as_fd().try_clone_to_owned().ok();
        let (out, err) = if place(&out).is_some() && place(&out) == place(&err) {
            let both = Lane::start([out, err]);
            (Arc::clone(&both), both)
        } else {
            (Lane::start([out, None]), Lane::start([None, err]))
        };

        let (hurried, _) = watch::channel(false);
        Self { out, err, hurried }
    }

    pub(crate) fn out(&self) -> &Lane {
        &self.out
    }

    pub(crate) fn err(&self) -> &Lane {
        &self.err
    }

    /// Writes a line to standard error past what waits there, for a process that ends at once. Leaves
    /// it out if that is closed or takes nothing.
    pub(crate) fn at_once(&self, line: &str) {
        let Some(err) = &self.err.files[Descriptor::Err as usize] else {
            return;
        };

        let mut ready = [PollFd::new(err, PollFlags::OUT)];
        if poll(&mut ready, Some(&Timespec::default())) != Ok(1) {
            return;
        }

        // The terminal has shown the keys of the signal, and is in the middle of a line.
        let begins = if isatty(err) { "\n" } else { "" };
        let _unwritten = rustix::io::write(err, format!("{begins}{line}\n").as_bytes());
    }

    /// Records that a signal asked for the end: from now on the waits for readers are bounded.
    pub(crate) fn hurry(&self) {
        self.hurried.send_replace(true);
    }

    /// Whether a signal asked for the end.
    pub(crate) fn is_hurried(&self) -> bool {
        *self.hurried.borrow()
    }

    /// Waits until everything is written, or until a reader that reads nothing is given up after a
    /// signal, which is [`io::ErrorKind::TimedOut`]. Returns why standard output could not be
    /// written, unless that was reported before or its reader is gone.
    pub(crate) async fn finish(&self) -> Option<io::Error> {
        let told = self.out.state().abandoned;
        let mut in_time = true;
        for lane in [&self.out, &self.err] {
            let left_alone = async {
                let mut hurried = self.hurried.subscribe();
                drop(hurried.wait_for(|hurried| *hurried).await);
                lane.given_up(Instant::now()).await;
            };
            tokio::select! {
                biased;
                () = lane.empty() => {}
                () = left_alone => in_time &= !Arc::ptr_eq(lane, &self.out),
            }
        }

        if !in_time && !told {
            return Some(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing was taken there",
            ));
        }

        let failed = self.out.state().failure.take();
        failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }
}

/// The destination of one stream or of both, with the text that waits to be written there, in
/// order.
pub(crate) struct Lane {
    /// The files, by descriptor.
    files: [Option<OwnedFd>; 2],
    state: Mutex<State>,
    work: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Chunk>,
    /// Log lines that are held back while a person is asked.
    held: VecDeque<Vec<u8>>,
    holds: bool,
    /// Bytes of log lines in either.
    log_bytes: usize,
    log_lines_lost: u64,
    /// Whether the thread could not be started, so that text is written at once.
    threadless: bool,
    /// Whether each stream can no longer be written.
    closed: [bool; 2],
    /// Why standard output cannot be written, until the error is reported.
    failure: Option<io::Error>,
    /// Whether waiting for readers was given up.
    abandoned: bool,
}

/// Text that is written in one piece.
struct Chunk {
    to: Descriptor,
    bytes: Vec<u8>,
    is_log: bool,
}

impl Chunk {
    fn log(bytes: Vec<u8>) -> Self {
        Self {
            to: Descriptor::Err,
            bytes,
            is_log: true,
        }
    }
}

/// The progress of a lane.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The number of bytes that were ever submitted.
    given: u64,
    /// The number of these bytes that were written or dropped.
    taken: u64,
    /// When the reader last read something, or got something after a pause.
    moved_at: Instant,
    /// Whether standard output cannot be written.
    failed: bool,
}

impl Progress {
    fn waiting(&self) -> u64 {
        self.given - self.taken
    }
}

impl Lane {
    /// Creates a lane with its thread.
    fn start(files: [Option<OwnedFd>; 2]) -> Arc<Self> {
        let (progress, _) = watch::channel(Progress {
            given: 0,
            taken: 0,
            moved_at: Instant::now(),
            failed: false,
        });
        let lane = Arc::new(Self {
            files,
            state: Mutex::default(),
            work: Condvar::new(),
            progress,
        });
        let written = Arc::clone(&lane);
        let thread = std::thread::Builder::new().name("lastword-print".to_owned());
        // Ends with the process, which waits for no thread.
        let started = thread.spawn(move || written.write());
        lane.state().threadless = started.is_err();
        lane
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds text to be written, without a bound: producers of much text wait for [`Lane::room`]
    /// first.
    ///
    /// # Errors
    /// Why an earlier text could not be written.
    pub(crate) fn push(&self, to: Descriptor, text: &str) -> io::Result<()> {
        let mut state = self.state();
        if state.closed[to as usize] {
            return Err(match &state.failure {
                Some(error) => again(error),
                None => io::ErrorKind::BrokenPipe.into(),
            });
        }

        if state.threadless {
            return Ok(self.write_to(to, text.as_bytes())?);
        }

        let bytes = text.as_bytes().to_vec();
        let is_log = false;
        self.enqueue(&mut state, Chunk { to, bytes, is_log });
        Ok(())
    }

    /// Adds a log line for standard error, unless too many wait: logging never blocks a thread.
    pub(crate) fn log(&self, line: &[u8]) {
        let mut state = self.state();
        if state.log_bytes + line.len() > LOG_MAX {
            state.log_lines_lost += 1;
            return;
        }

        state.log_bytes += line.len();
        if state.holds {
            state.held.push_back(line.to_vec());
        } else {
            self.enqueue(&mut state, Chunk::log(line.to_vec()));
        }
    }

    /// Whether log lines are kept back.
    pub(crate) fn hold(&self, holds: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.holds, holds) && !holds {
            for line in std::mem::take(&mut state.held) {
                self.enqueue(&mut state, Chunk::log(line));
            }
        }
    }

    fn enqueue(&self, state: &mut State, chunk: Chunk) {
        self.progress.send_modify(|progress| {
            if progress.waiting() == 0 {
                progress.moved_at = Instant::now();
            }
            progress.given += chunk.bytes.len() as u64;
        });
        state.queue.push_back(chunk);
        self.work.notify_one();
    }

    /// Waits until little enough waits to be written. May be dropped.
    pub(crate) async fn room(&self) {
        self.until(|progress| progress.waiting() < ROOM as u64)
            .await;
    }

    /// Waits until nothing waits to be written. May be dropped.
    async fn empty(&self) {
        self.until(|progress| progress.waiting() == 0).await;
    }

    /// Waits until standard output cannot be written, and returns why, once. May be dropped.
    pub(crate) async fn failed(&self) -> io::Error {
        self.until(|progress| progress.failed).await;
        let failure = self.state().failure.take();
        match failure {
            Some(error) => error,
            None => pending().await,
        }
    }

    /// Waits until waiting for the reader is given up: it read nothing for [`STALL`], or not
    /// everything within [`LEAVE`], neither counted from before `from`. May be dropped.
    pub(crate) async fn given_up(&self, from: Instant) {
        if self.state().abandoned {
            return;
        }

        let mut progress = self.progress.subscribe();
        let stalled = async {
            loop {
                let now = *progress.borrow_and_update();
                let changed = progress.changed();
                if now.waiting() == 0 {
                    let _lives = changed.await;
                    continue;
                }
                let at = now.moved_at.max(from) + STALL;
                if timeout_at(at.into(), changed).await.is_err() {
                    return;
                }
            }
        };

        // In either case waiting is over.
        let _stalled = timeout_at((from + LEAVE).into(), stalled).await;
        self.state().abandoned = true;
    }

    /// Returns the number of bytes that were submitted so far.
    pub(crate) fn given(&self) -> u64 {
        self.progress.borrow().given
    }

    /// Whether this number of bytes is written.
    pub(crate) fn has_written(&self, given: u64) -> bool {
        self.progress.borrow().taken >= given
    }

    async fn until(&self, reached: impl FnMut(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        // Fails only without a sender, which lives as long as this.
        drop(progress.wait_for(reached).await);
    }

    /// Runs in the lane's thread: writes all text, until the process ends.
    fn write(&self) {
        loop {
            let Chunk { to, bytes, .. } = self.next();
            let closed = self.state().closed[to as usize];
            for part in bytes.chunks(WRITE_MAX) {
                if !closed && let Err(error) = self.write_to(to, part) {
                    self.close(to, &error.into());
                }
                self.progress.send_modify(|progress| {
                    progress.taken += part.len() as u64;
                    progress.moved_at = Instant::now();
                });
            }
        }
    }

    fn write_to(&self, to: Descriptor, bytes: &[u8]) -> rustix::io::Result<()> {
        match &self.files[to as usize] {
            Some(file) => write_all(file.as_fd(), bytes),
            None => Err(Errno::BADF),
        }
    }

    fn next(&self) -> Chunk {
        let mut state = self.state();
        loop {
            if let Some(next) = state.queue.pop_front() {
                if next.is_log {
                    state.log_bytes -= next.bytes.len();
                }
                return next;
            }
            match std::mem::take(&mut state.log_lines_lost) {
                0 => {
                    state = self
                        .work
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                lost => {
                    let line = format!("… {lost} more log lines, which were not read in time\n");
                    state.log_bytes += line.len();
                    self.enqueue(&mut state, Chunk::log(line.into_bytes()));
                }
            }
        }
    }

    fn close(&self, to: Descriptor, error: &io::Error) {
        let mut state = self.state();
        if std::mem::replace(&mut state.closed[to as usize], true) || to == Descriptor::Err {
            return;
        }
        state.failure = Some(again(error));
        drop(state);
        self.progress.send_modify(|progress| progress.failed = true);
    }
}

/// Returns a copy of the error.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

/// Writes all bytes, even if another program has made the stream non-blocking.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
                match poll(&mut ready, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
    }

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A lane into a pipe that its reader holds.
    fn piped() -> (Arc<Lane>, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let again = writer.try_clone().unwrap();
        (
            Lane::start([Some(writer.into()), Some(again.into())]),
            reader,
        )
    }

    fn fill(lane: &Lane) {
        let line = "x".repeat(ROOM);
        lane.push(Descriptor::Out, &line).unwrap();
        lane.push(Descriptor::Out, &line).unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_left_alone_after_a_while() {
        let (lane, mut reader) = piped();
        let from = Instant::now();
        fill(&lane);
        lane.given_up(from).await;
        assert!(from.elapsed() >= STALL);
        assert!(!lane.has_written(lane.given()));
        // What it takes later is all of it, in order.
        let mut read = vec![0; 2 * ROOM];
        tokio::task::spawn_blocking(move || reader.read_exact(&mut read))
            .await
            .unwrap()
            .unwrap();
        lane.empty().await;
        lane.given_up(from).await;
    }

    #[tokio::test]
    async fn there_is_room_again_once_the_reader_goes_on() {
        let (lane, mut reader) = piped();
        lane.room().await;
        fill(&lane);
        let room = tokio::time::timeout(Duration::ZERO, lane.room()).await;
        assert!(room.is_err(), "the pipe is full");
        let mut read = vec![0; ROOM + (128 << 10)];
        let reading = tokio::task::spawn_blocking(move || {
            reader.read_exact(&mut read).unwrap();
            reader
        });
        lane.room().await;
        drop(reading.await.unwrap());
        assert_eq!(lane.failed().await.kind(), io::ErrorKind::BrokenPipe);
        assert!(lane.push(Descriptor::Out, "x").is_err());
    }

    #[tokio::test]
    async fn log_lines_never_wait_and_are_counted() {
        let (lane, mut reader) = piped();
        fill(&lane);
        lane.hold(true);
        let line = format!("{}\n", "y".repeat(1023));
        for _ in 0..LOG_MAX / 1024 + 7 {
            lane.log(line.as_bytes());
        }
        lane.hold(false);
        let mut read = vec![0; 2 * ROOM + LOG_MAX];
        let read = tokio::task::spawn_blocking(move || {
            reader.read_exact(&mut read).unwrap();
            let mut last = [0; 32];
            reader.read_exact(&mut last).unwrap();
            String::from_utf8_lossy(&last).into_owned()
        });
        assert!(read.await.unwrap().starts_with("… 7 more log lines"));
    }
}
