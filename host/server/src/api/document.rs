//! The parts of the OpenAPI document other than the routes: its title, the authentication, and the
//! errors that every route can return.

use lastword_api::Problem as ProblemView;
use lastword_api::problem::{KINDS, MEDIA_TYPE};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Content, Header, HeaderBuilder, Object, OpenApi, OpenApiVersion, Ref, RefOr, ResponseBuilder,
    SecurityRequirement, Type,
};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "lastword",
        description = "A host for sandboxed agents whose last word is always on disk.\n\nErrors are `application/problem+json` (RFC 9457); their `name` is for programs.",
    ),
    components(schemas(ProblemView)),
    tags(
        (name = "server", description = "The server itself."),
        (name = "workspaces", description = "Where agents work, and who keeps it open."),
        (name = "agents", description = "The components that can be talked to."),
        (name = "sessions", description = "Conversations with agents."),
        (name = "runs", description = "Prompts, and all that comes of them."),
        (name = "queue", description = "Prompts that wait."),
        (name = "permissions", description = "What runs ask people, and what answers grant."),
        (name = "events", description = "What happens, as it happens, and ever after."),
    ),
    modifiers(&Token),
)]
struct Frame;

/// Returns the document without its routes.
pub(super) fn frame() -> OpenApi {
    let mut frame = Frame::openapi();
    frame.openapi = OpenApiVersion::Version32;
    frame
}

/// Adds the bearer token as the way to authenticate.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", bearer);
        document.security = Some(vec![SecurityRequirement::new(
            "token",
            Vec::<String>::new(),
        )]);
    }
}

/// Returns the header of the errors that pass.
fn retry_after() -> Header {
    let told = "Seconds after which the request may be repeated; with 409, 429 and 503, where \
                `retryable` is true.";
    HeaderBuilder::new()
        .schema(Some(Object::with_type(Type::Integer)))
        .description(Some(told))
        .build()
}

/// Adds the error response to every route.
pub(super) fn with_problems(mut document: OpenApi) -> OpenApi {
    let names = KINDS
        .iter()
        .map(|kind| format!("* {} `{}`: {}", kind.status, kind.name, kind.title));
    let names: Vec<_> = names.collect();
    let description = format!("What went wrong, by name:\n\n{}", names.join("\n"));
    let problem = ResponseBuilder::new()
        .description(description)
        .content(
            MEDIA_TYPE,
            Content::new(Some(Ref::from_schema_name("Problem"))),
        )
        .header("Retry-After", retry_after())
        .build();
    let components = document.components.get_or_insert_default();
    components
        .responses
        .insert("Problem".to_owned(), RefOr::T(problem));
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let anything = RefOr::Ref(Ref::from_response_name("Problem"));
            let responses = &mut operation.responses.responses;
            responses.insert("default".to_owned(), anything);
        }
    }

    document
}
