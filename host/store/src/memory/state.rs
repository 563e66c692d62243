//! The data of the backend in memory: rows by their numbers, which rise and are never given twice,
//! and the numbers by id. `apply` changes it, and `reads` reads it.

use super::super::command::{BatchTime, StateScope};
use super::super::notify::LogRange;
use super::super::options::StoredOptions;
use super::super::prompt::{Key, PromptRecord};
use super::super::rows::SessionRow;
use super::super::{Refusal, StoreError};
use super::apply::Apply;
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, EventBody, Position, Seq};
use lastword_types::id::{AgentId, GrantId, MessageId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{CarriedUsage, Receipt, RunState};
use lastword_types::session::{
    Answer, BlobId, ForkPoint, Granted, Message, Question, SessionRecord, Todo, Usage,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// The number of a row, unique within its kind.
pub(super) type No = i64;

/// All data of the store.
#[derive(Default)]
pub(super) struct State {
    pub(super) workspaces: BTreeMap<No, Workspace>,
    pub(super) sessions: BTreeMap<No, Session>,
    pub(super) runs: BTreeMap<No, Run>,
    pub(super) messages: BTreeMap<No, StoredMessage>,
    pub(super) questions: BTreeMap<No, StoredQuestion>,
    pub(super) grants: HashMap<GrantId, StoredGrant>,
    /// The waits of runs that have ended.
    pub(super) wakes: BTreeMap<No, Wake>,
    pub(super) values: BTreeMap<ValueKey, Vec<u8>>,
    pub(super) blobs: HashMap<BlobId, Vec<u8>>,
    pub(super) agents: BTreeMap<AgentId, (String, Vec<u8>)>,
    /// The sessions of deleted runs.
    pub(super) gone_runs: HashMap<RunId, No>,
    /// Every event by its position.
    pub(super) positions: BTreeMap<u64, (No, u64)>,
    pub(super) workspace_ids: HashMap<WorkspaceId, No>,
    pub(super) workspace_keys: HashMap<String, No>,
    pub(super) session_ids: HashMap<SessionId, No>,
    /// What the keys of a workspace created: the digest of the request, and the session.
    pub(super) session_keys: HashMap<(No, String), (Vec<u8>, No)>,
    pub(super) run_ids: HashMap<RunId, No>,
    pub(super) message_ids: HashMap<MessageId, No>,
    pub(super) question_ids: HashMap<QuestionId, No>,
    /// Runs by the run that they resume.
    pub(super) resumed: HashMap<RunId, No>,
    /// The last numbers that were given to rows.
    pub(super) last: Last,
}

#[derive(Default)]
pub(super) struct Last {
    pub(super) workspace: No,
    pub(super) session: No,
    pub(super) run: No,
    pub(super) message: No,
    pub(super) question: No,
    pub(super) pos: u64,
}

/// Returns the number after the last one. No number is given twice, not even that of a deleted row.
pub(super) fn next(last: &mut No) -> No {
    *last += 1;
    *last
}

/// The key of a value: its owner, its agent, and its own key.
pub(super) type ValueKey = (Owner, AgentId, String);

/// A session or a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Session(No),
    Workspace(No),
}

pub(super) struct Workspace {
    pub(super) id: WorkspaceId,
    pub(super) key: String,
    pub(super) created_ms: UnixMillis,
    pub(super) options: Option<StoredOptions>,
    /// Positions up to this one were folded away.
    pub(super) log_from: u64,
}

/// The progress of a session's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deletion {
    None,
    /// It accepts no more prompts and is in no list.
    Begun,
    /// Only the event of its deletion is left.
    Done,
}

pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) workspace: No,
    pub(super) agent: AgentId,
    pub(super) title: Option<String>,
    pub(super) todo: Option<Vec<Todo>>,
    pub(super) parent: Option<No>,
    pub(super) forked_from: Option<ForkPoint>,
    /// The summary, and the place of the last message that it replaces.
    pub(super) summary: Option<(No, i64)>,
    pub(super) usage: Usage,
    pub(super) created_ms: UnixMillis,
    pub(super) updated_ms: UnixMillis,
    pub(super) deletion: Deletion,
    /// Numbers up to this one were folded away.
    pub(super) log_from: u64,
    /// The last number in the log.
    pub(super) last_seq: u64,
    /// The log, in order and without gaps, up to the last number.
    pub(super) log: VecDeque<Event>,
    pub(super) runs: BTreeSet<No>,
    /// Messages by their place in the history.
    pub(super) history: BTreeMap<i64, No>,
    /// Messages of runs that never started, by the place after which they are shown.
    pub(super) beside: BTreeSet<(i64, No)>,
    /// The digests and runs of the idempotency keys.
    pub(super) keys: HashMap<String, (Vec<u8>, No)>,
    /// The digests of the bytes that its runs may read.
    pub(super) blobs: HashSet<BlobId>,
}

pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) session: No,
    pub(super) state: RunState,
    pub(super) prompt: PromptRecord,
    pub(super) digest: String,
    pub(super) key: Option<String>,
    pub(super) resumes: Option<RunId>,
    pub(super) parent: Option<RunId>,
    pub(super) accepted_ms: UnixMillis,
    pub(super) started_ms: Option<UnixMillis>,
    pub(super) ended_ms: Option<UnixMillis>,
    pub(super) receipt: Option<Receipt>,
    pub(super) messages: Vec<No>,
}

pub(super) struct StoredMessage {
    pub(super) session: No,
    pub(super) message: Message,
    /// The place after which a message without a place is shown.
    pub(super) beside: Option<i64>,
}

pub(super) struct StoredQuestion {
    pub(super) session: No,
    pub(super) question: Question,
    /// `None` while the question is open; then its answer, or `None` within if it was dismissed.
    pub(super) answer: Option<Option<Answer>>,
}

pub(super) struct StoredGrant {
    pub(super) workspace: No,
    pub(super) session: Option<No>,
    pub(super) granted: Granted,
}

pub(super) struct Wake {
    pub(super) due_ms: Option<i64>,
    pub(super) question: Option<No>,
    pub(super) carried: CarriedUsage,
}

