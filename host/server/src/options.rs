//! The settings of a server and their defaults.

use std::path::PathBuf;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// The settings of a server. Everything has a default.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Directories inside which workspaces may be opened. Default: none, so that all
    /// workspaces are names without a directory.
    pub roots: Vec<PathBuf>,
    /// Bytes of the largest body, except those of agents and of prompts with attachments.
    /// Default: 1 MiB.
    pub body_bytes_max: usize,
    /// Bytes of the largest prompt with its attachments, which base64 makes a third longer.
    /// Default: 28 MiB, which is enough for the most that a host accepts.
    pub prompt_bytes_max: usize,
    /// Bytes of the largest agent that can be uploaded. Default: 64 MiB.
    pub agent_bytes_max: usize,
    /// How long a stream may be silent before a comment says that it is alive. Default: 15 s.
    pub heartbeat: Duration,
    /// How long a client may take for the next piece of a body. Default: 30 s.
    pub body_timeout: Duration,
    /// How long a client may take to send a request's head, and to begin one on a new
    /// connection. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a connection may be idle once a request on it was let in. One without such a
    /// request is closed after `head_timeout`. Default: 5 min.
    pub idle_timeout: Duration,
    /// Connections at the same time. To make room for a further one, the server closes an idle
    /// connection, first those on which no request was let in; if all are in use, the new one
    /// waits. Bounded by an eighth of the file descriptors that the process may have.
    /// Default: 1024.
    pub connections_max: usize,
    /// How long connections may go on after the shutdown has begun. Default: 10 s.
    pub drain: Duration,
    /// Host names, beside those of loopback and the address that was connected to, under
    /// which the server answers. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages, such as `https://example.org`, that may send requests beside
    /// the server's own. Default: none.
    pub allowed_origins: Vec<String>,
    /// Whether prompts that are held go on once a client opens their workspace or loads their
    /// agent. Without it they stay held until they are resumed one by one. Default: they do.
    pub resume_held: bool,
    /// Runs accepted work to its end after its client has gone. The embedder keeps a clone, closes
    /// it after serving, and waits for it. Default: a new one.
    pub tasks: TaskTracker,
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
            drain: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            resume_held: true,
            tasks: TaskTracker::new(),
        }
    }
}
