//! The settings of MCP servers, and their checks. Secrets are still placeholders here;
//! [`launch`](super::launch) fills them in.

use super::oauth::{self, OAuthConfig};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use http::{HeaderName, Uri};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The default of the longest time that a call may take, in seconds.
const TIMEOUT_S: u64 = 60;
/// The default of the longest time until a server is ready, in seconds.
const START_TIMEOUT_S: u64 = 30;
/// The largest value of either, in seconds.
const TIMEOUT_MAX_S: u64 = 24 * 60 * 60;
/// The largest number of bytes of a server's name.
const NAME_MAX: usize = 32;

/// The table `[mcp.NAME]` of an operator's configuration: a program to start, or an address.
///
/// ```toml
/// [mcp.files]
/// command = ["npx", "-y", "@modelcontextprotocol/server-filesystem", "{{workspace}}"]
/// env = { API_KEY = "{{secret:FILES_KEY}}" }
/// tools = ["read_*", "list_*"]
///
/// [mcp.tracker]
/// url = "https://tracker.example/mcp"
/// headers = { Authorization = "Bearer {{secret:TRACKER_TOKEN}}" }
/// ```
///
/// `{{workspace}}` in `command`, `env` and `directory` stands for the workspace's directory.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McpConfig {
    /// The program and its arguments. It runs outside the sandbox, without a shell.
    pub command: Vec<String>,
    /// Environment variables of the program, in addition to a few of the host's own such as `PATH`
    /// and `HOME`. Values may contain `{{secret:NAME}}`.
    pub env: BTreeMap<String, String>,
    /// The working directory of the program; the host's `HOME` by default, since a workspace's own
    /// files must not decide what `npx` and the like start.
    pub directory: Option<PathBuf>,
    /// The address of a server that speaks streamable HTTP.
    pub url: Option<String>,
    /// Headers of every request to the server. Values may contain `{{secret:NAME}}`.
    pub headers: BTreeMap<String, String>,
    /// How the host gets a token, if the server asks for one by OAuth: `true`, or a table.
    #[serde(deserialize_with = "oauth::switch_or_table")]
    pub oauth: Option<OAuthConfig>,
    /// The longest time that a call may take, in seconds; 60 by default.
    pub timeout_s: Option<u64>,
    /// The longest time until the server is ready, in seconds; 30 by default.
    pub start_timeout_s: Option<u64>,
    /// The server's tools that are shown, with `*` for any characters; all by default.
    pub tools: Option<Vec<String>>,
    /// Whether to trust the server's word that a tool changes nothing. Otherwise every tool counts
    /// as one with effects.
    pub trust_read_only: bool,
}

/// Shows names and not values, which may be secrets.
impl fmt::Debug for McpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpConfig")
            .field("command", &self.command)
            .field("env", &self.env.keys())
            .field("directory", &self.directory)
            .field("url", &self.url)
            .field("headers", &self.headers.keys())
            .field("oauth", &self.oauth)
            .field("timeout_s", &self.timeout_s)
            .field("start_timeout_s", &self.start_timeout_s)
            .field("tools", &self.tools)
            .field("trust_read_only", &self.trust_read_only)
            .finish()
    }
}

/// A table of the configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[mcp.{server}] cannot be used: {reason}")]
pub struct McpConfigError {
    /// The name of the table's server.
    pub server: String,
    /// What is wrong with the table, and how to correct it.
    pub reason: String,
}

/// The checked settings of one server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) start_timeout: Duration,
    pub(super) trust_read_only: bool,
    allowed: Option<GlobSet>,
}

/// A program or an address. Its values still contain placeholders.
pub(super) enum Endpoint {
    Command {
        command: Vec<String>,
        env: BTreeMap<String, String>,
        directory: Option<PathBuf>,
    },
    Http {
        url: String,
        headers: Vec<(HeaderName, String)>,
        oauth: Option<OAuthConfig>,
    },
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Endpoint {
    /// Returns the program or the address, for messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Command { command, .. } => command.join(" "),
            // The query is left out: it may carry a token.
            Self::Http { url, .. } => url.split('?').next().unwrap_or_default().to_owned(),
        }
    }
}

