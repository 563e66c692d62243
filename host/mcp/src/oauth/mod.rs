//! Authorization by OAuth, for servers over HTTP that ask for it: who consents, where tokens
//! are kept, and how one is obtained. The protocol is `rmcp`'s; what it may do and whom it may
//! reach is decided here. Knows no workspace and no connection.

mod authority;
mod config;
mod consent;
mod flow;
mod kept;
mod shelf;
mod store;
mod web;

pub(super) use authority::{Authority, Login, STEPS_MAX, Setting};
pub(super) use config::{check, switch_or_table};
pub(super) use kept::{Kept, Redacting};
pub(super) use store::Forgetful;

pub use config::{OAuthConfig, OAuthGrant};
pub use consent::{Consent, ConsentRequest};
pub use store::{TokenFiles, TokenStore};
