//! HTTP over TCP, TLS and unix sockets.

use crate::transport::{BodyStream, Transport, TransportError};
use crate::{Address, ClientError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use http::{Request, Response};
use reqwest::Client;
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// The longest time that a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest number of bytes of a path in a socket's address.
const SOCKET_PATH_MAX: usize = 100;

/// An HTTP client with the server's address or socket.
pub(crate) struct HttpTransport {
    http: Client,
    /// The socket's directory, if the client goes through its descriptor.
    _directory: Option<File>,
}

impl HttpTransport {
    /// Connects to the server at an address.
    pub(crate) fn at(address: &Address) -> Result<Self, ClientError> {
        let mut builder = builder();
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        Self::built(builder, None)
    }

    /// Connects to the server behind a unix socket, whose path can have any length.
    pub(crate) fn behind(socket: &Path) -> Result<Self, ClientError> {
        let (mut path, mut directory) = (socket.to_owned(), None);
        if socket.as_os_str().len() > SOCKET_PATH_MAX
            && let (Some(folder), Some(name)) = (socket.parent(), socket.file_name())
        {
            let opened = File::open(folder).map_err(|error| {
                ClientError::Setup(format!("cannot open {}: {error}", folder.display()))
            })?;
            path = Path::new(&format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
            directory = Some(opened);
        }
        Self::built(builder().no_proxy().unix_socket(path), directory)
    }

    fn built(
        builder: reqwest::ClientBuilder,
        directory: Option<File>,
    ) -> Result<Self, ClientError> {
        let http = builder.build();
        let http = http.map_err(|error| ClientError::Setup(innermost(&error)))?;
        Ok(Self {
            http,
            _directory: directory,
        })
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<BodyStream>, TransportError>> {
        let http = self.http.clone();
        Box::pin(async move {
            let request = reqwest::Request::try_from(request).map_err(|error| broke(&error))?;
            let response = http.execute(request).await.map_err(|error| broke(&error))?;
            let response = Response::<reqwest::Body>::from(response);
            Ok(response.map(|body| {
                let bytes = http_body_util::BodyExt::into_data_stream(body);
                let failed = |error: reqwest::Error| io::Error::other(innermost(&error));
                bytes.map(move |piece| piece.map_err(failed)).boxed()
            }))
        })
    }
}

fn builder() -> reqwest::ClientBuilder {
    // Has no effect if the process has already installed a provider.
    let _installed_already = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lastword/", env!("CARGO_PKG_VERSION")))
}

fn broke(error: &reqwest::Error) -> TransportError {
    TransportError {
        reason: if error.is_timeout() {
            "it does not answer".to_owned()
        } else {
            innermost(error)
        },
        unsent: error.is_connect() && !error.is_timeout() || error.is_builder(),
    }
}

/// Returns the innermost cause, which is the most specific.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
