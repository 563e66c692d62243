//! Routes about workspaces: opening, claiming, listing and closing them.

use super::extract::{Arrived, Asked, At, Caller, Json};
use super::streams::client;
use super::views::key;
use super::{App, views};
use crate::access::{Action, Arrival, Principal};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use lastword::id::WorkspaceId;
use lastword::permission::Rule;
use lastword::{WorkspaceKey, WorkspaceOptions};
use lastword_api::{ClosedWorkspace, NewWorkspace, PageView, WorkspaceView};
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The largest number of characters of a name.
const NAME_CHARS_MAX: usize = 256;
/// The largest number of rules of each kind with which a workspace can be opened.
const RULES_MAX: usize = 256;
/// The largest number of bytes of a rule.
const RULE_BYTES_MAX: usize = 1024;
/// The largest number of simultaneous runs of one workspace that can be set.
const RUNS_MAX: u32 = 65_536;
/// The longest deadline that can be set: about a year.
pub(super) const DEADLINE_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(open_workspace, list_workspaces))
        .routes(routes!(show_workspace, close_workspace))
}

/// Open a workspace
///
/// Claims the workspace for the client: it stays open for a limited time, and then as long as the
/// client has a stream of its events. Another request restarts that time.
#[utoipa::path(
    post,
    path = "/workspaces",
    tag = "workspaces",
    request_body = NewWorkspace,
    responses(
        (status = 201, description = "It was not open and is now.", body = WorkspaceView),
        (status = 200, description = "It was open already.", body = WorkspaceView),
    )
)]
async fn open_workspace(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Arrived(arrival): Arrived,
    Json(new): Json<NewWorkspace>,
) -> Result<Response, Problem> {
    let client = client(&new.client_id)?;
    let key = key_of(&app, &new, arrival).await?;
    let options = options(&app, &who, &new, &key).await?;
    let work = {
        let app = Arc::clone(&app);
        async move {
            let workspace = app
                .host
                .claim_workspace(client, key.clone(), options)
                .await?;
            app.remember(workspace.id(), key.clone());
            if app.options.resume_held
                && let Err(error) = workspace.resume_held().await
            {
                tracing::warn!(workspace = %workspace.id(), %error, "its prompts stay held");
            }
            let status = workspace.status();
            let view = views::workspace(workspace.id(), &key, status.as_ref());
            Ok((workspace.was_opened(), view))
        }
    };

    let (opened, view) = app.finish_request(work).await?;
    let status = if opened {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };

    let location = format!("/v1/workspaces/{}", view.id);
    Ok((status, [(LOCATION, location)], axum::Json(view)).into_response())
}

async fn key_of(app: &App, new: &NewWorkspace, arrival: Arrival) -> Result<WorkspaceKey, Problem> {
    match (&new.directory, &new.name) {
        (Some(directory), None) => {
            let (roots, directory) = (app.options.roots.clone(), directory.0.clone());
            let found = tokio::task::spawn_blocking(move || inside(&roots, &directory));
            let found = found.await.map_err(Problem::internal)??;
            // The path appears in responses and in the log, which are UTF-8.
            if arrival != Arrival::InProcess && found.to_str().is_none() {
                return Err(invalid(&found, "its true path is not UTF-8"));
            }
            Ok(WorkspaceKey::Directory(found))
        }
        (None, Some(name)) => {
            let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
            if fits && !name.trim().is_empty() && !name.chars().any(char::is_control) {
                Ok(WorkspaceKey::name(name))
            } else {
                Err(Problem::new(
                    "invalid-body",
                    "a name must have 1 to 256 characters and no control characters",
                ))
            }
        }
        _ => Err(Problem::new(
            "invalid-body",
            "a workspace is a `directory` or a `name`; send one of the two",
        )),
    }
}

/// Returns the directory's canonical path, if that is inside one of the roots. Links are resolved
/// before the comparison.
fn inside(roots: &[PathBuf], directory: &Path) -> Result<PathBuf, Problem> {
    let outside = || {
        let path = directory.display();
        Problem::new(
            "outside-roots",
            format!(
                "`{path}` lies in none of the directories that this server offers; name one inside of them, or have the server offer it"
            ),
        )
    };

    let invalid = |why: &str| invalid(directory, why);
    if !directory.is_absolute() {
        return Err(invalid("send an absolute path"));
    }

    let roots: Vec<_> = roots
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .collect();
    let within = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    match directory.canonicalize() {
        Ok(found) if !within(&found) => Err(outside()),
        Ok(found) if !found.is_dir() => Err(invalid("it is not a directory")),
        Ok(found) => Ok(found),
        // The response must not reveal what exists outside of the roots.
        Err(error) => {
            let straight = directory
                .components()
                .all(|part| part != Component::ParentDir);
            if straight && within(directory) {
                Err(invalid(&error.to_string()))
            } else {
                Err(outside())
            }
        }
    }
}

