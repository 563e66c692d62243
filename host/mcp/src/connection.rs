//! One connection to one server: how it is opened, the requests over it, and how it is closed.
//! [`session`](super::session) decides when to open and to retry.

use super::config::Server;
use super::decode::{ClientMessage, Decoder, MESSAGE_MAX, ServerMessage};
use super::failure::{self, AuthorizationDemand, HttpRefusal};
use super::handler::Handler;
use super::http::HttpClient;
use super::launch::{ResolvedEndpoint, SecretSource};
use super::lines::{LineTransport, ProbeWindow};
use super::oauth::Authority;
use super::pausable_timeout::PausableTimeout;
use super::process::{Process, Processes};
use super::repair;
use super::sse_ready::{SseReady, SseReadyClient};
use super::tool_list::{PAGES_MAX, TOOLS_MAX, ToolList};
use lastword_providers::http::within_origin;
use lastword_types::clock::Clock;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, JsonObject, PaginatedRequestParams, ProtocolVersion,
    ServerNotification, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, RoleClient, RunningService, serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpClientTransportConfig,
};
use rmcp::transport::{StreamableHttpClientTransport, Transport};
use rmcp::{ClientCacheConfig, ClientLifecycleMode, Peer, ServiceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::process::{ChildStdin, ChildStdout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// How long the probe for the newer protocol may remain unanswered before the host asks by the
/// older one; at most a quarter of the server's time to start.
const PROBE: Duration = Duration::from_secs(1);

/// How long closing waits for a server over HTTP to acknowledge the end of the session.
const GOODBYE: Duration = Duration::from_secs(3);

/// How the host opens the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Ask which protocols the server speaks, and shake hands if it refuses or remains silent for a
    /// while: servers before 2026-07-28 do not know the request.
    Probe,
    /// Ask which protocols the server speaks, and wait for the response.
    Discover,
    /// Shake hands at once, as servers before 2026-07-28 expect.
    Handshake,
}

/// Why a connection could not be opened.
pub(super) struct OpenError {
    /// The message for people.
    pub(super) why: String,
    /// Whether a server without discovery may have behaved like this.
    pub(super) may_be_older: bool,
    /// Whether a slow server that only knows discovery may have behaved like this.
    pub(super) may_be_newer: bool,
    /// Whether the server closed the connection instead of responding.
    pub(super) hung_up: bool,
    /// Set if the server wants authorization.
    pub(super) demand: Option<AuthorizationDemand>,
    /// Set if the server responded that it cannot be asked now; it is running and may be asked
    /// again.
    pub(super) refused: Option<HttpRefusal>,
}

impl OpenError {
    /// The failure of a start that did not reach the server.
    pub(super) fn not_reached(server: &str, why: &str) -> Self {
        Self {
            why: format!("{server} cannot be started: {why}"),
            may_be_older: false,
            may_be_newer: false,
            hung_up: false,
            demand: None,
            refused: None,
        }
    }
}

/// The parameters of [`Connection::open`] other than the server itself.
pub(super) struct ConnectionContext<'a> {
    pub(super) processes: &'a Processes,
    pub(super) clock: Arc<dyn Clock>,
    /// Ends the connection.
    pub(super) stop: CancellationToken,
}

/// An open connection. Dropping it closes it, and ends the program if there is one.
pub(super) struct Connection {
    running: RunningService<RoleClient, Handler>,
    process: Option<Process>,
    /// Cancelled once the transport is closed.
    closed: CancellationToken,
    stop: CancellationToken,
    stale: Arc<AtomicBool>,
    timeout: PausableTimeout,
    decoder: Arc<Decoder>,
    _listener: Option<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Connects to the server. Dropping the future gives up, and ends a program that was started.
    pub(super) async fn open(
        server: &Server,
        launch: ResolvedEndpoint,
        handler: Handler,
        authority: Option<&Authority>,
        opening: Opening,
        context: ConnectionContext<'_>,
    ) -> Result<Self, OpenError> {
        let stale = Arc::clone(&handler.stale);
        let timeout = handler.timeout.clone();
        let fill = Arc::clone(&handler.fill);
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        let stop = context.stop;
        let decoder = Arc::new(Decoder::new(&server.name, &fill));
        let window = (opening == Opening::Probe).then(|| ProbeWindow {
            clock: context.clock,
            length: PROBE.min(server.start_timeout / 4),
        });

        let begun = ClientParts {
            handler,
            opening,
            window,
            closed: guard,
            decoder: Arc::clone(&decoder),
        };

        let (served, process) = match launch {
            ResolvedEndpoint::Command {
                command,
                env,
                directory,
            } => {
                let processes = context.processes;
                let started = processes.start(&server.name, &command, env, &directory, &stop);
                let (process, (stdout, stdin)) = started.await.map_err(|error| {
                    let why = format!("`{}` in {}: {error}", command[0], directory.display());
                    OpenError::not_reached(&server.name, &why)
                })?;
                (begun.over_pipes(stdout, stdin, &stop).await, Some(process))
            }
            ResolvedEndpoint::Http { url, headers } => {
                let served = begun.over_http(&url, headers, authority, &stop).await;
                let served = served.map_err(|why| OpenError::not_reached(&server.name, &why))?;
                (served, None)
            }
        };

        let running = match served {
            Ok(running) => running,
            Err(error) => {
                let mut failed = open_error(&server.name, &error, process, &*fill).await;
                failed.may_be_newer = decoder.gave_up_probe();
                return Err(failed);
            }
        };

        // The cache of `rmcp` is off: the host keeps the list itself and knows when to read it
        // again.
        running
            .set_response_cache_config(ClientCacheConfig::disabled())
            .await;

        let listener = listen(&running, &stale);
        Ok(Self {
            running,
            process,
            closed,
            stop,
            stale,
            timeout,
            decoder,
            _listener: listener,
        })
    }

