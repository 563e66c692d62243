//! Follows one run from its first event to its last, and handles requests to stop it.
//!
//! ```text
//! event ─▶ view            Ctrl-C ─▶ cancel          SIGTERM, SIGHUP ─▶ a host of this process ends
//! run.ended ─▶ over                                                     its runs; another cancels
//! reader of stdout gone ─▶ client-gone or cancel, and nothing more is shown
//! cancel answers provisionally ─▶ over: the store does not answer, so no event will come
//! the run has its end, and the output takes nothing ─▶ over: nothing more is shown
//! ```
//! Events are read only as fast as the output accepts them, and not while a person is being asked;
//! the log holds them meanwhile. Signals, the run's end and answers never wait for either.
//! `remote_run.rs` begins the run that is followed here and tells how it ended.

use crate::failure::{Exit, Failure};
use crate::paths::Holder;
use crate::printer::{Lane, printer};
use crate::question_ui::QuestionUi;
use crate::signals::{Stop, Stops};
use crate::terminal::Terminal;
use crate::units;
use crate::view::View;
use lastword::event::{Event, EventBody, Seq};
use lastword::id::{ClientId, RunId, SessionId, WorkspaceId};
use lastword::{Archive, Host, Receipt};
use lastword_client::api::RunSummary;
use lastword_client::{Client, ClientError, Events, Frame};
use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long to wait for a cancelled run before telling the person why.
const SILENCE: Duration = Duration::from_millis(500);

/// One run, and everything needed to follow it to its end.
pub(crate) struct Follow<'a> {
    pub(crate) client: &'a Client,
    pub(crate) host: RunHost<'a>,
    /// This process's client id, and the workspace that it claims. Without them it only watches:
    /// its leaving, by a signal too, leaves the run alone.
    pub(crate) claim: Option<(ClientId, WorkspaceId)>,
    pub(crate) run: &'a RunSummary,
    pub(crate) terminal: &'a Terminal,
}

/// The process that the run is in.
#[derive(Clone, Copy)]
pub(crate) enum RunHost<'a> {
    /// This one, over this data directory; without one, it keeps nothing and no other command
    /// reaches it.
    Own {
        host: &'a Host,
        data: Option<&'a Path>,
    },
    /// Another one, which may own a data directory of this machine.
    Other(Option<&'a Holder>),
}

impl RunHost<'_> {
    /// Whether the session is there for other commands, now and later.
    pub(crate) fn keeps(self) -> bool {
        !matches!(self, Self::Own { data: None, .. })
    }
}

/// How the run ended for the person or program that watched it.
#[derive(Debug)]
pub(crate) enum FollowEnd {
    /// With this receipt, which may be provisional.
    Ended(Box<Receipt>),
    /// The same, but the reader of standard output is gone.
    ReaderGone(Box<Receipt>),
    /// The same, but the output was blocked, and not all was shown.
    Cut(Box<Receipt>),
    /// The same, but standard output could not be written, which was said.
    Unwritable(Box<Receipt>),
    /// It has no end: a signal, or the loss of standard output, ended the watching.
    Left(Exit),
}

/// The result of the request to stop.
enum Stopped {
    /// The run has this end, which may be provisional.
    Ended(Box<Receipt>),
    /// The stream of events tells the run's end, or fails.
    Unknown,
    /// The host of this process has ended, and the run has no end.
    HostEnded,
}

/// The state of the run and of the request to stop it.
#[derive(Default)]
struct Progress {
    stopping: Option<JoinHandle<Result<Stopped, ClientError>>>,
    explain_at: Option<Instant>,
    reader_gone: bool,
    /// Whether standard output failed by itself, rather than by its reader's leaving.
    unwritable: bool,
    cut: bool,
    /// The end that is on disk, and since when it is known here.
    ended: Option<(Receipt, std::time::Instant)>,
}

impl Progress {
    fn end(&self, receipt: Receipt) -> FollowEnd {
        let receipt = Box::new(receipt);
        if self.unwritable {
            return FollowEnd::Unwritable(receipt);
        }

        match (self.reader_gone, self.cut) {
            (true, _) => FollowEnd::ReaderGone(receipt),
            (_, true) => FollowEnd::Cut(receipt),
            _ => FollowEnd::Ended(receipt),
        }
    }

    /// Since when waiting for the output is bounded.
    fn leaving(&self) -> Option<std::time::Instant> {
        self.ended.as_ref().map(|(_, since)| *since)
    }