fn invalid(directory: &Path, why: &str) -> Problem {
    let path = directory.display();
    let detail = format!("`{path}` cannot be a workspace: {why}");
    Problem::new("invalid-directory", detail)
}

async fn options(
    app: &App,
    who: &Principal,
    new: &NewWorkspace,
    key: &WorkspaceKey,
) -> Result<Option<WorkspaceOptions>, Problem> {
    let hidden = || {
        Problem::new(
            "forbidden",
            "you may not open this workspace; ask whoever runs this server",
        )
    };

    app.demand_in(who, Action::Open, key, hidden).await?;
    let mut options = WorkspaceOptions::new();
    for rule in rules("grants", new.grants.as_deref())? {
        app.demand_in(who, Action::Grant(&rule), key, hidden)
            .await?;
        options = options.grant(rule);
    }

    for rule in rules("deny", new.deny.as_deref())? {
        options = options.deny(rule);
    }

    options = options.ask(new.ask.unwrap_or(false));
    if let Some(runs) = new.concurrent_runs {
        if !(1..=RUNS_MAX).contains(&runs) {
            let detail = format!("`concurrent_runs` must be between 1 and {RUNS_MAX}");
            return Err(Problem::new("invalid-body", detail));
        }
        options = options.concurrent_runs(runs);
    }

    if let Some(deadline) = deadline(new.deadline_ms)? {
        options = options.limits(app.host.limits().deadline(Some(deadline)));
    }

    let permissions = new.grants.is_some() || new.deny.is_some() || new.ask.is_some();
    let any = permissions || new.concurrent_runs.is_some() || new.deadline_ms.is_some();
    Ok(any.then_some(options))
}

/// Parses the rules in a member of the request.
fn rules(member: &str, written: Option<&[String]>) -> Result<Vec<Rule>, Problem> {
    let invalid = |why: String| {
        let detail = format!("`{member}` is not a list of rules: {why}");
        Problem::new("invalid-body", detail)
    };

    let written = written.unwrap_or_default();
    if written.len() > RULES_MAX {
        return Err(invalid(format!("it may have {RULES_MAX}")));
    }

    let rule = |words: &String| {
        if words.len() > RULE_BYTES_MAX {
            Err(invalid(format!("one may have {RULE_BYTES_MAX} bytes")))
        } else {
            words
                .parse()
                .map_err(|error: lastword::permission::InvalidRule| invalid(error.to_string()))
        }
    };

    written.iter().map(rule).collect()
}

/// Checks a deadline against its bounds.
pub(super) fn deadline(ms: Option<u64>) -> Result<Option<Duration>, Problem> {
    match ms {
        None => Ok(None),
        Some(ms @ 1..=DEADLINE_MS_MAX) => Ok(Some(Duration::from_millis(ms))),
        Some(_) => Err(Problem::new(
            "invalid-body",
            format!("`deadline_ms` must be between 1 and {DEADLINE_MS_MAX}"),
        )),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// The largest number of entries; a page may have fewer. Default: 50.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u32>,
    /// The `next` of the previous page.
    pub(super) after: Option<String>,
}

/// Returns the number of entries of a page.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(50),
        Some(limit @ 1..=200) => Ok(limit),
        Some(_) => Err(Problem::new(
            "invalid-query",
            "`limit` must be between 1 and 200",
        )),
    }
}

/// List workspaces
///
/// All workspaces that were opened and not purged, open or not.
#[utoipa::path(
    get,
    path = "/workspaces",
    tag = "workspaces",
    params(Paging),
    responses((status = 200, description = "One page of them.", body = PageView<WorkspaceView>))
)]
async fn list_workspaces(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Asked(paging): Asked<Paging>,
) -> Result<axum::Json<PageView<WorkspaceView>>, Problem> {
    let limit = limit(paging.limit)?;
    let page = app.host.list_workspaces(limit, paging.after).await?;
    let open = app.host.open_workspaces();
    let mut items = Vec::with_capacity(page.items.len());
    for record in &page.items {
        let Some(key) = key(record) else { continue };
        if app.authorizer.allows(&who, Action::Read, Some(&key)).await {
            let status = open.iter().find(|open| open.id == record.id);
            items.push(views::workspace(record.id, &key, status));
        }
    }

    Ok(axum::Json(PageView {
        items,
        next: page.next,
        damaged: app.shown(&who, page.damaged).await,
    }))
}

