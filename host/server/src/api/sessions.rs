//! Routes about sessions: creating, listing, changing, forking and deleting them.

use super::App;
use super::extract::{Asked, At, Caller, Json};
use super::runs::key;
use super::workspaces::limit;
use crate::access::{Action, Principal};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use lastword::id::{AgentId, SessionId, WorkspaceId};
use lastword::session::SessionRecord;
use lastword::{HostError, SessionFilter};
use lastword_api::{Fork, NewSession, PageView, SessionChanges};
use serde::Deserialize;
use std::str::FromStr;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(begin_session, list_workspace_sessions))
        .routes(routes!(list_sessions))
        .routes(routes!(show_session, change_session, delete_session))
        .routes(routes!(fork_session))
}

/// A new session, with its address.
pub(super) type Created = (
    StatusCode,
    [(axum::http::HeaderName, String); 1],
    axum::Json<SessionRecord>,
);

fn created(record: SessionRecord) -> Created {
    let location = format!("/v1/sessions/{}", record.id);
    (
        StatusCode::CREATED,
        [(LOCATION, location)],
        axum::Json(record),
    )
}

/// Begin a session
///
/// The same `Idempotency-Key` in the same workspace again, with the same agent and parent, answers
/// the same session, and gives it the title only if it has none.
#[utoipa::path(
    post,
    path = "/workspaces/{w}/sessions",
    tag = "sessions",
    params(
        ("w" = WorkspaceId, Path, description = "The workspace."),
        ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The caller's name for this very request, in printable ASCII."),
    ),
    request_body = NewSession,
    responses((status = 201, description = "The session.", body = SessionRecord))
)]
async fn begin_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<WorkspaceId>,
    headers: HeaderMap,
    Json(new): Json<NewSession>,
) -> Result<Created, Problem> {
    let key = key(&headers)?;
    app.workspace(&who, Action::Prompt, id).await?;
    let agent = AgentId::new(new.agent).map_err(HostError::from)?;
    let agent = match app.host.agent(&agent) {
        Some(agent) => agent,
        None => return Err(app.unknown_agent(&who, agent).await),
    };
    let workspace = app.host.workspace(id).map_err(|error| app.now(error))?;
    if let Some(parent) = new.parent {
        app.session(&who, Action::Read, parent).await?;
    }

    let work = async move {
        let session = match (new.parent, key) {
            (Some(parent), Some(key)) => {
                workspace
                    .new_child_session_with_key(&agent, parent, key)
                    .await?
            }
            (Some(parent), None) => workspace.new_child_session(&agent, parent).await?,
            (None, Some(key)) => workspace.new_session_with_key(&agent, key).await?,
            (None, None) => workspace.new_session(&agent).await?,
        };

        let record = session.record().await?;
        match &new.title {
            // A session that its key found may have been renamed since.
            Some(title) if record.title.is_none() => Ok(session.rename(title).await?),
            _ => Ok(record),
        }
    };

    Ok(created(app.finish_request(work).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// Only the child sessions of this session.
    #[param(value_type = Option<SessionId>)]
    parent: Option<String>,
    /// The largest number of entries; a page may have fewer. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next` of the previous page.
    after: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only sessions of this workspace.
    #[param(value_type = Option<WorkspaceId>)]
    workspace: Option<String>,
    /// Only the child sessions of this session.
    #[param(value_type = Option<SessionId>)]
    parent: Option<String>,
    /// The largest number of entries; a page may have fewer. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next` of the previous page.
    after: Option<String>,
}

/// Parses an id in the query.
pub(super) fn id<T: FromStr<Err: std::fmt::Display>>(
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    let wrong = |error: T::Err| Problem::new("invalid-query", error.to_string());
    text.map(|text| text.parse().map_err(wrong)).transpose()
}

/// List sessions
///
/// The newest first. A session that exists from the first page to the last is listed exactly once.
#[utoipa::path(
    get,
    path = "/sessions",
    tag = "sessions",
    params(Filter),
    responses((status = 200, description = "One page of them.", body = PageView<SessionRecord>))
)]
async fn list_sessions(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Asked(query): Asked<Filter>,
) -> Result<axum::Json<PageView<SessionRecord>>, Problem> {
    let filter = SessionFilter {
        workspace: id(query.workspace.as_deref())?,
        parent: id(query.parent.as_deref())?,
        limit: limit(query.limit)?,
        after: query.after,
    };
    page(&app, &who, filter).await
}

