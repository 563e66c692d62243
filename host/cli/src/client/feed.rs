//! A server's stream of events, over as many connections as it takes: each goes on after the last
//! event that was read, so that nothing is missed and nothing comes twice. Knows how streams are
//! written, not what the events say.

use super::{Api, CallError, RunView};
use futures_util::stream::{self, BoxStream, StreamExt};
use lastword::event::{EventBody, Seq};
use lastword::id::{RunId, SessionId};
use lastword::{Archive, StoreError};
use sse_stream::{Sse, SseStream};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a stream may be silent. A server that lives says so every 15 seconds.
const SILENCE: Duration = Duration::from_secs(50);
/// Connections in a row that bring no event.
const FAILURES_MAX: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A stream of events.
pub(crate) struct Feed {
    api: Api,
    path: String,
    /// The id of the last event that was handed out.
    last: Option<u64>,
    open: Option<BoxStream<'static, Result<Sse, sse_stream::Error>>>,
    failures: u32,
    /// The run whose log lies on this machine, too.
    run: Option<(RunId, SessionId)>,
    /// What was read there.
    on_disk: VecDeque<String>,
}

impl Feed {
    /// The events of a run. Once the data directory has no owner that answers, the end of one that
    /// has it is read there.
    pub(crate) fn of_run(api: &Api, run: &RunView) -> Self {
        let mut feed = Self::new(api, format!("/runs/{}/events", run.run));
        feed.run = Some((run.run, run.session));
        feed
    }

    pub(crate) fn new(api: &Api, path: impl Into<String>) -> Self {
        Self {
            api: api.clone(),
            path: path.into(),
            last: None,
            open: None,
            failures: 0,
            run: None,
            on_disk: VecDeque::new(),
        }
    }

    /// Another stream of the same, which begins after the last event that was handed out.
    pub(crate) fn ahead(&self) -> Self {
        Self {
            last: self.last,
            ..Self::new(&self.api, self.path.clone())
        }
    }

    /// The next event, as JSON. Where the stream breaks off it is asked for again, a bounded number of
    /// times; whoever knows its last event stops asking. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<String, CallError> {
        loop {
            if let Some(frame) = self.on_disk.pop_front() {
                return Ok(frame);
            }
            let why = match self.read().await {
                Ok(Some(frame)) => {
                    self.failures = 0;
                    return Ok(frame);
                }
                Ok(None) => self.api.unreachable("the stream of events broke off", true),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            self.open = None;
            if let (Some((run, session)), Some(holder)) = (self.run, self.api.holder()) {
                let after = Seq(self.last.unwrap_or_default());
                let rest = ended_on_disk(&holder.data, run, session, after);
                self.on_disk = rest.unwrap_or_default();
                if !self.on_disk.is_empty() {
                    continue;
                }
            }
            self.failures += 1;
            if self.failures > FAILURES_MAX {
                return Err(why);
            }
            let pause = FIRST_PAUSE * 2_u32.pow(self.failures - 1);
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
    }

    /// All events until the server ends the stream.
    pub(crate) async fn all(mut self) -> Result<Vec<String>, CallError> {
        let mut frames = Vec::new();
        while let Some(frame) = self.read().await? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The next event of this connection; `None` at its end.
    async fn read(&mut self) -> Result<Option<String>, CallError> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let response = self.api.open(&self.path, self.last).await?;
                    let bytes = alive(response.bytes_stream().boxed());
                    let events = SseStream::from_bytes_stream(bytes);
                    self.open.insert(events.boxed())
                }
            };
            let sse = match open.next().await {
                Some(Ok(sse)) => sse,
                Some(Err(_)) | None => return Ok(None),
            };
            let id = sse.id.as_deref().and_then(|id| id.parse::<u64>().ok());
            if id.is_some() && id <= self.last {
                continue;
            }
            self.last = id.or(self.last);
            let (Some(kind), Some(data)) = (sse.event, sse.data) else {
                continue;
            };
            if kind == "problem" {
                let problem: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
                let detail = problem["detail"].as_str().unwrap_or("the stream failed");
                return Err(self.api.unreachable(detail, false));
            }
            return Ok(Some(data));
        }
    }
}

/// The events of a run up to its end, as far as they come after; none while it has no end.
fn ended_on_disk(
    data: &Path,
    run: RunId,
    session: SessionId,
    mut after: Seq,
) -> Option<VecDeque<String>> {
    let archive = Archive::open(data).ok()?;
    let mut frames = VecDeque::new();
    loop {
        let page: Result<_, StoreError> = archive.events(session, after);
        let page = page.ok()?;
        after = page.last()?.seq;
        for event in page.into_iter().filter(|event| event.run == Some(run)) {
            let is_end = matches!(event.body, EventBody::RunEnded { .. });
            frames.push_back(serde_json::to_string(&event).ok()?);
            if is_end {
                return Some(frames);
            }
        }
    }
}

/// The same bytes, with an error where nothing comes for too long.
fn alive<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    bytes: BoxStream<'static, Result<T, E>>,
) -> BoxStream<'static, io::Result<T>> {
    let next = |mut bytes: BoxStream<'static, Result<T, E>>| async move {
        let item = match tokio::time::timeout(SILENCE, bytes.next()).await {
            Ok(item) => item?.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        Some((item, bytes))
    };
    stream::unfold(bytes, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

    /// A server that gives each connection one of these streams and then breaks off. Answers what
    /// it was asked.
    fn server(streams: &'static [&'static str]) -> (Feed, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let serve = |stream: &&str| {
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
            streams.iter().map(serve).collect()
        });
        let api = Api::at(&address, None, || Ok(None)).unwrap();
        (Feed::new(&api, "/events"), serving)
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_goes_on_without_gap_or_repetition() {
        let (mut feed, serving) = server(&[
            "id: 1\nevent: x\ndata: a\n\nid: 2\nevent: x\ndata: b\n\nid: 3\nevent: x\nda",
            ": still here\n\n",
            "id: 2\nevent: x\ndata: b\n\nid: 3\nevent: x\ndata: c\n\n",
        ]);
        for data in ["a", "b", "c"] {
            assert_eq!(feed.next().await.unwrap(), data);
        }
        let asked = serving.join().unwrap();
        assert!(!asked[0].contains("last-event-id"));
        assert!(asked[1].contains("last-event-id: 2\r\n"));
        assert!(asked[2].contains("last-event-id: 2\r\n"));
    }

    #[tokio::test]
    async fn a_stream_is_asked_for_a_bounded_number_of_times() {
        let (mut feed, serving) = server(&[""]);
        feed.failures = FAILURES_MAX;
        assert!(feed.next().await.is_err());
        assert_eq!(serving.join().unwrap().len(), 1);
    }
}