    /// The timeout of requests, which pauses while a person is asked.
    pub(super) fn timeout(&self) -> &PausableTimeout {
        &self.timeout
    }

    /// The negotiated version of the protocol.
    pub(super) fn protocol(&self) -> Option<String> {
        let info = self.running.peer_info();
        info.map(|info| info.protocol_version.to_string())
    }

    /// Whether the server knows the newer protocol, even if this connection does not use it.
    pub(super) fn is_newer(&self) -> bool {
        let info = self.running.peer_info();
        let older = info.is_some_and(|info| info.protocol_version.has_initialize());
        !older || self.decoder.is_newer()
    }

    /// Whether the connection is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled() || self.stop.is_cancelled() || self.running.is_transport_closed()
    }

    /// Returns whether the list of tools has to be read again, and marks it as read.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Reads the list of tools, and for how long it is valid according to the server.
    pub(super) async fn list(
        &self,
        server: &Server,
        fill: &dyn SecretSource,
    ) -> Result<(ToolList, Option<Duration>), ServiceError> {
        let offers_tools = |info: &rmcp::model::ServerPeerInfo| info.capabilities.tools.is_some();

        if !self
            .running
            .peer_info()
            .is_none_or(|info| offers_tools(&info))
        {
            return Ok((ToolList::default(), None));
        }

        let mut offered = Vec::new();
        let mut left_out = Vec::new();
        let mut cursor = None;
        let mut holds: Option<u64> = None;

        for _page in 0..PAGES_MAX {
            let params = PaginatedRequestParams::default().with_cursor(cursor.take());
            let mut page = self.running.list_tools(Some(params)).await?;
            left_out.extend(repair::take_left_out(&mut page));
            offered.extend(page.tools);
            holds = page
                .ttl_ms
                .map(|ms| holds.map_or(ms, |least| least.min(ms)));
            cursor = page.next_cursor;

            // The operator's allow-list is applied later, so tools that it excludes count here as
            // well.
            if cursor.is_none() || offered.len() > 4 * TOOLS_MAX {
                break;
            }
        }

        if cursor.is_some() {
            left_out.push(format!(
                "all tools after the first {}: its list has no end",
                offered.len()
            ));
        }

        let listed = ToolList::new(server, offered, left_out, fill);
        Ok((listed, holds.map(Duration::from_millis)))
    }

    /// Calls a tool by the server's own name. Dropping the future cancels the call at the server.
    pub(super) async fn call(
        &self,
        tool: String,
        arguments: JsonObject,
    ) -> Result<CallToolResult, ServiceError> {
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        self.running.call_tool(params).await
    }

    /// How the program ended, and its last output; `None` if there is no program.
    pub(super) async fn exit_summary(&self, fill: &dyn SecretSource) -> Option<String> {
        match &self.process {
            Some(process) => Some(process.exit_summary(fill).await),
            None => None,
        }
    }

    /// Closes the connection, and waits until the program is gone or the server over HTTP is
    /// notified, within their grace periods.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        if let Some(process) = &self.process {
            process.wait().await;
        }
        let _not_told = tokio::time::timeout(GOODBYE, self.closed.cancelled()).await;
    }
}

type Served = Result<RunningService<RoleClient, Handler>, ClientInitializeError>;

/// The parts of a connection, for a program and for a server over HTTP.
struct ClientParts {
    handler: Handler,
    opening: Opening,
    window: Option<ProbeWindow>,
    closed: DropGuard,
    decoder: Arc<Decoder>,
}

impl ClientParts {
    async fn over_pipes(
        self,
        stdout: ChildStdout,
        stdin: ChildStdin,
        stop: &CancellationToken,
    ) -> Served {
        let lines = LineTransport::new(stdout, stdin, self.decoder, self.window);
        let lines = NotifyOnClose::new(lines, self.closed);
        serve(self.handler, lines, self.opening, stop).await
    }

