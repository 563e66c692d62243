//! `lastword serve`: a host that stays. Turns options and settings into a host with open listeners,
//! and shuts it down in order after a signal or when it is idle. `serving.rs` runs the listeners.

use crate::agent::{self, Found};
use crate::arguments::{self, Listen, NamedAgent, OnLast, Shared};
use crate::failure::{Exit, Failure};
use crate::owner;
use crate::paths::Paths;
use crate::plan;
use crate::service_manager::{feed_watchdog, notify};
use crate::serving::{self, Door, Serving};
use crate::settings::Settings;
use crate::signals::Stops;
use crate::terminal::{Terminal, to_stdout};
use crate::units;
use lastword::{Host, HostBuilder, OnLastClient, StoreError};
use lastword_server::{
    Anyone, Authorizer, ListenError, Listener, ServerOptions, TokenError, TokenFile,
};
use sd_notify::NotifyState;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The default address.
const DEFAULT: Listen = Listen::Tcp(SocketAddr::new(
    std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
    8020,
));

/// How often a host that stays for a session checks when that is due, since the machine's clock may
/// be set meanwhile.
const DUE_LOOK_MIN: Duration = Duration::from_millis(50);
const DUE_LOOK_MAX: Duration = Duration::from_secs(5);

/// Serves until a signal or idleness ends it.
pub(crate) async fn serve(
    arguments: arguments::Serve,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let plan = Plan::new(arguments, &shared, &settings, &paths)?;
    let agents = plan.find_agents(terminal)?;
    let mut stops = Stops::listen()?;
    let host = match owner::own(&plan.builder(&settings)?, &paths, terminal).await? {
        owner::Owner::Us(host) => host,
        owner::Owner::Other(server) => {
            return Err(Failure::usage(format!(
                "the data directory {} has an owner already, which answers at {}; stop that one, \
                 or name another directory with `--data-dir`",
                paths.data.display(),
                server.client.server()
            )));
        }
    };

    let opened = tokio::select! {
        opened = plan.open(&host, agents, &paths, terminal) => opened,
        _ = stops.recv() => {
            host.shutdown().await;
            terminal.note("stopped before it listened");
            return Ok(Exit::Completed);
        }
    };

    let (serving, ready) = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            host.shutdown().await;
            return Err(failure);
        }
    };

    ready.tell(plan.json, terminal);
    let watched = host.clone();
    let watchdog = tokio::spawn(async move { feed_watchdog(&watched).await });
    let failed = plan.until_told(&host, &mut stops, terminal).await;
    notify(NotifyState::Stopping);
    let left = serving.end().await;
    watchdog.abort();
    let runs = units::count(left.len() as u64, "run");
    let unwritten = format!("the end of {runs} is not on disk; the next start writes it");
    match (failed, left.is_empty()) {
        (None, true) => Ok(Exit::Completed),
        (None, false) => Err(Failure::failed(unwritten)),
        (Some(error), whole) => {
            let unwritten = (!whole).then(|| format!("; {unwritten}"));
            Err(Failure::failed(format!(
                "this server cannot write to {} any more: {error}{}",
                paths.data.display(),
                unwritten.unwrap_or_default()
            )))
        }
    }
}

/// The plan of a server: where it listens, for which clients, and with which agents.
struct Plan {
    listen: Listen,
    /// `None` lets in every client of this machine.
    token_file: Option<PathBuf>,
    roots: Vec<PathBuf>,
    allowed_hosts: Vec<String>,
    agents: Vec<NamedAgent>,
    model: Option<String>,
    concurrent_runs: Option<u32>,
    streams: Option<u32>,
    drain: Duration,
    linger: Option<Duration>,
    on_last_client: OnLastClient,
    retention: Option<Duration>,
    json: bool,
}

