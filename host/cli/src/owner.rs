//! Chooses the host for a command: the server that was named, the owner of the data directory if it
//! has one, or this process, which then owns it. No other file decides this.

use crate::arguments::Shared;
use crate::failure::{Failure, tell_damaged};
use crate::paths::{Holder, Paths};
use crate::serving::{self, Door, Held, Serving};
use crate::signals::Stops;
use crate::terminal::Terminal;
use crate::units;
use lastword::id::RunId;
use lastword::{Damage, Host, HostBuilder, HostError, Lifecycle, OpenError};
use lastword_client::api::HealthStatus;
use lastword_client::{Address, Client};
use lastword_server::{Token, TokenError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to wait for an owner that neither accepts work nor leaves. An owner that shuts down
/// ends its runs, its tools and its streams within that.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait before telling the person why.
const SILENCE: Duration = Duration::from_secs(1);
/// The first pause between two attempts to reach an owner, and the longest.
const PAUSE: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// A host that responds.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) client: Client,
    /// The owner of the data directory, if it was reached by the directory's socket.
    pub(crate) holder: Option<Holder>,
}

impl Server {
    /// Whether it says that it accepts nothing new.
    async fn is_closing(&self) -> bool {
        let health = self.client.health().await;
        health.is_ok_and(|health| health.status != HealthStatus::Ok)
    }
}

/// The server that was named, or the directory's owner; `None` if there is none.
pub(crate) async fn reach(shared: &Shared, paths: &Paths) -> Result<Option<Server>, Failure> {
    match &shared.server {
        Some(_) => named(shared, paths),
        None => by_socket(paths).await,
    }
}

/// Returns the server that was named, if one was. One on this machine gets the token that it has
/// generated itself; no other server may learn that token.
pub(crate) fn named(shared: &Shared, paths: &Paths) -> Result<Option<Server>, Failure> {
    let Some(address) = &shared.server else {
        return Ok(None);
    };

    let address: Address = address.parse()?;
    let given = token(shared.token_file.as_deref())?;
    let own = || own_token(&token_file(shared, paths));
    let token = token_for(&address, given, own)?;
    let builder = Client::builder().address(address);
    let builder = match token {
        Some(token) => builder.token(token),
        None => builder,
    };

    Ok(Some(Server {
        client: builder.build()?,
        holder: None,
    }))
}

/// Returns the token to send to a server at this address.
fn token_for(
    address: &Address,
    given: Option<String>,
    own: impl FnOnce() -> Result<Option<String>, Failure>,
) -> Result<Option<String>, Failure> {
    match given {
        None if address.is_loopback() => own(),
        given => Ok(given),
    }
}

/// Returns the token for a server: from the named file, or from the environment.
fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(file) = file {
        return read_token(file).map(Some);
    }
    let token = std::env::var("LASTWORD_TOKEN").ok();
    let token = token.map(|token| token.trim().to_owned());
    Ok(token.filter(|token| !token.is_empty()))
}

/// Returns the token that a server on this machine has generated, if there is one.
fn own_token(file: &Path) -> Result<Option<String>, Failure> {
    file.exists().then(|| read_token(file)).transpose()
}

fn read_token(file: &Path) -> Result<String, Failure> {
    let token = Token::read(file).map_err(|error| {
        Failure::usage(match &error {
            TokenError::Io { .. } => format!(
                "{error}; name the file that holds the server's token with `--token-file`, or set \
                 LASTWORD_TOKEN"
            ),
            _ => error.to_string(),
        })
    })?;
    Ok(token.as_str().to_owned())
}

/// Returns the path of the token of a server on this machine.
pub(crate) fn token_file(shared: &Shared, paths: &Paths) -> PathBuf {
    let named = shared.token_file.clone();
    named.unwrap_or_else(|| paths.data.join("token"))
}

/// Returns the owner of the directory, if it responds.
pub(crate) async fn by_socket(paths: &Paths) -> Result<Option<Server>, Failure> {
    let socket = serving::socket(&paths.data);
    match lastword_server::connect_unix(&socket).await {
        Ok(stream) => {
            let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let holder = Holder {
                pid: process.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()),
                data: paths.data.clone(),
            };
            let client = Client::builder().unix_socket(socket).succession();
            Ok(Some(Server {
                client: client.build()?,
                holder: Some(holder),
            }))
        }
        Err(error) => match error.kind() {
            ErrorKind::PermissionDenied => Err(Failure::usage(format!(
                "the data directory {} belongs to another user; name another with `--data-dir`",
                paths.data.display()
            ))),
            // Any other error means that no host responds there.
            _ => Ok(None),
        },
    }
}

