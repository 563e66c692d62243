//! Routes about waiting prompts: listing, changing and withdrawing them.

use super::App;
use super::extract::{At, At2, Caller, Json};
use super::prompts::{decoded, one_of_two, said};
use crate::access::Action;
use crate::problem::Problem;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use lastword::id::{RunId, SessionId};
use lastword::{Edit, Receipt};
use lastword_api::{EditedRun, PageView, QueuedRun};
use std::sync::Arc;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

pub(super) fn routes(bytes_max: usize) -> OpenApiRouter<Arc<App>> {
    let changing = routes!(edit_queued, withdraw_queued).layer(DefaultBodyLimit::max(bytes_max));
    OpenApiRouter::new()
        .routes(routes!(list_queue))
        .routes(changing)
}

/// List the waiting prompts
///
/// In the order of acceptance, including held ones.
#[utoipa::path(
    get,
    path = "/sessions/{s}/queue",
    tag = "queue",
    params(("s" = SessionId, Path, description = "The session.")),
    responses((status = 200, description = "All of them.", body = PageView<QueuedRun>))
)]
async fn list_queue(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
) -> Result<axum::Json<PageView<QueuedRun>>, Problem> {
    let session = app.session(&who, Action::Read, id).await?;
    let mut page = PageView::whole(session.queue().await?);
    page.damaged = app.damaged(&who, "run").await;
    page.damaged.retain(|damage| damage.session == Some(id));
    Ok(axum::Json(page))
}

/// Converts the request into an edit of a prompt.
fn edit(edited: EditedRun, app: &App) -> Result<Edit, Problem> {
    let mut edit = Edit::default();
    match (said(edited.prompt, edited.parts)?, &edited.attachments) {
        (Some(said), _) => {
            app.bound(&said, None)?;
            edit = edit.say(said);
        }
        (None, Some(_)) => {}
        (None, None) => return Err(one_of_two()),
    }

    if let Some(attachments) = edited.attachments {
        edit = edit.detach();
        for (at, sent) in attachments.into_iter().enumerate() {
            let bytes = decoded(at, &sent)?;
            edit = edit.attach(sent.media_type, sent.name, bytes);
        }
    }

    Ok(edit)
}

/// Change a waiting prompt
///
/// Its attachments stay, unless `attachments` replaces them.
#[utoipa::path(
    patch,
    path = "/sessions/{s}/queue/{r}",
    tag = "queue",
    params(
        ("s" = SessionId, Path, description = "The session."),
        ("r" = RunId, Path, description = "The run that waits."),
    ),
    request_body(content = EditedRun, description = "Bounded as when it was asked."),
    responses((status = 200, description = "What it asks now.", body = QueuedRun))
)]
async fn edit_queued(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At2(id, run): At2<SessionId, RunId>,
    Json(edited): Json<EditedRun>,
) -> Result<axum::Json<QueuedRun>, Problem> {
    let edit = edit(edited, &app)?;
    let session = app.session(&who, Action::Prompt, id).await?;
    let work = async move { Ok(session.edit_queued(run, edit).await?) };
    Ok(axum::Json(app.finish_request(work).await?))
}

/// Withdraw a waiting prompt
///
/// A prompt whose run has started is not changed.
#[utoipa::path(
    delete,
    path = "/sessions/{s}/queue/{r}",
    tag = "queue",
    params(
        ("s" = SessionId, Path, description = "The session."),
        ("r" = RunId, Path, description = "The run that waits."),
    ),
    responses(
        (status = 200, description = "How it ended.", body = Receipt),
        (status = 202, description = "It is withdrawn, but its end is not on disk yet.", body = Receipt),
    )
)]
async fn withdraw_queued(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At2(id, run): At2<SessionId, RunId>,
) -> Result<(StatusCode, axum::Json<Receipt>), Problem> {
    let session = app.session(&who, Action::Cancel, id).await?;
    let receipt = app
        .finish_request(async move { Ok(session.withdraw(run).await?) })
        .await?;
    let status = if receipt.persisted {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };

    Ok((status, axum::Json(receipt)))
}
