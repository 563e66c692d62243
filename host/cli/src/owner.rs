//! Who does what a command asks for: a server that was named, the owner of the data directory if
//! it has one, or this process, which then owns it. The only place that decides it.

use crate::arguments::Shared;
use crate::client::{self, Api};
use crate::failure::Failure;
use crate::place::Place;
use crate::serving::{self, Door, Serving};
use crate::terminal::Terminal;
use crate::units;
use lastword::{Host, HostBuilder, HostError, OpenError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// How often an owner is looked for that has the directory and does not answer yet.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

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
async fn by_socket(place: &Place) -> Result<Option<Api>, Failure> {
    let socket = serving::socket(&place.data);
    match lastword_server::connect_unix(&socket).await {
        Ok(_) => Api::behind(&socket).map(Some),
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

/// Who owns the directory.
pub(crate) enum Owner {
    Us(Host),
    Other(Api),
}

/// Owns the directory, unless somebody was quicker.
pub(crate) async fn own(
    builder: HostBuilder,
    place: &Place,
    terminal: &Terminal,
) -> Result<Owner, Failure> {
    let builder = builder.data_dir(&place.data).cache_dir(&place.cache);
    let in_use = match builder.build().await {
        Ok(host) => {
            tell_recovery(&host, terminal);
            return Ok(Owner::Us(host));
        }
        Err(error @ HostError::Open(OpenError::InUse { .. })) => error,
        Err(error) => return Err(error.into()),
    };
    for _ in 0..LOOKS {
        if let Some(api) = by_socket(place).await? {
            return Ok(Owner::Other(api));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(in_use.into())
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
}

/// Opens the owner's socket while this process owns the directory, so that other commands reach
/// it. A file system that has no sockets is no reason to fail.
pub(crate) async fn open_socket(host: &Host, place: &Place, terminal: &Terminal) -> Serving {
    let door = match Door::of_owner(&place.data).await {
        Ok(door) => vec![door],
        Err(error) => {
            terminal.warn(&format!("{error}; other commands cannot reach this one"));
            Vec::new()
        }
    };
    Serving::begin(host, door)
}

/// Somebody who answers, be it this process.
pub(crate) struct Connection {
    pub(crate) api: Api,
    /// Whether nobody else answered.
    own: Option<Serving>,
}

impl Connection {
    /// Reaches the owner, or becomes it.
    pub(crate) async fn open(
        shared: &Shared,
        place: &Place,
        builder: HostBuilder,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        if let Some(api) = reach(shared, place).await? {
            return Ok(Self { api, own: None });
        }
        match own(builder, place, terminal).await? {
            Owner::Other(api) => Ok(Self { api, own: None }),
            Owner::Us(host) => {
                let opened = async {
                    let socket = serving::socket(&place.data);
                    let door = Door::of_owner(&place.data).await;
                    let door = door.map_err(|error| Failure::usage(error.to_string()))?;
                    Ok((Api::behind(&socket)?, door))
                };
                match opened.await {
                    Ok((api, door)) => {
                        let own = Some(Serving::begin(&host, vec![door]));
                        Ok(Self { api, own })
                    }
                    Err(failure) => {
                        host.shutdown().await;
                        Err(failure)
                    }
                }
            }
        }
    }

    /// Gives the directory back.
    pub(crate) async fn close(self, terminal: &Terminal) {
        if let Some(own) = self.own
            && !own.end().await.is_empty()
        {
            terminal.warn("a run's end is not on disk; the next start writes it");
        }
    }
}
