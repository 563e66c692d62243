//! Errors as they go over the wire: RFC 9457 `application/problem+json`, under the names of
//! the run contract. Knows every name and its status; does not know what caused an error.

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lastword::id::RunId;
use lastword::session::Answer;
use lastword::{Damage, ErrorKind, HostError};
use serde::Serialize;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What all errors of one name have in common.
#[derive(Debug)]
pub struct Kind {
    /// The name, for programs.
    pub name: &'static str,
    /// The kind in a few words, for people.
    pub title: &'static str,
    /// The status of an error that only a server has.
    own: Option<u16>,
}

impl Kind {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        let of_host = || ErrorKind::of_name(self.name).unwrap_or(ErrorKind::Internal);
        self.own.unwrap_or_else(|| of_host().status())
    }
}

macro_rules! kinds {
    (@own host) => { None };
    (@own $status:literal) => { Some($status) };
    ($($status:tt $name:literal $title:literal)*) => {
        /// Every error that a server answers, by status and name. Those with `host` are the
        /// host's own, whose kinds give their status.
        pub const KINDS: &[Kind] = &[$(Kind {
            name: $name,
            title: $title,
            own: kinds!(@own $status),
        }),*];
    };
}

kinds! {
    host "empty-prompt" "The prompt is empty"
    host "invalid-agent" "The agent cannot be loaded"
    400 "invalid-body" "The body is not what this route takes"
    400 "invalid-client-id" "The client id is not a UUID"
    host "invalid-cursor" "There is no such place in the log"
    host "invalid-directory" "The directory cannot be a workspace"
    400 "invalid-id" "An id in the path is malformed"
    400 "invalid-key" "The idempotency key is malformed"
    400 "invalid-query" "A query parameter is wrong"
    host "invalid-value" "A value cannot be kept"
    401 "unauthenticated" "Who are you?"
    403 "forbidden" "You may not do this"
    403 "foreign-origin" "The request comes from a foreign web page"
    403 "outside-roots" "The directory lies outside of what this server offers"
    host "client-not-attached" "The client has no claim here"
    host "unknown-agent" "There is no such agent"
    404 "unknown-blob" "There are no such bytes"
    host "unknown-grant" "There is no such grant"
    host "unknown-message" "There is no such message"
    host "unknown-question" "There is no such question"
    404 "unknown-route" "There is nothing at this address"
    host "unknown-run" "There is no such run"
    host "unknown-session" "There is no such session"
    host "unknown-workspace" "There is no such workspace"
    405 "wrong-method" "This address takes other methods"
    408 "body-timeout" "The body did not arrive in time"
    host "already-answered" "Somebody has answered already"
    host "already-resumed" "The run was gone on with already"
    host "client-retired" "The client was retired"
    host "key-conflict" "The idempotency key belongs to another request"
    host "not-resumable" "The run cannot be resumed"
    host "question-dismissed" "The run that asked is over"
    host "run-held" "The run is held"
    host "run-not-ended" "The run has no end yet"
    host "run-started" "The run has started already"
    host "unreadable-options" "What the workspace was opened with cannot be read"
    host "workspace-closing" "The workspace is closing"
    host "cursor-expired" "The log no longer reaches back that far"
    413 "body-too-large" "The body is too large"
    415 "unsupported-media-type" "The body's media type is not taken here"
    421 "foreign-host" "This server does not answer for that host name"
    host "queue-full" "The session's queue is full"
    host "internal" "The server failed"
    host "store-damaged" "What is stored cannot be read"
    host "host-closing" "The host is shutting down"
    host "host-unavailable" "The host cannot do this now"
    host "store-unavailable" "The store cannot do this now"
}

/// One error, ready to be answered.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    resume_after: Option<u64>,
    messages: Option<Box<str>>,
    sessions: Option<Box<str>>,
    answer: Option<Box<Answer>>,
    damage: Option<Box<Damage>>,
    run: Option<RunId>,
}

