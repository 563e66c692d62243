//! Routes about the server itself: its health, its version, its OpenAPI document and its metrics.

use super::App;
use super::extract::Caller;
use crate::access::Action;
use crate::metrics;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use lastword_api::{Health, HealthStatus, Version};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(version))
        .routes(routes!(read_openapi))
        .routes(routes!(read_metrics))
}

/// Show the health of the server
///
/// Needs no token. The status is 503 while the server accepts no work because the host is shutting
/// down or cannot write; the response contains the reason.
#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    security(()),
    responses(
        (status = 200, description = "It takes work.", body = Health),
        (status = 503, description = "It takes no work.", body = Health),
    )
)]
async fn health(State(app): State<Arc<App>>) -> (StatusCode, Json<Health>) {
    let (status, why) = match app.host.health().await {
        lastword::Health::Ready => (HealthStatus::Ok, None),
        lastword::Health::Closing => (HealthStatus::Closing, None),
        lastword::Health::CannotWrite { why } | lastword::Health::Stalled { why } => {
            (HealthStatus::CannotWrite, Some(why))
        }
        lastword::Health::Closed { why } => (HealthStatus::Closed, Some(why)),
        _ => (HealthStatus::Closed, None),
    };

    let code = match status {
        HealthStatus::Ok => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };

    (code, Json(Health { status, why }))
}

/// Show the version of the server
#[utoipa::path(
    get,
    path = "/version",
    tag = "server",
    responses((status = 200, description = "Name and version.", body = Version))
)]
async fn version(_: Caller) -> Json<Version> {
    Json(Version {
        name: "lastword".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wit: format!("{}@{}", lastword::WIT_PACKAGE, lastword::WIT_VERSION),
    })
}

/// Show the OpenAPI document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    responses((status = 200, description = "This document.", body = Object))
)]
async fn read_openapi(State(app): State<Arc<App>>, _: Caller) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/json")],
        app.document().to_owned(),
    )
}

/// Show the metrics
///
/// The figures of the host and of this server, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses((
        status = 200,
        description = "The figures.",
        body = String,
        content_type = "application/openmetrics-text",
    ))
)]
async fn read_metrics(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
) -> Result<impl IntoResponse, Problem> {
    app.demand(&who, Action::Administrate).await?;
    // The other figures are available even if the store is closed.
    if let Ok(open) = app.host.questions().await {
        app.metrics.questions(open.len());
    }
    let text = app.metrics.text().map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, metrics::MEDIA_TYPE)], text))
}
