//! Failures of a server, worded for people and models. These texts are as long as the server made
//! them and may contain secrets: the caller redacts and then cuts them, in this order, since half a
//! secret would not be recognised.

use super::decode::UNREADABLE;
use super::http::{HttpError, RequestFailure, names_session};
use lastword_providers::causes;
use lastword_providers::tools::{ToolError, ToolErrorKind, ToolOutput};
use rmcp::ServiceError;
use rmcp::service::ClientInitializeError;
use std::error::Error;

/// What the failure of a request means for the connection.
pub(super) enum Failure {
    /// The server refused the request; the model receives its response.
    Refused(ToolOutput),
    /// Only this call failed.
    Failed(String),
    /// The server responded that it cannot be asked now.
    Busy(HttpRefusal),
    /// The connection may be unusable.
    Lost(String),
    /// The server demands something that this host does not support.
    Limit(String),
}

/// A server over HTTP responded with an error status.
pub(super) struct HttpRefusal {
    /// The message for people.
    pub(super) why: String,
    /// The value of its `Retry-After` header.
    pub(super) retry_after: Option<String>,
    /// Whether the server may have carried out the request.
    pub(super) may_have_acted: bool,
    /// Whether its message is about the session.
    pub(super) names_session: bool,
}

/// A server's demand for authorization, or for a wider one.
pub(super) struct AuthorizationDemand {
    /// The challenge, if there was one.
    pub(super) challenge: Option<String>,
}

/// Returns the demand if a request failed for lack of authorization.
pub(super) fn demand_of_request(error: &ServiceError) -> Option<AuthorizationDemand> {
    let challenge = error.auth_challenge().map(str::to_owned);
    let demand = challenge.is_some() || error.is_authorization_required();
    demand.then_some(AuthorizationDemand { challenge })
}

/// Returns the demand if a connection could not be opened for lack of authorization.
pub(super) fn demand_of_start(error: &ClientInitializeError) -> Option<AuthorizationDemand> {
    let challenge = error.auth_challenge().map(str::to_owned);
    let demand = challenge.is_some() || error.is_authorization_required();
    demand.then_some(AuthorizationDemand { challenge })
}

/// Returns the HTTP refusal within an error.
fn http_refusal(server: &str, error: &(dyn Error + 'static)) -> Option<HttpRefusal> {
    let Some(RequestFailure::Client(HttpError::Refused {
        status,
        words,
        retry_after,
    })) = error.downcast_ref::<RequestFailure>()
    else {
        return None;
    };

    Some(HttpRefusal {
        why: format!("{server} answered with {words}"),
        retry_after: retry_after.clone(),
        may_have_acted: !status.is_client_error(),
        names_session: names_session(words),
    })
}

/// Returns the HTTP refusal because of which a connection could not be opened.
pub(super) fn http_refusal_of_start(
    server: &str,
    error: &ClientInitializeError,
) -> Option<HttpRefusal> {
    match error {
        ClientInitializeError::TransportError { error, .. } => {
            http_refusal(server, error.error.as_ref())
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            http_refusal_of_start(server, fallback)
        }
        _ => None,
    }
}

/// Classifies a failed request to `server`.
pub(super) fn of_request(server: &str, error: &ServiceError) -> Failure {
    if demand_of_request(error).is_some() {
        return Failure::Lost(unauthorized(server));
    }

    match error {
        // Some servers respond with this error instead of a 404.
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
        ServiceError::TransportSend(error) => match http_refusal(server, error.error.as_ref()) {
            Some(refused) => Failure::Busy(refused),
            None => Failure::Lost(unreachable_message(server, error.error.as_ref())),
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

/// Says why a connection could not be opened.
pub(super) fn of_start(server: &str, error: &ClientInitializeError) -> String {
    if demand_of_start(error).is_some() {
        return unauthorized(server);
    }

    let why = match error {
        ClientInitializeError::TransportError { error, .. } => {
            let error = error.error.as_ref();
            return http_refusal(server, error)
                .map_or_else(|| unreachable_message(server, error), |refused| refused.why);
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
            "its first message is not a response to the request".to_owned()
        }
        other => causes(other as &(dyn Error + 'static)),
    };

    format!("{server} did not get ready: {why}")
}

fn unreachable_message(server: &str, error: &(dyn Error + 'static)) -> String {
    format!("{server} cannot be reached: {}", causes(error))
}

/// Returns the text of the error with its causes.
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