/// Show a workspace
#[utoipa::path(
    get,
    path = "/workspaces/{w}",
    tag = "workspaces",
    params(("w" = WorkspaceId, Path, description = "The workspace.")),
    responses((status = 200, description = "How it stands.", body = WorkspaceView))
)]
async fn show_workspace(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<WorkspaceId>,
) -> Result<axum::Json<WorkspaceView>, Problem> {
    let key = app.workspace(&who, Action::Read, id).await?;
    let status = app.host.workspace_status(id);
    Ok(axum::Json(views::workspace(id, &key, status.as_ref())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Closing {
    /// Release only this client's claim.
    #[param(format = Uuid)]
    client_id: Option<String>,
    /// Delete the workspace with everything in it, once it is closed.
    purge: Option<bool>,
}

/// Leave, close or purge a workspace
///
/// With a client id, ends that client's claim, and its streams of this workspace with
/// `workspace.released`. Without one, closes the workspace, even if it is claimed: its runs are
/// stopped and their ends written, queued prompts are held, and no time wakes its sessions any
/// more, whether or not the workspace is open. Questions of its sessions can still be answered.
#[utoipa::path(
    delete,
    path = "/workspaces/{w}",
    tag = "workspaces",
    params(("w" = WorkspaceId, Path, description = "The workspace."), Closing),
    responses(
        (status = 204, description = "The claim is released, or the workspace is gone."),
        (status = 200, description = "It is closed.", body = ClosedWorkspace),
    )
)]
async fn close_workspace(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<WorkspaceId>,
    Asked(closing): Asked<Closing>,
) -> Result<Response, Problem> {
    let purge = closing.purge.unwrap_or(false);
    if let Some(text) = &closing.client_id {
        let client = client(text)?;
        if purge {
            return Err(Problem::new(
                "invalid-query",
                "send `client_id` to leave a workspace or `purge` to delete it, not both",
            ));
        }
        app.workspace(&who, Action::Open, id).await?;
        app.host.workspace(id)?.release(client)?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }

    if purge {
        app.workspace(&who, Action::Purge, id).await?;
        let host = app.host.clone();
        let purged = async move { Ok(host.purge_workspace(id).await?) };
        app.finish_request(purged).await?;
        app.forget(id);
        return Ok(StatusCode::NO_CONTENT.into_response());
    }

    app.workspace(&who, Action::Close, id).await?;
    let host = app.host.clone();
    let closed = async move { Ok(host.close_workspace(id).await?) };
    let closed: lastword::ClosedWorkspace = app.finish_request(closed).await?;
    Ok(axum::Json(ClosedWorkspace {
        left: closed.left,
        taken_back: closed.taken_back,
    })
    .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_truly_lies_in_a_root_is_inside() {
        let folder = std::env::temp_dir().join(format!("lastword-roots-{}", std::process::id()));
        let (root, other) = (folder.join("root"), folder.join("root-other"));
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&other, root.join("escape")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), other.join("into")).unwrap();
        let roots = [root.clone()];
        let name = |path: PathBuf| inside(&roots, &path).map_err(|problem| problem.name());
        assert_eq!(
            name(root.join("a")),
            Ok(root.join("a").canonicalize().unwrap())
        );
        assert_eq!(name(root.clone()), Ok(root.canonicalize().unwrap()));
        assert_eq!(
            name(other.join("into")),
            Ok(root.join("a").canonicalize().unwrap())
        );
        assert_eq!(name(root.join("escape")), Err("outside-roots"));
        assert_eq!(name(root.join("../root-other")), Err("outside-roots"));
        assert_eq!(
            name(other.clone()),
            Err("outside-roots"),
            "a prefix of the name is no parent"
        );
        assert_eq!(name(other.join("missing")), Err("outside-roots"));
        assert_eq!(name(root.join("missing/../../etc")), Err("outside-roots"));
        assert_eq!(name(root.join("missing")), Err("invalid-directory"));
        assert_eq!(name(root.join("file")), Err("invalid-directory"));
        assert_eq!(name("a".into()), Err("invalid-directory"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
