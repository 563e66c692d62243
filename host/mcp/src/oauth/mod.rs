//! Authorization by OAuth, for servers over HTTP that ask for it: consent, the storage of tokens,
//! and how they are obtained. `rmcp` implements the protocol; this module decides what it may do
//! and which addresses it may reach.

mod authority;
mod config;
mod consent;
mod credential_records;
mod flow;
mod oauth_http;
mod redacted_values;
mod store;

pub(super) use authority::{Authority, AuthoritySettings, LoginState, STEPS_MAX};
pub(super) use config::{check, switch_or_table};
pub(super) use redacted_values::{RedactedValues, RedactingSecrets};
pub(super) use store::InMemoryTokenStore;

pub use config::{OAuthConfig, OAuthGrant};
pub use consent::{Consent, ConsentRequest};
pub use store::{TokenFiles, TokenStore};
