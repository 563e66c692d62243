//! One connection to one server: how it comes about, what is asked over it, and how it ends.
//! Knows neither workspaces' closing nor when to try again.

use super::config::Server;
use super::decode::{Decoder, MESSAGE_MAX, Received, Sent};
use super::failure::{self, Refused, Wanted};
use super::handler::Handler;
use super::http::HttpClient;
use super::launch::{Fill, Launch};
use super::lines::{Lines, Window};
use super::listed::{Listed, PAGES_MAX, TOOLS_MAX};
use super::oauth::Authority;
use super::patience::Patience;
use super::process::{Process, Processes};
use super::repair;
use super::standing::{Announcing, Standing};
use lastword_providers::model::within_origin;
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

/// How long a server has to say whether it knows the newer protocol, before it is asked by the
/// older one; or a quarter of the time that it has to start, if that is less.
const PROBE: Duration = Duration::from_secs(1);

/// How long closing waits for a server over HTTP to be told of it.
const GOODBYE: Duration = Duration::from_secs(3);

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Ask which protocols the server speaks, and shake hands as soon as it refuses to say, or
    /// says nothing for a while: those before 2026-07-28 do not know the question.
    Probe,
    /// Ask which protocols the server speaks, and wait for the answer.
    Discover,
    /// Shake hands at once, as all servers before 2026-07-28 expect.
    Handshake,
}

/// Why there is no connection.
pub(super) struct NotOpened {
    /// For people.
    pub(super) why: String,
    /// Whether a server that knows nothing of discovery may have behaved like this.
    pub(super) may_be_older: bool,
    /// Whether a server that knows nothing but discovery, and takes its time, may have.
    pub(super) may_be_newer: bool,
    /// Whether it went away instead of answering.
    pub(super) hung_up: bool,
    /// Set if it wants authorization.
    pub(super) wanted: Option<Wanted>,
    /// Set if it answered that it cannot be asked now: it is there, and may be asked again.
    pub(super) refused: Option<Refused>,
}

impl NotOpened {
    /// It was not even asked.
    pub(super) fn before(server: &str, why: &str) -> Self {
        Self {
            why: format!("{server} cannot be started: {why}"),
            may_be_older: false,
            may_be_newer: false,
            hung_up: false,
            wanted: None,
            refused: None,
        }
    }
}

/// What a connection is made with.
pub(super) struct Around<'a> {
    pub(super) processes: &'a Processes,
    pub(super) clock: Arc<dyn Clock>,
    /// Ends the connection.
    pub(super) stop: CancellationToken,
}

/// A connection that came about. Dropping it ends it, and a program with it.
pub(super) struct Connection {
    running: RunningService<RoleClient, Handler>,
    process: Option<Process>,
    /// Cancelled once the transport is closed.
    gone: CancellationToken,
    stop: CancellationToken,
    stale: Arc<AtomicBool>,
    patience: Patience,
    decoder: Arc<Decoder>,
    _listener: Option<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Reaches the server. Dropping the future gives up, and ends a program that was started.
    pub(super) async fn open(
        server: &Server,
        launch: Launch,
        handler: Handler,
        authority: Option<&Authority>,
        opening: Opening,
        around: Around<'_>,
    ) -> Result<Self, NotOpened> {
        let stale = Arc::clone(&handler.stale);
        let patience = handler.patience.clone();
        let fill = Arc::clone(&handler.fill);
        let gone = CancellationToken::new();
        let guard = gone.clone().drop_guard();
        let stop = around.stop;
        let decoder = Arc::new(Decoder::new(&server.name, &fill));
        let window = (opening == Opening::Probe).then(|| Window {
            clock: around.clock,
            length: PROBE.min(server.start_timeout / 4),
        });

        let begun = Begun {
            handler,
            opening,
            window,
            gone: guard,
            decoder: Arc::clone(&decoder),
        };

        let (served, process) = match launch {
            Launch::Command {
                command,
                env,
                directory,
            } => {
                let processes = around.processes;
                let started = processes.start(&server.name, &command, env, &directory, &stop);
                let (process, (stdout, stdin)) = started.await.map_err(|error| {
                    let why = format!("`{}` in {}: {error}", command[0], directory.display());
                    NotOpened::before(&server.name, &why)
                })?;
                (begun.over_pipes(stdout, stdin, &stop).await, Some(process))
            }
            Launch::Web { url, headers } => {
                let served = begun.over_http(&url, headers, authority, &stop).await;
                let served = served.map_err(|why| NotOpened::before(&server.name, &why))?;
                (served, None)
            }
        };

        let running = match served {
            Ok(running) => running,
            Err(error) => {
                let mut failed = not_opened(&server.name, &error, process, &*fill).await;
                failed.may_be_newer = decoder.was_silent();
                return Err(failed);
            }
        };

        // The host keeps what it needs, and knows when to ask again.
        running
            .set_response_cache_config(ClientCacheConfig::disabled())
            .await;

        let listener = listen(&running, &stale);
        Ok(Self {
            running,
            process,
            gone,
            stop,
            stale,
            patience,
            decoder,
            _listener: listener,
        })
    }

    /// How long is waited for its answers.
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The protocol that was agreed on.
    pub(super) fn protocol(&self) -> Option<String> {
        let info = self.running.peer_info();
        info.map(|info| info.protocol_version.to_string())
    }

    /// Whether the server knows the newer protocol, spoken here or not.
    pub(super) fn is_newer(&self) -> bool {
        let info = self.running.peer_info();
        let older = info.is_some_and(|info| info.protocol_version.has_initialize());
        !older || self.decoder.is_newer()
    }

