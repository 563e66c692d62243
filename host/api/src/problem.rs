//! Errors in responses: RFC 9457 `application/problem+json`, with the names of the run contract.
//! Defines every name and its status; the server converts its errors into them.

use crate::Damage;
use crate::forms::if_known;
use lastword_types::id::RunId;
use lastword_types::retry::is_retryable;
use lastword_types::session::Answer;
use serde::{Deserialize, Serialize};

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The properties of all errors with one name.
#[derive(Debug)]
pub struct Kind {
    /// The name, for programs.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// A few words for people.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($status:literal $name:literal $title:literal)*) => {
        /// All errors in responses, by status and name.
        pub const KINDS: &[Kind] = &[$(Kind { name: $name, status: $status, title: $title }),*];
    };
}

kinds! {
    400 "empty-prompt" "The prompt is empty"
    400 "invalid-agent" "The agent cannot be loaded"
    400 "invalid-body" "The body is not what this route takes"
    400 "invalid-client-id" "The client id is not a UUID"
    400 "invalid-cursor" "There is no such place in the log"
    400 "invalid-directory" "The directory cannot be a workspace"
    400 "invalid-id" "An id in the path is malformed"
    400 "invalid-key" "The idempotency key is malformed"
    400 "invalid-query" "A query parameter is wrong"
    400 "invalid-value" "A value cannot be kept"
    401 "unauthenticated" "Who are you?"
    403 "forbidden" "You may not do this"
    403 "foreign-origin" "The request comes from a foreign web page"
    403 "outside-roots" "The directory lies outside of what this server offers"
    404 "client-not-attached" "The client has no claim here"
    404 "unknown-agent" "There is no such agent"
    404 "unknown-blob" "There are no such bytes"
    404 "unknown-grant" "There is no such grant"
    404 "unknown-message" "There is no such message"
    404 "unknown-question" "There is no such question"
    404 "unknown-route" "There is nothing at this address"
    404 "unknown-run" "There is no such run"
    404 "unknown-session" "There is no such session"
    404 "unknown-workspace" "There is no such workspace"
    405 "wrong-method" "This address takes other methods"
    408 "body-timeout" "The body did not arrive in time"
    409 "already-answered" "Somebody has answered already"
    409 "already-resumed" "The run was gone on with already"
    409 "client-retired" "The client was retired"
    409 "key-conflict" "The idempotency key belongs to another request"
    409 "not-resumable" "The run cannot be resumed"
    409 "question-dismissed" "The run that asked is over"
    409 "run-held" "The run is held"
    409 "run-not-ended" "The run has no end yet"
    409 "run-started" "The run has started already"
    409 "unreadable-options" "What the workspace was opened with cannot be read"
    409 "workspace-closing" "The workspace is closing"
    410 "cursor-expired" "The log no longer reaches back that far"
    413 "body-too-large" "The body is too large"
    415 "unsupported-media-type" "The body's media type is not taken here"
    421 "foreign-host" "This server does not answer for that host name"
    429 "queue-full" "The session's queue is full"
    429 "too-many-streams" "The caller has too many event streams open"
    500 "internal" "The server failed"
    500 "store-damaged" "What is stored cannot be read"
    503 "host-closing" "The host is shutting down"
    503 "host-unavailable" "The host cannot do this now"
    503 "providers-unavailable" "The workspace's providers are not available"
    503 "store-unavailable" "The store cannot do this now"
}

/// An error in the form of RFC 9457, with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:lastword:error:` followed by the name.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "urn:lastword:error:unknown-run")
    )]
    pub r#type: String,
    /// A few words for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, why, and what to do.
    pub detail: String,
    /// The name, for programs.
    #[cfg_attr(feature = "openapi", schema(example = "unknown-run"))]
    pub name: String,
    /// Whether the same request may succeed later without any other change.
    #[serde(default)]
    pub retryable: bool,
    /// The oldest cursor that still works, if the given one is older than the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_after: Option<u64>,
    /// The path at which to read the messages whose events were folded away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// The path at which to find the sessions whose events were folded away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// The answer that counts, if the question was already answered.
    #[serde(
        default,
        deserialize_with = "if_known",
        skip_serializing_if = "Option::is_none"
    )]
    pub answer: Option<Answer>,
    /// The damage, if stored data cannot be read. Repeating the request does not help.
    #[serde(
        default,
        deserialize_with = "if_known",
        skip_serializing_if = "Option::is_none"
    )]
    pub damage: Option<Damage>,
    /// The run that resumed this one, if it was already resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

impl Problem {
    /// Creates a problem with a name from [`KINDS`]. Any other name becomes `internal`.
    #[must_use]
    pub fn new(name: &str, detail: impl Into<String>) -> Self {
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let internal = || KINDS.iter().find(|kind| kind.name == "internal");
        let kind = kind.or_else(internal).unwrap_or(&KINDS[0]);
        Self {
            r#type: format!("urn:lastword:error:{}", kind.name),
            title: kind.title.to_owned(),
            status: kind.status,
            detail: detail.into(),
            name: kind.name.to_owned(),
            retryable: is_retryable(kind.name),
            resume_after: None,
            messages: None,
            sessions: None,
            answer: None,
            damage: None,
            run: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::retry::RETRYABLE_ERRORS;

    #[test]
    fn every_name_is_listed_once_with_a_status_of_its_own_kind() {
        for (at, kind) in KINDS.iter().enumerate() {
            let again = KINDS[at + 1..].iter().any(|other| other.name == kind.name);
            assert!(!again, "{} is listed twice", kind.name);
            assert!((400..600).contains(&kind.status), "{}", kind.name);
        }
        assert!(KINDS.is_sorted_by_key(|kind| kind.status));
    }

    #[test]
    fn every_name_that_may_be_tried_again_is_listed() {
        for name in RETRYABLE_ERRORS {
            let problem = Problem::new(name, "");
            assert_eq!((problem.name.as_str(), problem.retryable), (*name, true));
        }
    }

    #[test]
    fn a_name_that_is_not_listed_is_not_passed_on() {
        assert_eq!(Problem::new("no-such-name", "").name, "internal");
    }

    #[test]
    fn a_server_that_does_not_say_so_promises_nothing() {
        let mut json = serde_json::to_value(Problem::new("queue-full", "why")).unwrap();
        json.as_object_mut().unwrap().remove("retryable");
        let problem: Problem = serde_json::from_value(json).unwrap();
        assert!(!problem.retryable);
    }

    #[test]
    fn what_a_later_server_answers_otherwise_is_left_out() {
        let mut json = serde_json::to_value(Problem::new("already-answered", "why")).unwrap();
        json["answer"] = serde_json::json!({ "answer": "in-song" });
        let problem: Problem = serde_json::from_value(json).unwrap();
        assert_eq!((problem.answer, problem.status), (None, 409));
    }
}
