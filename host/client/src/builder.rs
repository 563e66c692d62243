//! Builds a client.

use crate::http_transport::HttpTransport;
use crate::transport::Transport;
use crate::{Address, Client, ClientError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest time that a server may take to respond. It includes the grace period of a run that
/// is stopped.
const ANSWER: Duration = Duration::from_secs(120);
/// The same for requests that can be large: an agent, which is also compiled before the response,
/// and a prompt with files.
const UPLOAD: Duration = Duration::from_secs(600);
/// How often a request with a key is sent if its response is lost.
const TRIES: u32 = 4;
/// The largest number of consecutive connections of a stream without an event.
const CONNECTIONS: u32 = 9;

/// The address of the server and the options of a client. See [`Client::builder`].
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
    /// Sets the address of the server. Loopback addresses are connected to directly, others through
    /// the proxy that the environment names, if there is one.
    pub fn address(mut self, address: Address) -> Self {
        self.target = Target::Address(address);
        self
    }

    /// Sets the unix socket of the server. Its path can have any length.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.target = Target::Socket(path.into());
        self
    }

    /// Sets a transport to the server, and the server's name in errors. There are no time limits
    /// and no repeated requests, since a failure in this process is final.
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

    /// Stops repeating a request once the server reports that it is closing, or is gone: another
    /// server may take over the same data, and the caller can ask that one. Default: the request is
    /// repeated.
    pub fn succession(mut self) -> Self {
        self.settings.succession = true;
        self
    }

    /// Builds the client. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`]: no server was named, TLS is not available, or the socket's directory
    /// cannot be opened.
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
