//! Builds and starts a host.

use super::children::Children;
use super::closing::Stage;
use super::registry::{ClaimSettings, Workspaces};
use super::reserved_dirs::ReservedDirs;
use super::workspace_providers::{ProviderSupply, Supply, WorkspaceProviders};
use super::{Host, HostError, HostInner, Lease};
use crate::guest::Capabilities;
use crate::guest::tools::{Builtins, Source};
use crate::run::dispatcher::{Dispatcher, DispatcherParts, Extensions};
use crate::workspace::{OnLastClient, WorkspaceKey};
use lastword_os::clock::SystemClock;
use lastword_os::remove_tree;
use lastword_providers::http::{Guarded, HttpOptions};
use lastword_providers::model::ModelProvider;
use lastword_providers::permits::PermissionPolicy;
use lastword_providers::secrets::Secrets;
#[cfg(feature = "commands")]
use lastword_providers::tools::{CommandTools, Commands};
use lastword_providers::tools::{FetchUrl, HostContext, ToolProvider};
use lastword_sandbox::descriptors::{self, Descriptors};
use lastword_sandbox::{
    Compiler, Compilers, ConcurrentRuns, Engine, EngineOptions, GuestState, HostResult, Limits,
    Linker, processors,
};
use lastword_store::Store;
use lastword_types::clock::Clock;
use lastword_types::id::WorkspaceId;
use lastword_types::permission::Rule;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

/// The default number of runs at the same time.
const CONCURRENT_RUNS: u32 = 256;
/// The size of the largest linear memory in bytes; see [`Limits::memory_bytes`].
const MEMORY_BYTES: usize = 128 << 20;

/// How long a created workspace is held for its client.
const HOLD: Duration = Duration::from_secs(30);
/// How long a client may have no stream.
const DETACH_GRACE: Duration = Duration::from_secs(10);

/// The directory of the host's own files: those that guests leave, and compiled components.
pub(super) enum Home {
    /// In the data directory, for the next host.
    DataDir(PathBuf),
    /// In a directory that is deleted with the host.
    Temporary(TempDir),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Self::DataDir(directory) => directory,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

/// Builds a [`Host`]. Everything has a default, which each method names; a clone shares the
/// embedder's extensions, so that the build can be tried again once the data directory is free.
#[derive(Clone)]
pub struct HostBuilder {
    data_dir: Option<PathBuf>,
    in_memory: bool,
    cache_dir: Option<PathBuf>,
    brought: Extensions,
    #[cfg(feature = "commands")]
    commands: Commands,
    tools: Vec<Arc<dyn ToolProvider>>,
    supply: Option<Supply>,
    http: HttpOptions,
    limits: Limits,
    concurrent_runs: ConcurrentRuns,
    clock: Option<Arc<dyn Clock>>,
    claims: ClaimSettings,
    drain: Duration,
    retention: Option<Duration>,
    wakes: bool,
    denied: Vec<Rule>,
    raises_descriptors: bool,
    compiler: Compiler,
}

/// Shows the settings, and only the number of the embedder's extensions.
impl std::fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostBuilder")
            .field("data_dir", &self.data_dir)
            .field("cache_dir", &self.cache_dir)
            .field("has_model", &self.brought.model.is_some())
            .field("has_policy", &self.brought.policy.is_some())
            .field("tool_providers", &self.tools.len())
            .field("has_workspace_providers", &self.supply.is_some())
            .field("limits", &self.limits)
            .field("drain", &self.drain)
            .field("retention", &self.retention)
            .field("wakes", &self.wakes)
            .field("denied", &self.denied)
            .finish_non_exhaustive()
    }
}

impl HostBuilder {
    pub(super) fn new() -> Self {
        Self {
            data_dir: None,
            in_memory: false,
            cache_dir: None,
            brought: Extensions::default(),
            #[cfg(feature = "commands")]
            commands: Commands::none(),
            tools: Vec::new(),
            supply: None,
            http: HttpOptions::default(),
            limits: Limits::default(),
            concurrent_runs: ConcurrentRuns::AtMost(CONCURRENT_RUNS),
            clock: None,
            claims: ClaimSettings {
                hold: HOLD,
                grace: DETACH_GRACE,
                on_last_client: OnLastClient::default(),
            },
            drain: Duration::ZERO,
            retention: None,
            wakes: true,
            denied: Vec::new(),
            raises_descriptors: false,
            compiler: Compiler::in_process(),
        }
    }

