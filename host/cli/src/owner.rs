//! Who does what a command asks for: a server that was named, the owner of the data directory if
//! it has one, or this process, which then owns it. The only place that decides it.

use crate::arguments::Shared;
use crate::client::{self, Api};
use crate::failure::{Failure, tell_damaged};
use crate::place::{Holder, Place};
use crate::serving::{self, Door, Serving};
use crate::terminal::Terminal;
use crate::units;
use lastword::{Damage, Host, HostBuilder, HostError, OpenError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long one owner may neither take work nor leave. It ends its runs, its tools and its streams
/// within that.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it is waited for before that is explained.
const SILENCE: Duration = Duration::from_secs(1);
/// The first pause between two looks at an owner, and the longest.
const PAUSE: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// The server that was named, or the directory's owner; `None` if nobody has it.
pub(crate) async fn reach(shared: &Shared, place: &Place) -> Result<Option<Api>, Failure> {
    match &shared.server {
        Some(_) => named(shared, place),
        None => by_socket(place).await,
    }
}

/// The server that was named, if one was.
pub(crate) fn named(shared: &Shared, place: &Place) -> Result<Option<Api>, Failure> {
    let Some(address) = &shared.server else {
        return Ok(None);
    };
    let token = client::token(shared.token_file.as_deref())?;
    let own = || client::own_token(&token_file(shared, place));
    Api::at(address, token, own).map(Some)
}

/// Where the token of a server on this machine is.
pub(crate) fn token_file(shared: &Shared, place: &Place) -> PathBuf {
    let named = shared.token_file.clone();
    named.unwrap_or_else(|| place.data.join("token"))
}

/// The owner of the directory, if it answers.
pub(crate) async fn by_socket(place: &Place) -> Result<Option<Api>, Failure> {
    let socket = serving::socket(&place.data);
    match lastword_server::connect_unix(&socket).await {
        Ok(stream) => {
            let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let holder = Holder {
                pid: process.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()),
                data: place.data.clone(),
            };
            Api::behind(&socket, Some(holder)).map(Some)
        }
        Err(error) => match error.kind() {
            ErrorKind::PermissionDenied => Err(Failure::usage(format!(
                "the data directory {} belongs to another user; name another with `--data-dir`",
                place.data.display()
            ))),
            // Whatever else is there: it is nobody who answers.
            _ => Ok(None),
        },
    }
}

/// Waits for owners that come and go: each has its time to take work or to leave.
#[derive(Default)]
pub(crate) struct Patience {
    /// The process that is waited for, since when, and how long it is left alone by now.
    holder: Option<(String, Instant, Duration)>,
    told: bool,
}

impl Patience {
    /// Waits a little. Returns whether the directory is to be looked at again; `false` once this
    /// owner has had its time.
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

/// What came of trying to own the directory.
pub(crate) enum Taken {
    Ours(Host),
    /// This process has it.
    InUse {
        pid: String,
        failure: Failure,
    },
}

/// Owns the directory if it is free.
pub(crate) async fn take(
    builder: HostBuilder,
    place: &Place,
    terminal: &Terminal,
) -> Result<Taken, Failure> {
    let builder = builder.data_dir(&place.data).cache_dir(&place.cache);
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
    Other(Api),
}

/// Owns the directory, unless another does that takes work: one that is leaving, or is not ready
/// yet, is waited for.
pub(crate) async fn own(
    builder: &HostBuilder,
    place: &Place,
    terminal: &Terminal,
) -> Result<Owner, Failure> {
    let mut patience = Patience::default();
    loop {
        // Before anything is recovered: what answers here owns the directory, whatever became of
        // its lock.
        if let Some(api) = by_socket(place).await? {
            let pid = api.holder().map_or("", |holder| &holder.pid);
            if !api.is_closing().await || !patience.wait(pid, terminal).await {
                return Ok(Owner::Other(api));
            }
            continue;
        }
        match take(builder.clone(), place, terminal).await? {
            Taken::Ours(host) => return Ok(Owner::Us(host)),
            Taken::InUse { pid, failure } => {
                if !patience.wait(&pid, terminal).await {
                    return Err(failure);
                }
            }
        }
    }
}

/// Tells what was found at the start, and what recovery did.
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

/// Opens the owner's socket while this process owns the directory, so that other commands reach
/// it. A file system that has no sockets is no reason to fail.
pub(crate) async fn open_socket(host: &Host, place: &Place, terminal: &Terminal) -> Serving {
    let door = match Door::of_owner(&serving::socket(&place.data)).await {
        Ok(door) => vec![door],
        Err(error) => {
            terminal.warn(&format!("{error}; other commands cannot reach this one"));
            Vec::new()
        }
    };
    Serving::begin(host, door)
}

/// A host that answers, be it in this process.
pub(crate) struct Connection {
    pub(crate) api: Api,
    /// Whether no other answered.
    own: Option<(Host, Serving)>,
}

impl Connection {
    /// Reaches the owner, or becomes it: then other commands find this one.
    pub(crate) async fn open(
        shared: &Shared,
        place: &Place,
        builder: &HostBuilder,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let socket = serving::socket(&place.data);
        Self::behind(socket, shared, place, builder, terminal).await
    }

    /// Reaches the owner, or becomes it for a moment: other commands wait until it is over, since
    /// this one has neither models nor tools for their runs.
    pub(crate) async fn open_alone(
        shared: &Shared,
        place: &Place,
        builder: &HostBuilder,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let socket = serving::socket_of_one(&place.data);
        Self::behind(socket, shared, place, builder, terminal).await
    }

    async fn behind(
        socket: PathBuf,
        shared: &Shared,
        place: &Place,
        builder: &HostBuilder,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        if let Some(api) = reach(shared, place).await? {
            return Ok(Self { api, own: None });
        }
        let host = match own(builder, place, terminal).await? {
            Owner::Other(api) => return Ok(Self { api, own: None }),
            Owner::Us(host) => host,
        };
        let opened = async {
            let door = Door::of_owner(&socket).await;
            let door = door.map_err(|error| Failure::usage(error.to_string()))?;
            Ok((Api::behind(&socket, None)?, door))
        };
        match opened.await {
            Ok((api, door)) => {
                let serving = Serving::begin(&host, vec![door]);
                let own = Some((host, serving));
                Ok(Self { api, own })
            }
            Err(failure) => {
                host.shutdown().await;
                Err(failure)
            }
        }
    }

    /// The host, if it is this process.
    pub(crate) fn host(&self) -> Option<&Host> {
        self.own.as_ref().map(|(host, _)| host)
    }

    /// Gives the directory back.
    pub(crate) async fn close(self, terminal: &Terminal) {
        if let Some((_, serving)) = self.own
            && !serving.end().await.is_empty()
        {
            terminal.warn("a run's end is not on disk; the next start writes it");
        }
    }
}

/// Whether what failed may be asked of the directory's next owner, which was waited for.
pub(crate) async fn comes_again(
    failure: &Failure,
    api: &Api,
    patience: &mut Patience,
    terminal: &Terminal,
) -> bool {
    match api.holder() {
        Some(holder) if failure.handover => patience.wait(&holder.pid, terminal).await,
        _ => false,
    }
}