impl Plan {
    fn new(
        given: arguments::Serve,
        shared: &Shared,
        settings: &Settings,
        paths: &Paths,
    ) -> Result<Self, Failure> {
        let defaults = settings.serve.clone();
        let listen = given.listen.or(defaults.listen).unwrap_or(DEFAULT);
        let open = given.no_token || defaults.no_token;
        if open && listen.is_public() {
            return Err(Failure::usage(
                "other machines can reach that address, and without a token every one of them \
                 could command the agents; leave out `--no-token`, or listen on 127.0.0.1",
            ));
        }

        let mut named = shared.clone();
        named.token_file = named.token_file.or(defaults.token_file.clone());
        let agents = defaults.agents();
        let on_last = given.on_last_client.or(defaults.on_last_client);
        Ok(Self {
            listen,
            token_file: (!open).then(|| owner::token_file(&named, paths)),
            roots: roots(either(given.root, defaults.root))?,
            allowed_hosts: either(given.allow_host, defaults.allow_host),
            agents: either(given.agent, agents),
            model: given
                .model
                .or(defaults.model)
                .or(settings.run.model.clone()),
            concurrent_runs: given
                .concurrent_runs
                .or(defaults.concurrent_runs.map(u32::from)),
            streams: given.streams.or(defaults.streams.map(u32::from)),
            drain: given
                .drain
                .or(defaults.drain)
                .map_or_else(Default::default, |span| span.0),
            linger: given
                .exit_when_idle
                .or(defaults.exit_when_idle)
                .map(|span| span.0),
            on_last_client: match on_last {
                Some(OnLast::Cancel) => OnLastClient::Cancel,
                Some(OnLast::KeepRunning) | None => OnLastClient::KeepRunning,
            },
            retention: given.retention.or(defaults.retention).map(|span| span.0),
            json: given.json,
        })
    }

    /// Builds crates before the data directory is taken.
    fn find_agents(&self, terminal: &Terminal) -> Result<Vec<Found>, Failure> {
        let find = |agent: &NamedAgent| {
            let mut found = agent::find(&agent.path, terminal)?;
            if let Some(name) = &agent.name {
                found.name.clone_from(name);
            }
            Ok(found)
        };
        self.agents.iter().map(find).collect()
    }

    fn builder(&self, settings: &Settings) -> Result<HostBuilder, Failure> {
        let mut builder = settings
            .host()
            .drain(self.drain)
            .on_last_client(self.on_last_client)
            .retention(self.retention);
        if let Some(runs) = self.concurrent_runs {
            builder = builder.concurrent_runs(runs);
        }

        if let Some(model) = &self.model {
            builder = builder.model(plan::models(settings, Some(model))?);
        }

        settings.external().equip(builder)
    }

    /// Loads the agents, then opens the listeners, so that clients find all agents loaded.
    async fn open(
        &self,
        host: &Host,
        agents: Vec<Found>,
        paths: &Paths,
        terminal: &Terminal,
    ) -> Result<(Serving, Ready), Failure> {
        let kept = host.load_kept_agents();
        for (name, loaded) in agent::loading("what clients sent", kept, terminal).await? {
            if let Err(error) = loaded {
                terminal.warn(&format!("the agent {name}, which a client sent: {error}"));
            }
        }

        for found in agents {
            let loaded = host.load_agent(&found.name, found.file);
            agent::loading(&found.name, loaded, terminal).await?;
        }

        let resumed = host.reopen_held().await?.len() as u64;
        if resumed > 0 {
            let prompts = units::count(resumed, "prompt");
            terminal.note(&format!("going on with {prompts} of an earlier start"));
        }

        let (mut doors, mut ready) = (Vec::new(), Ready::default());
        if let Listen::Tcp(address) = self.listen {
            let door = self.door(address).await?;
            ready.url = door
                .listener
                .address()
                .map(|bound| format!("http://{bound}"));
            ready.token_file.clone_from(&self.token_file);
            doors.push(door);
        }

        let socket = serving::socket(&paths.data);
        let door = Door::of_owner(&socket)
            .await
            .map_err(|error| refused(&error))?;
        doors.push(door);
        ready.socket = socket;
        ready.concurrent_runs = host.concurrent_runs();
        Ok((Serving::begin(host, doors), ready))
    }

    /// Opens the TCP listener, with its authorizer.
    async fn door(&self, address: SocketAddr) -> Result<Door, Failure> {
        let authorizer: Arc<dyn Authorizer> = match &self.token_file {
            Some(file) => Arc::new(token(file)?),
            None => Arc::new(Anyone),
        };

        let listener = Listener::tcp(address, &*authorizer).await;
        Ok(Door {
            listener: listener.map_err(|error| refused(&error))?,
            authorizer,
            options: ServerOptions {
                roots: self.roots.clone(),
                allowed_hosts: self.allowed_hosts.clone(),
                streams_max: self
                    .streams
                    .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
                ..ServerOptions::default()
            },
        })
    }