    /// Whether nothing can be asked over it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled() || self.stop.is_cancelled() || self.running.is_transport_closed()
    }

    /// Takes note that the list of tools is about to be read; true if it has to be.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Reads the list of tools, and for how long the server says that it holds.
    pub(super) async fn list(
        &self,
        server: &Server,
        fill: &dyn Fill,
    ) -> Result<(Listed, Option<Duration>), ServiceError> {
        let offers_tools = |info: &rmcp::model::ServerPeerInfo| info.capabilities.tools.is_some();

        if !self
            .running
            .peer_info()
            .is_none_or(|info| offers_tools(&info))
        {
            return Ok((Listed::default(), None));
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

            // The operator's allow-list is applied later: what it leaves out counts as well.
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

        let listed = Listed::new(server, offered, left_out, fill);
        Ok((listed, holds.map(Duration::from_millis)))
    }

    /// Calls a tool by the server's own name. Dropping the future tells the server so.
    pub(super) async fn call(
        &self,
        tool: String,
        arguments: JsonObject,
    ) -> Result<CallToolResult, ServiceError> {
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        self.running.call_tool(params).await
    }

    /// How the program ended and what it said last; `None` if there is no program.
    pub(super) async fn epitaph(&self, fill: &dyn Fill) -> Option<String> {
        match &self.process {
            Some(process) => Some(process.epitaph(fill).await),
            None => None,
        }
    }

    /// Ends it and waits until nothing of it is left: within the graces of a program, and for
    /// so long for a server over HTTP to be told.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        if let Some(process) = &self.process {
            process.ended().await;
        }
        let _not_told = tokio::time::timeout(GOODBYE, self.gone.cancelled()).await;
    }
}

type Served = Result<RunningService<RoleClient, Handler>, ClientInitializeError>;

/// What a connection begins with, however the server is reached.
struct Begun {
    handler: Handler,
    opening: Opening,
    window: Option<Window>,
    gone: DropGuard,
    decoder: Arc<Decoder>,
}

impl Begun {
    async fn over_pipes(
        self,
        stdout: ChildStdout,
        stdin: ChildStdin,
        stop: &CancellationToken,
    ) -> Served {
        let lines = Lines::new(stdout, stdin, self.decoder, self.window);
        let lines = Watched::new(lines, self.gone);
        serve(self.handler, lines, self.opening, stop).await
    }

    /// An error says why nothing was asked.
    async fn over_http(
        self,
        url: &str,
        headers: std::collections::HashMap<http::HeaderName, http::HeaderValue>,
        authority: Option<&Authority>,
        stop: &CancellationToken,
    ) -> Result<Served, String> {
        let config = over_http(url, headers);
        let (handler, gone, opening) = (self.handler, self.gone, self.opening);

        let Some(authority) = authority else {
            let client = HttpClient::new(within_origin(url)?, Arc::clone(&self.decoder));
            let client = client.of(self.decoder, self.window);
            return Ok(visit(handler, client, config, gone, opening, stop).await);
        };

        let mut client = authority.client().await?;
        client.http_client = client.http_client.of(self.decoder, self.window);
        Ok(visit(handler, client, config, gone, opening, stop).await)
    }
}

fn over_http(
    url: &str,
    headers: std::collections::HashMap<http::HeaderName, http::HeaderValue>,
) -> StreamableHttpClientTransportConfig {
    StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(headers)
        .max_sse_event_size(MESSAGE_MAX)
        .max_json_response_size(MESSAGE_MAX)
}

/// Reaches a server over HTTP.
async fn visit<C: StreamableHttpClient + Sync>(
    handler: Handler,
    client: C,
    config: StreamableHttpClientTransportConfig,
    gone: DropGuard,
    opening: Opening,
    stop: &CancellationToken,
) -> Served {
    let standing = Standing::default();
    let client = Announcing {
        inner: client,
        standing: standing.clone(),
    };
    let transport = StreamableHttpClientTransport::with_client(client, config);
    let served = serve(handler, Watched::new(transport, gone), opening, stop).await;

    if served.is_ok() {
        standing.settled().await;
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

async fn not_opened(
    server: &str,
    error: &ClientInitializeError,
    process: Option<Process>,
    fill: &dyn Fill,
) -> NotOpened {
    let mut why = failure::of_start(server, error);
    let hung_up = matches!(error, ClientInitializeError::ConnectionClosed(_));

    if let Some(process) = process {
        why = format!("{why}; {}", process.epitaph(fill).await);
        // The next one must not meet it.
        process.end().await;
    }

    let refused_twice = matches!(error, ClientInitializeError::LegacyFallbackFailed { .. });
    let wanted = failure::wanted_of_start(error);

    NotOpened {
        why,
        may_be_older: !refused_twice && wanted.is_none(),
        may_be_newer: false,
        hung_up,
        wanted,
        refused: failure::refused_of_start(server, error),
    }
}

/// Servers since 2026-07-28 tell of changes only those who subscribe.
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

        // What changed before it stood was told to nobody.
        stale.store(true, Ordering::Release);

        while let Ok(Some(told)) = subscription.next().await {
            if matches!(told, ServerNotification::ToolListChangedNotification(_)) {
                stale.store(true, Ordering::Release);
            }
        }

        // Whoever listens no more has to look.
        stale.store(true, Ordering::Release);
    })))
}

/// A transport that tells when it is gone.
struct Watched<T> {
    inner: T,
    _gone: DropGuard,
}

impl<T> Watched<T> {
    fn new(inner: T, gone: DropGuard) -> Self {
        Self { inner, _gone: gone }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Watched<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: Sent,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    fn receive(&mut self) -> impl Future<Output = Option<Received>> + Send {
        self.inner.receive()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
