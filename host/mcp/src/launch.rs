//! Resolves a server's settings for one workspace: fills in the placeholders just before the values
//! are used.

use super::config::Endpoint;
use http::{HeaderName, HeaderValue};
use lastword_providers::secrets::Secrets;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The placeholder for the workspace's directory.
const WORKSPACE: &str = "{{workspace}}";
/// The start of a placeholder for a secret.
const SECRET: &str = "{{secret:";
/// The host's variables that a program inherits. None of them holds secrets.
const INHERITED: [&str; 14] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
];

/// A source of secrets.
pub trait SecretSource: Send + Sync + 'static {
    /// Replaces every `{{secret:NAME}}` in a text by its value. May block.
    ///
    /// # Errors
    ///
    /// Names the missing secret and what to do about it; contains no value.
    fn fill(&self, text: &str) -> Result<String, String>;

    /// Returns the text without the value of any secret. Called for everything that a server says,
    /// so it has to return at once and not panic.
    fn redact(&self, text: &str) -> String;
}

/// Any secret may be used, since the operator names it in the server's settings.
impl SecretSource for Secrets {
    fn fill(&self, text: &str) -> Result<String, String> {
        self.fill_all(text).map_err(|error| error.to_string())
    }

    fn redact(&self, text: &str) -> String {
        Self::redact(self, text).into_owned()
    }
}

/// A source without secrets.
pub(super) struct NoSecretSource;

impl SecretSource for NoSecretSource {
    fn fill(&self, text: &str) -> Result<String, String> {
        if text.contains(SECRET) {
            Err("this host has no secrets to fill in".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Everything needed to reach a server. Holds secrets.
pub(super) enum ResolvedEndpoint {
    Command {
        command: Vec<String>,
        env: Vec<(String, String)>,
        directory: PathBuf,
    },
    Http {
        url: String,
        headers: HashMap<HeaderName, HeaderValue>,
    },
}

impl ResolvedEndpoint {
    /// Fills in the placeholders. Blocks for as long as the source of secrets does.
    pub(super) fn new(
        endpoint: &Endpoint,
        workspace: Option<&Path>,
        fill: &dyn SecretSource,
    ) -> Result<Self, String> {
        match endpoint {
            Endpoint::Command {
                command,
                env,
                directory,
            } => {
                let fill_workspace = |text: &str| fill_workspace(text, workspace);
                let inherited = INHERITED.iter().filter_map(|name| {
                    let value = std::env::var(name).ok()?;
                    Some(((*name).to_owned(), value))
                });
                let mut variables: Vec<_> = inherited.collect();

                for (name, value) in env {
                    let value = fill.fill(value).map_err(|why| format!("`{name}`: {why}"))?;
                    variables.push((name.clone(), fill_workspace(&value)?));
                }

                Ok(Self::Command {
                    command: command
                        .iter()
                        .map(|word| fill_workspace(word))
                        .collect::<Result<_, _>>()?,
                    env: variables,
                    directory: match directory {
                        Some(directory) => {
                            PathBuf::from(fill_workspace(&directory.to_string_lossy())?)
                        }
                        None => home(),
                    },
                })
            }
            Endpoint::Http { url, headers, .. } => {
                let headers = headers.iter().map(|(name, value)| {
                    let value = fill.fill(value).map_err(|why| format!("`{name}`: {why}"))?;
                    let mut value = HeaderValue::from_str(&value)
                        .map_err(|_| format!("`{name}`: its value does not fit into a header"))?;
                    value.set_sensitive(true);
                    Ok((name.clone(), value))
                });

                Ok(Self::Http {
                    url: url.clone(),
                    headers: headers.collect::<Result<_, String>>()?,
                })
            }
        }
    }
}

/// Returns a directory that belongs to the operator.
fn home() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|home| home.is_dir())
        .unwrap_or_else(|| PathBuf::from("/"))
}

fn fill_workspace(text: &str, workspace: Option<&Path>) -> Result<String, String> {
    if !text.contains(WORKSPACE) {
        return Ok(text.to_owned());
    }
    let directory = workspace.and_then(Path::to_str).ok_or(
        "it is configured with `{{workspace}}`, and this workspace has no directory; open one \
         with a directory",
    )?;
    Ok(text.replace(WORKSPACE, directory))
}

/// Fills in the secrets on a blocking thread.
pub(super) async fn prepare(
    endpoint: Arc<Endpoint>,
    workspace: Option<PathBuf>,
    fill: Arc<dyn SecretSource>,
) -> Result<ResolvedEndpoint, String> {
    let filled = tokio::task::spawn_blocking(move || {
        ResolvedEndpoint::new(&endpoint, workspace.as_deref(), fill.as_ref())
    });
    filled.await.unwrap_or_else(|_| {
        Err("filling in its secrets failed; the host's log says why".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::{McpConfig, Server};
    use super::*;

    struct One;

    impl SecretSource for One {
        fn fill(&self, text: &str) -> Result<String, String> {
            if text.contains("{{secret:GONE}}") {
                Err("there is no secret `GONE`".to_owned())
            } else {
                Ok(text.replace("{{secret:ONE}}", "canary"))
            }
        }

        fn redact(&self, text: &str) -> String {
            text.replace("canary", "[ONE]")
        }
    }

    fn launch(text: &str, workspace: Option<&str>) -> Result<ResolvedEndpoint, String> {
        let config: McpConfig = toml::from_str(text).unwrap();
        let (_, endpoint) = Server::new("it", config).unwrap();
        ResolvedEndpoint::new(&endpoint, workspace.map(Path::new), &One)
    }

    #[test]
    fn placeholders_become_values() {
        let text = "command = ['serve', '{{workspace}}/x']\nenv = {TOKEN = 'a {{secret:ONE}}'}";
        let ResolvedEndpoint::Command { command, env, .. } = launch(text, Some("/w")).unwrap()
        else {
            panic!("it is a command");
        };
        assert_eq!(command, ["serve", "/w/x"]);
        assert!(env.contains(&("TOKEN".to_owned(), "a canary".to_owned())));

        let known = |name: &str| INHERITED.contains(&name) || name == "TOKEN";
        assert!(env.iter().all(|(name, _)| known(name)));
        assert!(env.iter().any(|(name, _)| name == "PATH"));

        let text = "url = 'http://h/mcp'\nheaders = {Authorization = 'Bearer {{secret:ONE}}'}";
        let ResolvedEndpoint::Http { headers, .. } = launch(text, None).unwrap() else {
            panic!("it is an address");
        };
        assert_eq!(headers[&http::header::AUTHORIZATION], "Bearer canary");
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn missing_values_are_named() {
        let error = |text, workspace| launch(text, workspace).err().unwrap();
        let text = "command = ['x']\nenv = {TOKEN = '{{secret:GONE}}'}";
        assert_eq!(error(text, None), "`TOKEN`: there is no secret `GONE`");
        let text = "command = ['x', '{{workspace}}']";
        assert!(error(text, None).contains("has no directory"));
        assert!(NoSecretSource.fill("{{secret:ONE}}").is_err());
    }
}