    /// Returns why, if the host failed.
    async fn until_told(
        &self,
        host: &Host,
        stops: &mut Stops,
        terminal: &Terminal,
    ) -> Option<StoreError> {
        tokio::select! {
            _ = stops.recv() => {
                let stats = host.stats();
                let runs = units::count(stats.runs_running, "run");
                let ends = match (stats.runs_running, self.drain.is_zero()) {
                    (0, _) => "nothing runs".to_owned(),
                    (_, true) => format!("stopping {runs}"),
                    (_, false) => {
                        let micros = u64::try_from(self.drain.as_micros()).unwrap_or(u64::MAX);
                        format!("{runs} may go on for {}", units::time(micros))
                    }
                };
                terminal.note(&format!("shutting down: {ends}; a second signal leaves at once"));
            }
            () = self.idle(host, terminal) => {
                terminal.note("nobody is here and nothing runs: shutting down");
            }
            error = host.failed() => return Some(error),
        }

        None
    }

    /// Completes once the host was idle for long enough, no session waits for a time that a later
    /// host would miss, and the host accepts nothing new.
    async fn idle(&self, host: &Host, terminal: &Terminal) {
        let Some(linger) = self.linger else {
            return std::future::pending().await;
        };

        let mut told = false;
        loop {
            host.idle(linger).await;
            // A due time that cannot be read does not keep the host running.
            let due = host.next_wake().await.ok().flatten();
            if due.is_none() && host.close_if_idle() {
                return;
            }
            if let Some(due) = due
                && !std::mem::replace(&mut told, true)
            {
                let micros = u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
                let when = units::time(micros);
                terminal.note(&format!(
                    "nothing runs; staying for a session that is due in {when}"
                ));
            }
            let pause = due.unwrap_or_default();
            tokio::time::sleep(pause.clamp(DUE_LOOK_MIN, DUE_LOOK_MAX)).await;
        }
    }
}

/// Returns what the command line gives, or else what the settings do.
fn either<T>(given: Vec<T>, set: Vec<T>) -> Vec<T> {
    if given.is_empty() { set } else { given }
}

fn roots(roots: Vec<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let root = |root: PathBuf| {
        let found = root
            .canonicalize()
            .and_then(|found| std::fs::read_dir(&found).map(|_| found));
        found.map_err(|error| {
            Failure::usage(format!(
                "cannot offer {} as a root: {error}; name a directory that you can read",
                root.display()
            ))
        })
    };

    roots.into_iter().map(root).collect()
}

fn token(file: &Path) -> Result<TokenFile, Failure> {
    TokenFile::read_or_create(file).map_err(|error| {
        let how = match error {
            TokenError::Io { .. } => "; name another with `--token-file`",
            _ => "",
        };
        Failure::usage(format!("{error}{how}"))
    })
}

fn refused(error: &ListenError) -> Failure {
    let how = match error {
        ListenError::Address { .. } => {
            "; name another address with `--listen`, or `--listen none` for the socket only"
        }
        ListenError::Socket { .. } | ListenError::Answers { .. } | ListenError::Occupied { .. } => {
            "; name another data directory with `--data-dir`"
        }
        _ => "",
    };

    Failure::usage(format!("{error}{how}"))
}

/// The message that the server is ready.
#[derive(Default)]
struct Ready {
    url: Option<String>,
    socket: PathBuf,
    token_file: Option<PathBuf>,
    concurrent_runs: u32,
}

impl Ready {
    fn tell(&self, as_json: bool, terminal: &Terminal) {
        let mut places = Vec::new();
        places.extend(self.url.as_ref().map(|url| format!("listening on {url}")));
        places.push(format!("socket {}", self.socket.display()));
        let file = self.token_file.as_ref();
        places.extend(file.map(|file| format!("token in {}", file.display())));
        let runs = units::count(u64::from(self.concurrent_runs), "run");
        places.push(format!("up to {runs} at the same time"));
        terminal.note(&places.join(", "));
        if as_json {
            let line = json!({
                "type": "ready",
                "url": self.url,
                "socket": self.socket,
                "token_file": self.token_file,
                "concurrent_runs": self.concurrent_runs,
            });
            // If standard output is closed, standard error still has the same.
            let _closed = to_stdout(&format!("{line}\n"));
        }

        notify(NotifyState::Ready);
    }
}
