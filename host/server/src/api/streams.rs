//! Routes for the event streams of a workspace, a session and a run. `feed.rs` sends them.

use super::App;
use super::extract::{Asked, At, Caller};
use super::feed::{Feed, Numbered};
use super::mount::Mount;
use super::stream_places::StreamPlace;
use crate::access::Action;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use lastword::event::{Event, Position, Seq};
use lastword::id::{ClientId, RunId, SessionId, WorkspaceId};
use lastword::{Events, HostError};
use lastword_api::Problem as ProblemView;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(follow_workspace))
        .routes(routes!(follow_session))
        .routes(routes!(follow_run))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WorkspaceCursor {
    /// The client to which this stream belongs. Without one, the stream only observes and claims
    /// nothing.
    #[param(format = Uuid)]
    client_id: Option<String>,
    /// The `pos` of the last event that was seen. Default: 0, before the first event. The header
    /// `Last-Event-ID` takes precedence.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// `false` ends the stream at the head of the log. Default: true.
    follow: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Cursor {
    /// The `seq` of the last event that was seen. Default: 0, before the first event. The header
    /// `Last-Event-ID` takes precedence.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// `false` ends the stream at the head of the log. Default: true.
    follow: Option<bool>,
}

/// Follow a workspace
///
/// All events of its sessions, in the order of `pos`, which is the id of each event. The notices
/// `workspace.closing` and `workspace.closed` have no id, and are sent only if the workspace is
/// open when the stream begins. The stream ends after `workspace.closed`, after
/// `workspace.released` if its client was released or retired, and when the host shuts down.
#[utoipa::path(
    get,
    path = "/workspaces/{w}/events",
    tag = "events",
    params(("w" = WorkspaceId, Path, description = "The workspace."), WorkspaceCursor,
        ("last-event-id" = Option<u64>, Header, description = "The id of the last event that was seen.")),
    responses(
        (status = 200, description = "The events.", content((Event = "text/event-stream", item_schema = Event))),
        (status = 410, description = "The log no longer reaches back that far.", body = ProblemView, content_type = "application/problem+json"),
    )
)]
async fn follow_workspace(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<WorkspaceId>,
    Asked(query): Asked<WorkspaceCursor>,
    Mount(mount): Mount,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let client = query.client_id.as_deref().map(client).transpose()?;
    let after = cursor(&headers, query.after.as_deref())?;
    let action = match client {
        Some(_) => Action::Open,
        None => Action::Read,
    };

    app.workspace(&who, action, id).await?;
    let place = app.streams.take(&who)?;
    // Subscribed before the claim and the first read, so that no notice is missed.
    let open = app.host.workspace(id).ok();
    let stages = open.map(|workspace| workspace.stages());
    let mut events = app.host.workspace_events(id, Position(after));
    let sessions = format!("{mount}/v1/workspaces/{id}/sessions");
    let checked = events.check().await;
    checked.map_err(|error| expired(error, |problem| problem.with_sessions(sessions)))?;
    let attachment = match client {
        Some(client) => Some(app.host.workspace(id)?.attach(client)?),
        None => None,
    };

    let events = ending(events, query.follow);
    let feed = Feed::new(&app, place, events, Numbered::ByPosition);
    Ok(feed.of_workspace(stages, id, attachment).response())
}

/// Follow a session
///
/// Its events in the order of `seq`, which is the id of each event: 1, 2, 3 and so on, without
/// gaps. Ends after `session.deleted`, which is the only event of a deleted session, and when the
/// host shuts down.
#[utoipa::path(
    get,
    path = "/sessions/{s}/events",
    tag = "events",
    params(("s" = SessionId, Path, description = "The session."), Cursor,
        ("last-event-id" = Option<u64>, Header, description = "The id of the last event that was seen.")),
    responses(
        (status = 200, description = "The events.", content((Event = "text/event-stream", item_schema = Event))),
        (status = 410, description = "The log no longer reaches back that far.", body = ProblemView, content_type = "application/problem+json"),
    )
)]
async fn follow_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
    Asked(query): Asked<Cursor>,
    Mount(mount): Mount,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = cursor(&headers, query.after.as_deref())?;
    let unknown = || Problem::from(HostError::UnknownSession(id));
    let (workspace, events) = app.host.session_events(id, Seq(after)).await?;
    app.demand_at(&who, Action::Read, workspace, unknown)
        .await?;
    let place = app.streams.take(&who)?;
    by_seq(&app, place, events, (&mount, id), query.follow).await
}

