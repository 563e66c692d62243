//! Consent for servers, apart from any call: given, taken back, and how things stand. Knows
//! no connection.

use super::config::Reach;
use super::oauth::{Authority, Login};
use super::servers::McpServers;

/// How a server stands with its authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpLogin {
    /// The server's name.
    pub server: String,
    /// Its program, or its address.
    pub reached: String,
    /// What is known of its authorization.
    pub state: McpLoginState,
}

/// What is known of a server's authorization. Whether it still takes a token is known when it
/// is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum McpLoginState {
    /// It is set up without OAuth.
    NotNeeded,
    /// The host obtains tokens by itself.
    ByItself,
    /// There is a token.
    LoggedIn,
    /// There is none, and a person has to consent.
    LoggedOut,
    /// Tokens cannot be read.
    Unknown {
        /// Why.
        failure: String,
    },
}

/// Why there is no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum McpLoginError {
    /// No server has this name.
    #[error("there is no MCP server `{0}`; `[mcp.NAME]` in the settings makes one")]
    Unknown(String),
    /// It is set up without OAuth.
    #[error("[mcp.{0}] is set up without OAuth: add `oauth = true` if the server asks for it")]
    NotNeeded(String),
    /// What happened, without secrets.
    #[error("{0}")]
    Failed(String),
}

impl McpServers {
    /// Has a person consent for this server, whatever was there before, and keeps the tokens.
    /// Ends within minutes. Dropping the future gives up and leaves earlier tokens as they are.
    ///
    /// # Errors
    /// [`McpLoginError`]: what is in the way, and what to do.
    pub async fn login(&self, server: &str) -> Result<(), McpLoginError> {
        let login = self.authority(server)?.login();
        login.await.map_err(McpLoginError::Failed)
    }

    /// Forgets the tokens of this server. The server is not told.
    ///
    /// # Errors
    /// [`McpLoginError`]: what is in the way, and what to do.
    pub async fn logout(&self, server: &str) -> Result<(), McpLoginError> {
        let logout = self.authority(server)?.logout();
        logout.await.map_err(McpLoginError::Failed)
    }

    /// How each server stands, by name. Asks no server.
    pub async fn logins(&self) -> Vec<McpLogin> {
        let mut logins = Vec::new();

        for known in self.servers.iter() {
            let server = known.server.name.clone();
            let state = match self.shared.authority(&server) {
                None => McpLoginState::NotNeeded,
                Some(authority) => match authority.stands().await {
                    Ok(Login::ByItself) => McpLoginState::ByItself,
                    Ok(Login::Kept) => McpLoginState::LoggedIn,
                    Ok(Login::Missing) => McpLoginState::LoggedOut,
                    Err(failure) => McpLoginState::Unknown { failure },
                },
            };

            let reach: &Reach = &known.reach;
            logins.push(McpLogin {
                server,
                reached: reach.shown(),
                state,
            });
        }

        logins
    }

    fn authority(&self, server: &str) -> Result<&Authority, McpLoginError> {
        let there = self.servers.iter().any(|known| known.server.name == server);
        if !there {
            return Err(McpLoginError::Unknown(server.to_owned()));
        }
        let authority = self.shared.authority(server);
        authority.ok_or_else(|| McpLoginError::NotNeeded(server.to_owned()))
    }
}