    /// Waits for the result of the request to stop; never completes while there is none.
    async fn stopped(&mut self) -> Result<Stopped, Failure> {
        let Some(stopping) = &mut self.stopping else {
            return pending().await;
        };

        let stopped = stopping.await;
        self.stopping = None;
        match stopped {
            Ok(stopped) => Ok(stopped?),
            Err(error) => Err(Failure::failed(format!("stopping the run failed: {error}"))),
        }
    }
}

impl Follow<'_> {
    /// Shows every event until the run has ended.
    pub(crate) async fn to_the_end(
        &self,
        view: &mut View,
        questions: &mut QuestionUi<'_>,
        stops: &mut Stops,
    ) -> Result<FollowEnd, Failure> {
        let lost = Arc::new(Notify::new());
        let (mut events, mut ahead, mut claim) = (self.events(&lost), None, None);
        let mut progress = Progress::default();
        let watch = watch_reader();
        let mut reader = std::pin::pin!(reader_gone(watch.as_ref()));
        loop {
            let (listening, asking) = (!progress.reader_gone, questions.is_asking());
            let (leaving, explain_at) = (progress.leaving(), progress.explain_at);
            if asking && ahead.is_none() {
                ahead = Some(events.ahead());
            } else if !asking {
                ahead = None;
            }

            tokio::select! {
                biased;
                stop = stops.recv() => {
                    if self.claim.is_none() {
                        return Ok(FollowEnd::Left(Exit::Cancelled));
                    }
                    progress.explain_at = Some(Instant::now() + SILENCE);
                    self.stop(stop, &mut progress);
                }
                () = &mut reader, if listening => {
                    if self.claim.is_none() {
                        return Ok(FollowEnd::Left(Exit::Cancelled));
                    }
                    self.reader_gone(stops, &mut progress);
                }
                error = printer().out().failed(), if listening => {
                    progress.unwritable = tell_unwritable(&error, self.terminal);
                    if self.claim.is_none() {
                        let exit = if progress.unwritable { Exit::Failed } else { Exit::Cancelled };
                        return Ok(FollowEnd::Left(exit));
                    }
                    self.reader_gone(stops, &mut progress);
                }
                stopped = progress.stopped() => match stopped? {
                    Stopped::Ended(receipt) if !receipt.persisted => {
                        return Ok(progress.end(*receipt));
                    }
                    Stopped::Ended(receipt) => {
                        progress.ended = Some((*receipt, std::time::Instant::now()));
                    }
                    Stopped::Unknown => {}
                    Stopped::HostEnded => return self.lost(None, &events, view, progress).await,
                },
                next = next(&mut events, leaving), if !asking => match next {
                    Next::Event(event) => {
                        if claim.is_none() {
                            claim = self.keep_claim(&event);
                        }
                        questions.event(&event, view);
                        if let Some(receipt) = show(view, &event, &progress) {
                            return Ok(progress.end(receipt));
                        }
                    }
                    Next::Lost(why) => return self.lost(why, &events, view, progress).await,
                    Next::LeftAlone => {
                        progress.cut = true;
                        if let Some((receipt, _)) = progress.ended.clone() {
                            return Ok(progress.end(receipt));
                        }
                    }
                },
                next = coming(&mut ahead) => match next {
                    Next::Event(event) => questions.ahead(&event, view),
                    Next::Lost(why) => return self.lost(why, &events, view, progress).await,
                    Next::LeftAlone => {}
                },
                () = lost.notified(), if !progress.reader_gone => {
                    view.interrupt_line();
                    self.terminal.note(&format!(
                        "the connection to {} is lost; trying again",
                        self.client.server()
                    ));
                }
                () = at(explain_at) => {
                    progress.explain_at = None;
                    view.interrupt_line();
                    self.terminal.note(&self.explanation());
                }
                turn = questions.turn(view) => questions.take(turn, view),
            }
        }
    }

    /// The events of the run. Once a data directory of this machine has no owner that answers, the
    /// end of a run that has it is read there; else the loss of the connection is told, once until
    /// there is another event.
    fn events(&self, lost: &Arc<Notify>) -> Events {
        let events = self.client.run_events(self.run.run);
        let RunHost::Other(holder) = self.host else {
            return events;
        };
        let (data, lost) = (holder.map(|holder| holder.data.clone()), Arc::clone(lost));
        let (run, session) = (self.run.run, self.run.session);
        let told = Mutex::new(None);
        events.or_elsewhere(move |after| {
            let data = data.as_deref();
            let found = data.and_then(|data| ended_on_disk(data, run, session, Seq(after)));
            if let Some(found) = found {
                return found;
            }

            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.replace(after) != Some(after) {
                lost.notify_one();
            }

            Vec::new()
        })
    }

    /// Opens a stream of the workspace, which keeps the claim; it begins where the run does.
    fn keep_claim(&self, first: &Event) -> Option<Claim> {
        let (client, workspace) = self.claim?;
        let events = self.client.claimed_events(workspace, client);
        let events = events.after(first.pos.0).skip_folded();
        Some(Claim(tokio::spawn(async move {
            drop(events.hold().await);
        })))
    }

    fn explanation(&self) -> String {
        let why = match self.host {
            RunHost::Other(_) => "stopping, and waiting for the host".to_owned(),
            RunHost::Own { host, .. } => {
                let grace = host.limits().grace;
                if grace.is_zero() {
                    "stopping, and waiting for the disk".to_owned()
                } else {
                    let grace = u64::try_from(grace.as_micros()).unwrap_or(u64::MAX);
                    let grace = units::time(grace);
                    format!("stopping; the agent has {grace} to bring its work to an end")
                }
            }
        };

        format!("{why}; Ctrl-C again leaves at once")
    }

    /// Stops the run. If the whole process has to end, its own host ends too.
    fn stop(&self, stop: Stop, progress: &mut Progress) {
        let (client, run) = (self.client.clone(), self.run.run);
        progress.stopping = Some(match (self.host, stop) {
            (RunHost::Own { host, .. }, Stop::Shutdown) => {
                let host = host.clone();
                tokio::spawn(async move {
                    // The store stays open for clients in other processes.
                    host.drain().await;
                    let ended = client.run(run).await.ok().and_then(|run| run.receipt);
                    let ended = ended.map(|receipt| Stopped::Ended(Box::new(receipt)));
                    Ok(ended.unwrap_or(Stopped::HostEnded))
                })
            }
            (host, _) => {
                let unanswered = match host {
                    RunHost::Own { .. } => Stopped::HostEnded,
                    RunHost::Other(_) => Stopped::Unknown,
                };
                tokio::spawn(async move {
                    match client.cancel(run).await {
                        Ok(receipt) => Ok(Stopped::Ended(Box::new(receipt))),
                        Err(error) if error.is_retryable() => Ok(unanswered),
                        Err(error) => Err(error),
                    }
                })
            }
        });
    }

    /// Handles the loss of standard output's reader: the run is of no use any more. A terminal that
    /// was closed also sends SIGHUP, and means the same by both.
    fn reader_gone(&self, stops: &Stops, progress: &mut Progress) {
        if std::mem::replace(&mut progress.reader_gone, true) {
            return;
        }

        match self.host {
            RunHost::Own { .. } if self.terminal.out.terminal && stops.heeds_hangup() => {
                progress.explain_at = Some(Instant::now() + SILENCE);
                self.stop(Stop::Shutdown, progress);
            }
            RunHost::Own { host, .. } => {
                let (host, run) = (host.clone(), self.run.run);
                progress.stopping = Some(tokio::spawn(async move {
                    let gone = async { host.run(run).await?.client_gone().await };
                    // Otherwise no end is known, and the stream breaks off.
                    let ended = gone.await.map(|receipt| Stopped::Ended(Box::new(receipt)));
                    Ok(ended.unwrap_or(Stopped::HostEnded))
                }));
            }
            RunHost::Other(_) => self.stop(Stop::Cancel, progress),
        }
    }

    /// Handles the loss of the host. For a host of this process, the run's end is read on disk: its
    /// runs are ended, or its store is closed.
    async fn lost(
        &self,
        why: Option<ClientError>,
        events: &Events,
        view: &mut View,
        mut progress: Progress,
    ) -> Result<FollowEnd, Failure> {
        let RunHost::Own { data, .. } = self.host else {
            return Err(self.out_of_sight(why));
        };

        if let Some(stopping) = progress.stopping.take() {
            drop(stopping.await);
        }

        let Some(data) = data else {
            return Err(Failure::failed(
                "the host ended before the run had its end, and keeps nothing of it".to_owned(),
            ));
        };

        let archive = Archive::open(data)?;
        let leaving = printer().is_hurried().then(std::time::Instant::now);
        let mut after = Seq(events.cursor().unwrap_or_default());
        loop {
            let page = archive.kept_events(self.run.session, after)?;
            if page.is_empty() {
                return Err(Failure::failed(format!(
                    "the run's end is not on disk; what was said is kept, and the next start \
                     writes the end (session {})",
                    self.run.session
                )));
            }
            for event in page {
                after = event.seq;
                progress.cut = progress.cut || !has_room(leaving).await;
                if event.run == Some(self.run.run)
                    && let Some(receipt) = show(view, &event, &progress)
                {
                    return Ok(progress.end(receipt));
                }
            }
        }
    }

    /// The failure to report when another host is not reached any more.
    fn out_of_sight(&self, why: Option<ClientError>) -> Failure {
        let why = why.map(|error| Failure::from(error).message);
        let why = why.unwrap_or_else(|| "its session was deleted".to_owned());
        Failure {
            exit: Exit::Failed,
            ..Failure::failed(format!(
                "the run {} is out of sight: {why}; it has its end on disk or gets it with the \
                 host's next start: `lastword show {}`",
                self.run.run, self.run.session
            ))
        }
    }
}

