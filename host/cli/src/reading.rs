//! Reads sessions: on disk, also while another process owns the data directory, or at a server.
//! Finds them by the words that people use; `sessions.rs` and `show.rs` print them.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::naming::{self, Candidate};
use crate::owner;
use crate::paths::Paths;
use crate::settings::Settings;
use crate::terminal::{brief, line};
use lastword::event::{Event, EventBody, Seq};
use lastword::id::{RunId, SessionId, WorkspaceId};
use lastword::run::Transcript;
use lastword::session::{Export, ExportedRun, Message, Role, SessionRecord};
use lastword::{Archive, Damage, OpenError, Receipt, RunRow, RunState, SessionRow, StoreError};
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

/// A run without its messages, and the session that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct ListedRun {
    pub(crate) row: RunRow,
    pub(crate) session: Listed,
}

/// A run that a word names.
pub(crate) struct NamedRun {
    pub(crate) run: RunId,
    pub(crate) session: SessionId,
    pub(crate) state: RunState,
    pub(crate) receipt: Option<Receipt>,
}

/// A run or a session that a word names.
pub(crate) enum Named {
    Run(Box<NamedRun>),
    Session(Box<Listed>),
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

impl Candidate for Listed {
    fn id(&self) -> String {
        self.record.id.to_string()
    }

    fn about(&self) -> String {
        let title = self.record.title.as_deref().unwrap_or("(no title)");
        format!(
            "{}  {}",
            brief(self.record.agent.as_str(), 40),
            line(title, 60)
        )
    }
}

impl Candidate for ListedRun {
    fn id(&self) -> String {
        self.row.id.to_string()
    }

    fn about(&self) -> String {
        format!("{}  session {}", self.row.state, self.session.record.id)
    }
}

impl From<RunSummary> for NamedRun {
    fn from(run: RunSummary) -> Self {
        Self {
            run: run.run,
            session: run.session,
            state: run.state,
            receipt: run.receipt,
        }
    }
}

impl From<ListedRun> for NamedRun {
    fn from(listed: ListedRun) -> Self {
        Self {
            run: listed.row.id,
            session: listed.session.record.id,
            state: listed.row.state,
            receipt: listed.row.receipt,
        }
    }
}

impl Source {
    /// The server that was named, or the disk.
    pub(crate) fn of(shared: &Shared) -> Result<Self, Failure> {
        let settings = Settings::load(shared.config_file.as_deref())?;
        let paths = Paths::of(shared, &settings)?;
        match owner::named(shared, &paths)? {
            Some(server) => Ok(Self::server(&server.client)),
            None => Self::on_disk(&paths),
        }
    }

    /// Reads at a host.
    pub(crate) fn server(client: &Client) -> Self {
        Self::Server(client.clone(), Mutex::default())
    }

    /// Reads the data directory, which need not be there yet.
    pub(crate) fn on_disk(paths: &Paths) -> Result<Self, Failure> {
        match Archive::open(&paths.data) {
            Ok(archive) => Ok(Self::Disk(archive)),
            Err(OpenError::Missing { .. }) => paths.may_be_new().map(|()| Self::Nothing),
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
                let whole = |run: RunSummary| {
                    let (its, others) = std::mem::take(&mut messages)
                        .into_iter()
                        .partition(|message: &Message| message.run == run.run);
                    messages = others;
                    RunRow {
                        messages: its,
                        ..row(run)
                    }
                };
                Ok(runs.into_iter().map(whole).collect())
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
                run: run.id,
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

    /// Returns the runs of these sessions, without their messages, in the order of the sessions and
    /// of acceptance.
    pub(crate) async fn runs_of(&self, sessions: Vec<Listed>) -> Result<Vec<ListedRun>, Failure> {
        let mut listed = Vec::new();
        for session in sessions {
            let id = session.record.id;
            let rows: Vec<RunRow> = if let Self::Server(client, _) = self {
                let runs = self.readable(client.runs(id).await?);
                runs.into_iter().map(row).collect()
            } else {
                self.runs(id).await?
            };
            listed.extend(rows.into_iter().map(|row| ListedRun {
                row: RunRow {
                    messages: Vec::new(),
                    ..row
                },
                session: session.clone(),
            }));
        }

        Ok(listed)
    }

    /// Returns the session that a word names: its id, a unique beginning of one, or `latest`.
    pub(crate) async fn session(&self, word: &str) -> Result<Listed, Failure> {
        match self.session_of(naming::SESSION, word).await? {
            Some(session) => Ok(session),
            None => Err(self.no_session(word).await),
        }
    }

    /// Returns the failure for a word that names no session, and perhaps a run.
    async fn no_session(&self, word: &str) -> Failure {
        let unknown = || naming::SESSION.unknown(word);
        let Ok(sessions) = self.sessions().await else {
            return unknown();
        };

        let runs = self.runs_of(sessions).await.unwrap_or_default();
        match naming::RUN.pick(word, runs) {
            Ok(Some(run)) => Failure::usage(format!(
                "{word} is a run of the session {}; name that session, or see the run with \
                 `lastword follow {word}`",
                run.session.record.id
            )),
            _ => unknown(),
        }
    }

    /// Returns the run or the session that a word names: an id, a unique beginning of one, or
    /// `latest` for a session. A session is preferred, since it and its first run may have been
    /// created in the same millisecond, so that their ids begin alike.
    pub(crate) async fn named(&self, word: &str) -> Result<Named, Failure> {
        let kind = naming::RUN_OR_SESSION;
        if let Self::Server(client, _) = self
            && let Ok(id) = word.parse::<RunId>()
        {
            match client.run(id).await {
                Ok(run) => return Ok(Named::Run(Box::new(run.into()))),
                Err(error) if error.name() == Some("unknown-run") => {}
                Err(error) => return Err(error.into()),
            }
        }

        if let Some(session) = self.session_of(kind, word).await? {
            return Ok(Named::Session(Box::new(session)));
        }

        let runs = self.runs_of(self.sessions().await?).await?;
        let run = naming::RUN.pick(word, runs)?;
        let run = run.ok_or_else(|| kind.unknown(word))?;
        Ok(Named::Run(Box::new(run.into())))
    }

    /// Fails for a word that names nothing, before anything is built or opened. A whole id is left to
    /// a host, which finds a run without reading every session.
    pub(crate) async fn refuse_unknown(&self, word: &str) -> Result<(), Failure> {
        if word.parse::<RunId>().is_err() || matches!(self, Self::Nothing) {
            self.named(word).await?;
        }

        Ok(())
    }

    /// The session that a word names; `None` if there is none, but never for `latest`.
    async fn session_of(&self, kind: naming::Kind, word: &str) -> Result<Option<Listed>, Failure> {
        if let Ok(id) = word.parse() {
            return self.find(id).await;
        }

        if word != "latest" {
            kind.beginning(word)?;
            return naming::SESSION.pick(word, self.sessions().await?);
        }

        let latest = self.sessions().await?.into_iter().find(Listed::has_begun);
        latest.map(Some).ok_or_else(|| {
            Failure::usage(
                "there are no sessions yet; run an agent first: `lastword run AGENT` begins one",
            )
        })
    }
}

/// Returns a run of a server as one of the disk, without its messages.
fn row(run: RunSummary) -> RunRow {
    RunRow {
        id: run.run,
        state: run.state,
        started_ms: run.started_ms,
        ended_ms: run.ended_ms,
        receipt: run.receipt,
        messages: Vec::new(),
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