    /// Sets the directory of all data, which is created if it is missing. One host owns it at a
    /// time. No workspace may contain it or lie in it, so a program that opens its current
    /// directory as a workspace must set another one. Default: `.lastword` in the current
    /// directory.
    #[must_use]
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(directory.into());
        self
    }

    /// Keeps sessions, runs and all other data in memory, until the host is dropped: no data
    /// directory is created, and other hosts or commands cannot see the data. There is nothing to
    /// back up, to examine or to recover. Files of guests and compiled components are kept in a
    /// temporary directory that is deleted with the host; set [`HostBuilder::cache_dir`] to compile
    /// an agent only once.
    ///
    /// It cannot be combined with [`HostBuilder::data_dir`]: [`HostBuilder::build`] refuses that.
    /// Default: a data directory.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), lastword::HostError> {
    /// use lastword::{Host, WorkspaceKey, WorkspaceOptions};
    ///
    /// let host = Host::builder().in_memory().build().await?;
    /// let key = WorkspaceKey::name("trial");
    /// let workspace = host.open_workspace(key, WorkspaceOptions::new()).await?;
    /// assert_eq!(host.workspace_record(workspace.id()).await?.sessions, 0);
    /// host.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Sets the directory of compiled components. The host runs its files without further checks,
    /// so no workspace may contain it or lie in it. Default: `cache` in the data directory.
    #[must_use]
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(directory.into());
        self
    }

    /// Sets the provider of the models that agents use. Default: none.
    #[must_use]
    pub fn model(mut self, provider: impl ModelProvider) -> Self {
        self.brought.model = Some(Arc::new(provider));
        self
    }

    /// Adds tools for agents, in addition to the built-in ones: those of the embedder, or those of
    /// MCP servers (`lastword::mcp::McpServers`). MCP servers get the host's secrets if their
    /// settings name some, its clock, the directories of its workspaces, and a directory for
    /// tokens. May be called more than once; if several providers have a tool of the same name, the
    /// first one serves it. Default: none.
    #[must_use]
    pub fn tools(mut self, provider: impl ToolProvider) -> Self {
        self.tools.push(Arc::new(provider));
        self
    }

    /// Sets the function that supplies providers to single workspaces, such as a model with each customer's own account.
    ///
    /// The function is called each time this host opens a workspace, whatever opens it: a caller, a
    /// held prompt, or a session whose time has come. It gets the workspace's key, runs on the
    /// runtime that the host is built on, and may take 10 seconds. If it fails, panics or takes
    /// longer, the workspace is not opened, and the caller gets
    /// [`HostError::ProvidersUnavailable`]. What it returned is dropped when the workspace has
    /// closed. Another call replaces the function. Default: workspaces have the host's providers
    /// alone.
    ///
    /// To choose by prompt instead of by workspace, see
    /// [`Prompt::label`](super::Prompt::label).
    ///
    /// ```
    /// use lastword::{Host, WorkspaceKey, WorkspaceProviders};
    /// # use lastword::model::ModelProvider;
    ///
    /// # fn builder<M: ModelProvider>(model_of: fn(&str) -> M) -> lastword::HostBuilder {
    /// Host::builder().workspace_providers(move |key| async move {
    ///     match key {
    ///         WorkspaceKey::Name(customer) => {
    ///             Ok(WorkspaceProviders::new().model(model_of(&customer)))
    ///         }
    ///         WorkspaceKey::Directory(_) => Err("only named workspaces are served".into()),
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn workspace_providers<F, S>(mut self, supply: F) -> Self
    where
        F: Fn(WorkspaceKey) -> S + Send + Sync + 'static,
        S: Future<Output = Result<WorkspaceProviders, Box<dyn Error + Send + Sync>>>
            + Send
            + 'static,
    {
        self.supply = Some(Arc::new(move |key| Box::pin(supply(key))));
        self
    }

    /// Sets the commands that agents with `run-commands` may run. Default: none.
    #[cfg(feature = "commands")]
    #[must_use]
    pub fn commands(mut self, commands: Commands) -> Self {
        self.commands = commands;
        self
    }

    /// Sets the policy for accesses that no rule decides. It is asked before a person is. Default:
    /// none.
    #[must_use]
    pub fn permission_policy(mut self, policy: impl PermissionPolicy) -> Self {
        self.brought.policy = Some(Arc::new(policy));
        self
    }

    /// Denies a capability, or the targets of a rule, in every workspace of this host, even if the
    /// host itself opens it for recovery or a wake. No grant, answer, policy or option of a
    /// workspace lifts it. It is not stored: the next host has only the denials of its own builder.
    /// May be called more than once. Default: nothing is denied.
    #[must_use]
    pub fn deny(mut self, rule: impl Into<Rule>) -> Self {
        self.denied.push(rule.into());
        self
    }

    /// Sets the secrets that the host may insert into its requests. Default: none.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.brought.secrets = secrets;
        self
    }

    /// Sets how agents' requests reach the network. Default: only the public internet, for agents
    /// with `network`.
    #[must_use]
    pub fn http(mut self, options: HttpOptions) -> Self {
        self.http = options;
        self
    }

    /// Sets the limits of runs whose workspace sets none of its own. Default: those of
    /// [`Limits::default`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how many runs execute at the same time; further ones wait. Default: 256, or as many as
    /// fit into the memory of the machine or control group, at [`Limits::memory_bytes`] each. A
    /// number that is set here applies regardless of memory. It is bounded by the machine's
    /// `vm.max_map_count`.
    #[must_use]
    pub fn concurrent_runs(mut self, runs: u32) -> Self {
        self.concurrent_runs = ConcurrentRuns::Exactly(runs.max(1));
        self
    }

    /// Sets how many runs execute at the same time, unless fewer fit into the memory. Default: 256.
    #[must_use]
    pub fn concurrent_runs_max(mut self, runs: u32) -> Self {
        self.concurrent_runs = ConcurrentRuns::AtMost(runs.max(1));
        self
    }

    /// Sets the host's clock. It is trusted like the host itself. Default: the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets how long a client that created a workspace keeps it open without a stream. Default: 30
    /// s.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.claims.hold = hold;
        self
    }

    /// Sets how long a client that lost its last stream may take to come back. Default: 10 s.
    #[must_use]
    pub fn detach_grace(mut self, grace: Duration) -> Self {
        self.claims.grace = grace;
        self
    }

    /// What happens to the runs of a workspace whose last claim was a client's and has ended.
    /// Default: they continue, as they always do if the last claim was that of a caller of
    /// [`Host::open_workspace`].
    #[must_use]
    pub fn on_last_client(mut self, then: OnLastClient) -> Self {
        self.claims.on_last_client = then;
        self
    }

    /// Sets how long runs may continue during a shutdown before they are stopped. Default: 0.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets how long the events of runs that have ended are kept; messages and receipts stay.
    /// Default: forever.
    #[must_use]
    pub fn retention(mut self, age: Option<Duration>) -> Self {
        self.retention = age;
        self
    }

    /// Sets whether the host by itself continues sessions whose runs ended waiting for a time, once
    /// that time has come, and opens their workspaces to do so. Otherwise they wait until
    /// [`Host::wake_due`] is called, or until another host wakes them; answers still continue them.
    /// Default: true.
    #[must_use]
    pub fn wakes(mut self, wakes: bool) -> Self {
        self.wakes = wakes;
        self
    }

    /// Sets where components are compiled that are not in the cache. Default: in this process, if
    /// they look cheap enough ([`Compiler::in_process`]).
    ///
    /// ```no_run
    /// use lastword::{Compiler, Host};
    ///
    /// // The first lines of `main`.
    /// if std::env::args().nth(1).as_deref() == Some("compile-worker") {
    ///     lastword::compile_worker();
    /// }
    /// // This very program, also if its file was replaced meanwhile.
    /// let compiler = Compiler::worker("/proc/self/exe").arg("compile-worker");
    /// let builder = Host::builder().compiler(compiler);
    /// ```
    #[must_use]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Raises this process's soft limit of open files to its hard limit when the host is built.
    /// Guests share half of the limit ([`Limits::descriptors`]) and the host has the rest; the
    /// usual soft limit of 1,024 is small for both. It is that low for the sake of programs that
    /// use `select`, so commands and MCP servers start with the earlier limit. Since a library must
    /// not change its process unasked, the default is to leave the limit unchanged.
    #[must_use]
    pub fn raise_descriptor_limit(mut self) -> Self {
        self.raises_descriptors = true;
        self
    }

    /// Opens the data directory, recovers the unfinished runs of an earlier host, and starts. The
    /// embedder's extensions run on the tokio runtime that this is called from; guests run on a
    /// separate one.
    ///
    /// Dropping the future leaves no host, and releases the data directory as soon as the step that
    /// was under way has ended. Runs that were recovered by then have their ends.
    ///
    /// # Errors
    /// [`HostError::NoRuntime`] outside a tokio runtime, and in one without timers or I/O; when
    /// the directory is in use or cannot be opened, the database is newer, or there is no engine.
    pub async fn build(self) -> Result<Host, HostError> {
        let embedder = embedder_runtime()?;
        let guests = Guests::start()?;
        let clock = self
            .clock
            .unwrap_or_else(|| SystemClock::with(guests.handle().clone()));
        let (store, home) = opened(self.data_dir, self.in_memory, &clock).await?;
        let tmp = home.path().join("tmp");
        // Removes the files that guests of an earlier host left behind.
        clear(tmp.clone()).await?;
        let engine = engine(self.concurrent_runs, self.limits).await?;
        let before = self.raises_descriptors.then(raised).flatten();
        let each = self.limits.descriptors;
        let descriptors = Descriptors::of_process(engine.concurrent_runs(), each);
        let linker = linker(&engine).map_err(unlinkable)?;
        let http = Guarded::new(self.http, self.brought.secrets.clone(), Arc::clone(&clock));
        let own_tools = Builtins::new(
            #[cfg(feature = "commands")]
            CommandTools::new(self.commands, tmp.join("commands")),
            FetchUrl::new(http.clone()),
        );
        let places: Arc<OnceLock<Weak<HostInner>>> = Arc::default();
        let mut brought = self.brought;
        let mut context = HostContext::new(Arc::clone(&clock));
        context.secrets = brought.secrets.clone();
        context.data_dir = Some(home.path().to_owned());
        context.descriptors = before;
        let of_host = Arc::clone(&places);
        context.directories = Arc::new(move |id| directory(of_host.get(), id));
        let attached = self.tools.into_iter();
        brought.tools = attached
            .map(|provider| Source::attached(provider, &context))
            .collect();
        let supply = self.supply;
        brought.supply = supply.map(|supply| Arc::new(ProviderSupply { supply, context }));
        let dispatcher = Dispatcher::new(DispatcherParts {
            engine: Arc::clone(&engine),
            store: store.clone(),
            http,
            clock,
            brought,
            own_tools,
            guests: guests.handle().clone(),
            embedder,
            tmp,
            descriptors,
        });
        let cache = self.cache_dir.unwrap_or_else(|| home.path().join("cache"));
        let kept = ReservedDirs::new([home.path().to_owned(), cache.clone()]);
        let inner = Arc::new(HostInner {
            compilers: Compilers::new(self.compiler, Arc::clone(&dispatcher.clock)),
            dispatcher,
            engine,
            linker,
            store,
            limits: self.limits,
            cache: Some(cache),
            kept: Arc::new(kept),
            describing: tokio::sync::Semaphore::new(1),
            agents: Mutex::new(HashMap::new()),
            keeping: tokio::sync::Mutex::new(()),
            workspaces: Workspaces::new(self.claims),
            drain_time: self.drain,
            lease: OnceLock::new(),
            retention: self.retention,
            denied: self.denied.into(),
            folding: OnceLock::new(),
            waking: OnceLock::new(),
            stage: watch::Sender::new(Stage::Open),
            _home: home,
            _guests: guests,
        });
        let _set_once = places.set(Arc::downgrade(&inner));
        Ok(begin(&inner, self.wakes))
    }
}

