//! What one workspace has of one server: its connection, started when it is first needed, and
//! when it may be started again. Knows no other workspace.

use super::backoff::Backoff;
use super::config::{Reach, Server};
use super::connection::{Connection, NotOpened, Opening};
use super::content;
use super::failure::{self, Failure, unavailable};
use super::handler::{Elicit, Handler};
use super::launch::{self, Fill};
use super::listed::Listed;
use super::text::{ERROR_MAX, cut};
use crate::capability::tools::{ToolError, ToolErrorKind, ToolOutput};
use crate::clock::Clock;
use crate::id::WorkspaceId;
use rmcp::ServiceError;
use rmcp::model::JsonObject;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

/// Calls of one workspace that are under way at one server at the most; further ones wait.
const CALLS_MAX: usize = 64;

/// Where a workspace is.
pub(super) type Directories = Arc<dyn Fn(WorkspaceId) -> Option<PathBuf> + Send + Sync>;

/// What all connections share.
pub(super) struct Shared {
    pub(super) fill: Arc<dyn Fill>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) directories: Directories,
    pub(super) elicit: Option<Arc<dyn Elicit>>,
}

impl Shared {
    /// What may be said of a failure.
    fn said(&self, why: &str) -> String {
        cut(self.fill.redact(why), ERROR_MAX)
    }
}

/// A server, and what was learnt about it.
pub(super) struct Known {
    pub(super) server: Server,
    reach: Arc<Reach>,
    /// Whether to shake hands at once the next time.
    handshake: AtomicBool,
}

/// One workspace's part of one server.
pub(super) struct Slot {
    known: Arc<Known>,
    workspace: WorkspaceId,
    /// Cancelled when the workspace closes.
    closed: CancellationToken,
    state: Mutex<State>,
    calls: Semaphore,
    /// The tools that were last seen, which outlive the connection.
    seen: SyncMutex<Option<Seen>>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    backoff: Backoff,
    last_failure: String,
}

#[derive(Clone)]
struct Seen {
    listed: Arc<Listed>,
    until: Option<Duration>,
}

/// What a slot is doing.
pub(super) enum Doing {
    Nothing,
    Starting,
    Serving { protocol: Option<String> },
    Waiting { failure: String, retry: Duration },
}

impl Known {
    pub(super) fn new(server: Server, reach: Reach) -> Self {
        Self {
            server,
            reach: Arc::new(reach),
            handshake: AtomicBool::new(false),
        }
    }
}

impl Slot {
    pub(super) fn new(known: Arc<Known>, workspace: WorkspaceId) -> Self {
        Self {
            known,
            workspace,
            closed: CancellationToken::new(),
            state: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
            seen: SyncMutex::default(),
        }
    }

    fn name(&self) -> &str {
        &self.known.server.name
    }

