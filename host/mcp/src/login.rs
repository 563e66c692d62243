//! A person's consent for servers outside any call: log in, log out, and the current state.

use super::config::Endpoint;
use super::oauth::{Authority, LoginState};
use super::servers::McpServers;

/// The authorization state of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpLogin {
    /// The server's name.
    pub server: String,
    /// Its program, or its address.
    pub reached: String,
    /// The state of its authorization.
    pub state: McpLoginState,
}

/// The state of a server's authorization, as the host knows it. Whether the server still accepts
/// the token is known only when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum McpLoginState {
    /// It is configured without OAuth.
    NotNeeded,
    /// The host obtains tokens without a person.
    ByItself,
    /// There is a token.
    LoggedIn,
    /// There is no token, and a person has to consent.
    LoggedOut,
    /// The tokens cannot be read.
    Unknown {
        /// The reason.
        failure: String,
    },
}

/// Why a login failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum McpLoginError {
    /// No server has this name.
    #[error("there is no MCP server `{0}`; `[mcp.NAME]` in the settings makes one")]
    Unknown(String),
    /// The server is configured without OAuth.
    #[error("[mcp.{0}] is set up without OAuth: add `oauth = true` if the server asks for it")]
    NotNeeded(String),
    /// What happened, without secrets.
    #[error("{0}")]
    Failed(String),
}

impl McpServers {
    /// Asks a person to consent for this server, even if there is a token, and stores the new
    /// tokens. Ends within minutes. Dropping the future gives up and leaves earlier tokens as they
    /// are.
    ///
    /// # Errors
    ///
    /// [`McpLoginError`], which says what prevented the login, and what to do.
    pub async fn login(&self, server: &str) -> Result<(), McpLoginError> {
        let login = self.authority(server)?.login();
        login.await.map_err(McpLoginError::Failed)
    }

    /// Removes the tokens of this server. The server is not notified.
    ///
    /// # Errors
    ///
    /// [`McpLoginError`], which says what prevented the logout, and what to do.
    pub async fn logout(&self, server: &str) -> Result<(), McpLoginError> {
        let logout = self.authority(server)?.logout();
        logout.await.map_err(McpLoginError::Failed)
    }

    /// Returns the state of each server, by name, without asking any server.
    pub async fn logins(&self) -> Vec<McpLogin> {
        let mut logins = Vec::new();

        for known in self.servers.iter() {
            let server = known.server.name.clone();
            let state = match self.shared.authority(&server) {
                None => McpLoginState::NotNeeded,
                Some(authority) => match authority.login_state().await {
                    Ok(LoginState::ByItself) => McpLoginState::ByItself,
                    Ok(LoginState::TokenStored) => McpLoginState::LoggedIn,
                    Ok(LoginState::Missing) => McpLoginState::LoggedOut,
                    Err(failure) => McpLoginState::Unknown { failure },
                },
            };

            let endpoint: &Endpoint = &known.endpoint;
            logins.push(McpLogin {
                server,
                reached: endpoint.shown(),
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