impl Server {
    /// Checks a table and returns the server's settings and how it is reached.
    pub(super) fn new(name: &str, config: McpConfig) -> Result<(Self, Endpoint), McpConfigError> {
        let refuse = |reason: String| McpConfigError {
            server: name.to_owned(),
            reason,
        };
        check_name(name).map_err(refuse)?;

        let timeout = seconds("timeout_s", config.timeout_s, TIMEOUT_S).map_err(refuse)?;
        let start_timeout =
            seconds("start_timeout_s", config.start_timeout_s, START_TIMEOUT_S).map_err(refuse)?;
        let allowed = config.tools.as_deref().map(globs).transpose();

        let server = Self {
            name: name.to_owned(),
            allowed: allowed.map_err(refuse)?,
            trust_read_only: config.trust_read_only,
            timeout,
            start_timeout,
        };
        Ok((server, endpoint(config).map_err(refuse)?))
    }

    /// Whether the operator's allow-list contains this tool.
    pub(super) fn allows(&self, tool: &str) -> bool {
        self.allowed
            .as_ref()
            .is_none_or(|allowed| allowed.is_match(tool))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits) {
        Ok(())
    } else {
        Err(format!(
            "its name is what its tools begin with: use 1 to {NAME_MAX} letters, digits, `_` \
             and `-`"
        ))
    }
}

fn seconds(what: &str, set: Option<u64>, otherwise: u64) -> Result<Duration, String> {
    match set.unwrap_or(otherwise) {
        seconds @ 1..=TIMEOUT_MAX_S => Ok(Duration::from_secs(seconds)),
        seconds => Err(format!(
            "{what} = {seconds}; expected 1 to {TIMEOUT_MAX_S} seconds"
        )),
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let unusable = |error: globset::Error| format!("`tools` holds an invalid pattern: {error}");
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(false).build();
        set.add(glob.map_err(unusable)?);
    }
    set.build().map_err(unusable)
}

fn endpoint(config: McpConfig) -> Result<Endpoint, String> {
    match (config.url, config.command.is_empty()) {
        (None, true) => Err(
            "it needs `command = [\"PROGRAM\", \"ARGUMENT\"]` or `url = \"https://…\"`".to_owned(),
        ),
        (Some(_), false) => Err("it has both `command` and `url`: leave one out".to_owned()),
        (None, false) => {
            if !config.headers.is_empty() {
                return Err("`headers` are for servers with a `url`; use `env`".to_owned());
            }

            if config.oauth.is_some() {
                return Err("`oauth` is for servers with a `url`; use `env`".to_owned());
            }

            check_command(&config.command, &config.env)?;

            Ok(Endpoint::Command {
                command: config.command,
                env: config.env,
                directory: config.directory,
            })
        }
        (Some(url), true) => {
            if !config.env.is_empty() || config.directory.is_some() {
                return Err("`env` and `directory` are for servers with a `command`".to_owned());
            }

            check_url(&url)?;
            let headers = config.headers.into_iter().map(header);
            let headers = headers.collect::<Result<Vec<_>, _>>()?;

            if let Some(oauth) = &config.oauth {
                oauth::check(oauth)?;
                if headers.iter().any(|(name, _)| name == "authorization") {
                    return Err(
                        "it has both `oauth` and a header `Authorization`: leave one out"
                            .to_owned(),
                    );
                }
            }

            Ok(Endpoint::Http {
                headers,
                oauth: config.oauth,
                url,
            })
        }
    }
}

fn check_command(command: &[String], env: &BTreeMap<String, String>) -> Result<(), String> {
    if command[0].trim().is_empty() {
        return Err("`command` begins with an empty program".to_owned());
    }

    if command.iter().any(|word| word.contains('\0')) {
        return Err("`command` holds a NUL byte".to_owned());
    }

    let unusable = env.iter().find(|(name, value)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    });
    match unusable {
        Some((name, _)) => Err(format!(
            "`env` holds `{name}`, which is not a valid name of a variable"
        )),
        None => Ok(()),
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let expected = "expected something like https://example.com/mcp";
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("`url` is no address ({error}); {expected}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(format!("`url` is no HTTP address; {expected}"));
    }

    // A password would be shown wherever the address is.
    let authority = uri.authority().map(http::uri::Authority::as_str);
    if authority.is_some_and(|authority| authority.contains('@')) {
        Err("`url` holds a password: put it into `headers`".to_owned())
    } else {
        Ok(())
    }
}

