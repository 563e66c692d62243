//! How a client is made.

use crate::http_transport::HttpTransport;
use crate::transport::Transport;
use crate::{Address, Client, ClientError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to answer; a run that is stopped may have a grace.
const ANSWER: Duration = Duration::from_secs(120);
/// The same for what may be large: an agent, which is also compiled before it is answered, and a
/// prompt with files.
const UPLOAD: Duration = Duration::from_secs(600);
/// How often a request that has a key is sent while its answer is lost.
const TRIES: u32 = 4;
/// How often in a row a stream is asked for that brings no event.
const CONNECTIONS: u32 = 9;

/// Where the server is and how it is spoken to. See [`Client::builder`].
#[derive(Default)]
#[must_use]
pub struct ClientBuilder {
    target: Target,
    token: Option<String>,
    settings: Settings,
}

/// How long a client waits, and how often it repeats a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) answer: Option<Duration>,
    pub(crate) upload: Option<Duration>,
    pub(crate) tries: u32,
    pub(crate) connections: u32,
    pub(crate) succession: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            answer: Some(ANSWER),
            upload: Some(UPLOAD),
            tries: TRIES,
            connections: CONNECTIONS,
            succession: false,
        }
    }
}

#[derive(Default)]
enum Target {
    #[default]
    None,
    Address(Address),
    Socket(PathBuf),
    Transport(Arc<dyn Transport>, String),
}

impl ClientBuilder {
    /// The server at an address. Loopback addresses are connected to directly, others through the
    /// proxy that the environment names, if it does.
    pub fn address(mut self, address: Address) -> Self {
        self.target = Target::Address(address);
        self
    }

    /// The server behind a unix socket, however long its path is.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.target = Target::Socket(path.into());
        self
    }

    /// The server that a transport reaches, and what to call it in errors. There are no
    /// time limits and no repeated requests, since a failure in this process is final.
    pub fn transport(mut self, transport: impl Transport, name: impl Into<String>) -> Self {
        self.target = Target::Transport(Arc::new(transport), name.into());
        self.settings = Settings {
            answer: None,
            upload: None,
            tries: 1,
            connections: 1,
            ..self.settings
        };
        self
    }

    /// Sends this token with every request. Default: none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Stops repeating a request once the server says that it is leaving, or is gone: another server
    /// may take over the same data, and the caller can ask that one. Default: the request is repeated.
    pub fn succession(mut self) -> Self {
        self.settings.succession = true;
        self
    }

    /// The client. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`]: no server was named, TLS is not there, or the socket's directory cannot be
    /// opened.
    pub fn build(self) -> Result<Client, ClientError> {
        let (transport, base, name): (Arc<dyn Transport>, _, _) = match self.target {
            Target::None => return Err(ClientError::Setup("no server was named".to_owned())),
            Target::Address(address) => {
                let transport = HttpTransport::at(&address)?;
                (Arc::new(transport), address.base(), address.to_string())
            }
            Target::Socket(path) => {
                let transport = HttpTransport::behind(&path)?;
                let base = "http://localhost/v1".to_owned();
                (Arc::new(transport), base, path.display().to_string())
            }
            Target::Transport(transport, name) => (transport, "/v1".to_owned(), name),
        };

        Ok(Client::new(
            transport,
            base,
            name,
            self.token,
            self.settings,
        ))
    }
}
