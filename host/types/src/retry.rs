//! Which errors go away by themselves. A host, its server and the server's clients go by this one
//! list.

/// The names of the errors after which the same request may succeed later without any other
/// change: at the same host, or, once that has closed, at the next one on its data directory.
pub const RETRYABLE_ERRORS: &[&str] = &[
    "body-timeout",
    "host-closing",
    "providers-unavailable",
    "queue-full",
    "store-unavailable",
    "too-many-streams",
    "workspace-closing",
];

/// Returns whether the same request may succeed later after an error of this name. `false` for a
/// name that this version does not know.
#[must_use]
pub fn is_retryable(name: &str) -> bool {
    RETRYABLE_ERRORS.contains(&name)
}
