//! Reads sessions: on disk, also while another process owns the data directory, or at a server.
//! Finds them by the words that people use; `sessions.rs` and `show.rs` print them.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::owner;
use crate::paths::Paths;
use lastword::event::{Event, EventBody, Seq};
use lastword::id::{SessionId, WorkspaceId};
use lastword::run::Transcript;
use lastword::session::{Export, ExportedRun, Message, Role, SessionRecord};
use lastword::{Archive, Damage, OpenError, RunRow, SessionRow, StoreError};
use lastword_client::api::{PageView, RunSummary, WorkspaceView};
use lastword_client::{Client, Frame};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Where sessions are read.
pub(crate) enum Source {
    Disk(Archive),
    Server(Client, Mutex<Vec<Damage>>),
    /// There is no data directory yet.
    Nothing,
}

/// A session, and the stored key of its workspace.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) record: SessionRecord,
    pub(crate) workspace_key: String,
}

impl From<SessionRow> for Listed {
    fn from(row: SessionRow) -> Self {
        Self {
            record: row.record,
            workspace_key: row.workspace_key,
        }
    }
}

impl Listed {
    /// Whether a prompt was ever accepted: a full disk may leave a session without one.
    pub(crate) fn has_begun(&self) -> bool {
        self.record.messages > 0 || self.record.title.is_some()
    }
}

impl Source {
    /// The server that was named, or the disk.
    pub(crate) fn of(shared: &Shared, paths: &Paths) -> Result<Self, Failure> {
        match owner::named(shared, paths)? {
            Some(server) => Ok(Self::server(&server.client)),
            None => Self::on_disk(paths),
        }
    }

    /// Reads at a host.
    pub(crate) fn server(client: &Client) -> Self {
        Self::Server(client.clone(), Mutex::default())
    }

