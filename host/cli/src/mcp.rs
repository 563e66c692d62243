//! `lastword mcp`: the state of the MCP servers in the settings, and a person's consent for those
//! that ask for it. Works while a host is running, which uses the tokens that are stored here.

use crate::arguments::{Mcp, OfMcp, Shared};
use crate::failure::{Exit, Failure};
use crate::paths::Paths;
use crate::redirect::Loopback;
use crate::settings::Settings;
use crate::table::{self, Column};
use crate::terminal::{Terminal, brief};
use lastword::mcp::{McpLogin, McpLoginError, McpLoginState, McpServers, TokenFiles};
use lastword::secrets::Secrets;
use serde_json::json;
use std::sync::Arc;

const NONE: &str = "no MCP servers; a table [mcp.NAME] in the settings makes one";
const COLUMNS: [Column; 3] = [
    Column::fixed("SERVER"),
    Column::words("REACHED").detail(),
    Column::words("LOGIN"),
];

/// Lists servers, or logs in or out at one.
pub(crate) async fn mcp(
    arguments: Mcp,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let servers = settings.external().servers()?;
    let tokens = TokenFiles::of_data_dir(&paths.data);
    let servers = servers.tokens(Arc::new(tokens));
    match arguments.what {
        None => {
            list(&servers, arguments.json, terminal).await;
            Ok(Exit::Completed)
        }
        Some(OfMcp::Login { server, port }) => {
            let secrets = settings.external().load_secrets()?;
            login(servers, secrets, &server, port, terminal).await
        }
        Some(OfMcp::Logout { server }) => {
            servers.logout(&server).await?;
            terminal.note(&format!("logged out of {server}"));
            Ok(Exit::Completed)
        }
    }
}

async fn login(
    servers: McpServers,
    secrets: Secrets,
    server: &str,
    port: u16,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let browser = Loopback::listen(port, *terminal).await?;
    let servers = servers
        .secrets(Arc::new(secrets))
        .consent(Arc::new(browser));
    servers.login(server).await?;
    terminal.note(&format!("logged in to {server}"));
    Ok(Exit::Completed)
}

async fn list(servers: &McpServers, as_json: bool, terminal: &Terminal) {
    let logins = servers.logins().await;
    if as_json {
        table::print_json(logins.iter().map(|login| {
            let state = word(&login.state);
            json!({ "server": login.server, "reached": login.reached, "state": state })
        }));
    } else {
        let rows: Vec<_> = logins.iter().map(row).collect();
        table::print(COLUMNS, &rows, NONE, terminal);
    }
}

fn row(login: &McpLogin) -> [String; 3] {
    let said = said(&login.server, &login.state).unwrap_or_default();
    [
        login.server.clone(),
        brief(&login.reached, usize::MAX),
        brief(&said, 200),
    ]
}

/// Returns a state as a word for programs.
fn word(state: &McpLoginState) -> &'static str {
    match state {
        McpLoginState::NotNeeded => "not-needed",
        McpLoginState::ByItself => "by-itself",
        McpLoginState::LoggedIn => "logged-in",
        McpLoginState::LoggedOut => "logged-out",
        _ => "unknown",
    }
}

/// Returns a state as a sentence for people.
fn said(server: &str, state: &McpLoginState) -> Option<String> {
    match state {
        McpLoginState::NotNeeded => None,
        McpLoginState::ByItself => Some("the host authorizes itself".to_owned()),
        McpLoginState::LoggedIn => Some("logged in".to_owned()),
        McpLoginState::LoggedOut => Some(format!("log in with `lastword mcp login {server}`")),
        McpLoginState::Unknown { failure } => Some(failure.clone()),
        _ => Some("unknown".to_owned()),
    }
}

impl From<McpLoginError> for Failure {
    fn from(error: McpLoginError) -> Self {
        match error {
            McpLoginError::Failed(_) => Self::failed(error.to_string()),
            _ => Self::usage(error.to_string()),
        }
    }
}
