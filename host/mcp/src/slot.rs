//! What one workspace has of one server: its connection, started when it is first needed, and
//! when it may be started again. Knows no other workspace.

mod starting;

use super::backoff::{Backoff, retry_after};
use super::config::Reach;
use super::connection::Connection;
use super::content;
use super::failure::{self, Failure, Refused, Wanted, unavailable};
use super::listed::Listed;
use super::oauth::{Authority, STEPS_MAX};
use super::process::Processes;
use super::shared::{Known, Shared};
use futures_util::future::BoxFuture;
use lastword_providers::tools::{ToolError, ToolErrorKind, ToolOutput};
use lastword_types::id::WorkspaceId;
use rmcp::ServiceError;
use rmcp::model::JsonObject;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

/// Calls of one workspace that are under way at one server at the most; further ones wait.
const CALLS_MAX: usize = 64;

/// One workspace's part of one server.
pub(super) struct Slot {
    known: Arc<Known>,
    workspace: WorkspaceId,
    /// Cancelled when the workspace closes.
    closed: CancellationToken,
    state: Mutex<State>,
    calls: Semaphore,
    processes: Processes,
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

impl Slot {
    pub(super) fn new(known: Arc<Known>, workspace: WorkspaceId, shared: &Shared) -> Self {
        Self {
            processes: Processes::new(Arc::clone(&shared.starter)),
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
        if self.known.rests(shared.clock.elapsed()).is_some()
            && let Some(seen) = self.seen()
        {
            return Ok(seen);
        }
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

        let called = self.ask(shared, &connection, || {
            Box::pin(async {
                // It is never closed.
                let _turn = self.calls.acquire().await;
                connection.call(tool.to_owned(), arguments.clone()).await
            })
        });

        match called.await {
            Ok(result) => {
                if let Some(authority) = shared.authority(self.name()) {
                    authority.answered().await;
                }
                Ok(content::output(result, shared.fill.as_ref()))
            }
            Err(Unanswered::Failed(error)) => {
                let failed = self.failed(shared, &connection, &error).await;
                failed.map_err(|failed| {
                    let mut error = failed.error;
                    if failed.may_have_acted {
                        error.message.push_str(". The call may have taken effect");
                    }
                    error
                })
            }
            Err(Unanswered::Unauthorized(why)) => Err(unavailable(why)),
            Err(Unanswered::TooLong) => {
                self.doubt(&connection).await;
                Err(self.too_long("answer the call"))
            }
        }
    }

    /// Asks within the server's time, and again once it has the authorization that it wants:
    /// what it refused for want of that it has not carried out.
    async fn ask<'r, T>(
        &self,
        shared: &Shared,
        connection: &Connection,
        request: impl Fn() -> BoxFuture<'r, Result<T, ServiceError>>,
    ) -> Result<T, Unanswered> {
        let authority = shared.authority(self.name());
        let mut steps = 0;

        loop {
            self.rested(shared).await;
            let since = authority.map(Authority::obtained);
            let patience = connection.patience();
            let timeout = patience.runs_out(self.known.server.timeout);

            // Dropping the request is what tells the server.
            let answer = tokio::select! {
                answer = request() => answer,
                () = timeout => return Err(Unanswered::TooLong),
            };

            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };

            let (Some(authority), Some(since), Some(wanted)) =
                (authority, since, failure::wanted_of_request(&error))
            else {
                return Err(Unanswered::Failed(error));
            };

            if steps == STEPS_MAX {
                return Err(Unanswered::Failed(error));
            }

            steps += 1;
            let authorized = self.authorize(authority, &wanted, since).await;
            authorized.map_err(Unanswered::Unauthorized)?;
        }
    }