    /// Reads the data directory.
    pub(crate) fn on_disk(paths: &Paths) -> Result<Self, Failure> {
        match Archive::open(&paths.data) {
            Ok(archive) => Ok(Self::Disk(archive)),
            Err(OpenError::Missing { .. }) => Ok(Self::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a host owns the runs that have no end.
    pub(crate) fn is_owned(&self) -> bool {
        match self {
            Self::Disk(archive) => archive.is_owned(),
            Self::Server(..) => true,
            Self::Nothing => false,
        }
    }

    /// Returns what could not be read so far.
    pub(crate) fn damaged(&self) -> Vec<String> {
        match self {
            Self::Disk(archive) => archive.damaged().iter().map(Damage::to_string).collect(),
            Self::Server(_, damaged) => {
                let known = damaged.lock().unwrap_or_else(PoisonError::into_inner);
                known.iter().map(ToString::to_string).collect()
            }
            Self::Nothing => Vec::new(),
        }
    }

    /// All sessions, newest first.
    pub(crate) async fn sessions(&self) -> Result<Vec<Listed>, Failure> {
        match self {
            Self::Disk(archive) => {
                let rows = archive.sessions(None, u32::MAX)?;
                Ok(rows.into_iter().map(Listed::from).collect())
            }
            Self::Server(client, _) => {
                let mut records = self.readable(client.sessions().await?);
                // Pages come in the order of creation.
                records.sort_by_key(|record| Reverse(record.updated_ms));
                let workspaces = self.readable(client.workspaces().await?);
                let key = |view: &WorkspaceView| (view.id, view.stored_key());
                let keys: HashMap<WorkspaceId, String> = workspaces.iter().map(key).collect();
                let listed = records.into_iter().map(|record| Listed {
                    workspace_key: keys.get(&record.workspace).cloned().unwrap_or_default(),
                    record,
                });
                Ok(listed.collect())
            }
            Self::Nothing => Ok(Vec::new()),
        }
    }

    /// A session; `None` if there is none of this id.
    pub(crate) async fn find(&self, id: SessionId) -> Result<Option<Listed>, Failure> {
        match self {
            Self::Disk(archive) => match archive.session(id) {
                Ok(row) => Ok(Some(row.into())),
                Err(StoreError::Refused(_)) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Server(client, _) => at_server(client, id).await,
            Self::Nothing => Ok(None),
        }
    }

    /// The runs of a session with their messages.
    pub(crate) async fn runs(&self, id: SessionId) -> Result<Vec<RunRow>, Failure> {
        match self {
            Self::Disk(archive) => Ok(archive.runs(id)?),
            Self::Server(client, _) => {
                let runs = self.readable(client.runs(id).await?);
                let mut messages = client.messages(id).await?.items;
                let mut row = |run: RunSummary| {
                    let (its, others) = std::mem::take(&mut messages)
                        .into_iter()
                        .partition(|message: &Message| message.run == run.run);
                    messages = others;
                    RunRow {
                        id: run.run,
                        state: run.state,
                        started_ms: run.started_ms,
                        ended_ms: run.ended_ms,
                        receipt: run.receipt,
                        messages: its,
                    }
                };
                Ok(runs.into_iter().map(&mut row).collect())
            }
            Self::Nothing => Ok(Vec::new()),
        }
    }

    /// Returns everything in a session. Text of a run without an end that is in no message yet is
    /// put into a message without an end.
    pub(crate) async fn export(&self, session: Listed) -> Result<Export, Failure> {
        let id = session.record.id;
        if let Self::Server(client, _) = self {
            return Ok(client.export(id).await?);
        }

        let (runs, events) = (self.runs(id).await?, self.events(id).await?);
        let runs = runs.into_iter().map(|mut run| {
            let open = said_so_far(&run, &events);
            run.messages.extend(open);
            ExportedRun {
                id: run.id,
                state: run.state,
                receipt: run.receipt,
                messages: run.messages,
            }
        });
        Ok(Export {
            session: session.record,
            runs: runs.collect(),
        })
    }

    /// Returns the stored log of a session. For runs whose events were folded away, the messages
    /// and receipts contain their output.
    pub(crate) async fn events(&self, id: SessionId) -> Result<Vec<Event>, Failure> {
        match self {
            Self::Disk(archive) => {
                let mut events = Vec::new();
                let mut after = Seq(0);
                loop {
                    let page = archive.kept_events(id, after)?;
                    let Some(last) = page.last() else {
                        return Ok(events);
                    };
                    after = last.seq;
                    events.extend(page);
                }
            }
            Self::Server(client, _) => {
                let mut stream = client.session_events(id).stored().skip_folded();
                let mut events = Vec::new();
                while let Some(frame) = stream.next().await {
                    if let Frame::Event(event) = frame? {
                        events.push(*event);
                    }
                }
                Ok(events)
            }
            Self::Nothing => Ok(Vec::new()),
        }
    }

    /// Returns the readable part of a list, and remembers the damage of the rest, each once.
    fn readable<T>(&self, page: PageView<T>) -> Vec<T> {
        if let Self::Server(_, damaged) = self {
            let mut known = damaged.lock().unwrap_or_else(PoisonError::into_inner);
            for damage in page.damaged {
                if !known.contains(&damage) {
                    known.push(damage);
                }
            }
        }

        page.items
    }

    /// Returns the session that a word names: its id, a unique beginning of one, or `latest`.
    pub(crate) async fn session(&self, word: &str) -> Result<Listed, Failure> {
        if let Ok(id) = word.parse() {
            return self.find(id).await?.ok_or_else(|| unknown(word));
        }

        let latest = word == "latest";
        let prefix = word.to_ascii_lowercase();
        let plausible = prefix.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if !latest && (!plausible || prefix.len() < PREFIX_MIN || prefix.len() >= 36) {
            return Err(Failure::usage(format!(
                "`{word}` is not a session id; give an id like \
                 01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55, the first {PREFIX_MIN} or more characters \
                 of one, or `latest`; `lastword sessions` lists those that there are"
            )));
        }

        let is_meant = |row: &Listed| {
            if latest {
                row.has_begun()
            } else {
                row.record.id.to_string().starts_with(&prefix)
            }
        };

        let limit = if latest { 1 } else { 2 };
        let rows = self.sessions().await?;
        let mut found = rows.into_iter().filter(is_meant).take(limit);
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row),
            (Some(_), Some(_)) => Err(Failure::usage(format!(
                "more than one session begins with `{word}`; give more of the id; \
                 `lastword sessions` lists them"
            ))),
            (None, _) if latest => Err(Failure::usage(
                "there are no sessions yet; run an agent first: `lastword run AGENT` begins one",
            )),
            (None, _) => Err(unknown(word)),
        }
    }
}

/// Returns a run's text that is in no message yet.
fn said_so_far(run: &RunRow, events: &[Event]) -> Option<Message> {
    if run.state.is_terminal() {
        return None;
    }

    let mut transcript = Transcript::new(run.id, 0);
    let mut begun = None;
    for event in events.iter().filter(|event| event.run == Some(run.id)) {
        if let EventBody::MessageCreated { message, role, .. } = &event.body {
            begun = Some((*message, *role, event.at_ms));
        }
        transcript.replay(event.body.clone(), event.at_ms);
    }

    let (id, role, at) = begun?;
    let mut message = Message::begin(id, run.id, role, at);
    message.parts = transcript.open_parts().to_vec();
    (role == Role::Assistant && !message.parts.is_empty()).then_some(message)
}

/// The smallest number of characters of a session's id that identify it.
const PREFIX_MIN: usize = 4;

fn unknown(word: &str) -> Failure {
    Failure::usage(format!(
        "there is no session {word}; `lastword sessions` lists those that there are"
    ))
}

async fn at_server(client: &Client, id: SessionId) -> Result<Option<Listed>, Failure> {
    let record = match client.session(id).await {
        Err(error) if error.name() == Some("unknown-session") => return Ok(None),
        found => found?,
    };

    let workspace = client.workspace(record.workspace).await?;
    Ok(Some(Listed {
        workspace_key: workspace.stored_key(),
        record,
    }))
}
