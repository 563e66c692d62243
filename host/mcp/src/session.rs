//! One workspace's session with one server: opens the connection when it is first needed, sends
//! requests over it, and decides when it may be opened again.

use super::backoff::{Backoff, retry_after};
use super::config::Endpoint;
use super::connection::{Connection, ConnectionContext, OpenError, Opening};
use super::content;
use super::failure::{self, AuthorizationDemand, Failure, HttpRefusal, unavailable};
use super::handler::Handler;
use super::launch;
use super::oauth::{Authority, STEPS_MAX};
use super::pausable_timeout::PausableTimeout;
use super::process::Processes;
use super::shared::{KnownServer, ProtocolKind, Shared};
use super::tool_list::ToolList;
use futures_util::future::BoxFuture;
use lastword_providers::foreign;
use lastword_providers::tools::{ToolError, ToolErrorKind, ToolOutput};
use lastword_types::id::WorkspaceId;
use rmcp::ServiceError;
use rmcp::model::JsonObject;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

/// The largest number of simultaneous calls of one workspace to one server. Further ones wait.
const CALLS_MAX: usize = 64;

/// One workspace's session with one server.
pub(super) struct ServerSession {
    known: Arc<KnownServer>,
    workspace: WorkspaceId,
    /// Cancelled when the workspace closes.
    closed: CancellationToken,
    state: Mutex<State>,
    calls: Semaphore,
    processes: Processes,
    /// The tools that were last read. They outlive the connection.
    seen: SyncMutex<Option<CachedTools>>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    backoff: Backoff,
    last_failure: String,
}

#[derive(Clone)]
struct CachedTools {
    list: Arc<ToolList>,
    until: Option<Duration>,
}

/// The state of a session.
pub(super) enum SessionStatus {
    Idle,
    Starting,
    Serving { protocol: Option<String> },
    Waiting { failure: String, retry: Duration },
}

impl ServerSession {
    pub(super) fn new(known: Arc<KnownServer>, workspace: WorkspaceId, shared: &Shared) -> Self {
        Self {
            processes: Processes::new(Arc::clone(&shared.spawner)),
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

    /// Returns the tools that were last read, if the server was ever connected.
    pub(super) fn cached_tools(&self) -> Option<Arc<ToolList>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|seen| Arc::clone(&seen.list))
    }

    /// Returns the current state.
    pub(super) fn status(&self, now: Duration) -> SessionStatus {
        let Ok(state) = self.state.try_lock() else {
            return SessionStatus::Starting;
        };

        match &state.connection {
            Some(connection) if !connection.is_closed() => SessionStatus::Serving {
                protocol: connection.protocol(),
            },
            _ if state.last_failure.is_empty() => SessionStatus::Idle,
            _ => SessionStatus::Waiting {
                failure: state.last_failure.clone(),
                retry: state.backoff.wait(now).unwrap_or_default(),
            },
        }
    }

    /// Returns the tools that the server offers now.
    pub(super) async fn tools(&self, shared: &Shared) -> Result<Arc<ToolList>, ToolError> {
        if self.known.rest_remaining(shared.clock.elapsed()).is_some()
            && let Some(seen) = self.cached_tools()
        {
            return Ok(seen);
        }
        let connection = self.connection(shared).await?;
        self.current_tools(shared, &connection).await
    }

    /// Calls a tool by the name under which the host shows it.
    pub(super) async fn call(
        &self,
        shared: &Shared,
        name: &str,
        arguments: JsonObject,
    ) -> Result<ToolOutput, ToolError> {
        let connection = self.connection(shared).await?;
        let list = self.current_tools(shared, &connection).await?;

        let Some(tool) = list.original(name) else {
            return Err(ToolError::new(
                ToolErrorKind::UnknownTool,
                format!("{} has no tool `{name}`", self.name()),
            ));
        };

        let called = self.ask(shared, &connection, || {
            Box::pin(async {
                // The semaphore is never closed.
                let _turn = self.calls.acquire().await;
                connection.call(tool.to_owned(), arguments.clone()).await
            })
        });

        match called.await {
            Ok(result) => {
                if let Some(authority) = shared.authority(self.name()) {
                    authority.call_succeeded().await;
                }
                Ok(content::tool_output(result, shared.fill.as_ref()))
            }
            Err(RequestError::Failed(error)) => {
                let failed = self.handle_failure(shared, &connection, &error).await;
                failed.map_err(|failed| {
                    let mut error = failed.error;
                    if failed.may_have_acted {
                        error.message.push_str(". The call may have taken effect");
                    }
                    error
                })
            }
            Err(RequestError::Unauthorized(why)) => Err(unavailable(why)),
            Err(RequestError::Timeout) => {
                self.discard_http_connection(&connection).await;
                Err(self.timeout_error("answer the call"))
            }
        }
    }

