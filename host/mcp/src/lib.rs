//! Tools of MCP servers: programs on this machine that speak over stdin and stdout, and servers
//! that are reached over HTTP. The only crate that uses `rmcp`; none of its types is public here.
//! The host takes [`McpServers`] as a tool provider.
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
mod introduction;
mod launch;
mod lines;
mod login;
mod message_scan;
mod names;
mod oauth;
mod pausable_timeout;
mod process;
mod repair;
mod servers;
mod session;
mod shared;
mod sse_ready;
mod text;
mod tool_list;

pub use config::{McpConfig, McpConfigError};
pub use content::{DATA_MAX, STRUCTURED_MAX, TEXT_MAX};
pub use handler::{Elicit, Elicitation};
pub use launch::SecretSource;
pub use login::{McpLogin, McpLoginError, McpLoginState};
pub use oauth::{Consent, ConsentRequest, OAuthConfig, OAuthGrant, TokenFiles, TokenStore};
pub use servers::{McpServers, McpState, McpStatus};