impl State {
    /// Returns what applies the commands of one batch.
    pub(super) fn at<'s>(
        &'s mut self,
        time: BatchTime,
        changes: &'s mut Vec<LogRange>,
    ) -> Apply<'s> {
        Apply {
            state: self,
            time,
            changes,
        }
    }

    /// Returns the highest position given so far.
    pub(super) fn last_pos(&self) -> u64 {
        self.last.pos
    }

    /// Returns the number of a session, even if its deletion has begun or is done.
    pub(super) fn session_no(&self, id: SessionId) -> Result<No, StoreError> {
        let no = self.session_ids.get(&id).copied();
        no.ok_or_else(|| Refusal::UnknownSession(id).into())
    }

    /// Returns a session that is not being deleted.
    pub(super) fn present(&self, id: SessionId) -> Result<(No, &Session), StoreError> {
        let no = self.session_no(id)?;
        match &self.sessions[&no] {
            session if session.deletion == Deletion::None => Ok((no, session)),
            _ => Err(Refusal::UnknownSession(id).into()),
        }
    }

    /// Returns a session whose rows still exist.
    pub(super) fn readable(&self, id: SessionId) -> Result<(No, &Session), StoreError> {
        let no = self.session_no(id)?;
        match &self.sessions[&no] {
            session if session.deletion < Deletion::Done => Ok((no, session)),
            _ => Err(Refusal::UnknownSession(id).into()),
        }
    }

    pub(super) fn run_no(&self, id: RunId) -> Result<No, StoreError> {
        let no = self.run_ids.get(&id).copied();
        no.ok_or_else(|| Refusal::UnknownRun(id).into())
    }

    pub(super) fn workspace_no(&self, id: WorkspaceId) -> Result<No, StoreError> {
        let no = self.workspace_ids.get(&id).copied();
        no.ok_or_else(|| Refusal::UnknownWorkspace(id).into())
    }

    /// Returns the run that an idempotency key already stands for, if any.
    pub(super) fn known_key(&self, session: No, key: &Key) -> Result<Option<RunId>, StoreError> {
        match self.sessions[&session].keys.get(&key.word) {
            Some((before, run)) if *before == key.content => Ok(Some(self.runs[run].id)),
            Some(_) => Err(Refusal::KeyConflict(self.sessions[&session].id).into()),
            None => Ok(None),
        }
    }

    /// The session that a key of a workspace created, if it did.
    pub(super) fn created_by(
        &self,
        workspace: No,
        key: &Key,
    ) -> Result<Option<SessionId>, StoreError> {
        let known = self.session_keys.get(&(workspace, key.word.clone()));
        let Some((content, no)) = known else {
            return Ok(None);
        };

        let id = self.sessions[no].id;
        if *content == key.content {
            Ok(Some(id))
        } else {
            Err(Refusal::KeyConflict(id).into())
        }
    }

    /// Returns the place of a message in the history of a session.
    pub(super) fn ordinal(&self, session: No, id: MessageId) -> Result<i64, StoreError> {
        let message = self.message_ids.get(&id).map(|no| &self.messages[no]);
        let place = message
            .filter(|stored| stored.session == session)
            .and_then(|stored| stored.message.ordinal);
        let place = place.map(|place| place as i64);
        place.ok_or_else(|| Refusal::UnknownMessage(id).into())
    }

    pub(super) fn session_row(&self, no: No) -> SessionRow {
        let session = &self.sessions[&no];
        let workspace = &self.workspaces[&session.workspace];
        let parent = session.parent.map(|no| self.sessions[&no].id);
        let summary = session.summary.map(|(no, _)| self.messages[&no].message.id);
        SessionRow {
            record: SessionRecord {
                id: session.id,
                workspace: workspace.id,
                agent: session.agent.clone(),
                title: session.title.clone(),
                messages: session.history.len() as u64,
                usage: session.usage,
                parent,
                forked_from: session.forked_from,
                summary,
                todo: session.todo.clone().unwrap_or_default(),
                created_ms: session.created_ms,
                updated_ms: session.updated_ms,
            },
            workspace_key: workspace.key.clone(),
            place: no,
        }
    }

    /// Returns the owner of the values of a scope.
    pub(super) fn owner(&self, session: SessionId, scope: StateScope) -> Result<Owner, StoreError> {
        let no = self.session_no(session)?;
        Ok(match scope {
            StateScope::Session => Owner::Session(no),
            StateScope::Workspace => Owner::Workspace(self.sessions[&no].workspace),
        })
    }
}

impl Session {
    /// Returns the place after the last message.
    pub(super) fn next_ordinal(&self) -> i64 {
        self.history
            .last_key_value()
            .map_or(1, |(last, _)| last + 1)
    }

    /// Returns the events after a number.
    pub(super) fn events_after(&self, seq: u64) -> impl Iterator<Item = &Event> {
        let first = self.log.front().map_or(0, |event| event.seq.0);
        let skipped = (seq + 1).saturating_sub(first);
        self.log
            .iter()
            .skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }
}

impl Apply<'_> {
    /// Appends one event to the log of a session.
    pub(super) fn log(&mut self, session: No, run: Option<No>, body: EventBody) {
        let run = run.map(|no| self.state.runs[&no].id);
        self.state.last.pos += 1;
        let pos = self.state.last.pos;
        let row = self.state.sessions.get_mut(&session).expect("it was found");
        row.last_seq += 1;
        let seq = row.last_seq;
        row.log.push_back(Event {
            seq: Seq(seq),
            pos: Position(pos),
            session: row.id,
            run,
            at_ms: self.time.now,
            body,
        });
        let (id, workspace) = (row.id, row.workspace);
        self.state.positions.insert(pos, (session, seq));

        let number = seq as i64;
        match self.changes.last_mut() {
            Some(range) if range.session == id => range.last = number,
            _ => self.changes.push(LogRange {
                session: id,
                workspace: self.state.workspaces[&workspace].id,
                first: number,
                last: number,
            }),
        }
    }
}
