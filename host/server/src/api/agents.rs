//! Routes about agents: listing, loading and unloading them.

use super::extract::{Arrived, Asked, Caller, Raw, bytes, is, json};
use super::{App, views};
use crate::access::{Action, Arrival};
use crate::problem::Problem;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use lastword::id::AgentId;
use lastword::{AgentSource, HostError};
use lastword_api::{AgentFile, AgentView, PageView};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

pub(super) fn routes(bytes_max: usize) -> OpenApiRouter<Arc<App>> {
    let all = routes!(list_agents, load_agent).layer(DefaultBodyLimit::max(bytes_max));
    OpenApiRouter::new()
        .routes(all)
        .routes(routes!(show_agent, forget_agent))
}

/// List the loaded agents
#[utoipa::path(
    get,
    path = "/agents",
    tag = "agents",
    responses((status = 200, description = "All of them.", body = PageView<AgentView>))
)]
async fn list_agents(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
) -> Result<axum::Json<PageView<AgentView>>, Problem> {
    app.demand(&who, Action::ReadAgents).await?;
    let items = app.host.agents().iter().map(views::agent).collect();
    Ok(axum::Json(PageView::whole(items)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Name {
    /// The name for an uploaded component.
    #[param(min_length = 1, max_length = 128)]
    name: Option<String>,
}

/// Load an agent
///
/// Takes a component, with its name in the query, or the path of a file on the server's machine.
/// Another request with the same name replaces the component of later runs. A component is stored,
/// so that the server has it after a restart; a file is not.
#[utoipa::path(
    post,
    path = "/agents",
    tag = "agents",
    params(Name),
    request_body(content((Vec<u8> = "application/wasm"), (AgentFile = "application/json"))),
    responses(
        (status = 201, description = "It is loaded.", body = AgentView),
        (status = 200, description = "It is loaded instead of an earlier one.", body = AgentView),
    )
)]
async fn load_agent(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Arrived(arrival): Arrived,
    Asked(query): Asked<Name>,
    request: Request,
) -> Result<(StatusCode, [(HeaderName, String); 1], axum::Json<AgentView>), Problem> {
    let wasm = is(request.headers(), "application/wasm");
    if !wasm && !is(request.headers(), "application/json") {
        return Err(Problem::new(
            "unsupported-media-type",
            "send a component as `application/wasm` with its name in the query, or a path as `application/json`",
        ));
    }

    // Checked before the body is read, since that is large.
    app.demand(&who, Action::LoadAgents).await?;
    let (name, source) = if wasm {
        let name = query.name.ok_or_else(|| {
            Problem::new("invalid-query", "name the agent: `POST /v1/agents?name=…`")
        })?;
        (name, AgentSource::Bytes(bytes(request, &()).await?.into()))
    } else {
        let AgentFile { name, path } = json(&bytes(request, &()).await?)?;
        app.demand(&who, Action::LoadFiles).await?;
        let plain = path.as_path().is_absolute() && path.as_path().to_str().is_some();
        if query.name.is_some() || !(plain || arrival == Arrival::InProcess) {
            let how = "send the name and an absolute path in the body";
            return Err(Problem::new("invalid-body", how));
        }
        (name, AgentSource::File(path.0))
    };

    let id = AgentId::new(name).map_err(HostError::from)?;
    let known = app.host.agent(&id).is_some();
    let (host, resume_held) = (app.host.clone(), app.options.resume_held);
    let work = async move {
        let loaded = match source {
            AgentSource::Bytes(wasm) => host.keep_agent(id.as_str(), wasm).await,
            file @ AgentSource::File(_) => host.load_agent(id.as_str(), file).await,
        };
        let agent = loaded.map_err(unreadable)?;
        // Held prompts may have waited for this agent.
        if resume_held && let Err(error) = host.resume_held().await {
            tracing::warn!(agent = %agent.id(), %error, "its prompts stay held");
        }
        Ok(agent)
    };

    let view = views::agent(&app.finish_request(work).await?);
    let status = if known {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };

    let location = format!("/v1/agents/{}", escaped(view.name.as_str()));
    Ok((status, [(LOCATION, location)], axum::Json(view)))
}

/// A file that cannot be read is the client's mistake here, not the host's.
fn unreadable(error: HostError) -> Problem {
    match error {
        HostError::Io { .. } => Problem::new("invalid-agent", error.to_string()),
        other => other.into(),
    }
}

/// Escapes a name as one segment of a path: all characters except RFC 3986's unreserved ones.
fn escaped(name: &str) -> PercentEncode<'_> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(name, RESERVED)
}

fn id(name: &str) -> Result<AgentId, Problem> {
    let id = AgentId::new(name);
    id.map_err(|error| Problem::new("invalid-id", error.to_string()))
}

/// Show an agent
#[utoipa::path(
    get,
    path = "/agents/{a}",
    tag = "agents",
    params(("a" = AgentId, Path, description = "The agent's name.")),
    responses((status = 200, description = "What it is.", body = AgentView))
)]
async fn show_agent(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Raw(name): Raw,
) -> Result<axum::Json<AgentView>, Problem> {
    app.demand(&who, Action::ReadAgents).await?;
    let id = id(&name)?;
    match app.host.agent(&id) {
        Some(agent) => Ok(axum::Json(views::agent(&agent))),
        None => Err(app.unknown_agent(&who, id).await),
    }
}

/// Unload an agent
///
/// The agent is unloaded and deleted from the store. Runs that have begun or wait continue. Its
/// sessions stay, and can be prompted again once it is loaded again.
#[utoipa::path(
    delete,
    path = "/agents/{a}",
    tag = "agents",
    params(("a" = AgentId, Path, description = "The agent's name.")),
    responses((status = 204, description = "It is forgotten."))
)]
async fn forget_agent(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Raw(name): Raw,
) -> Result<StatusCode, Problem> {
    app.demand(&who, Action::LoadAgents).await?;
    let id = id(&name)?;
    let host = app.host.clone();
    let work = async move {
        if host.forget_agent(&id).await? {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(HostError::UnknownAgent(id).into())
        }
    };

    app.finish_request(work).await
}
