//! An event stream as a response body: frames, heartbeats, and its end. Reads events only as fast
//! as the client does, so that a slow one delays no other. `streams.rs` holds its routes.

use super::App;
use super::stream_places::StreamPlace;
use crate::metrics::Streaming;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream;
use lastword::event::Event;
use lastword::id::WorkspaceId;
use lastword::{ClientLease, Events, WorkspaceStage, WorkspaceStages};
use lastword_api::{EVENT_PROBLEM, Notice, NoticeKind};
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;

/// How a stream's events are numbered.
#[derive(Clone, Copy)]
pub(crate) enum Numbered {
    /// By their number within the session.
    BySeq,
    /// By their position among all events of the workspace.
    ByPosition,
}

/// The events and notices to send, and the client's claim, which is held as long as the stream.
pub(crate) struct Feed {
    events: Option<Events>,
    numbered: Numbered,
    stages: Option<(WorkspaceStages, WorkspaceId)>,
    /// Whether the client was notified that the workspace is closing.
    closing: bool,
    drained: Option<BoxFuture<'static, ()>>,
    heartbeat: Duration,
    /// The frame to send after the last event.
    farewell: Option<Bytes>,
    attachment: Option<ClientLease>,
    _streaming: Streaming,
    _place: StreamPlace,
}

impl Feed {
    /// Creates a stream of these events. It ends when they end, or at the head of the log once the
    /// host is closing.
    pub(crate) fn new(app: &App, place: StreamPlace, events: Events, numbered: Numbered) -> Self {
        let drained: BoxFuture<'static, ()> = {
            let host = app.host.clone();
            Box::pin(async move { host.drained().await })
        };

        Self {
            events: Some(events),
            numbered,
            stages: None,
            closing: false,
            drained: Some(drained),
            heartbeat: app.options.heartbeat,
            farewell: None,
            attachment: None,
            _streaming: app.metrics.stream(),
            _place: place,
        }
    }

    /// Creates a stream of these events with the notices of a workspace between them.
    pub(crate) fn of_workspace(
        mut self,
        stages: Option<WorkspaceStages>,
        workspace: WorkspaceId,
        attachment: Option<ClientLease>,
    ) -> Self {
        self.stages = stages.map(|stages| (stages, workspace));
        self.attachment = attachment;
        self
    }

    pub(crate) fn response(self) -> Response {
        let frames = stream::unfold(self, |mut feed| async move {
            let frame = feed.next().await?;
            Some((Ok::<_, Infallible>(frame), feed))
        });
        let mut response = Response::new(Body::from_stream(frames));
        let headers = response.headers_mut();
        let event_stream = HeaderValue::from_static("text/event-stream");
        headers.insert(CONTENT_TYPE, event_stream);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A proxy that buffers whole responses would never pass this one on.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        headers.insert(unbuffered, HeaderValue::from_static("no"));
        response
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(events) = &mut self.events else {
                return self.farewell.take();
            };
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => return Some(self.frame(&event)),
                    Some(Err(error)) => {
                        self.events = None;
                        return Some(problem(&error.into()));
                    }
                    None => self.events = None,
                },
                () = released(self.attachment.as_ref()) => self.released(),
                stage = stage(&mut self.stages) => {
                    if let Some(frame) = self.noticed(stage) {
                        return Some(frame);
                    }
                }
                () = over(&mut self.drained) => {
                    self.drained = None;
                    self.end_at_head();
                }
                () = tokio::time::sleep(self.heartbeat) => {
                    return Some(Bytes::from_static(b": still here\n\n"));
                }
            }
        }
    }

    /// Ends the stream after the events that are in the log now.
    fn end_at_head(&mut self) {
        self.events = self.events.take().map(Events::stored);
    }

    /// Ends the stream, since the claim of its client has ended.
    fn released(&mut self) {
        self.attachment = None;
        if let Some((_, workspace)) = self.stages.take() {
            self.farewell = Some(announce(NoticeKind::Released, workspace));
        }
        self.end_at_head();
    }

    fn noticed(&mut self, stage: Option<WorkspaceStage>) -> Option<Bytes> {
        let Some(stage) = stage else {
            self.stages = None;
            return None;
        };

        let (_, workspace) = self.stages.as_ref()?;
        let workspace = *workspace;
        if stage == WorkspaceStage::Closed {
            // All events of its runs are in the log now, and are sent first.
            self.farewell = Some(announce(NoticeKind::Closed, workspace));
            self.end_at_head();
        }

        let first = !std::mem::replace(&mut self.closing, true);
        first.then(|| announce(NoticeKind::Closing, workspace))
    }

    fn frame(&self, event: &Event) -> Bytes {
        let id = match self.numbered {
            Numbered::BySeq => event.seq.0,
            Numbered::ByPosition => event.pos.0,
        };
        // A folded event has no number: it is rebuilt from the whole message.
        let id = (id > 0).then_some(id);
        frame(id, event.body.kind(), &json(event))
    }
}

async fn stage(stages: &mut Option<(WorkspaceStages, WorkspaceId)>) -> Option<WorkspaceStage> {
    match stages {
        Some((stages, _)) => stages.next().await,
        None => std::future::pending().await,
    }
}

async fn released(attachment: Option<&ClientLease>) {
    match attachment {
        Some(attachment) => attachment.released().await,
        None => std::future::pending().await,
    }
}

async fn over(drained: &mut Option<BoxFuture<'static, ()>>) {
    match drained {
        Some(drained) => drained.await,
        None => std::future::pending().await,
    }
}

fn announce(kind: NoticeKind, workspace: WorkspaceId) -> Bytes {
    frame(None, kind.as_str(), &json(&Notice { kind, workspace }))
}

/// Returns the frame for an error after the stream has begun. The client may reconnect and continue
/// after the last event that it has received.
fn problem(problem: &Problem) -> Bytes {
    frame(None, EVENT_PROBLEM, &problem.json())
}

fn json(value: &impl Serialize) -> String {
    // Cannot fail: events are maps with text keys.
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns a frame. JSON contains line breaks only in strings, where they are written as `\n`, so
/// that the data is one line.
fn frame(id: Option<u64>, kind: &str, data: &str) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: {kind}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_id_the_kind_and_one_line_of_data() {
        let bytes = frame(Some(7), "text.delta", &json(&"a\nb"));
        assert_eq!(bytes, "id: 7\nevent: text.delta\ndata: \"a\\nb\"\n\n");
        assert_eq!(frame(None, "x", "{}"), "event: x\ndata: {}\n\n");
    }
}