async fn opened(
    directory: Option<PathBuf>,
    in_memory: bool,
    clock: &Arc<dyn Clock>,
) -> Result<(Store, Home), HostError> {
    if in_memory {
        return opened_in_memory(directory, clock).await;
    }
    let directory = directory.unwrap_or_else(|| ".lastword".into());
    let clock = Arc::clone(clock);
    let store = blocking("open the store", move || Store::open(&directory, clock)).await??;
    let home = Home::DataDir(store.directory().map(Path::to_owned).unwrap_or_default());
    Ok((store, home))
}

async fn opened_in_memory(
    directory: Option<PathBuf>,
    clock: &Arc<dyn Clock>,
) -> Result<(Store, Home), HostError> {
    if let Some(directory) = directory {
        return Err(HostError::Invalid(format!(
            "a host keeps everything in memory or in a data directory ({}), and not in both; name \
             one of the two",
            directory.display()
        )));
    }

    let temporary = blocking("make a temporary directory", tempfile::tempdir).await?;
    let temporary = temporary.map_err(|source| HostError::Io {
        what: "make a temporary directory in",
        path: std::env::temp_dir(),
        source,
    })?;
    let store = Store::in_memory(Arc::clone(clock))?;
    Ok((store, Home::Temporary(temporary)))
}