/// List a workspace's sessions
///
/// The newest first. A session that exists from the first page to the last is listed exactly once.
#[utoipa::path(
    get,
    path = "/workspaces/{w}/sessions",
    tag = "sessions",
    params(("w" = WorkspaceId, Path, description = "The workspace."), Paging),
    responses((status = 200, description = "One page of them.", body = PageView<SessionRecord>))
)]
async fn list_workspace_sessions(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(workspace): At<WorkspaceId>,
    Asked(query): Asked<Paging>,
) -> Result<axum::Json<PageView<SessionRecord>>, Problem> {
    app.workspace(&who, Action::Read, workspace).await?;
    let filter = SessionFilter {
        workspace: Some(workspace),
        parent: id(query.parent.as_deref())?,
        limit: limit(query.limit)?,
        after: query.after,
    };
    page(&app, &who, filter).await
}

/// Leaves out the sessions that the caller may not see; a page may then have fewer entries than its
/// limit.
async fn page(
    app: &App,
    who: &Principal,
    filter: SessionFilter,
) -> Result<axum::Json<PageView<SessionRecord>>, Problem> {
    let page = app.host.list_sessions(filter).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for record in page.items {
        if app.sees(who, record.workspace).await? {
            items.push(record);
        }
    }

    Ok(axum::Json(PageView {
        items,
        next: page.next,
        damaged: app.shown(who, page.damaged).await,
    }))
}

/// Show a session
#[utoipa::path(
    get,
    path = "/sessions/{s}",
    tag = "sessions",
    params(("s" = SessionId, Path, description = "The session.")),
    responses((status = 200, description = "How it stands.", body = SessionRecord))
)]
async fn show_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
) -> Result<axum::Json<SessionRecord>, Problem> {
    let session = app.session(&who, Action::Read, id).await?;
    Ok(axum::Json(session.record().await?))
}

/// Change a session
#[utoipa::path(
    patch,
    path = "/sessions/{s}",
    tag = "sessions",
    params(("s" = SessionId, Path, description = "The session.")),
    request_body = SessionChanges,
    responses((status = 200, description = "How it stands now.", body = SessionRecord))
)]
async fn change_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
    Json(changes): Json<SessionChanges>,
) -> Result<axum::Json<SessionRecord>, Problem> {
    let session = app.session(&who, Action::Prompt, id).await?;
    let work = async move {
        if let Some(title) = &changes.title {
            session.rename(title).await?;
        }
        if let Some(todo) = changes.todo {
            session.set_todo(todo).await?;
        }
        Ok(session.record().await?)
    };

    Ok(axum::Json(app.finish_request(work).await?))
}

/// Delete a session
///
/// Its runs are ended first. Only the event `session.deleted` stays. It ends the streams of the
/// session and of its runs, and is also in the workspace's stream.
#[utoipa::path(
    delete,
    path = "/sessions/{s}",
    tag = "sessions",
    params(("s" = SessionId, Path, description = "The session.")),
    responses((status = 204, description = "It is gone."))
)]
async fn delete_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
) -> Result<StatusCode, Problem> {
    let session = app.session(&who, Action::Purge, id).await?;
    app.finish_request(async move { Ok(session.delete().await?) })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fork a session
///
/// Creates a session with the same agent, whose history is a copy up to and including a message.
/// The same `Idempotency-Key` returns the same session.
#[utoipa::path(
    post,
    path = "/sessions/{s}/fork",
    tag = "sessions",
    params(
        ("s" = SessionId, Path, description = "The session."),
        ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The caller's name for this very request, in printable ASCII."),
    ),
    request_body = Fork,
    responses((status = 201, description = "The new session.", body = SessionRecord))
)]
async fn fork_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
    headers: HeaderMap,
    Json(Fork { message }): Json<Fork>,
) -> Result<impl IntoResponse, Problem> {
    let key = key(&headers)?;
    let session = app.session(&who, Action::Prompt, id).await?;
    let work = async move {
        let fork = match key {
            Some(key) => session.fork_with_key(message, key).await?,
            None => session.fork(message).await?,
        };
        Ok(fork.record().await?)
    };

    Ok(created(app.finish_request(work).await?))
}
