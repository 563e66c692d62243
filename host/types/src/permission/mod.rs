//! What an agent wants, what is granted to it, and the decision that follows from both. Pure: the
//! embedder gives the grants, and the host asks [`Authority`] before it carries out an access.

mod access;
mod authority;
mod capability;
mod grants;
mod hosts;
mod manifest;
mod offers;
mod rule;

pub use access::Access;
pub use authority::{Authority, DenyReason, Verdict};
pub use capability::Capability;
pub use grants::Grants;
pub use manifest::{Manifest, Want};
pub use offers::offers;
pub use rule::{InvalidRule, Rule};