fn linker(engine: &Engine) -> HostResult<Linker<GuestState<Capabilities>>> {
    let mut linker = lastword_sandbox::linker(engine)?;
    crate::guest::link(&mut linker)?;
    Ok(linker)
}

async fn engine(concurrent_runs: ConcurrentRuns, limits: Limits) -> Result<Arc<Engine>, HostError> {
    let options = EngineOptions {
        concurrent_runs,
        memory_bytes: MEMORY_BYTES,
        run_bytes: limits.memory_bytes,
    };
    Ok(Arc::new(
        blocking("start the engine", move || Engine::new(options)).await??,
    ))
}

/// Raises the soft limit of descriptors, and returns the earlier one; `None` if there is none, or
/// if it cannot be raised.
fn raised() -> Option<u64> {
    descriptors::raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        None
    })
}

/// Connects the parts that refer to the host itself, and starts the host's background tasks.
/// Returns the first handle.
fn begin(inner: &Arc<HostInner>, wakes: bool) -> Host {
    let lease = Arc::new(Lease(Arc::clone(inner)));
    let _set_once = inner.lease.set(Arc::downgrade(&lease));
    let dispatcher = &inner.dispatcher;
    let _set_once = dispatcher.starts.set(Children::of(inner));
    let host = Arc::downgrade(inner);
    let on_idle = move |workspace| {
        if let Some(host) = host.upgrade() {
            host.on_idle(workspace);
        }
    };

    let _set_once = dispatcher.on_idle.set(Box::new(on_idle));
    if wakes {
        let _set_once = inner.waking.set(inner.keep_waking());
    }
    if let Some(age) = inner.retention {
        let _set_once = inner.folding.set(inner.keep_folding(age));
    }

    Host { inner: lease }
}

