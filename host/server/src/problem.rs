//! Converts errors, such as those of the host, into HTTP responses. `lastword-api` defines their
//! names and their JSON.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lastword::HostError;
use lastword_api::Problem as Body;

pub use lastword_api::problem::{KINDS, Kind, MEDIA_TYPE};

/// The seconds after which a client may repeat a request that was refused for now.
const RETRY_AFTER_S: u64 = 1;

/// One error, ready to be sent as a response.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    body: Box<Body>,
}

impl Problem {
    /// Creates a problem with a name from [`KINDS`]. Any other name becomes `internal`.
    #[must_use]
    pub fn new(name: &str, detail: impl Into<String>) -> Self {
        let body = Body::new(name, detail);
        let kind = KINDS.iter().find(|kind| kind.name == body.name);
        Self {
            kind: kind.unwrap_or(&KINDS[0]),
            body: Box::new(body),
        }
    }

    /// Appends words to the detail.
    pub(crate) fn with_detail(mut self, words: &str) -> Self {
        self.body.detail.push_str(words);
        self
    }

    /// Adds a link to the messages whose events the log no longer has.
    pub(crate) fn with_messages(mut self, link: String) -> Self {
        self.body.messages = Some(link);
        self
    }

    /// Adds a link to the sessions whose events the log no longer has.
    pub(crate) fn with_sessions(mut self, link: String) -> Self {
        self.body.sessions = Some(link);
        self
    }

    /// Creates the problem of an unexpected error. The cause is logged, and never sent to the
    /// client.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            "internal",
            "the server failed while it answered; its log says why, under this request's id",
        )
    }

    /// Returns the name, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the JSON of the body.
    pub(crate) fn json(&self) -> String {
        // Cannot fail: a map with text keys is always valid JSON.
        serde_json::to_string(&self.body).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }

        let waits = matches!(
            self.status(),
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if waits && self.body.retryable {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }

        response
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        if error.name() == "internal" {
            return Self::internal(error);
        }

        let mut problem = Self::new(error.name(), error.to_string());
        let body = &mut problem.body;
        body.retryable = error.is_retryable();
        match error {
            HostError::CursorExpired { resume_after } => body.resume_after = Some(resume_after),
            HostError::AlreadyAnswered { answer, .. } => body.answer = Some(answer),
            HostError::Damaged(found) => body.damage = Some(*found),
            HostError::AlreadyResumed { by, .. } => body.run = Some(by),
            _ => {}
        }

        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword::session::Answer;

    #[test]
    fn every_error_of_a_host_is_listed_with_the_status_of_its_kind() {
        for (name, kind) in lastword::ERROR_NAMES {
            assert_eq!(Problem::new(name, "").name(), *name);
            assert_eq!(Problem::new(name, "").status().as_u16(), kind.status());
        }
    }

    #[test]
    fn what_passes_says_when_to_ask_again() {
        let told = |name: &str| {
            let response = Problem::new(name, "").into_response();
            let after = response.headers().get(RETRY_AFTER);
            after.map(|after| after.to_str().unwrap().parse::<u64>().unwrap())
        };
        for name in [
            "workspace-closing",
            "queue-full",
            "too-many-streams",
            "host-closing",
            "store-unavailable",
            "providers-unavailable",
        ] {
            assert_eq!(told(name), Some(RETRY_AFTER_S), "{name}");
        }
        for name in [
            "key-conflict",
            "host-unavailable",
            "unknown-run",
            "internal",
        ] {
            assert_eq!(told(name), None, "{name}");
        }
    }

    #[test]
    fn members_stand_beside_the_fields() {
        let problem = Problem::from(HostError::CursorExpired { resume_after: 7 });
        let body: serde_json::Value = serde_json::from_str(&problem.json()).unwrap();
        assert_eq!(body["type"], "urn:lastword:error:cursor-expired");
        assert_eq!(
            (&body["status"], &body["resume_after"]),
            (&410.into(), &7.into())
        );
        let problem = Problem::from(HostError::AlreadyAnswered {
            question: lastword::id::QuestionId::generate(),
            answer: Answer::Allow { remember: None },
        });
        let body: serde_json::Value = serde_json::from_str(&problem.json()).unwrap();
        assert_eq!(body["answer"]["answer"], "allow");
    }
}
