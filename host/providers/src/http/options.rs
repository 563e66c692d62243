//! Settings for agents' requests: which private hosts they may reach, how names are resolved, and
//! the bounds on time and size.

use super::hosts::HostPatterns;
use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Resolves names. Called once per request, and once per redirect.
pub trait Resolver: Send + Sync + 'static {
    /// Returns all addresses of a name.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The machine's own resolver.
#[derive(Debug)]
struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Returns the machine's own resolver.
pub(super) fn system() -> Arc<dyn Resolver> {
    Arc::new(SystemResolver)
}

/// Settings for agents' requests. By default they reach only the public internet.
#[derive(Clone)]
pub struct HttpOptions {
    pub(super) private: HostPatterns,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) total: Duration,
    pub(super) connect: Duration,
    pub(super) idle: Duration,
    pub(super) request_bytes: usize,
    pub(super) response_bytes: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            private: HostPatterns::default(),
            resolver: system(),
            roots: Vec::new(),
            total: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            request_bytes: 8 << 20,
            response_bytes: 16 << 20,
        }
    }
}

impl HttpOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which names or addresses may lead to the machine itself or to a private network, such
    /// as `ollama.internal:11434` or `127.0.0.1:8080`. The grant of `network` is needed as well.
    /// Default: none.
    #[must_use]
    pub fn private(mut self, patterns: HostPatterns) -> Self {
        self.private = patterns;
        self
    }

    /// Sets the resolver. Default: the machine's.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Adds a trusted certificate authority beside the machine's: its certificate in DER. If that
    /// is invalid, every request over `https` fails with an error that says so. May be called more
    /// than once. Default: none.
    #[must_use]
    pub fn root_certificate(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.roots.push(CertificateDer::from(der.into()));
        self
    }

    /// Sets how long a request may take from its permission to the end of its response. Default 30
    /// s.
    #[must_use]
    pub fn total(mut self, time: Duration) -> Self {
        self.total = time;
        self
    }

    /// Sets how long connecting may take. Default 10 s.
    #[must_use]
    pub fn connect(mut self, time: Duration) -> Self {
        self.connect = time;
        self
    }

    /// Sets how long a response may pause. Default 10 s.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets the bytes of the largest request body. Default 8 MiB.
    #[must_use]
    pub fn request_bytes(mut self, bytes: usize) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// Sets the bytes of the largest response body, after decompression. Default 16 MiB.
    #[must_use]
    pub fn response_bytes(mut self, bytes: u64) -> Self {
        self.response_bytes = bytes;
        self
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("private", &self.private)
            .field("total", &self.total)
            .field("connect", &self.connect)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}