    /// Sends a request within the server's timeout, and again after an authorization that the
    /// server wants: it has not carried out a request that it refused for lack of one.
    async fn ask<'r, T>(
        &self,
        shared: &Shared,
        connection: &Connection,
        request: impl Fn() -> BoxFuture<'r, Result<T, ServiceError>>,
    ) -> Result<T, RequestError> {
        let authority = shared.authority(self.name());
        let mut steps = 0;

        loop {
            self.wait_for_rest(shared).await;
            let since = authority.map(Authority::obtained);
            let timeout = connection.timeout();
            let timeout = timeout.expired(self.known.server.timeout);

            // Dropping the request notifies the server.
            let answer = tokio::select! {
                answer = request() => answer,
                () = timeout => return Err(RequestError::Timeout),
            };

            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };

            let (Some(authority), Some(since), Some(demand)) =
                (authority, since, failure::demand_of_request(&error))
            else {
                return Err(RequestError::Failed(error));
            };

            if steps == STEPS_MAX {
                return Err(RequestError::Failed(error));
            }

            steps += 1;
            let authorized = self.authorize(authority, &demand, since).await;
            authorized.map_err(RequestError::Unauthorized)?;
        }
    }

    /// Obtains the authorization that the server wants, unless the workspace closes meanwhile.
    async fn authorize(
        &self,
        authority: &Authority,
        demand: &AuthorizationDemand,
        since: u64,
    ) -> Result<(), String> {
        tokio::select! {
            done = authority.authorize(demand.challenge.as_deref(), since) => done,
            () = self.closed.cancelled() => Err(self.closed_error().message),
        }
    }

    fn timeout_error(&self, what: &str) -> ToolError {
        let (name, timeout) = (self.name(), self.known.server.timeout.as_secs());
        ToolError::new(
            ToolErrorKind::Timeout,
            format!(
                "{name} did not {what} within {timeout} s; ask for less, or raise `timeout_s` of \
                 [mcp.{name}]"
            ),
        )
    }

    /// Returns the valid list of tools, which is read again if it is not.
    async fn current_tools(
        &self,
        shared: &Shared,
        connection: &Arc<Connection>,
    ) -> Result<Arc<ToolList>, ToolError> {
        let unread = StaleOnDrop(connection.take_stale().then_some(&**connection));
        if unread.0.is_none()
            && let Some(seen) = self.valid_cache(shared)
        {
            return Ok(seen);
        }

        let read = self.ask(shared, connection, || {
            Box::pin(connection.list(&self.known.server, shared.fill.as_ref()))
        });
        let (list, holds) = match read.await {
            Ok(read) => read,
            Err(RequestError::Timeout) => return Err(self.timeout_error("list its tools")),
            Err(RequestError::Unauthorized(why)) => return Err(unavailable(why)),
            Err(RequestError::Failed(error)) => {
                let why = match self.handle_failure(shared, connection, &error).await {
                    Ok(_refused) => shared.redacted(&failure::causes_of(&error)),
                    Err(failed) => failed.error.message,
                };
                let why = format!("{} does not list its tools: {why}", self.name());
                return Err(unavailable(why));
            }
        };

        let seen = CachedTools {
            list: Arc::new(list),
            until: holds.map(|holds| shared.clock.elapsed().saturating_add(holds)),
        };

        unread.done();
        let list = Arc::clone(&seen.list);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);

        Ok(list)
    }

    fn valid_cache(&self, shared: &Shared) -> Option<Arc<ToolList>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_ref()?;
        let now = shared.clock.elapsed();
        let holds = seen.until.is_none_or(|until| now < until);
        holds.then(|| Arc::clone(&seen.list))
    }

    /// Converts a failed request into an error. A connection that may be unusable is given up:
    /// other requests on it go on, later ones get a new connection.
    async fn handle_failure(
        &self,
        shared: &Shared,
        connection: &Arc<Connection>,
        error: &ServiceError,
    ) -> Result<ToolOutput, CallFailure> {
        let failed = |error, may_have_acted| CallFailure {
            error,
            may_have_acted,
        };

        let why = match failure::of_request(self.name(), error) {
            Failure::Refused(output) => return Ok(redact_output(output, shared)),
            Failure::Limit(why) => {
                return Err(failed(ToolError::new(ToolErrorKind::Limit, why), false));
            }
            Failure::Lost(_) if self.closed.is_cancelled() => {
                return Err(failed(self.closed_error(), true));
            }
            Failure::Failed(why) => return Err(failed(unavailable(shared.redacted(&why)), true)),
            Failure::Busy(refused) => {
                if refused.names_session {
                    self.discard_http_connection(connection).await;
                }
                self.note_retry_after(shared, &refused);
                let why = shared.redacted(&refused.why);
                return Err(failed(unavailable(why), refused.may_have_acted));
            }
            Failure::Lost(why) => why,
        };

        let exit = if connection.is_closed() {
            connection.exit_summary(shared.fill.as_ref()).await
        } else {
            None
        };
        let why = exit.map_or(why.clone(), |exit| format!("{why}: {exit}"));
        let why = shared.redacted(&why);

        self.give_up(&mut *self.state.lock().await, connection, &why, shared);
        Err(failed(unavailable(why), true))
    }

    /// Gives a connection up. A program that ended is left alone for a while; a server over HTTP is
    /// asked again at the next request.
    fn give_up(&self, state: &mut State, connection: &Arc<Connection>, why: &str, shared: &Shared) {
        // Another call may have noticed it before.
        if !state.is_current(connection) {
            return;
        }

        state.connection = None;

        if matches!(*self.known.endpoint, Endpoint::Command { .. }) {
            state.last_failure = why.to_owned();
            state.backoff.died(shared.clock.elapsed());
        }
    }

    /// Leaves the server alone for as long as it asks for.
    fn note_retry_after(&self, shared: &Shared, refused: &HttpRefusal) {
        let header = refused.retry_after.as_deref();
        if let Some(rest) = header.and_then(|header| retry_after(header, shared.clock.now())) {
            let until = shared.clock.elapsed().saturating_add(rest);
            self.known.rest_until(until);
        }
    }

    /// Waits until the server may be asked again, within the bound of its `Retry-After`.
    async fn wait_for_rest(&self, shared: &Shared) {
        if let Some(rest) = self.known.rest_remaining(shared.clock.elapsed()) {
            tokio::select! {
                () = shared.clock.sleep(rest) => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// Gives up the connection to a server over HTTP that remains silent: it may have forgotten the
    /// session, and not every server says so. The state of a program is worth keeping.
    async fn discard_http_connection(&self, connection: &Arc<Connection>) {
        if matches!(*self.known.endpoint, Endpoint::Http { .. }) {
            let mut state = self.state.lock().await;
            if state.is_current(connection) {
                state.connection = None;
            }
        }
    }

    fn closed_error(&self) -> ToolError {
        unavailable(format!("{} is closed with its workspace", self.name()))
    }

    /// Returns the connection, opened if there is none and the back-off allows it.
    async fn connection(&self, shared: &Shared) -> Result<Arc<Connection>, ToolError> {
        self.wait_for_rest(shared).await;
        let mut state = self.state.lock().await;

        if self.closed.is_cancelled() {
            return Err(self.closed_error());
        }

        if let Some(connection) = state.connection.clone() {
            if !connection.is_closed() {
                return Ok(connection);
            }
            let exit = connection.exit_summary(shared.fill.as_ref()).await;
            let exit = exit.unwrap_or_else(|| "it closed the connection".to_owned());
            let why = shared.redacted(&format!("{}: {exit}", self.name()));
            self.give_up(&mut state, &connection, &why, shared);
        }

        if let Some(wait) = state.backoff.wait(shared.clock.elapsed()) {
            return Err(unavailable(format!(
                "{}. It may be started again in {} s",
                state.last_failure,
                wait.as_secs_f64().ceil()
            )));
        }

        match self.authorized_start(shared).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.backoff.opened(shared.clock.elapsed());
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(_) if self.closed.is_cancelled() => Err(self.closed_error()),
            Err(failed) => {
                state.last_failure = shared.redacted(&failed.why);
                // No back-off for a server that only lacks a token, which may come soon, or that
                // responded, so it is running.
                match &failed.refused {
                    Some(refused) => self.note_retry_after(shared, refused),
                    None if failed.demand.is_some() => {}
                    None => state.backoff.failed(shared.clock.elapsed()),
                }
                Err(unavailable(state.last_failure.clone()))
            }
        }
    }

    /// Opens a connection, and tries again after an authorization that the server wants.
    async fn authorized_start(&self, shared: &Shared) -> Result<Connection, OpenError> {
        let authority = shared.authority(self.name());
        let mut steps = 0;

        loop {
            let since = authority.map(Authority::obtained);
            let mut failed = match self.start(shared).await {
                Ok(connection) => return Ok(connection),
                Err(failed) => failed,
            };
            let demand = failed.demand.take();
            let (Some(authority), Some(since), Some(demand)) = (authority, since, demand) else {
                return Err(failed);
            };

            if steps == STEPS_MAX {
                return Err(failed);
            }

            steps += 1;

            if let Err(why) = self.authorize(authority, &demand, since).await {
                let demand = Some(demand);
                return Err(OpenError {
                    why,
                    demand,
                    ..failed
                });
            }
        }
    }

    /// Opens a connection within the server's time to start.
    async fn start(&self, shared: &Shared) -> Result<Connection, OpenError> {
        let within = self.known.server.start_timeout;
        let started = tokio::select! {
            started = self.attempt(shared) => started?,
            () = self.closed.cancelled() => return Err(OpenError::not_reached(self.name(), "its workspace closes")),
            () = shared.clock.sleep(within) => {
                let (name, within) = (self.name(), within.as_secs());
                return Err(OpenError {
                    why: format!(
                        "{name} did not get ready within {within} s; raise `start_timeout_s` of \
                         [mcp.{name}] if it needs longer"
                    ),
                    ..OpenError::not_reached(self.name(), "")
                });
            }
        };

        let spoken = if started.is_newer() {
            ProtocolKind::Newer
        } else {
            ProtocolKind::Older
        };
        self.known.set_spoken(spoken);

        let (server, protocol) = (self.name(), started.protocol());
        tracing::debug!(target: "lastword::mcp", server, protocol, "connected");
        Ok(started)
    }

    /// Opens a connection by the protocol that the server is known to speak, and by the other one
    /// if it behaves like a server of that kind.
    async fn attempt(&self, shared: &Shared) -> Result<Connection, OpenError> {
        let first = match self.known.spoken() {
            ProtocolKind::Unknown => Opening::Probe,
            ProtocolKind::Older => Opening::Handshake,
            ProtocolKind::Newer => Opening::Discover,
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
            // A slow server may have read both requests at once, and accepts only the first.
            Opening::Probe if failed.may_be_newer && !failed.hung_up => Some(Opening::Discover),
            Opening::Probe | Opening::Discover if failed.may_be_older => Some(Opening::Handshake),
            _ => None,
        };

        let (last, opened) = match second {
            Some(second) => (second, self.open(shared, second).await),
            None => (first, Err(failed)),
        };

        if let Err(failed) = &opened {
            // A server that hangs up on the probe is not probed again until it responds.
            let hangs_up = last == Opening::Handshake && failed.hung_up;
            self.known.set_spoken(if hangs_up {
                ProtocolKind::Older
            } else {
                ProtocolKind::Unknown
            });
        }

        opened
    }

    async fn open(&self, shared: &Shared, opening: Opening) -> Result<Connection, OpenError> {
        let directories = &shared.directories;
        let root = foreign::caught(async || directories(self.workspace)).await;
        let root = root.map_err(|error| OpenError::not_reached(self.name(), &error.to_string()))?;
        let fill = Arc::clone(&shared.fill);
        let launch = launch::prepare(Arc::clone(&self.known.endpoint), root.clone(), fill).await;
        let launch = launch.map_err(|why| OpenError::not_reached(self.name(), &why))?;

        let handler = Handler {
            server: self.name().into(),
            workspace: self.workspace,
            fill: Arc::clone(&shared.fill),
            root,
            elicit: shared.brought.elicit.clone(),
            timeout: PausableTimeout::new(Arc::clone(&shared.clock)),
            stale: Arc::new(AtomicBool::new(true)),
            handshake: opening == Opening::Handshake,
        };

        let context = ConnectionContext {
            processes: &self.processes,
            clock: Arc::clone(&shared.clock),
            stop: self.closed.child_token(),
        };

        let (server, authority) = (&self.known.server, shared.authority(self.name()));
        Connection::open(server, launch, handler, authority, opening, context).await
    }

    /// Closes the connection or its start, refuses further requests, and waits until no program is
    /// left.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let connection = self.state.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
        self.processes.wait().await;
    }
}

/// A failed request.
struct CallFailure {
    error: ToolError,
    may_have_acted: bool,
}

/// Why there is no response.
enum RequestError {
    Timeout,
    /// The authorization that the server wants could not be obtained.
    Unauthorized(String),
    Failed(ServiceError),
}

/// Marks the list of tools as stale again when it is dropped, unless the list was read.
struct StaleOnDrop<'a>(Option<&'a Connection>);

impl StaleOnDrop<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for StaleOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.set_stale();
        }
    }
}

impl Drop for ServerSession {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl State {
    fn is_current(&self, connection: &Arc<Connection>) -> bool {
        let current = self.connection.as_ref();
        current.is_some_and(|current| Arc::ptr_eq(current, connection))
    }
}

fn redact_output(mut output: ToolOutput, shared: &Shared) -> ToolOutput {
    for piece in &mut output.content {
        if let lastword_providers::tools::ToolContent::Text(text) = piece {
            *text = shared.redacted(text);
        }
    }
    output
}
