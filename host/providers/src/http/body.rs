//! The body of a response, chunk by chunk: aborted when it is too long, too slow or too late, and
//! without the secrets that the request carried.

use super::error::{HttpError, HttpErrorKind};
use crate::secrets::RedactedStream;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use lastword_types::clock::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// The body of a response. Dropping it ends the request.
pub struct Body {
    pub(super) response: reqwest::Response,
    /// The `host:port` that it comes from.
    pub(super) target: String,
    pub(super) clock: Arc<dyn Clock>,
    /// Completes when the request's time is over.
    pub(super) deadline: BoxFuture<'static, ()>,
    /// The longest pause between two chunks.
    pub(super) idle: Duration,
    /// Bytes that may still be received.
    pub(super) remaining: u64,
    pub(super) redacted: Option<RedactedStream>,
    pub(super) ended: bool,
    /// The run's permit for one more request in flight.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Body {
    /// Returns the next bytes; `None` at the end, and after an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        while !self.ended {
            let Some(bytes) = self.receive().await.inspect_err(|_| self.ended = true)? else {
                self.ended = true;
                let held = self.redacted.as_mut().map(RedactedStream::finish);
                let held = held.filter(|held| !held.is_empty());
                return Ok(held.map(Bytes::from));
            };

            let Some(redacted) = &mut self.redacted else {
                return Ok(Some(bytes));
            };
            let seen = redacted.push(&bytes);
            if !seen.is_empty() {
                return Ok(Some(seen.into()));
            }
        }

        Ok(None)
    }

    /// Returns the next bytes within the bounds, never empty.
    async fn receive(&mut self) -> Result<Option<Bytes>, HttpError> {
        let paused = self.clock.sleep(self.idle);

        let next = async {
            loop {
                match self.response.chunk().await {
                    Ok(Some(bytes)) if bytes.is_empty() => {}
                    next => return next,
                }
            }
        };

        let next = tokio::select! {
            biased;
            () = &mut self.deadline => return Err(too_late(&self.target)),
            next = next => next,
            () = paused => {
                let message = format!("{} sent nothing for {:?}", self.target, self.idle);
                return Err(HttpError::new(HttpErrorKind::Timeout, message));
            }
        };
        let bytes = next.map_err(|error| HttpError::of(&error, &self.target))?;
        let length = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);

        match self.remaining.checked_sub(length) {
            Some(remaining) => self.remaining = remaining,
            None => return Err(too_long(&self.target)),
        }

        Ok(bytes)
    }
}

pub(super) fn too_late(target: &str) -> HttpError {
    let message = format!("{target} took longer than a request may");
    HttpError::new(HttpErrorKind::Timeout, message)
}

pub(super) fn too_long(target: &str) -> HttpError {
    let message = format!("{target} sent more than an answer may hold");
    HttpError::new(HttpErrorKind::ResponseBytes, message)
}
