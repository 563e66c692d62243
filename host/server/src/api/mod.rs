//! The routes, and what they share. Each file holds the routes of one noun; this one puts
//! them together with what every request passes.

mod agents;
mod app;
mod clients;
mod document;
mod exports;
mod extract;
mod feed;
mod permissions;
mod prompts;
mod queue;
mod runs;
mod service;
mod sessions;
mod streams;
mod views;
mod workspaces;

pub(crate) use app::App;

use crate::access::Authorizer;
use crate::problem::Problem;
use crate::{ServerOptions, guard, observe};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use lastword::Host;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

/// Where all routes begin.
pub(crate) const PREFIX: &str = "/v1";

/// The router of a host's HTTP API, for [`serve`](crate::serve) or beside an embedder's own
/// routes. Everything lies under `/v1`.
pub fn router(host: Host, authorizer: Arc<dyn Authorizer>, options: ServerOptions) -> Router {
    let body_bytes_max = options.body_bytes_max;
    let body_timeout = options.body_timeout;
    let (routes, document) = routes(&options).split_for_parts();
    let document = document::with_problems(document);
    let app = Arc::new(App::new(host, authorizer, options, &document));
    routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(RequestBodyTimeoutLayer::new(body_timeout))
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// The OpenAPI document of the API, which is made from the routes themselves.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    document::with_problems(routes(&ServerOptions::default()).into_openapi())
}

fn routes(options: &ServerOptions) -> OpenApiRouter<Arc<App>> {
    let api = OpenApiRouter::new()
        .merge(service::routes())
        .merge(workspaces::routes())
        .merge(clients::routes())
        .merge(agents::routes(options.agent_bytes_max))
        .merge(sessions::routes())
        .merge(exports::routes())
        .merge(runs::routes(options.prompt_bytes_max))
        .merge(queue::routes(options.prompt_bytes_max))
        .merge(permissions::routes())
        .merge(streams::routes());
    OpenApiRouter::with_openapi(document::frame()).nest(PREFIX, api)
}

async fn unknown_route(uri: Uri) -> Problem {
    let path = uri.path();
    let how = "`/v1/openapi.json` lists what there is";
    Problem::new(
        "unknown-route",
        format!("there is nothing at `{path}`; {how}"),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    let how = "the `Allow` header lists the methods that it takes";
    Problem::new(
        "wrong-method",
        format!("`{path}` does not take {method}; {how}"),
    )
}