/// An error: RFC 9457, with the error's name.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `urn:lastword:error:` and the name.
    #[schema(example = "urn:lastword:error:unknown-run")]
    r#type: String,
    /// The kind in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened, why, and what to do.
    detail: String,
    /// The name, for programs.
    #[schema(example = "unknown-run")]
    name: String,
    /// The oldest cursor that still works, of a cursor that is older than the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_after: Option<u64>,
    /// Where to read the messages that the log no longer reaches back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<String>,
    /// Where to find the sessions whose events the log no longer reaches back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<String>,
    /// The answer that counted, of a question that was answered already.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    /// What cannot be read, and what is lost by it; asking again does not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<Damage>,
    /// The run that went on, of a run that was gone on with already.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
}

impl Problem {
    /// A problem of a name that [`KINDS`] lists; of any other name, `internal`.
    #[must_use]
    pub fn new(name: &str, detail: impl Into<String>) -> Self {
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let internal = || KINDS.iter().find(|kind| kind.name == "internal");
        Self {
            kind: kind.or_else(internal).unwrap_or(&KINDS[0]),
            detail: detail.into(),
            resume_after: None,
            messages: None,
            sessions: None,
            answer: None,
            damage: None,
            run: None,
        }
    }

    /// The same, with where else to read what the log no longer holds.
    pub(crate) fn with_messages(mut self, link: String) -> Self {
        self.messages = Some(link.into());
        self
    }

    /// The same, with where to begin to look for what the log no longer holds.
    pub(crate) fn with_sessions(mut self, link: String) -> Self {
        self.sessions = Some(link.into());
        self
    }

    /// Something that nobody expected. The cause goes to the log, never to the client.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            "internal",
            "the server failed while it answered; its log says why, under this request's id",
        )
    }

    /// The name, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    /// The status with which it is answered.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its JSON, as in the body.
    pub(crate) fn json(&self) -> String {
        let body = ProblemBody {
            r#type: format!("urn:lastword:error:{}", self.kind.name),
            title: self.kind.title.to_owned(),
            status: self.kind.status(),
            detail: self.detail.clone(),
            name: self.kind.name.to_owned(),
            resume_after: self.resume_after,
            messages: self.messages.as_deref().map(str::to_owned),
            sessions: self.sessions.as_deref().map(str::to_owned),
            answer: self.answer.as_deref().cloned(),
            damage: self.damage.as_deref().cloned(),
            run: self.run,
        };
        // A map with text keys has a JSON, always.
        serde_json::to_string(&body).unwrap_or_default()
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
        response
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        if error.name() == "internal" {
            return Self::internal(error);
        }
        let mut problem = Self::new(error.name(), error.to_string());
        match error {
            HostError::CursorExpired { resume_after } => problem.resume_after = Some(resume_after),
            HostError::AlreadyAnswered { answer, .. } => problem.answer = Some(Box::new(answer)),
            HostError::Damaged(damage) => problem.damage = Some(damage),
            HostError::AlreadyResumed { by, .. } => problem.run = Some(by),
            _ => {}
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_listed_once_with_a_status_of_its_own_kind() {
        for (at, kind) in KINDS.iter().enumerate() {
            let again = KINDS[at + 1..].iter().any(|other| other.name == kind.name);
            assert!(!again, "{} is listed twice", kind.name);
            assert!((400..600).contains(&kind.status()), "{}", kind.name);
            let of_host = ErrorKind::of_name(kind.name).is_some();
            assert_ne!(kind.own.is_some(), of_host, "{}", kind.name);
        }
        assert!(KINDS.is_sorted_by_key(|kind| kind.status()));
    }

    #[test]
    fn every_error_of_a_host_is_listed() {
        for (name, kind) in lastword::ERROR_NAMES {
            assert_eq!(Problem::new(name, "").name(), *name);
            assert_eq!(Problem::new(name, "").status().as_u16(), kind.status());
        }
    }

    #[test]
    fn a_name_that_nobody_listed_is_not_passed_on() {
        assert_eq!(Problem::new("no-such-name", "").name(), "internal");
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
