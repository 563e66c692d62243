//! What the OpenAPI document says beside the routes: what this is, how to be let in, and
//! what every route can answer when something is wrong.

use crate::problem::{KINDS, MEDIA_TYPE, ProblemBody};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Content, OpenApi, OpenApiVersion, Ref, RefOr, ResponseBuilder, SecurityRequirement,
};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "lastword",
        description = "A host for sandboxed agents whose last word is always on disk.\n\nErrors are `application/problem+json` (RFC 9457); their `name` is for programs.",
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "server", description = "The server itself."),
        (name = "workspaces", description = "Where agents work, and who keeps it open."),
        (name = "agents", description = "The components that can be talked to."),
        (name = "sessions", description = "Conversations with agents."),
        (name = "runs", description = "Prompts, and all that comes of them."),
        (name = "queue", description = "Prompts that wait."),
        (name = "events", description = "What happens, as it happens, and ever after."),
    ),
    modifiers(&Token),
)]
struct Frame;

/// Everything but the routes.
pub(super) fn frame() -> OpenApi {
    let mut frame = Frame::openapi();
    frame.openapi = OpenApiVersion::Version32;
    frame
}
