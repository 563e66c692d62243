//! Routes that read the content of a session: its messages, stored bytes, and a whole session.

use super::App;
use super::extract::{Asked, At, At2, Caller};
use super::sessions;
use super::workspaces::limit;
use crate::access::Action;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use lastword::id::{MessageId, SessionId};
use lastword::session::{BlobId, Export, Message};
use lastword_api::PageView;
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The number of characters of a blob's id.
const BLOB_CHARS: usize = 64;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_messages))
        .routes(routes!(export_session))
        .routes(routes!(read_blob))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// Only messages before this one: the `next` of the previous page.
    #[param(value_type = Option<MessageId>)]
    before: Option<String>,
    /// The largest number of entries; a page may have fewer. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Read a session's messages
///
/// Returns a page of messages in their order, from the end backwards. The messages of a run that
/// was withdrawn while it waited appear at the place of the withdrawal, without an `ordinal`: they
/// are in no agent's history.
#[utoipa::path(
    get,
    path = "/sessions/{s}/messages",
    tag = "sessions",
    params(("s" = SessionId, Path, description = "The session."), Paging),
    responses((status = 200, description = "One page of them.", body = PageView<Message>))
)]
async fn list_messages(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
    Asked(paging): Asked<Paging>,
) -> Result<axum::Json<PageView<Message>>, Problem> {
    let session = app.session(&who, Action::Read, id).await?;
    let before = sessions::id(paging.before.as_deref())?;
    let limit = limit(paging.limit)?;
    let items = session.messages_page(before, limit).await?;
    let full = items.len() >= limit as usize;
    let oldest = items.first().filter(|_| full);
    let next = oldest.map(|message| message.id.to_string());
    let mut damaged = app.damaged(&who, "message").await;
    damaged.retain(|damage| damage.session == Some(id));
    Ok(axum::Json(PageView {
        items,
        next,
        damaged,
    }))
}

/// The format of an exported session.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// JSON, for programs.
    #[default]
    Json,
    /// Markdown, for people.
    Markdown,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Shape {
    /// The format. Default: `json`.
    #[param(inline)]
    format: Option<Format>,
}

/// Export a session
///
/// Returns the whole session, with its runs and their messages.
#[utoipa::path(
    get,
    path = "/sessions/{s}/export",
    tag = "sessions",
    params(("s" = SessionId, Path, description = "The session."), Shape),
    responses((
        status = 200,
        description = "The session.",
        content((Export = "application/json"), (String = "text/markdown")),
    ))
)]
async fn export_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
    Asked(shape): Asked<Shape>,
) -> Result<Response, Problem> {
    let session = app.session(&who, Action::Read, id).await?;
    let export = session.export().await?;
    Ok(match shape.format.unwrap_or_default() {
        Format::Json => axum::Json(export).into_response(),
        Format::Markdown => {
            let markdown = [(CONTENT_TYPE, "text/markdown; charset=utf-8")];
            (markdown, export.to_markdown()).into_response()
        }
    })
}

/// A blob's id in a path.
struct BlobPath(BlobId);

impl FromStr for BlobPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == BLOB_CHARS && text.bytes().all(hex) {
            Ok(Self(BlobId(text.to_owned())))
        } else {
            Err(format!(
                "`{text}` is no id of bytes: expected a SHA-256 as {BLOB_CHARS} lower-case hex digits"
            ))
        }
    }
}

/// Read stored bytes
///
/// Returns the bytes of a `data` part, as a download whatever their media type.
#[utoipa::path(
    get,
    path = "/sessions/{s}/blobs/{b}",
    tag = "sessions",
    params(
        ("s" = SessionId, Path, description = "The session."),
        ("b" = BlobId, Path, description = "The bytes."),
    ),
    responses((
        status = 200,
        description = "The bytes.",
        body = Vec<u8>,
        content_type = "application/octet-stream",
    ))
)]
async fn read_blob(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At2(id, BlobPath(blob)): At2<SessionId, BlobPath>,
) -> Result<impl IntoResponse, Problem> {
    let session = app.session(&who, Action::Read, id).await?;
    let bytes = session.blob(&blob).await?.ok_or_else(|| {
        let detail = format!("the session {id} has no bytes {}", blob.0);
        Problem::new("unknown-blob", detail)
    })?;
    // Bytes made by an agent must not run as a page of this server.
    let headers = [
        (CONTENT_TYPE, "application/octet-stream"),
        (CONTENT_DISPOSITION, "attachment"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, bytes))
}