/// Shows an event. Returns the run's end, if it is that.
fn show(view: &mut View, event: &Event, progress: &Progress) -> Option<Receipt> {
    if !progress.reader_gone && !progress.cut {
        // The cause is reported once, where it is noticed.
        let _unwritable = view.event(event);
    }
    match &event.body {
        EventBody::RunEnded { receipt } => Some(receipt.clone()),
        _ => None,
    }
}

/// Returns the events of a run up to its end, after those that were shown; none while it has not
/// ended.
fn ended_on_disk(
    data: &Path,
    run: RunId,
    session: SessionId,
    mut after: Seq,
) -> Option<Vec<Event>> {
    let archive = Archive::open(data).ok()?;
    let mut events = Vec::new();
    loop {
        let page = archive.events(session, after).ok()?;
        after = page.last()?.seq;
        for event in page.into_iter().filter(|event| event.run == Some(run)) {
            let is_end = matches!(event.body, EventBody::RunEnded { .. });
            events.push(event);
            if is_end {
                return Some(events);
            }
        }
    }
}

/// A claim's stream, for as long as this lives.
struct Claim(JoinHandle<()>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says why standard output cannot be written, unless its reader has gone. Returns whether it was
/// said.
fn tell_unwritable(error: &io::Error, terminal: &Terminal) -> bool {
    let failed = error.kind() != io::ErrorKind::BrokenPipe;
    if failed {
        terminal.error(&format!("cannot write to standard output: {error}"));
    }

    failed
}

/// The next item in a run's stream.
enum Next {
    Event(Box<Event>),
    /// No more of them: why, unless the run is gone with its session.
    Lost(Option<ClientError>),
    /// Waiting for the output was given up.
    LeftAlone,
}

/// Reads the next event, once the output has room for it. May be dropped while it waits.
async fn next(events: &mut Events, leaving: Option<std::time::Instant>) -> Next {
    if !has_room(leaving).await {
        return Next::LeftAlone;
    }
    read(events).await
}

/// Reads the next event ahead of what is shown; never completes while nothing is read ahead.
async fn coming(ahead: &mut Option<Events>) -> Next {
    match ahead {
        None => pending().await,
        Some(events) => read(events).await,
    }
}

async fn read(events: &mut Events) -> Next {
    loop {
        match events.next().await {
            Some(Ok(Frame::Event(event))) => return Next::Event(event),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Next::Lost(Some(error)),
            None => return Next::Lost(None),
        }
    }
}

/// Waits until the output has room for more. The wait is bounded once the run has ended. Returns
/// `false` when that bound is over.
async fn has_room(leaving: Option<std::time::Instant>) -> bool {
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

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => pending().await,
    }
}

/// Watches for the other end of a pipe to be closed, which a run without output would not notice by
/// writing. A file cannot be watched, and need not be.
fn watch_reader() -> Option<pipe::Sender> {
    let duplicate = io::stdout().as_fd().try_clone_to_owned().ok()?;
    // The checked constructor would also make writes non-blocking.
    pipe::Sender::from_owned_fd_unchecked(duplicate).ok()
}

async fn reader_gone(watch: Option<&pipe::Sender>) {
    if let Some(watch) = watch
        && let Ok(ready) = watch.ready(Interest::ERROR).await
        && ready.is_error()
    {
        return;
    }
    pending::<()>().await;
}
