//! Tools of MCP servers: programs on this machine that speak over stdin and stdout, and
//! servers that are reached over HTTP. This folder alone names the `rmcp` crate, and none of
//! that crate's types leaves it. Knows no guest, and no secret before it is needed.
//!
//! A server that is a program runs outside the sandbox, with the rights of the host: only an
//! operator's own configuration may name one.

mod backoff;
mod config;
mod connection;
mod content;
mod decode;
mod events;
mod failure;
mod handler;
mod http;
mod introduce;
mod launch;
mod lines;
mod listed;
mod login;
mod names;
mod oauth;
mod patience;
mod process;
mod repair;
mod servers;
mod shared;
mod skim;
mod slot;
mod standing;
mod text;

pub use config::{McpConfig, McpConfigError};
pub use content::{DATA_MAX, STRUCTURED_MAX, TEXT_MAX};
pub use handler::{Elicit, Elicitation};
pub use launch::Fill;
pub use login::{McpLogin, McpLoginError, McpLoginState};
pub use oauth::{Consent, ConsentRequest, OAuthConfig, OAuthGrant, TokenFiles, TokenStore};
pub use servers::{McpServers, McpState, McpStatus};