/// Headers that the protocol sets itself.
const OWN_HEADERS: [&str; 7] = [
    "accept",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
];

fn header((name, value): (String, String)) -> Result<(HeaderName, String), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed
        .map_err(|_| format!("`headers` holds `{name}`, which is not a valid header name"))?;
    if OWN_HEADERS.contains(&parsed.as_str()) {
        Err(format!(
            "`headers` holds `{name}`, which the host sets itself"
        ))
    } else {
        Ok((parsed, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Result<(Server, Endpoint), String> {
        let config = toml::from_str::<McpConfig>(text).map_err(|error| error.to_string())?;
        Server::new("it", config).map_err(|error| error.to_string())
    }

    #[test]
    fn tables_override_defaults() {
        let (plain, _) = server("command = ['npx', '-y', 'x']").unwrap();
        assert_eq!(plain.timeout, Duration::from_secs(60));
        assert_eq!(plain.start_timeout, Duration::from_secs(30));
        assert!(!plain.trust_read_only);
        assert!(plain.allows("anything"));

        let set = server("url = 'https://h/mcp?k=1'\ntimeout_s = 5\ntools = ['read_*', 'x']");
        let (set, endpoint) = set.unwrap();
        assert_eq!(set.timeout, Duration::from_secs(5));
        assert_eq!(endpoint.shown(), "https://h/mcp");
        assert!(set.allows("read_file") && set.allows("x"));
        assert!(!set.allows("write_file") && !set.allows("xy"));

        for (text, set) in [("true", true), ("{}", true), ("false", false)] {
            let (_, endpoint) = server(&format!("url = 'https://h'\noauth = {text}")).unwrap();
            let Endpoint::Http { oauth, .. } = endpoint else {
                panic!("it is an address");
            };
            assert_eq!(oauth, set.then(OAuthConfig::default));
        }
    }

    #[test]
    fn invalid_settings_are_refused_with_a_correction() {
        for (text, expected) in [
            ("", "it needs `command"),
            ("command = ['x']\nurl = 'http://h'", "leave one out"),
            ("command = ['']", "empty program"),
            ("command = ['x']\nheaders = {A = 'b'}", "use `env`"),
            ("url = 'http://h'\nenv = {A = 'b'}", "with a `command`"),
            ("url = 'ftp://h'", "expected something like"),
            ("url = '/mcp'", "expected something like"),
            ("url = 'http://me:hunter2@h/'", "put it into `headers`"),
            (
                "url = 'http://h'\nheaders = {'a b' = ''}",
                "not a valid header name",
            ),
            ("url = 'http://h'\nheaders = {Accept = ''}", "sets itself"),
            ("command = ['x']\ntimeout_s = 0", "timeout_s = 0; expected"),
            (
                "command = ['x']\nenv = {'A=B' = ''}",
                "not a valid name of a variable",
            ),
            ("command = ['x']\ntools = ['[']", "invalid pattern"),
            ("comand = ['x']", "comand"),
            ("command = ['x']\noauth = true", "with a `url`"),
            ("url = 'http://h'\noauth = 1", "`true` or a table"),
            (
                "url = 'http://h'\noauth = {scope = 'a'}",
                "unknown field `scope`",
            ),
            (
                "url = 'http://h'\noauth = {client_secret = 'hunter2'}",
                "no place for a secret",
            ),
            (
                "url = 'http://h'\noauth = {grant = 'client-credentials'}",
                "needs `client_id`",
            ),
            ("url = 'http://h'\noauth = {scopes = ['a b']}", "one word"),
            (
                "url = 'http://h'\noauth = {client_metadata_url = 'http://h/x'}",
                "has to be like",
            ),
            (
                "url = 'http://h'\noauth = true\nheaders = {Authorization = 'x'}",
                "leave one out",
            ),
        ] {
            let error = server(text).unwrap_err();
            assert!(error.contains(expected), "`{text}`: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }

        let error = Server::new("a.b", McpConfig::default()).unwrap_err();
        assert!(error.to_string().starts_with("[mcp.a.b]"), "{error}");
    }

    #[test]
    fn values_are_not_shown() {
        let text = "command = ['x']\nenv = {TOKEN = 'canary'}";
        let config: McpConfig = toml::from_str(text).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("canary"));
        let server = Server::new("it", config).unwrap();
        assert!(!format!("{server:?}").contains("canary"));
    }
}
