//! What a server's configuration comes to for one workspace: placeholders become values, just
//! before they are used. Starts nothing.

use super::config::Reach;
use http::{HeaderName, HeaderValue};
use lastword_providers::secrets::Secrets;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Stands for the workspace's directory.
const WORKSPACE: &str = "{{workspace}}";
/// What a placeholder for a secret begins with.
const SECRET: &str = "{{secret:";
/// The host's variables that a program gets. None of them is a secret by its nature.
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

/// Somebody who knows the secrets.
pub trait Fill: Send + Sync + 'static {
    /// The text with a value for every `{{secret:NAME}}`. May block.
    ///
    /// # Errors
    /// Which secret is missing and what to do, without any value.
    fn fill(&self, text: &str) -> Result<String, String>;

    /// The text without the value of any secret. Called in place for whatever a server says: it
    /// returns at once and does not panic.
    fn redact(&self, text: &str) -> String;
}

/// Whatever the operator wrote into a server's own settings, they allowed.
impl Fill for Secrets {
    fn fill(&self, text: &str) -> Result<String, String> {
        self.fill_all(text).map_err(|error| error.to_string())
    }

    fn redact(&self, text: &str) -> String {
        Self::redact(self, text).into_owned()
    }
}

/// There are no secrets.
pub(super) struct NoSecrets;

impl Fill for NoSecrets {
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

/// Everything that is needed to reach a server. Holds secrets.
pub(super) enum Launch {
    Command {
        command: Vec<String>,
        env: Vec<(String, String)>,
        directory: PathBuf,
    },
    Web {
        url: String,
        headers: HashMap<HeaderName, HeaderValue>,
    },
}

impl Launch {
    /// Fills everything in. Blocks for as long as the secrets do.
    pub(super) fn new(
        reach: &Reach,
        workspace: Option<&Path>,
        fill: &dyn Fill,
    ) -> Result<Self, String> {
        match reach {
            Reach::Command {
                command,
                env,
                directory,
            } => {
                let place = |text: &str| place(text, workspace);
                let inherited = INHERITED.iter().filter_map(|name| {
                    let value = std::env::var(name).ok()?;
                    Some(((*name).to_owned(), value))
                });
                let mut variables: Vec<_> = inherited.collect();

                for (name, value) in env {
                    let value = fill.fill(value).map_err(|why| format!("`{name}`: {why}"))?;
                    variables.push((name.clone(), place(&value)?));
                }

                Ok(Self::Command {
                    command: command
                        .iter()
                        .map(|word| place(word))
                        .collect::<Result<_, _>>()?,
                    env: variables,
                    directory: match directory {
                        Some(directory) => PathBuf::from(place(&directory.to_string_lossy())?),
                        None => home(),
                    },
                })
            }
            Reach::Web { url, headers, .. } => {
                let headers = headers.iter().map(|(name, value)| {
                    let value = fill.fill(value).map_err(|why| format!("`{name}`: {why}"))?;
                    let mut value = HeaderValue::from_str(&value)
                        .map_err(|_| format!("`{name}`: its value does not fit into a header"))?;
                    value.set_sensitive(true);
                    Ok((name.clone(), value))
                });

                Ok(Self::Web {
                    url: url.clone(),
                    headers: headers.collect::<Result<_, String>>()?,
                })
            }
        }
    }
}

/// A place that belongs to the operator.
fn home() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|home| home.is_dir())
        .unwrap_or_else(|| PathBuf::from("/"))
}

fn place(text: &str, workspace: Option<&Path>) -> Result<String, String> {
    if !text.contains(WORKSPACE) {
        return Ok(text.to_owned());
    }
    let directory = workspace.and_then(Path::to_str).ok_or(
        "it is configured with `{{workspace}}`, and this workspace has no directory; open one \
         with a directory",
    )?;
    Ok(text.replace(WORKSPACE, directory))
}

/// The secrets, filled in away from the runtime's threads.
pub(super) async fn prepare(
    reach: Arc<Reach>,
    workspace: Option<PathBuf>,
    fill: Arc<dyn Fill>,
) -> Result<Launch, String> {
    let filled = tokio::task::spawn_blocking(move || {
        Launch::new(&reach, workspace.as_deref(), fill.as_ref())
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

    impl Fill for One {
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

    fn launch(text: &str, workspace: Option<&str>) -> Result<Launch, String> {
        let config: McpConfig = toml::from_str(text).unwrap();
        let (_, reach) = Server::new("it", config).unwrap();
        Launch::new(&reach, workspace.map(Path::new), &One)
    }

    #[test]
    fn placeholders_become_values() {
        let text = "command = ['serve', '{{workspace}}/x']\nenv = {TOKEN = 'a {{secret:ONE}}'}";
        let Launch::Command { command, env, .. } = launch(text, Some("/w")).unwrap() else {
            panic!("it is a command");
        };
        assert_eq!(command, ["serve", "/w/x"]);
        assert!(env.contains(&("TOKEN".to_owned(), "a canary".to_owned())));

        let known = |name: &str| INHERITED.contains(&name) || name == "TOKEN";
        assert!(env.iter().all(|(name, _)| known(name)));
        assert!(env.iter().any(|(name, _)| name == "PATH"));

        let text = "url = 'http://h/mcp'\nheaders = {Authorization = 'Bearer {{secret:ONE}}'}";
        let Launch::Web { headers, .. } = launch(text, None).unwrap() else {
            panic!("it is an address");
        };
        assert_eq!(headers[&http::header::AUTHORIZATION], "Bearer canary");
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |text, workspace| launch(text, workspace).err().unwrap();
        let text = "command = ['x']\nenv = {TOKEN = '{{secret:GONE}}'}";
        assert_eq!(error(text, None), "`TOKEN`: there is no secret `GONE`");
        let text = "command = ['x', '{{workspace}}']";
        assert!(error(text, None).contains("has no directory"));
        assert!(NoSecrets.fill("{{secret:ONE}}").is_err());
    }
}
