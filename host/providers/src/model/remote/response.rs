//! A response as it streams in: passes the connection's bytes to the decoder, and yields its
//! events. Every byte that arrives restarts the limit on silence.

use super::decode::{Decoder, Fault};
use super::failure::Failures;
use super::names::Names;
use crate::model::provider::{ModelError, ModelEvent, ModelStream};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use lastword_types::session::PartBody;
use std::collections::VecDeque;
use std::time::Duration;

/// How long the stream stays open after the finish reason: a token count may follow, and some
/// servers leave the connection open.
const AFTER_FINISH: Duration = if cfg!(test) {
    Duration::from_millis(100)
} else {
    Duration::from_secs(10)
};

/// A response that is being received.
pub(super) struct ResponseStream {
    decoder: Decoder,
    names: Names,
    failures: Failures,
    /// `None` once nothing more is read, which closes the connection.
    bytes: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    ready: VecDeque<ModelEvent>,
    failed: Option<ModelError>,
}

impl ResponseStream {
    pub(super) fn new(
        response: reqwest::Response,
        decoder: Decoder,
        names: Names,
        failures: Failures,
    ) -> Self {
        Self {
            decoder,
            names,
            failures,
            bytes: Some(response.bytes_stream().boxed()),
            ready: VecDeque::new(),
            failed: None,
        }
    }

    /// Returns the events. Dropping the stream closes the connection, and so does its end.
    pub(super) fn events(self) -> ModelStream {
        stream::unfold(self, |mut answer| async move {
            let item = answer.next().await?;
            Some((item, answer))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<ModelEvent, ModelError>> {
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(event));
        }

        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }

        let bytes = self.bytes.as_mut()?.next();
        let next = if self.decoder.has_finish() {
            let waited = tokio::time::timeout(AFTER_FINISH, bytes).await;
            waited.unwrap_or(None)
        } else {
            bytes.await
        };

        match next {
            Some(Ok(bytes)) => {
                let fed = self.take(|decoder, events| decoder.feed(&bytes, events));
                if fed.is_err() || self.decoder.is_over() {
                    self.bytes = None;
                }
                self.fail(fed);
            }
            Some(Err(error)) => {
                self.bytes = None;
                let ended = self.take(Decoder::end);
                // A connection that breaks after the finish reason loses nothing of the response.
                match ended {
                    Err(Fault::BrokenOff) => self.failed = Some(self.failures.transport(&error)),
                    other => self.fail(other),
                }
            }
            None => {
                self.bytes = None;
                let ended = self.take(Decoder::end);
                self.fail(ended);
            }
        }

        // Bytes without an event show that the server is alive.
        let silent = || ModelEvent::Text(String::new());

        match (self.ready.pop_front(), self.failed.take()) {
            (Some(event), failed) => {
                self.failed = failed;
                Some(Ok(event))
            }
            (None, Some(error)) => Some(Err(error)),
            (None, None) => Some(Ok(silent())),
        }
    }

    fn take(
        &mut self,
        decode: impl FnOnce(&mut Decoder, &mut Vec<ModelEvent>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut events = Vec::new();
        let taken = decode(&mut self.decoder, &mut events);
        self.ready.extend(
            events
                .into_iter()
                .map(|event| with_original_name(&self.names, event)),
        );
        taken
    }

    fn fail(&mut self, outcome: Result<(), Fault>) {
        if let Err(fault) = outcome {
            let head = self.decoder.strange_head();
            self.failed = Some(self.failures.fault(fault, head));
        }
    }
}

/// Replaces a tool's wire name by its own in an event.
fn with_original_name(names: &Names, mut event: ModelEvent) -> ModelEvent {
    if let ModelEvent::Part(part) = &mut event
        && let PartBody::ToolCall(call) = &mut part.body
    {
        call.name = names.original(std::mem::take(&mut call.name));
    }
    event
}