    /// Connects over HTTP. An error says why no request was sent.
    async fn over_http(
        self,
        url: &str,
        headers: std::collections::HashMap<http::HeaderName, http::HeaderValue>,
        authority: Option<&Authority>,
        stop: &CancellationToken,
    ) -> Result<Served, String> {
        let config = http_config(url, headers);
        let (handler, closed, opening) = (self.handler, self.closed, self.opening);

        let Some(authority) = authority else {
            let client = HttpClient::new(within_origin(url)?, Arc::clone(&self.decoder));
            let client = client.for_connection(self.decoder, self.window);
            return Ok(open_http(handler, client, config, closed, opening, stop).await);
        };

        let mut client = authority.client().await?;
        client.http_client = client.http_client.for_connection(self.decoder, self.window);
        Ok(open_http(handler, client, config, closed, opening, stop).await)
    }
}

fn http_config(
    url: &str,
    headers: std::collections::HashMap<http::HeaderName, http::HeaderValue>,
) -> StreamableHttpClientTransportConfig {
    StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(headers)
        .max_sse_event_size(MESSAGE_MAX)
        .max_json_response_size(MESSAGE_MAX)
}

/// Opens the protocol over an HTTP client.
async fn open_http<C: StreamableHttpClient + Sync>(
    handler: Handler,
    client: C,
    config: StreamableHttpClientTransportConfig,
    closed: DropGuard,
    opening: Opening,
    stop: &CancellationToken,
) -> Served {
    let sse_ready = SseReady::default();
    let client = SseReadyClient {
        inner: client,
        sse_ready: sse_ready.clone(),
    };
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let served = serve(
        handler,
        NotifyOnClose::new(transport, closed),
        opening,
        stop,
    )
    .await;

    if served.is_ok() {
        sse_ready.wait().await;
    }

    served
}

async fn serve<T: Transport<RoleClient> + 'static>(
    handler: Handler,
    transport: T,
    opening: Opening,
    stop: &CancellationToken,
) -> Served {
    let lifecycle = match opening {
        Opening::Handshake => ClientLifecycleMode::Initialize,
        Opening::Discover => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::LATEST],
        },
        Opening::Probe => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::LATEST],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        },
    };
    serve_client_with_lifecycle_and_ct(handler, transport, lifecycle, stop.child_token()).await
}

async fn open_error(
    server: &str,
    error: &ClientInitializeError,
    process: Option<Process>,
    fill: &dyn SecretSource,
) -> OpenError {
    let mut why = failure::of_start(server, error);
    let hung_up = matches!(error, ClientInitializeError::ConnectionClosed(_));

    if let Some(process) = process {
        why = format!("{why}; {}", process.exit_summary(fill).await);
        // The next program must not run beside this one.
        process.end().await;
    }

    let refused_twice = matches!(error, ClientInitializeError::LegacyFallbackFailed { .. });
    let demand = failure::demand_of_start(error);

    OpenError {
        why,
        may_be_older: !refused_twice && demand.is_none(),
        may_be_newer: false,
        hung_up,
        demand,
        refused: failure::http_refusal_of_start(server, error),
    }
}

/// Subscribes to changes of the list of tools: servers since 2026-07-28 only notify subscribers.
fn listen(
    running: &RunningService<RoleClient, Handler>,
    stale: &Arc<AtomicBool>,
) -> Option<AbortOnDropHandle<()>> {
    let info = running.peer_info()?;
    let tools = info.capabilities.tools.as_ref()?;
    if info.protocol_version.has_initialize() || tools.list_changed != Some(true) {
        return None;
    }

    let peer: Peer<RoleClient> = running.peer().clone();
    let stale = Arc::clone(stale);

    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let Ok(mut subscription) = peer.listen(filter).await else {
            return;
        };

        // A change before the subscription was not reported.
        stale.store(true, Ordering::Release);

        while let Ok(Some(told)) = subscription.next().await {
            if matches!(told, ServerNotification::ToolListChangedNotification(_)) {
                stale.store(true, Ordering::Release);
            }
        }

        // Without the subscription, a change would go unnoticed.
        stale.store(true, Ordering::Release);
    })))
}

/// A transport that cancels a token when it is closed.
struct NotifyOnClose<T> {
    inner: T,
    _gone: DropGuard,
}

impl<T> NotifyOnClose<T> {
    fn new(inner: T, closed: DropGuard) -> Self {
        Self {
            inner,
            _gone: closed,
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for NotifyOnClose<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: ClientMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    fn receive(&mut self) -> impl Future<Output = Option<ServerMessage>> + Send {
        self.inner.receive()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