    /// The tools that were last seen, if the server was ever there.
    pub(super) fn seen(&self) -> Option<Arc<Listed>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|seen| Arc::clone(&seen.listed))
    }

    /// What it is doing now.
    pub(super) fn doing(&self, now: Duration) -> Doing {
        let Ok(state) = self.state.try_lock() else {
            return Doing::Starting;
        };
        match &state.connection {
            Some(connection) if !connection.is_gone() => Doing::Serving {
                protocol: connection.protocol(),
            },
            _ if state.last_failure.is_empty() => Doing::Nothing,
            _ => Doing::Waiting {
                failure: state.last_failure.clone(),
                retry: state.backoff.wait(now).unwrap_or_default(),
            },
        }
    }

    /// The tools that the server offers now.
    pub(super) async fn tools(&self, shared: &Shared) -> Result<Arc<Listed>, ToolError> {
        let connection = self.connection(shared).await?;
        self.listed(shared, &connection).await
    }

    /// Calls a tool by the name under which the host shows it.
    pub(super) async fn call(
        &self,
        shared: &Shared,
        name: &str,
        arguments: JsonObject,
    ) -> Result<ToolOutput, ToolError> {
        let connection = self.connection(shared).await?;
        let listed = self.listed(shared, &connection).await?;
        let Some(tool) = listed.original(name) else {
            return Err(ToolError::new(
                ToolErrorKind::UnknownTool,
                format!("{} has no tool `{name}`", self.name()),
            ));
        };
        let call = async {
            // It is never closed.
            let _turn = self.calls.acquire().await;
            connection.call(tool.to_owned(), arguments).await
        };
        // Dropping the call is what tells the server.
        let timeout = shared.clock.sleep(self.known.server.timeout);
        tokio::select! {
            result = call => match result {
                Ok(result) => Ok(content::output(result, shared.fill.as_ref())),
                Err(error) => self.failed(shared, &connection, &error).await,
            },
            () = timeout => {
                self.doubt(&connection).await;
                Err(self.too_long("answer the call"))
            }
        }
    }

    fn too_long(&self, what: &str) -> ToolError {
        let (name, timeout) = (self.name(), self.known.server.timeout.as_secs());
        ToolError::new(
            ToolErrorKind::Timeout,
            format!(
                "{name} did not {what} within {timeout} s; ask for less, or raise `timeout_s` of \
                 [mcp.{name}]"
            ),
        )
    }

    /// The list that holds, read again if it does not.
    async fn listed(
        &self,
        shared: &Shared,
        connection: &Arc<Connection>,
    ) -> Result<Arc<Listed>, ToolError> {
        let unread = Unread(connection.take_stale().then_some(&**connection));
        if unread.0.is_none()
            && let Some(seen) = self.still_holds(shared)
        {
            return Ok(seen);
        }
        let timeout = shared.clock.sleep(self.known.server.timeout);
        let read = connection.list(&self.known.server, shared.fill.as_ref());
        let read = tokio::select! {
            read = read => read,
            () = timeout => return Err(self.too_long("list its tools")),
        };
        let (listed, holds) = match read {
            Ok(read) => read,
            Err(error) => {
                self.failed(shared, connection, &error).await?;
                // It answered, and refused.
                let why = shared.said(&failure::causes_of(&error));
                return Err(unavailable(format!(
                    "{} does not list its tools: {why}",
                    self.name()
                )));
            }
        };
        let seen = Seen {
            listed: Arc::new(listed),
            until: holds.map(|holds| shared.clock.elapsed().saturating_add(holds)),
        };
        unread.done();
        let listed = Arc::clone(&seen.listed);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(listed)
    }

    fn still_holds(&self, shared: &Shared) -> Option<Arc<Listed>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_ref()?;
        let now = shared.clock.elapsed();
        let holds = seen.until.is_none_or(|until| now < until);
        holds.then(|| Arc::clone(&seen.listed))
    }

    /// What a failed request comes to. A connection that may be of no more use is given up:
    /// what else is under way on it goes on, what comes next gets a new one.
    async fn failed(
        &self,
        shared: &Shared,
        connection: &Arc<Connection>,
        error: &ServiceError,
    ) -> Result<ToolOutput, ToolError> {
        let why = match failure::of_request(self.name(), error) {
            Failure::Refused(output) => return Ok(redacted(output, shared)),
            Failure::Limit(why) => return Err(ToolError::new(ToolErrorKind::Limit, why)),
            Failure::Lost(_) if self.closed.is_cancelled() => return Err(self.was_closed()),
            Failure::Lost(why) => why,
        };
        let epitaph = match connection.is_gone() {
            true => connection.epitaph(shared.fill.as_ref()).await,
            false => None,
        };
        let why = epitaph.map_or(why.clone(), |epitaph| format!("{why}: {epitaph}"));
        let why = shared.said(&why);
        let mut state = self.state.lock().await;
        state.give_up(connection, &why, shared.clock.elapsed());
        Err(unavailable(format!(
            "{why}. The call may have taken effect"
        )))
    }

    /// A server over HTTP that says nothing may have forgotten the session, and not every one
    /// says so in a way that can be told from silence: what comes next gets a new one. What a
    /// program knows is worth more.
    async fn doubt(&self, connection: &Arc<Connection>) {
        if matches!(*self.known.reach, Reach::Web { .. }) {
            let mut state = self.state.lock().await;
            let current = state.connection.as_ref();
            if current.is_some_and(|current| Arc::ptr_eq(current, connection)) {
                state.connection = None;
            }
        }
    }

    fn was_closed(&self) -> ToolError {
        unavailable(format!("{} is closed with its workspace", self.name()))
    }

    /// The connection, started if there is none and it may be.
    async fn connection(&self, shared: &Shared) -> Result<Arc<Connection>, ToolError> {
        let mut state = self.state.lock().await;
        if self.closed.is_cancelled() {
            return Err(self.was_closed());
        }
        if let Some(connection) = state.connection.clone() {
            if !connection.is_gone() {
                return Ok(connection);
            }
            let epitaph = connection.epitaph(shared.fill.as_ref()).await;
            let epitaph = epitaph.unwrap_or_else(|| "it closed the connection".to_owned());
            let why = shared.said(&format!("{}: {epitaph}", self.name()));
            state.give_up(&connection, &why, shared.clock.elapsed());
        }
        if let Some(wait) = state.backoff.wait(shared.clock.elapsed()) {
            return Err(unavailable(format!(
                "{}. It may be started again in {} s",
                state.last_failure,
                wait.as_secs_f64().ceil()
            )));
        }
        match self.start(shared).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.backoff.opened(shared.clock.elapsed());
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(_) if self.closed.is_cancelled() => Err(self.was_closed()),
            Err(why) => {
                state.last_failure = shared.said(&why);
                state.backoff.failed(shared.clock.elapsed());
                Err(unavailable(state.last_failure.clone()))
            }
        }
    }

    /// One start: within its time, and by discovery and handshake where it takes both.
    async fn start(&self, shared: &Shared) -> Result<Connection, String> {
        let within = self.known.server.start_timeout;
        let attempt = async {
            let handshake = self.known.handshake.load(Ordering::Acquire);
            if !handshake {
                match self.open(shared, Opening::Discover).await {
                    Ok(connection) => return Ok(connection),
                    Err(failed) if !failed.may_be_older => return Err(failed.why),
                    Err(_may_be_older) => {}
                }
            }
            let opened = self.open(shared, Opening::Handshake).await;
            // A server that hangs up is not asked the same twice, until it answers.
            let hung_up = |failed: &NotOpened| failed.hung_up;
            let again = opened.as_ref().err().is_none_or(hung_up);
            self.known.handshake.store(again, Ordering::Release);
            opened.map_err(|failed| failed.why)
        };
        let started = tokio::select! {
            started = attempt => started?,
            () = self.closed.cancelled() => return Err("its workspace closes".to_owned()),
            () = shared.clock.sleep(within) => {
                let (name, within) = (self.name(), within.as_secs());
                return Err(format!(
                    "{name} did not get ready within {within} s; raise `start_timeout_s` of \
                     [mcp.{name}] if it needs longer"
                ));
            }
        };
        if started.shook_hands() {
            self.known.handshake.store(true, Ordering::Release);
        }
        let (server, protocol) = (self.name(), started.protocol());
        tracing::debug!(target: "lastword::mcp", server, protocol, "connected");
        Ok(started)
    }

    async fn open(&self, shared: &Shared, opening: Opening) -> Result<Connection, NotOpened> {
        let root = (shared.directories)(self.workspace);
        let fill = Arc::clone(&shared.fill);
        let launch = launch::prepare(Arc::clone(&self.known.reach), root.clone(), fill).await;
        let launch = launch.map_err(|why| NotOpened {
            why: format!("{} cannot be started: {why}", self.name()),
            may_be_older: false,
            hung_up: false,
        })?;
        let handler = Handler {
            server: self.name().into(),
            workspace: self.workspace,
            fill: Arc::clone(&shared.fill),
            root,
            elicit: shared.elicit.clone(),
            stale: Arc::new(AtomicBool::new(true)),
            handshake: opening == Opening::Handshake,
        };
        let stop = self.closed.child_token();
        Connection::open(&self.known.server, launch, handler, opening, stop).await
    }

    /// Ends what is open, and refuses what still comes.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let connection = self.state.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }
}

/// A list that is being read. Unless it was, somebody else has to.
struct Unread<'a>(Option<&'a Connection>);

impl Unread<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.set_stale();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl State {
    fn give_up(&mut self, connection: &Arc<Connection>, why: &str, now: Duration) {
        let current = self.connection.as_ref();
        // Another call may have noticed before.
        if current.is_some_and(|current| Arc::ptr_eq(current, connection)) {
            self.connection = None;
            self.last_failure = why.to_owned();
            self.backoff.died(now);
        }
    }
}

fn redacted(mut output: ToolOutput, shared: &Shared) -> ToolOutput {
    for piece in &mut output.content {
        if let crate::capability::tools::ToolContent::Text(text) = piece {
            *text = shared.said(text);
        }
    }
    output
}
