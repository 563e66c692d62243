//! Routes about clients: retiring one that will not return.

use super::App;
use super::extract::{Caller, Raw};
use super::streams::client;
use crate::access::Action;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use lastword::id::ClientId;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(retire_client))
}

/// Retire a client
///
/// Ends all its claims, ends their streams with `workspace.released`, and refuses its later
/// requests. Its runs continue.
#[utoipa::path(
    delete,
    path = "/clients/{c}",
    tag = "workspaces",
    params(("c" = ClientId, Path, description = "The client.")),
    responses((status = 204, description = "It is retired."))
)]
async fn retire_client(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Raw(text): Raw,
) -> Result<StatusCode, Problem> {
    let id = client(&text)?;
    app.demand(&who, Action::Retire).await?;
    app.host.retire_client(id);
    Ok(StatusCode::NO_CONTENT)
}
