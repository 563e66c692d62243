//! The settings of a server and their defaults.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// The settings of a server. Everything has a default.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The directories inside which workspaces may be opened. Default: none, so that workspaces can
    /// only be names without a directory.
    pub roots: Vec<PathBuf>,
    /// The largest number of bytes of a body, except those of agents and of prompts with
    /// attachments. Default: 1 MiB.
    pub body_bytes_max: usize,
    /// The largest number of bytes of a prompt with its attachments, which base64 makes a third
    /// longer. Default: 28 MiB, which is enough for the largest prompt that a host accepts.
    pub prompt_bytes_max: usize,
    /// The largest number of bytes of an agent that is uploaded. Default: 64 MiB.
    pub agent_bytes_max: usize,
    /// How long a stream may be silent before the server sends a comment as heartbeat. Default: 15
    /// s.
    pub heartbeat: Duration,
    /// How long a client may take to send the next chunk of a body. Default: 30 s.
    pub body_timeout: Duration,
    /// How long a client may take to send a request's head, and to begin one on a new
    /// connection. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a connection may be idle after a request on it was let in. One without such a
    /// request is closed after `head_timeout`. Default: 5 min.
    pub idle_timeout: Duration,
    /// The largest number of connections at the same time. To make room for a further one, the
    /// server closes an idle connection, first those on which no request was let in; if all are in
    /// use, the new one waits. Also bounded by an eighth of the file descriptors that the process
    /// may have. Default: 1024.
    pub connections_max: usize,
    /// The largest number of event streams that one caller has open at the same time: one
    /// [`Principal`](crate::Principal), by its name. A further one is refused with
    /// `too-many-streams`. Default: `None`, half of the connections that there may be, so that the
    /// streams of one caller leave connections to others.
    pub streams_max: Option<usize>,
    /// How long connections may continue after the shutdown has begun. Default: 10 s.
    pub drain: Duration,
    /// Host names for which the server accepts requests, in addition to those of loopback and the
    /// address that was connected to. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages, such as `https://example.org`, that may send requests, in addition to
    /// the server's own. Default: none.
    pub allowed_origins: Vec<String>,
    /// Whether held prompts are resumed once a client opens their workspace or loads their agent.
    /// Otherwise they stay held until they are resumed one by one. Default: true.
    pub resume_held: bool,
    /// Counts the connections of [`serve`](crate::serve) for the metrics of
    /// [`router`](crate::router): both have clones of the same options. Default: a new one.
    pub connections: Connections,
    /// Completes accepted work after its client has disconnected. The embedder keeps a clone,
    /// closes it after serving, and waits for it. Default: a new one.
    pub tasks: TaskTracker,
}

/// A count of open connections. Its clones share it.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<AtomicU64>);

impl Connections {
    /// Returns how many connections are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a connection as open until the returned value is dropped.
    pub(crate) fn count(&self) -> Connected {
        self.0.fetch_add(1, Ordering::Relaxed);
        Connected(self.clone())
    }
}

/// A connection that is counted as open.
pub(crate) struct Connected(Connections);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            body_bytes_max: 1 << 20,
            prompt_bytes_max: 28 << 20,
            agent_bytes_max: 64 << 20,
            heartbeat: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(5 * 60),
            connections_max: 1024,
            streams_max: None,
            drain: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            resume_held: true,
            connections: Connections::default(),
            tasks: TaskTracker::new(),
        }
    }
}
