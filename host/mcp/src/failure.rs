//! What went wrong with a server, said for people and models. Texts are as long as the
//! server made them, and may hold what they must not: who passes them on redacts and cuts
//! them, in this order, since half a secret would not be recognised. Knows no connection.

use super::decode::UNREADABLE;
use super::http::{Failed, HttpError, names_session};
use super::text::causes;
use lastword_providers::tools::{ToolError, ToolErrorKind, ToolOutput};
use rmcp::ServiceError;
use rmcp::service::ClientInitializeError;
use std::error::Error;

/// What the failure of a request means.
pub(super) enum Failure {
    /// The server answered, and refused: that is for the model to read.
    Refused(ToolOutput),
    /// The call failed, and nothing beside it.
    Failed(String),
    /// The server answered that it cannot be asked now.
    Busy(Refused),
    /// The connection may be of no more use.
    Lost(String),
    /// The server wants what this host does not give.
    Limit(String),
}

/// A server over HTTP that answered with a status of failure.
pub(super) struct Refused {
    /// What happened, for people.
    pub(super) why: String,
    /// When it is to be asked again, in the form of the header.
    pub(super) retry_after: Option<String>,
    /// Whether it may have carried out what it was asked.
    pub(super) may_have_acted: bool,
    /// Whether what it says is about the session.
    pub(super) names_session: bool,
}

/// What a server said when it wanted authorization, or more of it.
pub(super) struct Wanted {
    /// Its challenge, if there was one.
    pub(super) challenge: Option<String>,
}

/// Whether a failed request was one for want of authorization.
pub(super) fn wanted_of_request(error: &ServiceError) -> Option<Wanted> {
    let challenge = error.auth_challenge().map(str::to_owned);
    let wanted = challenge.is_some() || error.is_authorization_required();
    wanted.then_some(Wanted { challenge })
}

/// Whether a connection did not come about for want of authorization.
pub(super) fn wanted_of_start(error: &ClientInitializeError) -> Option<Wanted> {
    let challenge = error.auth_challenge().map(str::to_owned);
    let wanted = challenge.is_some() || error.is_authorization_required();
    wanted.then_some(Wanted { challenge })
}

/// What a server over HTTP refused a request with.
fn refused(server: &str, error: &(dyn Error + 'static)) -> Option<Refused> {
    let Some(Failed::Client(HttpError::Refused {
        status,
        words,
        retry_after,
    })) = error.downcast_ref::<Failed>()
    else {
        return None;
    };

    Some(Refused {
        why: format!("{server} answered with {words}"),
        retry_after: retry_after.clone(),
        may_have_acted: !status.is_client_error(),
        names_session: names_session(words),
    })
}

/// What a server over HTTP refused a connection with.
pub(super) fn refused_of_start(server: &str, error: &ClientInitializeError) -> Option<Refused> {
    match error {
        ClientInitializeError::TransportError { error, .. } => {
            refused(server, error.error.as_ref())
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            refused_of_start(server, fallback)
        }
        _ => None,
    }
}

/// What became of a request to `server`.
pub(super) fn of_request(server: &str, error: &ServiceError) -> Failure {
    if wanted_of_request(error).is_some() {
        return Failure::Lost(unauthorized(server));
    }

    match error {
        // Some servers say so instead of answering 404.
        ServiceError::McpError(error)
            if matches!(error.code.0, -32_000 | -32_001)
                && error.message.to_ascii_lowercase().contains("session") =>
        {
            Failure::Lost(format!(
                "{server} knows the session no more: {}",
                error.message
            ))
        }
        ServiceError::McpError(error) if error.code == UNREADABLE => Failure::Failed(format!(
            "{server} sent an answer that cannot be read: {}",
            error.message
        )),
        ServiceError::McpError(error) => Failure::Refused(ToolOutput::error(format!(
            "{server} refused: {}",
            error.message
        ))),
        ServiceError::TransportSend(error) => match refused(server, error.error.as_ref()) {
            Some(refused) => Failure::Busy(refused),
            None => Failure::Lost(unreached(server, error.error.as_ref())),
        },
        ServiceError::InputRequiredRoundsExceeded { max_rounds } => Failure::Limit(format!(
            "{server} asked for more input {max_rounds} times without coming to an end"
        )),
        ServiceError::TransportClosed => Failure::Lost(format!("{server} closed the connection")),
        ServiceError::UnexpectedResponse => Failure::Failed(format!(
            "{server} answered with something else than a result"
        )),
        other => Failure::Lost(format!("{server} failed: {}", causes(other))),
    }
}

/// Why no connection came about.
pub(super) fn of_start(server: &str, error: &ClientInitializeError) -> String {
    if wanted_of_start(error).is_some() {
        return unauthorized(server);
    }

    let why = match error {
        ClientInitializeError::TransportError { error, .. } => {
            let error = error.error.as_ref();
            return refused(server, error)
                .map_or_else(|| unreached(server, error), |refused| refused.why);
        }
        ClientInitializeError::ConnectionClosed(_) => {
            "it closed the connection before it was ready".to_owned()
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            return of_start(server, fallback);
        }
        ClientInitializeError::JsonRpcError(error) => format!("it refused: {}", error.message),
        ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ExpectedInitResult(_) => {
            "its first answer is none to the question".to_owned()
        }
        other => causes(other as &(dyn Error + 'static)),
    };

    format!("{server} did not get ready: {why}")
}

fn unreached(server: &str, error: &(dyn Error + 'static)) -> String {
    format!("{server} cannot be reached: {}", causes(error))
}

/// A failure in its own words.
pub(super) fn causes_of(error: &ServiceError) -> String {
    causes(error)
}

fn unauthorized(server: &str) -> String {
    format!(
        "{server} asks for authorization: write `oauth = true` into [mcp.{server}], or put a \
         token into its `headers`, such as Authorization = \"Bearer {{{{secret:NAME}}}}\""
    )
}

pub(super) fn unavailable(message: impl Into<String>) -> ToolError {
    ToolError::new(ToolErrorKind::Unavailable, message)
}