/// Waits for owners that start or leave. Each process has [`PATIENCE`] to accept work or to leave.
#[derive(Default)]
pub(crate) struct Patience {
    /// The process being waited for, since when, and the next pause.
    holder: Option<(String, Instant, Duration)>,
    told: bool,
}

impl Patience {
    /// Waits a little. Returns whether to try the directory again; `false` once the time of this
    /// owner is over.
    pub(crate) async fn wait(&mut self, pid: &str, terminal: &Terminal) -> bool {
        let (since, pause) = match self.holder.take() {
            Some((same, since, pause)) if same == pid => (since, pause),
            _ => (Instant::now(), PAUSE),
        };

        let waited = since.elapsed();
        if waited >= PATIENCE {
            return false;
        }

        if waited >= SILENCE && !std::mem::replace(&mut self.told, true) {
            terminal.note(&format!(
                "waiting for process {pid}, which has the data directory and takes nothing now"
            ));
        }

        self.holder = Some((pid.to_owned(), since, (pause * 2).min(PAUSE_MAX)));
        tokio::time::sleep(pause).await;
        true
    }
}

/// The result of trying to own the directory.
pub(crate) enum Taken {
    Ours(Host),
    /// The process with this id owns it.
    InUse {
        pid: String,
        failure: Failure,
    },
}

/// Owns the directory if it is free.
pub(crate) async fn take(
    builder: HostBuilder,
    paths: &Paths,
    terminal: &Terminal,
) -> Result<Taken, Failure> {
    let builder = builder.data_dir(&paths.data).cache_dir(&paths.cache);
    match builder.build().await {
        Ok(host) => {
            tell_recovery(&host, terminal);
            Ok(Taken::Ours(host))
        }
        Err(error) => {
            let pid = match &error {
                HostError::Open(OpenError::InUse { pid, .. }) => Some(pid.clone()),
                _ => None,
            };
            let failure = Failure::from(error);
            match pid {
                Some(pid) => Ok(Taken::InUse { pid, failure }),
                None => Err(failure),
            }
        }
    }
}

/// Who owns the directory.
pub(crate) enum Owner {
    Us(Host),
    Other(Server),
}

/// Owns the directory, unless another process does and accepts work. Waits for an owner that is
/// leaving or not ready yet.
pub(crate) async fn own(
    builder: &HostBuilder,
    paths: &Paths,
    terminal: &Terminal,
) -> Result<Owner, Failure> {
    let mut patience = Patience::default();
    loop {
        // Checked before anything is recovered: a host that answers here owns the directory, even
        // if its lock is lost.
        if let Some(server) = by_socket(paths).await? {
            let pid = server.holder.as_ref().map_or("", |holder| &holder.pid);
            if !server.is_closing().await || !patience.wait(pid, terminal).await {
                return Ok(Owner::Other(server));
            }
            continue;
        }
        match take(builder.clone(), paths, terminal).await? {
            Taken::Ours(host) => return Ok(Owner::Us(host)),
            Taken::InUse { pid, failure } => {
                if !patience.wait(&pid, terminal).await {
                    return Err(failure);
                }
            }
        }
    }
}

/// Tells the notices of the host's start, and what recovery did.
pub(crate) fn tell_recovery(host: &Host, terminal: &Terminal) {
    for notice in host.notices() {
        terminal.warn(&notice.to_string());
    }

    let recovered = host.recovered();
    if recovered.ended > 0 {
        let runs = units::count(recovered.ended, "run");
        terminal.note(&format!(
            "recovered {runs} that an earlier start had left without an end"
        ));
    }

    if recovered.held > 0 {
        let prompts = units::count(recovered.held, "prompt");
        terminal.note(&format!("{prompts} that had not begun by then are held"));
    }

    let damaged: Vec<String> = host.damaged().iter().map(Damage::to_string).collect();
    tell_damaged(&damaged, terminal);
}

/// A host that responds, in this process or another.
pub(crate) struct Connection {
    pub(crate) server: Server,
    /// The host of this process, if it is that.
    own: Option<Serving>,
    /// Whether what it does is there for other commands, now and later.
    keeps: bool,
}

impl Connection {
    /// A host of another process.
    pub(crate) fn to_other(server: Server) -> Self {
        Self {
            server,
            own: None,
            keeps: true,
        }
    }

    /// Reaches the owner, or becomes the owner, which other commands can then reach.
    pub(crate) async fn open(
        shared: &Shared,
        paths: &Paths,
        builder: &HostBuilder,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        match answering(shared, paths, builder, terminal).await? {
            Owner::Other(server) => Ok(Self::to_other(server)),
            Owner::Us(host) => Self::of_own(&host, paths, Held::GoesOn, terminal).await,
        }
    }