    /// Obtains what the server wants, unless the workspace closes meanwhile.
    async fn authorize(
        &self,
        authority: &Authority,
        wanted: &Wanted,
        since: u64,
    ) -> Result<(), String> {
        tokio::select! {
            done = authority.authorize(wanted.challenge.as_deref(), since) => done,
            () = self.closed.cancelled() => Err(self.was_closed().message),
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

        let read = self.ask(shared, connection, || {
            Box::pin(connection.list(&self.known.server, shared.fill.as_ref()))
        });
        let (listed, holds) = match read.await {
            Ok(read) => read,
            Err(Unanswered::TooLong) => return Err(self.too_long("list its tools")),
            Err(Unanswered::Unauthorized(why)) => return Err(unavailable(why)),
            Err(Unanswered::Failed(error)) => {
                let why = match self.failed(shared, connection, &error).await {
                    Ok(_refused) => shared.said(&failure::causes_of(&error)),
                    Err(failed) => failed.error.message,
                };
                let why = format!("{} does not list its tools: {why}", self.name());
                return Err(unavailable(why));
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
    ) -> Result<ToolOutput, Failed> {
        let failed = |error, may_have_acted| Failed {
            error,
            may_have_acted,
        };

        let why = match failure::of_request(self.name(), error) {
            Failure::Refused(output) => return Ok(redacted(output, shared)),
            Failure::Limit(why) => {
                return Err(failed(ToolError::new(ToolErrorKind::Limit, why), false));
            }
            Failure::Lost(_) if self.closed.is_cancelled() => {
                return Err(failed(self.was_closed(), true));
            }
            Failure::Failed(why) => return Err(failed(unavailable(shared.said(&why)), true)),
            Failure::Busy(refused) => {
                if refused.names_session {
                    self.doubt(connection).await;
                }
                self.rest(shared, &refused);
                let why = shared.said(&refused.why);
                return Err(failed(unavailable(why), refused.may_have_acted));
            }
            Failure::Lost(why) => why,
        };

        let epitaph = if connection.is_gone() {
            connection.epitaph(shared.fill.as_ref()).await
        } else {
            None
        };
        let why = epitaph.map_or(why.clone(), |epitaph| format!("{why}: {epitaph}"));
        let why = shared.said(&why);

        self.give_up(&mut *self.state.lock().await, connection, &why, shared);
        Err(failed(unavailable(why), true))
    }

    /// Gives a connection up. A program that ended is left alone for a while; a server over HTTP
    /// is as good as it was, and asked again as soon as there is something to ask.
    fn give_up(&self, state: &mut State, connection: &Arc<Connection>, why: &str, shared: &Shared) {
        // Another call may have noticed before.
        if !state.is_current(connection) {
            return;
        }

        state.connection = None;

        if matches!(*self.known.reach, Reach::Command { .. }) {
            state.last_failure = why.to_owned();
            state.backoff.died(shared.clock.elapsed());
        }
    }

    /// Leaves the server alone for as long as it asks for.
    fn rest(&self, shared: &Shared, refused: &Refused) {
        let header = refused.retry_after.as_deref();
        if let Some(rest) = header.and_then(|header| retry_after(header, shared.clock.now())) {
            let until = shared.clock.elapsed().saturating_add(rest);
            self.known.rest_until(until);
        }
    }

    /// Waits until the server may be asked, within the bound of its rest.
    async fn rested(&self, shared: &Shared) {
        if let Some(rest) = self.known.rests(shared.clock.elapsed()) {
            tokio::select! {
                () = shared.clock.sleep(rest) => {}
                () = self.closed.cancelled() => {}
            }
        }
    }

    /// A server over HTTP that says nothing may have forgotten the session, and not every one
    /// says so in a way that can be told from silence: what comes next gets a new one. What a
    /// program knows is worth more.
    async fn doubt(&self, connection: &Arc<Connection>) {
        if matches!(*self.known.reach, Reach::Web { .. }) {
            let mut state = self.state.lock().await;
            if state.is_current(connection) {
                state.connection = None;
            }
        }
    }

    fn was_closed(&self) -> ToolError {
        unavailable(format!("{} is closed with its workspace", self.name()))
    }

    /// The connection, started if there is none and it may be.
    async fn connection(&self, shared: &Shared) -> Result<Arc<Connection>, ToolError> {
        self.rested(shared).await;
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
            Err(_) if self.closed.is_cancelled() => Err(self.was_closed()),
            Err(failed) => {
                state.last_failure = shared.said(&failed.why);
                // One that lacks a token alone may come back as soon as there is one, and one
                // that answers is there.
                match &failed.refused {
                    Some(refused) => self.rest(shared, refused),
                    None if failed.wanted.is_some() => {}
                    None => state.backoff.failed(shared.clock.elapsed()),
                }
                Err(unavailable(state.last_failure.clone()))
            }
        }
    }

    /// Ends what is open or being started, refuses what still comes, and waits until no program
    /// is left.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let connection = self.state.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
        self.processes.ended().await;
    }
}

/// A request that came to nothing.
struct Failed {
    error: ToolError,
    may_have_acted: bool,
}

/// Why a server has not answered.
enum Unanswered {
    TooLong,
    /// It does not have the authorization that it wants.
    Unauthorized(String),
    Failed(ServiceError),
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
    fn is_current(&self, connection: &Arc<Connection>) -> bool {
        let current = self.connection.as_ref();
        current.is_some_and(|current| Arc::ptr_eq(current, connection))
    }
}

fn redacted(mut output: ToolOutput, shared: &Shared) -> ToolOutput {
    for piece in &mut output.content {
        if let lastword_providers::tools::ToolContent::Text(text) = piece {
            *text = shared.said(text);
        }
    }
    output
}
