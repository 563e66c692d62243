//! Follows one run from its first event to its last, whatever asks it to stop on the way.
//!
//! ```text
//! event ─▶ view            Ctrl-C ─▶ cancel          SIGTERM, SIGHUP ─▶ the host ends its runs
//! run.ended ─▶ over        reader of stdout gone ─▶ client-gone, and nothing more is shown
//! cancel answers provisionally ─▶ over: the store does not answer, so no event will come
//! the run has its end, and the output takes nothing ─▶ over: nothing more is shown
//! ```
//! Events are read as the output takes them, and not while a person is asked: what an agent says
//! meanwhile is in the log. Signals, the run's end and answers never wait for either.
//! Knows neither how events look nor what becomes of the exit code.

use crate::desk::Desk;
use crate::failure::Failure;
use crate::printer::{Lane, printer};
use crate::signals::{Stop, Stops};
use crate::terminal::Terminal;
use crate::view::View;
use lastword::event::{Event, EventBody, Seq};
use lastword::{Archive, Events, Host, HostError, Receipt, Run};
use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a cancelled run is waited for before the wait is explained.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

/// One run, and all that is needed to see it through.
pub(crate) struct Follow<'a> {
    pub(crate) host: &'a Host,
    pub(crate) run: &'a Run,
    pub(crate) data: &'a Path,
    pub(crate) grace: Duration,
    pub(crate) terminal: &'a Terminal,
}

/// How the run ended for whoever watched it.
#[derive(Debug)]
pub(crate) enum Met {
    /// With this receipt, which may be provisional.
    Ended(Box<Receipt>),
    /// The same, but nobody reads standard output any more.
    ReaderGone(Box<Receipt>),
    /// The same, but the output took nothing, and not all was shown.
    Cut(Box<Receipt>),
}

impl Met {
    /// The run's end, which may be provisional.
    pub(crate) fn receipt(&self) -> &Receipt {
        match self {
            Self::Ended(receipt) | Self::ReaderGone(receipt) | Self::Cut(receipt) => receipt,
        }
    }
}

/// What was asked of the run on the way.
#[derive(Default)]
struct Asked {
    stopping: Option<JoinHandle<Result<Option<Receipt>, HostError>>>,
    explain_at: Option<Instant>,
    reader_gone: bool,
    cut: bool,
    /// The end that is on disk, and since when it is known here.
    ended: Option<(Receipt, std::time::Instant)>,
    seen: Option<Seq>,
}

impl Asked {
    fn met(&self, receipt: Receipt) -> Met {
        let receipt = Box::new(receipt);
        match (self.reader_gone, self.cut) {
            (true, _) => Met::ReaderGone(receipt),
            (_, true) => Met::Cut(receipt),
            _ => Met::Ended(receipt),
        }
    }

    /// Since when the output is waited for within bounds only.
    fn leaving(&self) -> Option<std::time::Instant> {
        self.ended.as_ref().map(|(_, since)| *since)
    }
}