    /// Reaches the owner, or becomes it for a moment: other commands wait until it is over, since
    /// this one has neither models nor tools for their runs.
    pub(crate) async fn open_alone(
        shared: &Shared,
        paths: &Paths,
        builder: &HostBuilder,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        match answering(shared, paths, builder, terminal).await? {
            Owner::Other(server) => Ok(Self::to_other(server)),
            Owner::Us(host) => Self::to(Serving::begin(&host, Vec::new()), Held::GoesOn),
        }
    }

    /// Serves a host in this process at its socket, for other commands. Does not fail on a file
    /// system without sockets.
    pub(crate) async fn of_own(
        host: &Host,
        paths: &Paths,
        held: Held,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let doors = match Door::of_owner(&serving::socket(&paths.data)).await {
            Ok(door) => vec![door],
            Err(error) => {
                terminal.warn(&format!("{error}; other commands cannot reach this one"));
                Vec::new()
            }
        };
        Self::to(Serving::begin(host, doors), held)
    }

    /// A host in this process that keeps nothing and that no other command reaches.
    pub(crate) fn of_ephemeral(host: &Host) -> Result<Self, Failure> {
        let connection = Self::to(Serving::begin(host, Vec::new()), Held::Stays)?;
        Ok(Self {
            keeps: false,
            ..connection
        })
    }

    fn to(mut own: Serving, held: Held) -> Result<Self, Failure> {
        let server = Server {
            client: own.client(held)?,
            holder: None,
        };
        Ok(Self {
            server,
            own: Some(own),
            keeps: true,
        })
    }

    /// The host, if it is in this process.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.own.as_ref().map(Serving::host)
    }

    /// Whether what the host does is there for other commands, now and later.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Waits for the runs that commands in other terminals began at a host of this process, until
    /// it accepts no more.
    pub(crate) async fn wait_for_others(
        &self,
        own: &[RunId],
        stops: &mut Stops,
        terminal: &Terminal,
    ) {
        let Some(host) = self.host() else {
            return;
        };

        let mut steps = host.lifecycle();
        let mut told = false;
        loop {
            let live = host.live_runs(None);
            let left = live.iter().filter(|run| !own.contains(&run.id())).count();
            // A run of this command without an end is left to the next start.
            if left == 0 && !live.is_empty() || host.is_closing() {
                return;
            }
            if left > 0 && !std::mem::replace(&mut told, true) {
                stops.begin_again();
                let runs = units::count(left as u64, "run");
                let whose = if left == 1 {
                    "another client"
                } else {
                    "other clients"
                };
                let them = if left == 1 { "it" } else { "them" };
                terminal.note(&format!(
                    "waiting for {runs} of {whose}; Ctrl-C stops {them}"
                ));
            }
            tokio::select! {
                _ = stops.recv() => return,
                step = steps.next() => match step {
                    None | Some(Lifecycle::HostClosing) => return,
                    Some(_) => {}
                },
                () = host.close_when_idle(), if left == 0 => return,
            }
        }
    }

    /// Releases the directory.
    pub(crate) async fn close(self, terminal: &Terminal) {
        if let Some(own) = self.own
            && !own.end().await.is_empty()
        {
            terminal.warn("a run's end is not on disk; the next start writes it");
        }
    }
}

/// The server that was named, the owner of the directory, or this process as its owner.
async fn answering(
    shared: &Shared,
    paths: &Paths,
    builder: &HostBuilder,
    terminal: &Terminal,
) -> Result<Owner, Failure> {
    match reach(shared, paths).await? {
        Some(server) => Ok(Owner::Other(server)),
        None => own(builder, paths, terminal).await,
    }
}

/// Returns whether the caller may ask the directory's next owner instead, after a short wait for
/// it.
pub(crate) async fn comes_again(
    failure: &Failure,
    server: &Server,
    patience: &mut Patience,
    terminal: &Terminal,
) -> bool {
    match &server.holder {
        Some(holder) if failure.handover => patience.wait(&holder.pid, terminal).await,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_learns_its_own_token() {
        let own = || Ok(Some("own".to_owned()));
        for (address, expected) in [
            ("http://127.0.0.1:8020", Some("own")),
            ("http://localhost:1", Some("own")),
            ("https://example.org", None),
            ("http://127.0.0.1.example.org", None),
        ] {
            let address: Address = address.parse().unwrap();
            let token = token_for(&address, None, own).unwrap();
            assert_eq!(token.as_deref(), expected, "{address}");
        }
        let elsewhere: Address = "https://example.org".parse().unwrap();
        let given = token_for(&elsewhere, Some("t".to_owned()), own).unwrap();
        assert_eq!(given.as_deref(), Some("t"));
    }
}
