//! Streams of events over any number of connections: each connection continues after the last event
//! that was returned, so that no event is missed or repeated.

use crate::api::{EVENT_PROBLEM, Notice, NoticeKind, Problem};
use crate::client::Call;
use crate::transport::BodyStream;
use crate::{Client, ClientError};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use lastword_types::event::{Event, EventBody};
use lastword_types::id::{ClientId, RunId, SessionId, WorkspaceId};
use sse_stream::{Sse, SseStream};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long a stream may be silent. A server sends a heartbeat every 15 seconds.
const SILENCE: Duration = Duration::from_secs(50);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One item of a stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// An event of the log.
    Event(Box<Event>),
    /// A notice about a workspace's life, which is not logged.
    Notice(Notice),
}

/// A function that finds events elsewhere, given the cursor after which they begin.
type Elsewhere = Arc<dyn Fn(u64) -> Vec<Event> + Send + Sync>;

/// A stream of events: those of a run until its end, of a session until it is deleted, or of a
/// workspace until it is closed or the stream's client is released.
///
/// If the connection is lost, it is opened again after the last event, with growing pauses. Several
/// consecutive connections without an event are an error. Dropping the stream closes the
/// connection.
pub struct Events {
    client: Client,
    source: Source,
    /// The number of the last event that was returned.
    cursor: Option<u64>,
    follows: bool,
    skips_folded: bool,
    /// Whether events are only counted, without parsing them.
    holds: bool,
    elsewhere: Option<Elsewhere>,
    open: Option<BoxStream<'static, Result<Sse, sse_stream::Error>>>,
    failures: u32,
    /// The events that `elsewhere` returned and that are not returned yet.
    found: VecDeque<Event>,
    over: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Run(RunId),
    Session(SessionId),
    Workspace(WorkspaceId, Option<ClientId>),
}

/// What one read from a connection returned.
enum Read {
    Frame(Frame),
    /// The server ended the stream.
    End,
    /// The connection is lost.
    Lost,
}

impl Client {
    /// The events of a run, numbered by `seq`; ends after `run.ended`.
    #[must_use]
    pub fn run_events(&self, run: RunId) -> Events {
        Events::new(self, Source::Run(run))
    }

    /// The events of a session, numbered by `seq`.
    #[must_use]
    pub fn session_events(&self, session: SessionId) -> Events {
        Events::new(self, Source::Session(session))
    }

    /// The events of all sessions of a workspace, numbered by `pos`. Such a stream only observes,
    /// and keeps no claim.
    #[must_use]
    pub fn workspace_events(&self, workspace: WorkspaceId) -> Events {
        Events::new(self, Source::Workspace(workspace, None))
    }

    /// As [`Client::workspace_events`], and keeps a client's claim on the workspace while it is
    /// read.
    #[must_use]
    pub fn claimed_events(&self, workspace: WorkspaceId, client: ClientId) -> Events {
        Events::new(self, Source::Workspace(workspace, Some(client)))
    }
}

impl Events {
    fn new(client: &Client, source: Source) -> Self {
        Self {
            client: client.clone(),
            source,
            cursor: None,
            follows: true,
            skips_folded: false,
            holds: false,
            elsewhere: None,
            open: None,
            failures: 0,
            found: VecDeque::new(),
            over: false,
        }
    }