impl Follow<'_> {
    /// Shows every event until the run has its end.
    pub(crate) async fn to_the_end(
        &self,
        view: &mut View,
        stops: &mut Stops,
        desk: &mut Desk<'_>,
    ) -> Result<Met, Failure> {
        let (mut events, mut ahead) = (self.run.events(), None);
        let mut asked = Asked::default();
        let watch = watch_reader();
        let mut reader = std::pin::pin!(reader_gone(watch.as_ref()));
        loop {
            let (listening, asking) = (!asked.reader_gone, desk.is_asking());
            let leaving = asked.leaving();
            if asking && ahead.is_none() {
                ahead = asked.seen.map(|seen| self.run.events_after(seen));
            } else if !asking {
                ahead = None;
            }
            tokio::select! {
                biased;
                stop = stops.recv() => self.stop(stop, &mut asked),
                () = &mut reader, if listening => self.reader_gone(stops, &mut asked),
                error = printer().out().failed(), if listening => {
                    self.unwritable(&error, stops, &mut asked);
                }
                stopped = answer(&mut asked.stopping) => {
                    asked.stopping = None;
                    match stopped? {
                        Some(receipt) if !receipt.persisted => return Ok(asked.met(receipt)),
                        Some(receipt) => asked.ended = Some((receipt, std::time::Instant::now())),
                        None => return self.read_the_rest(view, asked).await,
                    }
                }
                next = next(&mut events, leaving), if !asking => match next {
                    Next::Event(event) => {
                        desk.event(&event, view);
                        if let Some(receipt) = self.show(view, &event, &mut asked) {
                            return Ok(asked.met(receipt));
                        }
                    }
                    // The store is closed: what was not read is on disk.
                    Next::Over => return self.read_the_rest(view, asked).await,
                    Next::LeftAlone => {
                        asked.cut = true;
                        if let Some((receipt, _)) = asked.ended.clone() {
                            return Ok(asked.met(receipt));
                        }
                    }
                },
                event = coming(&mut ahead) => match event {
                    Some(Ok(event)) => desk.ahead(&event, view),
                    _ => return self.read_the_rest(view, asked).await,
                },
                () = at(asked.explain_at) => {
                    asked.explain_at = None;
                    view.interrupt_line();
                    self.terminal.note(&self.explanation());
                }
                turn = desk.turn(view) => desk.take(turn, view),
            }
        }
    }

    fn explanation(&self) -> String {
        let why = match self.grace.is_zero() {
            true => "stopping, and waiting for the disk".to_owned(),
            false => format!(
                "stopping; the agent has {} to bring its work to an end",
                crate::units::time(u64::try_from(self.grace.as_micros()).unwrap_or(u64::MAX))
            ),
        };
        format!("{why}; Ctrl-C again leaves at once")
    }

    fn show(&self, view: &mut View, event: &Event, asked: &mut Asked) -> Option<Receipt> {
        asked.seen = Some(event.seq);
        if !asked.reader_gone && !asked.cut {
            // Why it cannot be written is said once, where it is noticed.
            let _unwritable = view.event(event);
        }
        match &event.body {
            EventBody::RunEnded { receipt } => Some(receipt.clone()),
            _ => None,
        }
    }

    fn stop(&self, stop: Stop, asked: &mut Asked) {
        asked.explain_at = Some(Instant::now() + SILENCE);
        let (run, host) = (self.run.clone(), self.host.clone());
        asked.stopping = Some(match stop {
            Stop::Cancel => tokio::spawn(async move { run.cancel().await.map(Some) }),
            Stop::Shutdown => tokio::spawn(async move {
                // The store stays open for those who follow runs from other terminals.
                host.drain().await;
                Ok(run.try_ended())
            }),
        });
    }

    /// The reader of standard output is gone. A terminal that was closed sends SIGHUP, too, and
    /// means the same by both.
    fn reader_gone(&self, stops: &Stops, asked: &mut Asked) {
        asked.reader_gone = true;
        if self.terminal.out.terminal && stops.heeds_hangup() {
            return self.stop(Stop::Shutdown, asked);
        }
        let run = self.run.clone();
        asked.stopping = Some(tokio::spawn(
            async move { run.client_gone().await.map(Some) },
        ));
    }

    fn unwritable(&self, error: &io::Error, stops: &Stops, asked: &mut Asked) {
        self.reader_gone(stops, asked);
        tell_unwritable(error, self.terminal);
    }

    /// Once the host has ended its runs, the log is read from the disk.
    async fn read_the_rest(&self, view: &mut View, mut asked: Asked) -> Result<Met, Failure> {
        if let Some(stopping) = asked.stopping.take() {
            drop(stopping.await);
        }
        let archive = Archive::open(self.data)?;
        let leaving = printer().is_hurried().then(std::time::Instant::now);
        let mut after = asked.seen.unwrap_or_default();
        loop {
            let page = archive.kept_events(self.run.session(), after)?;
            if page.is_empty() {
                return Err(Failure::failed(format!(
                    "the run's end is not on disk; what was said is kept, and the next start \
                     writes the end (session {})",
                    self.run.session()
                )));
            }
            for event in page {
                after = event.seq;
                asked.cut = asked.cut || !has_room(leaving).await;
                if event.run == Some(self.run.id())
                    && let Some(receipt) = self.show(view, &event, &mut asked)
                {
                    return Ok(asked.met(receipt));
                }
            }
        }
    }
}

/// Says why standard output cannot be written, unless its reader has gone.
pub(crate) fn tell_unwritable(error: &io::Error, terminal: &Terminal) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        terminal.error(&format!("cannot write to standard output: {error}"));
    }
}

/// What comes next of a run.
enum Next {
    Event(Box<Event>),
    /// No more of them, or none that can be read here.
    Over,
    /// The output is to be left alone.
    LeftAlone,
}

/// The next event, once there is room for it. May be dropped while it waits.
async fn next(events: &mut Events, leaving: Option<std::time::Instant>) -> Next {
    if !has_room(leaving).await {
        return Next::LeftAlone;
    }
    match events.next().await {
        Some(Ok(event)) => Next::Event(Box::new(event)),
        _ => Next::Over,
    }
}

/// Waits until the output has room for more; within bounds if the run has its end since a while,
/// after which there is none.
pub(crate) async fn has_room(leaving: Option<std::time::Instant>) -> bool {
    let given_up = async |lane: &Lane| match leaving {
        Some(since) => lane.given_up(since).await,
        None => pending().await,
    };
    for lane in [printer().out(), printer().err()] {
        tokio::select! {
            biased;
            () = lane.room() => {}
            () = given_up(lane) => return false,
        }
    }
    true
}

/// What the log holds beyond what is shown; never, while nothing is read there.
async fn coming(ahead: &mut Option<Events>) -> Option<Result<Event, HostError>> {
    match ahead {
        None => pending().await,
        Some(events) => events.next().await,
    }
}

/// What became of the request to stop; never, while there is none.
async fn answer(
    stopping: &mut Option<JoinHandle<Result<Option<Receipt>, HostError>>>,
) -> Result<Option<Receipt>, Failure> {
    match stopping {
        None => pending().await,
        Some(handle) => match handle.await {
            Ok(answer) => Ok(answer?),
            Err(error) => Err(Failure::failed(format!("stopping the run failed: {error}"))),
        },
    }
}

pub(crate) async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => pending().await,
    }
}

/// Watches for the other end of a pipe to be closed, which an agent that is silent would never
/// find out by writing. A file cannot be watched, and needs not be.
pub(crate) fn watch_reader() -> Option<pipe::Sender> {
    let duplicate = io::stdout().as_fd().try_clone_to_owned().ok()?;
    // Not asked whether it is a pipe, since that would also make writes not wait.
    pipe::Sender::from_owned_fd_unchecked(duplicate).ok()
}

pub(crate) async fn reader_gone(watch: Option<&pipe::Sender>) {
    if let Some(watch) = watch
        && let Ok(ready) = watch.ready(Interest::ERROR).await
        && ready.is_error()
    {
        return;
    }
    pending::<()>().await;
}
