//! How a server is started: once it is authorized, within its time, by the protocol that it
//! speaks. Knows nothing of what is asked over the connection.

use super::super::connection::{Around, Connection, NotOpened, Opening};
use super::super::handler::Handler;
use super::super::launch;
use super::super::oauth::{Authority, STEPS_MAX};
use super::super::patience::Patience;
use super::super::shared::{Shared, Spoken};
use super::Slot;
use lastword_providers::foreign;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Slot {
    /// A start, and another once the server has the authorization that it wants.
    pub(super) async fn authorized_start(&self, shared: &Shared) -> Result<Connection, NotOpened> {
        let authority = shared.authority(self.name());
        let mut steps = 0;

        loop {
            let since = authority.map(Authority::obtained);
            let mut failed = match self.start(shared).await {
                Ok(connection) => return Ok(connection),
                Err(failed) => failed,
            };
            let wanted = failed.wanted.take();
            let (Some(authority), Some(since), Some(wanted)) = (authority, since, wanted) else {
                return Err(failed);
            };

            if steps == STEPS_MAX {
                return Err(failed);
            }

            steps += 1;

            if let Err(why) = self.authorize(authority, &wanted, since).await {
                let wanted = Some(wanted);
                return Err(NotOpened {
                    why,
                    wanted,
                    ..failed
                });
            }
        }
    }

    /// One start, within its time.
    async fn start(&self, shared: &Shared) -> Result<Connection, NotOpened> {
        let within = self.known.server.start_timeout;
        let started = tokio::select! {
            started = self.attempt(shared) => started?,
            () = self.closed.cancelled() => return Err(NotOpened::before(self.name(), "its workspace closes")),
            () = shared.clock.sleep(within) => {
                let (name, within) = (self.name(), within.as_secs());
                return Err(NotOpened {
                    why: format!(
                        "{name} did not get ready within {within} s; raise `start_timeout_s` of \
                         [mcp.{name}] if it needs longer"
                    ),
                    ..NotOpened::before(self.name(), "")
                });
            }
        };

        let spoken = if started.is_newer() {
            Spoken::Newer
        } else {
            Spoken::Older
        };
        self.known.set_spoken(spoken);

        let (server, protocol) = (self.name(), started.protocol());
        tracing::debug!(target: "lastword::mcp", server, protocol, "connected");
        Ok(started)
    }

    /// By the protocol that the server is known to speak, and by the other one if it behaves as
    /// if it were that.
    async fn attempt(&self, shared: &Shared) -> Result<Connection, NotOpened> {
        let first = match self.known.spoken() {
            Spoken::Unknown => Opening::Probe,
            Spoken::Older => Opening::Handshake,
            Spoken::Newer => Opening::Discover,
        };

        let failed = match self.open(shared, first).await {
            Ok(connection) => return Ok(connection),
            Err(failed) => failed,
        };

        let is_busy = failed
            .refused
            .as_ref()
            .is_some_and(|refused| refused.retry_after.is_some() || !refused.may_have_acted);

        let second = match first {
            _ if is_busy => None,
            // Both questions lay before it when it woke, and it wants none but the first.
            Opening::Probe if failed.may_be_newer && !failed.hung_up => Some(Opening::Discover),
            Opening::Probe | Opening::Discover if failed.may_be_older => Some(Opening::Handshake),
            _ => None,
        };

        let (last, opened) = match second {
            Some(second) => (second, self.open(shared, second).await),
            None => (first, Err(failed)),
        };

        if let Err(failed) = &opened {
            // A server that hangs up is not asked the same twice, until it answers.
            let hangs_up = last == Opening::Handshake && failed.hung_up;
            self.known.set_spoken(if hangs_up {
                Spoken::Older
            } else {
                Spoken::Unknown
            });
        }

        opened
    }

    async fn open(&self, shared: &Shared, opening: Opening) -> Result<Connection, NotOpened> {
        let directories = &shared.brought.directories;
        let root = foreign::caught(async || directories(self.workspace)).await;
        let root = root.map_err(|error| NotOpened::before(self.name(), &error.to_string()))?;
        let fill = Arc::clone(&shared.fill);
        let launch = launch::prepare(Arc::clone(&self.known.reach), root.clone(), fill).await;
        let launch = launch.map_err(|why| NotOpened::before(self.name(), &why))?;

        let handler = Handler {
            server: self.name().into(),
            workspace: self.workspace,
            fill: Arc::clone(&shared.fill),
            root,
            elicit: shared.brought.elicit.clone(),
            patience: Patience::new(Arc::clone(&shared.clock)),
            stale: Arc::new(AtomicBool::new(true)),
            handshake: opening == Opening::Handshake,
        };

        let around = Around {
            processes: &self.processes,
            clock: Arc::clone(&shared.clock),
            stop: self.closed.child_token(),
        };

        let (server, authority) = (&self.known.server, shared.authority(self.name()));
        Connection::open(server, launch, handler, authority, opening, around).await
    }
}
