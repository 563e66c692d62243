//! The routes, and the layers that every request passes. Each file contains the routes of one kind
//! of thing; this one combines them.

mod agents;
mod app;
mod clients;
mod document;
mod exports;
mod extract;
mod feed;
mod mount;
mod permissions;
mod prompts;
mod queue;
mod runs;
mod service;
mod sessions;
mod stream_places;
mod streams;
mod views;
mod workspaces;

pub(crate) use app::App;

use mount::Mount;

use crate::access::Authorizer;
use crate::problem::Problem;
use crate::{ServerOptions, drain, guard, observe};
use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use lastword::Host;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

/// The prefix of all routes.
pub(crate) const PREFIX: &str = "/v1";

/// Returns the router of a host's HTTP API, for [`serve`](crate::serve) or inside an embedder's own
/// router. All routes begin with `/v1`.
///
/// To serve it beside other routes, nest it: its fallback and its guard apply only to its own
/// addresses, and all others belong to the embedder. The addresses in its responses include the
/// path at which it is nested. `merge` is for routers without a fallback, and panics if both have
/// one.
///
/// ```no_run
/// # fn example(host: lastword::Host, authorizer: std::sync::Arc<dyn lastword_server::Authorizer>) {
/// use lastword_server::{ServerOptions, router};
///
/// let lastword = router(host, authorizer, ServerOptions::default());
/// let app = axum::Router::<()>::new()
///     .nest("/lastword", lastword)
///     .fallback(async || "the embedder's own page");
/// # }
/// ```
///
/// For an unknown address below its prefix it responds with `unknown-route`, 404, even to clients
/// without a token: the list of routes is not secret, and a client that gets 401 would suspect its
/// token.
pub fn router(host: Host, authorizer: Arc<dyn Authorizer>, options: ServerOptions) -> Router {
    let body_bytes_max = options.body_bytes_max;
    let body_timeout = options.body_timeout;
    let (routes, api) = routes(&options).split_for_parts();
    let app = Arc::new(App::new(host, authorizer, options, api));
    routes
        .method_not_allowed_fallback(wrong_method)
        .route_layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .fallback(unknown_route)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(RequestBodyTimeoutLayer::new(body_timeout))
        .layer(from_fn_with_state(Arc::clone(&app), drain::drain))
        .layer(from_fn(mount::mount))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}

/// Returns the OpenAPI document of the API, which is generated from the routes.
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

async fn unknown_route(OriginalUri(uri): OriginalUri, Mount(mount): Mount) -> Problem {
    let path = uri.path();
    let how = format!("`{mount}/v1/openapi.json` lists the routes");
    Problem::new(
        "unknown-route",
        format!("there is nothing at `{path}`; {how}"),
    )
}

async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let path = uri.path();
    let how = "the `Allow` header lists the methods that it takes";
    Problem::new(
        "wrong-method",
        format!("`{path}` does not take {method}; {how}"),
    )
}