/// Follow a run
///
/// Its events in the order of `seq`, which is the id of each event. Ends after `run.ended`, or
/// after `session.deleted`, which is the only event of a run whose session was deleted. Events that
/// were folded away are rebuilt from the run's messages and its receipt: with whole texts, and
/// without ids.
#[utoipa::path(
    get,
    path = "/runs/{r}/events",
    tag = "events",
    params(("r" = RunId, Path, description = "The run."), Cursor,
        ("last-event-id" = Option<u64>, Header, description = "The id of the last event that was seen.")),
    responses(
        (status = 200, description = "The events.", content((Event = "text/event-stream", item_schema = Event))),
        (status = 410, description = "The log no longer reaches back that far.", body = ProblemView, content_type = "application/problem+json"),
    )
)]
async fn follow_run(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<RunId>,
    Asked(query): Asked<Cursor>,
    Mount(mount): Mount,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = cursor(&headers, query.after.as_deref())?;
    let unknown = || Problem::from(HostError::UnknownRun(id));
    let after = (after > 0).then_some(Seq(after));
    let (workspace, session, events) = app.host.run_events(id, after).await?;
    app.demand_at(&who, Action::Read, workspace, unknown)
        .await?;
    let place = app.streams.take(&who)?;
    // After `run.ended` there is no further event at which the stream could end.
    let over = match app.host.run(id).await {
        Ok(run) => run.state().await?.is_terminal(),
        // The stream of a deleted session ends by itself.
        Err(HostError::UnknownRun(_)) => false,
        Err(error) => return Err(error.into()),
    };

    let follow = query.follow.unwrap_or(true) && !over;
    by_seq(&app, place, events, (&mount, session), Some(follow)).await
}

/// Returns a stream of the events of a session or of a run.
async fn by_seq(
    app: &App,
    place: StreamPlace,
    mut events: Events,
    (mount, session): (&str, SessionId),
    follow: Option<bool>,
) -> Result<Response, Problem> {
    let messages = format!("{mount}/v1/sessions/{session}/messages");
    let checked = events.check().await;
    checked.map_err(|error| expired(error, |problem| problem.with_messages(messages)))?;
    Ok(Feed::new(app, place, ending(events, follow), Numbered::BySeq).response())
}

fn ending(events: Events, follow: Option<bool>) -> Events {
    match follow {
        Some(false) => events.stored(),
        Some(true) | None => events,
    }
}

/// Returns the cursor from which a stream begins. `Last-Event-ID`, which a reconnecting client
/// sends, takes precedence over the query of its first request.
fn cursor(headers: &HeaderMap, after: Option<&str>) -> Result<u64, Problem> {
    let seen = headers.get("last-event-id");
    let seen = seen.map(|seen| seen.to_str().unwrap_or("?"));
    let Some(text) = seen.or(after) else {
        return Ok(0);
    };

    text.parse().map_err(|_| {
        Problem::new(
            "invalid-cursor",
            format!("`{text}` is no cursor; send the id of the last event that you saw, or 0"),
        )
    })
}

/// Parses a client's id.
pub(super) fn client(text: &str) -> Result<ClientId, Problem> {
    let id = text.parse::<ClientId>();
    id.map_err(|error| Problem::new("invalid-client-id", error.to_string()))
}

/// Adds a link to the messages or sessions whose events the log no longer has.
fn expired(error: HostError, link: impl FnOnce(Problem) -> Problem) -> Problem {
    match error {
        HostError::CursorExpired { .. } => link(error.into()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_wins_over_what_was_asked_for() {
        let mut headers = HeaderMap::new();
        assert_eq!(cursor(&headers, None).unwrap(), 0);
        assert_eq!(cursor(&headers, Some("3")).unwrap(), 3);
        headers.insert("last-event-id", axum::http::HeaderValue::from_static("9"));
        assert_eq!(cursor(&headers, Some("3")).unwrap(), 9);
    }

    #[test]
    fn garbage_is_no_cursor() {
        for text in ["", "-1", "x", "1.5", "18446744073709551616"] {
            let refused = cursor(&HeaderMap::new(), Some(text)).unwrap_err();
            assert_eq!(refused.name(), "invalid-cursor", "{text}");
        }
    }
}