/// Returns the directory of an open workspace.
fn directory(host: Option<&Weak<HostInner>>, id: WorkspaceId) -> Option<PathBuf> {
    let host = host?.upgrade()?;
    let open = host.workspaces.lock().open(id).ok()?;
    match &*open.key {
        WorkspaceKey::Directory(path) => Some(path.clone()),
        WorkspaceKey::Name(_) => None,
    }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HostError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| HostError::of_task(error, doing))
}

async fn clear(directory: PathBuf) -> Result<(), HostError> {
    let _nothing_was_left = blocking("remove what an earlier host left", move || {
        remove_tree(&directory)
    })
    .await?;
    Ok(())
}

fn unlinkable(error: impl std::fmt::Display) -> HostError {
    HostError::Internal {
        doing: "offer agents its interface",
        why: error.to_string(),
    }
}

/// Returns the current runtime, if it has timers and I/O. Without them the first cancel would
/// panic.
fn embedder_runtime() -> Result<Handle, HostError> {
    let runtime = Handle::try_current().map_err(|_| HostError::NoRuntime)?;
    // There is no other way to find out; the panic hook reports the panic.
    let probe = || {
        drop(tokio::time::sleep(Duration::ZERO));
        drop(tokio::net::UnixDatagram::unbound());
    };
    std::panic::catch_unwind(probe).map_err(|_| HostError::NoRuntime)?;
    Ok(runtime)
}

/// The guests' own threads.
pub(super) struct Guests(Option<Runtime>, Handle);

impl Guests {
    /// Starts the threads. A guest that computes occupies a thread for a tick at a time, so guests
    /// get threads of their own; these look for guests that became ready before each poll.
    fn start() -> Result<Self, HostError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("lastword-guest")
            .enable_all()
            // As many as guests that compute: one thread more would have the kernel take a guest that
            // is to stop off its processor, for milliseconds.
            .worker_threads(processors())
            .global_queue_interval(1)
            .on_thread_start(step_back)
            .build();
        let runtime = runtime.map_err(|source| HostError::Io {
            what: "start the guests' threads for",
            path: PathBuf::from("the host"),
            source,
        })?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    fn handle(&self) -> &Handle {
        &self.1
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping a runtime inside async code panics, and a blocked file read would delay it
            // forever.
            runtime.shutdown_background();
        }
    }
}

/// By how much guests' threads are lowered in priority below the threads that write, stop guests
/// and respond.
const GUEST_NICENESS: i32 = 5;

/// Lowers the priority of a guest's thread: guests may compute without end, and the threads that
/// stop them must not have to wait for CPU time.
fn step_back() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), GUEST_NICENESS) {
        tracing::debug!(%error, "guests' threads keep the priority of the others");
    }
}