    /// Begins after the event with this number. Default: before the first event.
    #[must_use]
    pub fn after(mut self, cursor: u64) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Ends at the head of the log instead of waiting for more.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.follows = false;
        self
    }

    /// Skips events that were folded away, instead of failing: for callers that do not need every
    /// past event. Default: [`ClientError::Refused`] with `cursor-expired`.
    #[must_use]
    pub fn skip_folded(mut self) -> Self {
        self.skips_folded = true;
        self
    }

    /// Calls this function for the events after a number each time that the connection is lost,
    /// before opening it again: for callers that can read the server's data themselves. It must
    /// return either all later events, up to the last one that matters, or none.
    #[must_use]
    pub fn or_elsewhere(
        mut self,
        events: impl Fn(u64) -> Vec<Event> + Send + Sync + 'static,
    ) -> Self {
        self.elsewhere = Some(Arc::new(events));
        self
    }

    /// Returns another stream of the same events, which begins after the last event that was
    /// returned.
    #[must_use]
    pub fn ahead(&self) -> Self {
        Self {
            cursor: self.cursor,
            skips_folded: self.skips_folded,
            ..Self::new(&self.client, self.source)
        }
    }

    /// Returns the number of the last event that was returned; `None` before the first.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// Returns the next frame; `None` after the end, and after an error. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Frame, ClientError>> {
        if self.over {
            return None;
        }

        let frame = self.next_frame().await.transpose()?;
        self.over = match &frame {
            Ok(Frame::Event(event)) => self.is_last(event),
            Ok(Frame::Notice(notice)) => notice.kind != NoticeKind::Closing,
            Err(_) => true,
        };
        Some(frame)
    }

    /// Reads on without returning events, for the claim that the stream keeps. Returns why it could
    /// not continue, or `None` at its end. Dropping the future ends the stream.
    pub async fn hold(mut self) -> Option<ClientError> {
        self.holds = true;
        loop {
            match self.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    }

    /// Converts this into a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<Frame, ClientError>> {
        stream::unfold(self, |mut events| async move {
            let frame = events.next().await?;
            Some((frame, events))
        })
    }

    fn is_last(&self, event: &Event) -> bool {
        match &event.body {
            EventBody::RunEnded { .. } => matches!(self.source, Source::Run(_)),
            EventBody::SessionDeleted { .. } => !matches!(self.source, Source::Workspace(..)),
            _ => false,
        }
    }

    async fn next_frame(&mut self) -> Result<Option<Frame>, ClientError> {
        loop {
            if let Some(event) = self.found.pop_front() {
                self.cursor = Some(event.seq.0).filter(|seq| *seq > 0).or(self.cursor);
                return Ok(Some(Frame::Event(Box::new(event))));
            }
            let why = match self.read().await {
                Ok(Read::Frame(frame)) => {
                    self.failures = 0;
                    return Ok(Some(frame));
                }
                Ok(Read::End) if !self.follows => return Ok(None),
                Ok(Read::End | Read::Lost) => self
                    .client
                    .unreachable("the stream of events broke off", true),
                Err(error) if error.is_retryable() => error,
                // The run ended and its events were folded away while the connection was lost.
                Err(error) if resume_after(&error).is_some() => {
                    return self.last_of_all(error).await.map(Some);
                }
                Err(error) => return Err(error),
            };
            self.open = None;
            if let Some(elsewhere) = &self.elsewhere {
                self.found = elsewhere(self.cursor.unwrap_or_default()).into();
                if !self.found.is_empty() {
                    continue;
                }
            }
            self.failures += 1;
            if self.failures >= self.client.connections() {
                return Err(why);
            }
            let pause = FIRST_PAUSE * 2_u32.pow(self.failures - 1);
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
    }

    /// Returns the last event of a run whose events are sent again from its beginning.
    async fn last_of_all(&mut self, error: ClientError) -> Result<Frame, ClientError> {
        let Source::Run(run) = self.source else {
            return Err(error);
        };

        let mut all = self.client.run_events(run).stored();
        let mut last = None;
        loop {
            // Boxed to keep this future small, which is rarely needed.
            match Box::pin(all.read()).await? {
                Read::Frame(frame) => last = Some(frame),
                Read::End | Read::Lost => return last.ok_or(error),
            }
        }
    }

    /// Reads the next frame, after opening a connection if there is none.
    async fn read(&mut self) -> Result<Read, ClientError> {
        loop {
            if self.open.is_none() {
                let bytes = self.connect().await?;
                let events = SseStream::from_bytes_stream(alive(bytes));
                self.open = Some(events.boxed());
            }
            let Some(open) = &mut self.open else {
                return Ok(Read::Lost);
            };
            let sse = match open.next().await {
                Some(Ok(sse)) => sse,
                Some(Err(_)) => return Ok(Read::Lost),
                None => return Ok(Read::End),
            };

            let id = sse.id.as_deref().and_then(|id| id.parse::<u64>().ok());
            if id.is_some() && id <= self.cursor {
                continue;
            }
            self.cursor = id.or(self.cursor);
            let (Some(kind), Some(data)) = (sse.event, sse.data) else {
                continue;
            };
            if kind == EVENT_PROBLEM {
                return Err(self.broken(&data));
            }
            // Skips frames that only a later version of the server sends.
            if kind.starts_with("workspace.") {
                if let Ok(notice) = serde_json::from_str::<Notice>(&data) {
                    return Ok(Read::Frame(Frame::Notice(notice)));
                }
            } else if self.holds {
                self.failures = 0;
            } else if let Ok(event) = serde_json::from_str::<Event>(&data) {
                return Ok(Read::Frame(Frame::Event(Box::new(event))));
            }
        }
    }

    async fn connect(&mut self) -> Result<BodyStream, ClientError> {
        let opened = self.client.open(self.request()).await;
        match opened {
            Err(error) if self.skips_folded && resume_after(&error).is_some() => {
                self.cursor = resume_after(&error);
                self.client.open(self.request()).await
            }
            opened => opened,
        }
    }

    fn request(&self) -> Call {
        let mut query = Vec::new();
        let path = match self.source {
            Source::Run(run) => format!("/runs/{run}/events"),
            Source::Session(session) => format!("/sessions/{session}/events"),
            Source::Workspace(workspace, client) => {
                query.extend(client.map(|client| format!("client_id={client}")));
                format!("/workspaces/{workspace}/events")
            }
        };

        if !self.follows {
            query.push("follow=false".to_owned());
        }

        let call = Call::get(format!("{path}?{}", query.join("&")));
        match self.cursor {
            Some(cursor) => call.header("last-event-id", cursor.to_string()),
            None => call,
        }
    }

    /// Returns the error for which the server broke off the stream.
    fn broken(&self, data: &str) -> ClientError {
        let problem = serde_json::from_str::<Problem>(data);
        match problem {
            Ok(problem) if ClientError::is_final(&problem) => self.client.refused(problem),
            Ok(problem) => self.client.unreachable(problem.detail, false),
            Err(_) => self.client.unreachable("the stream failed", false),
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Events");
        shown.field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// Returns the oldest usable cursor, if the error says that the log begins after the requested one.
fn resume_after(error: &ClientError) -> Option<u64> {
    error.problem()?.resume_after
}

/// Returns the same bytes, with an error if none arrive for too long.
fn alive(bytes: BodyStream) -> BodyStream {
    let next = |mut bytes: BodyStream| async move {
        let item = match tokio::time::timeout(SILENCE, bytes.next()).await {
            Ok(item) => item?,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((item, bytes))
    };
    stream::unfold(bytes, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::clock::UnixMillis;
    use lastword_types::event::{Position, Seq};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

    /// Returns an event with this number in the form that a server sends.
    fn frame(seq: u64) -> String {
        let event = Event {
            session: SessionId::from_bytes([1; 16]),
            seq: Seq(seq),
            pos: Position(seq),
            at_ms: UnixMillis(seq),
            run: Some(RunId::from_bytes([2; 16])),
            body: EventBody::RunStarted {},
        };
        let data = serde_json::to_string(&event).unwrap();
        format!("id: {seq}\nevent: run.started\ndata: {data}\n\n")
    }

    /// Starts a server that sends one of these streams on each connection and then closes it. The
    /// task returns the requests that the server received.
    fn server(streams: Vec<String>) -> (Events, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let serve = |stream: String| {
                let (mut connection, _) = listener.accept().unwrap();
                let (mut asked, mut byte) = (String::new(), [0]);
                while !asked.ends_with("\r\n\r\n") {
                    connection.read_exact(&mut byte).unwrap();
                    asked.push(char::from(byte[0]));
                }
                let answer = format!("{HEAD}{stream}");
                connection.write_all(answer.as_bytes()).unwrap();
                asked.to_ascii_lowercase()
            };
            streams.into_iter().map(serve).collect()
        });
        let client = Client::builder().address(address.parse().unwrap());
        let run = RunId::from_bytes([2; 16]);
        (client.build().unwrap().run_events(run), serving)
    }

    async fn seq(events: &mut Events) -> u64 {
        match events.next().await {
            Some(Ok(Frame::Event(event))) => event.seq.0,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_goes_on_without_gap_or_repetition() {
        let third = frame(3);
        let (mut events, serving) = server(vec![
            format!("{}{}{}", frame(1), frame(2), &third[..third.len() - 9]),
            ": still here\n\n".to_owned(),
            format!("{}{third}", frame(2)),
        ]);
        for expected in [1, 2, 3] {
            assert_eq!(seq(&mut events).await, expected);
        }
        let asked = serving.join().unwrap();
        assert!(!asked[0].contains("last-event-id"));
        assert!(asked[1].contains("last-event-id: 2\r\n"));
        assert!(asked[2].contains("last-event-id: 2\r\n"));
    }

    #[tokio::test]
    async fn a_stream_is_asked_for_a_bounded_number_of_times() {
        let (mut events, serving) = server(vec![String::new()]);
        events.failures = events.client.connections() - 1;
        assert!(matches!(events.next().await, Some(Err(_))));
        assert!(events.next().await.is_none(), "an error is the end");
        assert_eq!(serving.join().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_found_elsewhere_is_handed_out_before_asking_again() {
        let (events, serving) = server(vec![frame(1)]);
        let data = frame(2);
        let data = data.split("data: ").nth(1).unwrap().trim_end().to_owned();
        let mut events = events.or_elsewhere(move |after| {
            assert_eq!(after, 1);
            vec![serde_json::from_str(&data).unwrap()]
        });
        assert_eq!(seq(&mut events).await, 1);
        assert_eq!(seq(&mut events).await, 2);
        assert_eq!(serving.join().unwrap().len(), 1, "it was asked once");
    }
}
