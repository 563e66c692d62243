//! Carries out each command. Every function makes all checks that may refuse the command before
//! its first change.

use super::super::command::{
    Accept, Accepted, BatchTime, Command, Continuation, CreateSession, DeleteRows, EditQueued,
    Finish, Finished, ForkSession, KeepKey, OpenWorkspace, OpenedWorkspace, PutState, ROWS_MAX,
    Reply, Resume, Summarise, TakeWaitsBack, Waits,
};
use super::super::conversation::finished;
use super::super::notify::LogRange;
use super::super::prompt::{Key, PromptRecord};
use super::super::rows::{DUE_MAX, QueuedRow, SessionRow};
use super::super::{Refusal, StoreError};
use super::state::{
    Deletion, No, Owner, Run, Session, State, StoredGrant, StoredMessage, StoredQuestion, Wake,
    Workspace, next,
};
use crate::transcript::{Entry, Transcript};
use lastword_types::event::EventBody;
use lastword_types::id::{AgentId, MessageId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{Cause, OutputStats, Receipt, RunEvent, RunOutcome, RunState, Wait};
use lastword_types::session::{
    Answer, BlobId, FinishReason, ForkPoint, Granted, Message, Part, Role, Todo, Usage, title_from,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Applies the commands of one batch.
pub(super) struct Apply<'s> {
    pub(super) state: &'s mut State,
    pub(super) time: BatchTime,
    pub(super) changes: &'s mut Vec<LogRange>,
}

type Done<T> = Result<T, StoreError>;

impl Apply<'_> {
    /// Carries out one command.
    pub(super) fn command(&mut self, command: &Command) -> Done<Reply> {
        Ok(match command {
            Command::OpenWorkspace(open) => Reply::OpenWorkspace(self.open_workspace(open)?),
            Command::KeepOptions(keep) => {
                // Does nothing for a workspace that is deleted.
                if let Ok(no) = self.state.workspace_no(keep.workspace) {
                    self.workspace(no).options = Some(keep.options.clone());
                }
                Reply::KeepOptions(())
            }
            Command::DeleteWorkspace(delete) => {
                Reply::DeleteWorkspace(self.delete_workspace(delete.workspace)?)
            }
            Command::CreateSession(create) => Reply::CreateSession(self.create_session(create)?),
            Command::RenameSession(rename) => {
                Reply::RenameSession(self.rename(rename.session, &rename.title)?)
            }
            Command::SetTodo(set) => Reply::SetTodo(self.plan(set.session, &set.todo)?),
            Command::ForkSession(fork) => Reply::ForkSession(self.fork(fork)?),
            Command::BeginDelete(delete) => Reply::BeginDelete(self.begin_delete(delete.session)?),
            Command::DeleteRows(delete) => Reply::DeleteRows(self.delete_rows(delete)?),
            Command::Accept(accept) => Reply::Accept(self.accept(accept)?),
            Command::EditQueued(edit) => Reply::EditQueued(self.edit(edit)?),
            Command::Hold(hold) => Reply::Hold(self.hold(&hold.runs)?),
            Command::Resume(resume) => Reply::Resume(self.resume(resume)?),
            Command::KeepKey(keep) => Reply::KeepKey(self.keep_key(keep)?),
            Command::Start(start) => Reply::Start(self.start(start.run)?),
            Command::Append(append) => {
                let run = self.state.run_no(append.run)?;
                self.write(run, &append.entries);
                Reply::Append(())
            }
            Command::Summarise(summarise) => Reply::Summarise(self.summarise(summarise)?),
            Command::Latch(latch) => Reply::Latch(self.latch(latch.run)?),
            Command::Finish(finish) => Reply::Finish(self.finish(finish)?),
            Command::Withdraw(withdraw) => {
                Reply::Withdraw(self.withdraw_all(&withdraw.runs, &withdraw.ending)?)
            }
            Command::TakeWaitsBack(take) => Reply::TakeWaitsBack(self.take_waits_back(take)?),
            Command::ShiftWakes(shift) => {
                self.shift_wakes(shift.by);
                Reply::ShiftWakes(())
            }
            Command::PutState(put) => Reply::PutState(self.put_state(put)?),
            Command::Revoke(revoke) => {
                Reply::Revoke(self.state.grants.remove(&revoke.grant).is_some())
            }
            Command::KeepAgent(keep) => {
                let kept = (keep.digest.clone(), keep.wasm.clone());
                self.state.agents.insert(keep.name.clone(), kept);
                Reply::KeepAgent(())
            }
            Command::ForgetAgent(forget) => {
                Reply::ForgetAgent(self.state.agents.remove(&forget.name).is_some())
            }
            Command::CutLog(cut) => Reply::CutLog(self.cut_log(cut.session, cut.through)?),
            Command::SweepLog(sweep) => Reply::SweepLog(self.sweep_log(sweep.session)?),
            Command::Probe(_) => Reply::Probe(()),
        })
    }

    fn workspace(&mut self, no: No) -> &mut Workspace {
        self.state.workspaces.get_mut(&no).expect("it was found")
    }

    fn session(&mut self, no: No) -> &mut Session {
        self.state.sessions.get_mut(&no).expect("it was found")
    }

    fn run(&mut self, no: No) -> &mut Run {
        self.state.runs.get_mut(&no).expect("it was found")
    }
}

/// Workspaces and sessions.
impl Apply<'_> {
    fn open_workspace(&mut self, open: &OpenWorkspace) -> Done<OpenedWorkspace> {
        let no = match self.state.workspace_keys.get(&open.key) {
            Some(no) => *no,
            None => {
                let no = next(&mut self.state.last.workspace);
                self.state.workspace_ids.insert(open.id, no);
                self.state.workspace_keys.insert(open.key.clone(), no);
                let workspace = Workspace {
                    id: open.id,
                    key: open.key.clone(),
                    created_ms: self.time.now,
                    options: None,
                    log_from: 0,
                };
                self.state.workspaces.insert(no, workspace);
                no
            }
        };
        let workspace = self.workspace(no);
        if let Some(options) = &open.options {
            workspace.options = Some(options.clone());
        }
        Ok(OpenedWorkspace {
            id: workspace.id,
            options: workspace.options.clone().unwrap_or_default(),
        })
    }

    fn delete_workspace(&mut self, id: WorkspaceId) -> Done<()> {
        let no = self.state.workspace_no(id)?;
        let own = |session: &&No| self.state.sessions[session].workspace == no;
        let sessions: Vec<No> = self.state.sessions.keys().filter(own).copied().collect();
        let is_used = |no: &No| self.state.sessions[no].deletion < Deletion::Done;
        if sessions.iter().any(is_used) {
            return Err(Refusal::WrongState.into());
        }

        // Wakes the followers of the workspace, which then find that it is deleted.
        self.changes.push(LogRange {
            session: SessionId::from_bytes([0; 16]),
            workspace: id,
            first: i64::MAX,
            last: 0,
        });
        let state = &mut *self.state;
        for session in &sessions {
            let session = state.sessions.remove(session).expect("it was listed");
            state.session_ids.remove(&session.id);
            for event in session.log {
                state.positions.remove(&event.pos.0);
            }
        }
        state.gone_runs.retain(|_, of| !sessions.contains(of));
        state.values.retain(|(owner, ..), _| match owner {
            Owner::Workspace(of) => *of != no,
            Owner::Session(of) => !sessions.contains(of),
        });
        state.grants.retain(|_, grant| grant.workspace != no);
        state.workspace_ids.remove(&id);
        let workspace = state.workspaces.remove(&no).expect("it was found");
        state.workspace_keys.remove(&workspace.key);
        Ok(())
    }

    fn create_session(&mut self, create: &CreateSession) -> Done<SessionId> {
        let workspace = self.state.workspace_no(create.workspace)?;
        if let Some(key) = &create.key
            && let Some(known) = self.state.created_by(workspace, key)?
        {
            return Ok(known);
        }

        let parent = match create.parent {
            Some(id) => match self.state.present(id)? {
                (no, parent) if parent.workspace == workspace => Some(no),
                _ => return Err(Refusal::UnknownSession(id).into()),
            },
            None => None,
        };
        let no = self.begin_session(create.id, workspace, create.agent.clone(), parent, None);

        if let Some(Key { word, content }) = create.key.clone() {
            let keys = &mut self.state.session_keys;
            keys.insert((workspace, word), (content, no));
        }
        Ok(create.id)
    }

    fn begin_session(
        &mut self,
        id: SessionId,
        workspace: No,
        agent: AgentId,
        parent: Option<No>,
        forked_from: Option<ForkPoint>,
    ) -> No {
        let no = next(&mut self.state.last.session);
        self.state.session_ids.insert(id, no);
        let session = Session {
            id,
            workspace,
            agent: agent.clone(),
            title: None,
            todo: None,
            parent,
            forked_from,
            summary: None,
            usage: Usage::default(),
            created_ms: self.time.now,
            updated_ms: self.time.now,
            deletion: Deletion::None,
            log_from: 0,
            last_seq: 0,
            log: VecDeque::new(),
            runs: BTreeSet::new(),
            history: BTreeMap::new(),
            beside: BTreeSet::new(),
            keys: HashMap::new(),
            blobs: HashSet::new(),
        };
        self.state.sessions.insert(no, session);
        let created = EventBody::SessionCreated {
            agent,
            parent: parent.map(|no| self.state.sessions[&no].id),
            forked_from,
        };
        self.log(no, None, created);
        no
    }

    fn rename(&mut self, id: SessionId, title: &str) -> Done<SessionRow> {
        let (no, _) = self.state.present(id)?;
        if self.set_title(no, title) {
            let title = title.to_owned();
            self.log(no, None, EventBody::SessionRenamed { title });
        }
        Ok(self.state.session_row(no))
    }

    /// Sets a session's title. Returns whether it changed.
    fn set_title(&mut self, no: No, title: &str) -> bool {
        let session = self.session(no);
        let other = session.title.as_deref() != Some(title);
        if other {
            session.title = Some(title.to_owned());
        }
        other
    }

    fn plan(&mut self, id: SessionId, todo: &[Todo]) -> Done<SessionRow> {
        let (no, session) = self.state.present(id)?;
        if session.todo.as_deref() != Some(todo) {
            self.session(no).todo = Some(todo.to_vec());
            let todo = todo.to_vec();
            self.log(no, None, EventBody::SessionTodo { todo });
        }
        Ok(self.state.session_row(no))
    }

    fn begin_delete(&mut self, id: SessionId) -> Done<()> {
        let (no, _) = self.state.readable(id)?;
        let session = self.session(no);
        session.deletion = session.deletion.max(Deletion::Begun);
        self.state.session_keys.retain(|_, (_, of)| *of != no);
        Ok(())
    }

    /// Deletes all rows at once, since nothing waits long for it.
    fn delete_rows(&mut self, delete: &DeleteRows) -> Done<bool> {
        let no = self.state.session_no(delete.session)?;
        let runs = self.state.sessions[&no].runs.clone();
        let is_open = |run: &No| {
            let state = self.state.runs[run].state;
            !state.is_terminal() && state != RunState::Held
        };
        if runs.iter().any(is_open) {
            return Err(Refusal::WrongState.into());
        }
        let of_session = Owner::Session(no);
        self.state
            .values
            .retain(|(owner, ..), _| *owner != of_session);
        if self.state.sessions[&no].deletion == Deletion::Done {
            return Ok(true);
        }

        self.log(no, None, EventBody::SessionDeleted {});
        let state = &mut *self.state;
        for run in &runs {
            let run_row = state.runs.remove(run).expect("it was listed");
            state.run_ids.remove(&run_row.id);
            state.gone_runs.insert(run_row.id, no);
            state.wakes.remove(run);
            if let Some(resumes) = run_row.resumes {
                state.resumed.remove(&resumes);
            }
            for message in run_row.messages {
                let stored = state.messages.remove(&message).expect("it was listed");
                state.message_ids.remove(&stored.message.id);
            }
        }
        let questions = state
            .questions
            .extract_if(.., |_, question| question.session == no);
        for (_, question) in questions {
            state.question_ids.remove(&question.question.id);
        }
        state.grants.retain(|_, grant| grant.session != Some(no));
        state.session_keys.retain(|_, (_, of)| *of != no);
        let own = std::mem::take(&mut state.sessions.get_mut(&no).expect("it was found").blobs);
        for blob in own {
            if !state
                .sessions
                .values()
                .any(|other| other.blobs.contains(&blob))
            {
                state.blobs.remove(&blob);
            }
        }
        for (other, session) in &mut state.sessions {
            session
                .keys
                .retain(|_, (_, run)| *other != no && !runs.contains(run));
            session.parent = session.parent.filter(|parent| *parent != no);
        }

        // The bare row stays, with the event that the session is deleted.
        let session = state.sessions.get_mut(&no).expect("it was found");
        session.deletion = Deletion::Done;
        session.title = None;
        session.todo = None;
        session.parent = None;
        session.forked_from = None;
        session.summary = None;
        session.runs.clear();
        session.history.clear();
        session.beside.clear();
        session.log_from = session.last_seq - 1;
        let last = session.log.pop_back();
        for event in std::mem::take(&mut session.log) {
            state.positions.remove(&event.pos.0);
        }
        session.log.extend(last);
        Ok(true)
    }

    fn cut_log(&mut self, id: SessionId, through: u64) -> Done<()> {
        let no = self.state.session_no(id)?;
        let session = self.session(no);
        session.log_from = session.log_from.max(through);
        let last = session
            .log
            .iter()
            .rev()
            .find(|event| event.seq.0 <= through);
        let pos = last.map_or(0, |event| event.pos.0);
        let workspace = session.workspace;
        let workspace = self.workspace(workspace);
        workspace.log_from = workspace.log_from.max(pos);
        Ok(())
    }

    fn sweep_log(&mut self, id: SessionId) -> Done<u64> {
        let no = self.state.session_no(id)?;
        let state = &mut *self.state;
        let session = state.sessions.get_mut(&no).expect("it was found");
        let from = session.log_from;
        let mut swept = 0;
        while swept < ROWS_MAX as u64
            && let Some(event) = session.log.pop_front_if(|event| event.seq.0 <= from)
        {
            state.positions.remove(&event.pos.0);
            swept += 1;
        }
        Ok(swept)
    }

    fn put_state(&mut self, put: &PutState) -> Done<bool> {
        let owner = self.state.owner(put.owner.session, put.scope)?;
        let key = (owner, put.owner.agent.clone(), put.key.clone());
        let present = self.state.values.get(&key);
        if put
            .expected
            .as_ref()
            .is_some_and(|expected| expected.as_ref() != present)
        {
            return Ok(false);
        }
        let Some(value) = &put.value else {
            self.state.values.remove(&key);
            return Ok(true);
        };
        let size = |key: &str, value: &[u8]| (key.chars().count() + value.len()) as u64;
        let others = self.state.values.iter().filter(|((of, agent, name), _)| {
            *of == owner && *agent == put.owner.agent && *name != put.key
        });
        let (bytes, keys) = others
            .fold((size(&put.key, value), 1), |(bytes, keys), (key, value)| {
                (bytes + size(&key.2, value), keys + 1)
            });
        if bytes > put.quota.bytes || keys > put.quota.keys {
            return Err(Refusal::Quota.into());
        }
        self.state.values.insert(key, value.clone());
        Ok(true)
    }
}

/// Prompts, and the states of runs.
impl Apply<'_> {
    fn accept(&mut self, accept: &Accept) -> Done<Accepted> {
        let session = self.state.session_no(accept.session)?;
        if let Some(key) = &accept.key
            && let Some(known) = self.state.known_key(session, key)?
        {
            return Ok(Accepted::Known(known));
        }
        if let Some(run) = accept.resumes
            && let Some(by) = self.state.resumed.get(&run).copied()
        {
            let row = &self.state.runs[&by];
            let id = row.id;
            if row.ended_ms.is_some() {
                return Err(Refusal::Resumed { by: id }.into());
            }
            if let Some(key) = &accept.key {
                self.insert_key(session, by, key);
            }
            return Ok(Accepted::Known(id));
        }
        if let Some(goes_on) = &accept.goes_on {
            self.check_continuation(goes_on)?;
        }
        let queued = |run: &&No| self.state.runs[run].state == RunState::Queued;
        let row = &self.state.sessions[&session];
        let waiting = row.runs.iter().filter(queued).count();
        if !accept.start && waiting >= accept.queue_max as usize {
            return Err(Refusal::QueueFull(accept.session).into());
        }
        if self.state.run_ids.contains_key(&accept.run) {
            let why = "a run with this id is there already";
            return Err(StoreError::Content(why.to_owned()));
        }
        if row.deletion != Deletion::None {
            return Err(Refusal::UnknownSession(accept.session).into());
        }

        if let Some(goes_on) = &accept.goes_on {
            self.go_on(session, goes_on);
        }
        self.begin_run(session, accept);
        Ok(Accepted::New)
    }

    /// Makes the changes of an acceptance, after all checks.
    fn begin_run(&mut self, session: No, accept: &Accept) -> No {
        let now = self.time.now;
        let no = self.insert_run(session, accept.run, accept.prompt.clone(), &accept.digest);
        let run = self.run(no);
        if accept.start {
            run.state = RunState::Running;
            run.started_ms = Some(now);
        }
        run.resumes = accept.resumes;
        run.parent = accept.parent;
        run.key = accept.key.as_ref().map(|key| key.word.clone());
        if let Some(resumes) = accept.resumes {
            self.state.resumed.insert(resumes, no);
        }
        if let Some(key) = &accept.key {
            self.insert_key(session, no, key);
        }
        self.keep_blobs(session, &accept.attached);

        let mut message = None;
        if accept.prompt.origin.brings_message() {
            let id = MessageId::generate();
            let mut user = Message::begin(id, accept.run, Role::User, now);
            user.parts.clone_from(&accept.prompt.parts);
            user.finished_ms = Some(now);
            let place = accept
                .start
                .then(|| self.state.sessions[&session].next_ordinal());
            let title = title_from(&user.text());
            self.insert_message(no, user, place);
            let row = self.session(session);
            if row.title.is_none() && !title.is_empty() {
                row.title = Some(title);
            }
            message = Some(id);
        }
        self.session(session).updated_ms = now;

        let queued = EventBody::RunQueued {
            origin: accept.prompt.origin.clone(),
            digest: accept.digest.clone(),
        };
        self.log(session, Some(no), queued);
        if let Some(message) = message {
            let created = EventBody::MessageCreated {
                message,
                role: Role::User,
                parts: accept.prompt.parts.clone(),
            };
            self.log(session, Some(no), created);
        }
        if accept.start {
            self.log(session, Some(no), EventBody::RunStarted {});
        }
        no
    }

    fn insert_run(&mut self, session: No, id: RunId, prompt: PromptRecord, digest: &str) -> No {
        let no = next(&mut self.state.last.run);
        self.state.run_ids.insert(id, no);
        self.session(session).runs.insert(no);
        let run = Run {
            id,
            session,
            state: RunState::Queued,
            prompt,
            digest: digest.to_owned(),
            key: None,
            resumes: None,
            parent: None,
            accepted_ms: self.time.now,
            started_ms: None,
            ended_ms: None,
            receipt: None,
            messages: Vec::new(),
        };
        self.state.runs.insert(no, run);
        no
    }

    fn insert_key(&mut self, session: No, run: No, key: &Key) {
        let stands_for = (key.content.clone(), run);
        self.session(session)
            .keys
            .insert(key.word.clone(), stands_for);
    }

    fn keep_blobs(&mut self, session: No, blobs: &[(BlobId, Vec<u8>)]) {
        for (id, bytes) in blobs {
            let kept = self.state.blobs.entry(id.clone());
            kept.or_insert_with(|| bytes.clone());
            self.session(session).blobs.insert(id.clone());
        }
    }

    /// Refuses the second of two prompts that would continue a run.
    fn check_continuation(&self, goes_on: &Continuation) -> Done<()> {
        let run = self.state.run_ids.get(&goes_on.run);
        let wake = run.and_then(|run| self.state.wakes.get(run));
        let wake = wake.ok_or(Refusal::WrongState)?;
        let goes = match (wake.question, &goes_on.answer) {
            (Some(question), _) => self.state.questions[&question].answer.is_none(),
            (None, answer) => answer.is_none(),
        };
        if goes {
            Ok(())
        } else {
            Err(Refusal::WrongState.into())
        }
    }

    /// Removes what a run waits for, and settles its question.
    fn go_on(&mut self, session: No, goes_on: &Continuation) {
        let run = self.state.run_ids[&goes_on.run];
        let wake = self.state.wakes.remove(&run).expect("it was found");
        let Some(no) = wake.question else { return };
        let question = self.state.questions.get_mut(&no).expect("it was found");
        question.answer = Some(goes_on.answer.clone());
        let question = question.question.id;
        let body = match &goes_on.answer {
            Some(answer) => EventBody::QuestionAnswered {
                question,
                answer: answer.clone(),
                grant: None,
                by: None,
            },
            None => EventBody::QuestionDismissed { question },
        };
        self.log(session, None, body);
    }

    fn edit(&mut self, edit: &EditQueued) -> Done<QueuedRow> {
        let no = self.state.run_no(edit.run)?;
        let run = &self.state.runs[&no];
        let session = run.session;
        if self.state.sessions[&session].id != edit.session {
            return Err(Refusal::UnknownRun(edit.run).into());
        }
        let (data, said) = run.prompt.parts.iter().cloned().partition(Part::is_data);
        let mut parts: Vec<Part> = edit.said.clone().unwrap_or(said);
        parts.extend(edit.attached.clone().unwrap_or(data));
        if parts.iter().all(Part::is_blank) {
            return Err(Refusal::Empty.into());
        }
        if !matches!(run.state, RunState::Queued | RunState::Held) {
            return Err(Refusal::WrongState.into());
        }

        self.keep_blobs(session, &edit.blobs);
        let run = self.run(no);
        run.prompt.parts.clone_from(&parts);
        let edited = QueuedRow {
            id: run.id,
            state: run.state,
            prompt: run.prompt.clone(),
            key: run.key.clone(),
            accepted_ms: run.accepted_ms,
        };
        let mut replaced = None;
        for message in run.messages.clone() {
            let stored = self
                .state
                .messages
                .get_mut(&message)
                .expect("it was listed");
            if stored.message.ordinal.is_none() && stored.message.role == Role::User {
                stored.message.parts.clone_from(&parts);
                replaced = Some(stored.message.id);
            }
        }
        if let Some(message) = replaced {
            self.log(
                session,
                Some(no),
                EventBody::MessageReplaced { message, parts },
            );
        }
        Ok(edited)
    }

    fn hold(&mut self, runs: &[RunId]) -> Done<()> {
        let numbers = runs.iter().map(|run| self.state.run_no(*run));
        for no in numbers.collect::<Done<Vec<No>>>()? {
            let run = self.run(no);
            if run.state == RunState::Queued {
                run.state = RunState::Held;
                let session = run.session;
                self.log(session, Some(no), EventBody::RunHeld {});
            }
        }
        Ok(())
    }

    fn resume(&mut self, resume: &Resume) -> Done<()> {
        let no = self.expect_state(resume.run, RunState::Held)?;
        let session = self.state.runs[&no].session;
        if let Some(key) = &resume.key {
            if self.state.sessions[&session].keys.contains_key(&key.word) {
                let id = self.state.sessions[&session].id;
                return Err(Refusal::KeyConflict(id).into());
            }
            self.insert_key(session, no, key);
        }
        self.run(no).state = RunState::Queued;
        self.log(session, Some(no), EventBody::RunResumed {});
        Ok(())
    }

    fn keep_key(&mut self, keep: &KeepKey) -> Done<()> {
        let no = self.state.run_no(keep.run)?;
        let session = self.state.runs[&no].session;
        if self.state.known_key(session, &keep.key)?.is_none() {
            self.insert_key(session, no, &keep.key);
        }
        Ok(())
    }

    fn expect_state(&self, run: RunId, state: RunState) -> Done<No> {
        let no = self.state.run_no(run)?;
        if self.state.runs[&no].state == state {
            Ok(no)
        } else {
            Err(Refusal::WrongState.into())
        }
    }

    fn start(&mut self, id: RunId) -> Done<PromptRecord> {
        let no = self.expect_state(id, RunState::Queued)?;
        let now = self.time.now;
        let run = self.run(no);
        run.state = RunState::Running;
        run.started_ms = Some(now);
        let (session, prompt, messages) = (run.session, run.prompt.clone(), run.messages.clone());
        for message in messages {
            let stored = &self.state.messages[&message];
            if stored.message.ordinal.is_none() {
                let place = self.state.sessions[&session].next_ordinal();
                let stored = self
                    .state
                    .messages
                    .get_mut(&message)
                    .expect("it was listed");
                stored.message.ordinal = Some(place as u64);
                self.session(session).history.insert(place, message);
            }
        }
        self.log(session, Some(no), EventBody::RunStarted {});
        Ok(prompt)
    }

    fn latch(&mut self, id: RunId) -> Done<()> {
        let no = self.expect_state(id, RunState::Running)?;
        self.run(no).state = RunState::Finishing;
        Ok(())
    }
}

/// The output of runs, and their ends.
impl Apply<'_> {
    fn insert_message(&mut self, run: No, mut message: Message, place: Option<i64>) -> No {
        let no = next(&mut self.state.last.message);
        message.ordinal = place.map(|place| place as u64);
        self.state.message_ids.insert(message.id, no);
        let row = self.run(run);
        row.messages.push(no);
        let session = row.session;
        if let Some(place) = place {
            self.session(session).history.insert(place, no);
        }
        let stored = StoredMessage {
            session,
            message,
            beside: None,
        };
        self.state.messages.insert(no, stored);
        no
    }

    /// Writes entries in order, for a run that has not ended.
    fn write(&mut self, run: No, entries: &[Entry]) {
        let session = self.state.runs[&run].session;
        for entry in entries {
            match entry {
                Entry::Event(body) => {
                    let concerns_question = self.note_question(run, body);
                    self.log(session, Some(run), body.clone());
                    if concerns_question {
                        self.tell_above(run, body);
                    }
                }
                Entry::Elsewhere(other, body) => {
                    if let Some(asker) = self.state.run_ids.get(other).copied() {
                        self.note_question(asker, body);
                        self.tell(asker, body);
                        self.tell_above(asker, body);
                    }
                }
                Entry::Grant(granted) => self.keep_grant(session, granted),
                Entry::Message(message) => {
                    let place = self.state.sessions[&session].next_ordinal();
                    self.insert_message(run, Message::clone(message), Some(place));
                    self.log(session, Some(run), finished(message));
                }
                Entry::Blob(id, bytes) => self.keep_blobs(session, &[(id.clone(), bytes.clone())]),
                Entry::Title(title) => {
                    if self.set_title(session, title) {
                        let title = title.clone();
                        self.log(session, Some(run), EventBody::SessionRenamed { title });
                    }
                }
            }
        }
    }

    fn keep_grant(&mut self, session: No, granted: &Granted) {
        let row = &self.state.sessions[&session];
        let (workspace, id) = (row.workspace, row.id);
        let only = granted.session.map(|_| session);
        let kept = self.state.grants.entry(granted.id);
        kept.or_insert_with(|| StoredGrant {
            workspace,
            session: only,
            granted: Granted {
                session: only.map(|_| id),
                ..granted.clone()
            },
        });
    }

    /// Updates a question from the event that asks, answers or dismisses it. Returns whether the
    /// event concerns a question.
    fn note_question(&mut self, run: No, body: &EventBody) -> bool {
        let (question, answer): (_, Option<&Answer>) = match body {
            EventBody::QuestionAsked { question } => {
                if !self.state.question_ids.contains_key(&question.id) {
                    let no = next(&mut self.state.last.question);
                    self.state.question_ids.insert(question.id, no);
                    let stored = StoredQuestion {
                        session: self.state.runs[&run].session,
                        question: (**question).clone(),
                        answer: None,
                    };
                    self.state.questions.insert(no, stored);
                }
                return true;
            }
            EventBody::QuestionAnswered {
                question, answer, ..
            } => (question, Some(answer)),
            EventBody::QuestionDismissed { question } => (question, None),
            _ => return false,
        };
        let no = self.state.question_ids.get(question);
        if let Some(stored) = no.and_then(|no| self.state.questions.get_mut(no)) {
            stored.answer.get_or_insert_with(|| answer.cloned());
        }
        true
    }

    /// Logs an event of a run, or of its session if the run has ended.
    fn tell(&mut self, run: No, body: &EventBody) {
        let row = &self.state.runs[&run];
        let (session, open) = (row.session, row.ended_ms.is_none());
        self.log(session, open.then_some(run), body.clone());
    }

    /// Logs an event in the logs of the ancestors of this run, from its parent upwards.
    fn tell_above(&mut self, run: No, body: &EventBody) {
        let mut above = self.state.runs[&run].parent;
        while let Some(no) = above.and_then(|id| self.state.run_ids.get(&id).copied()) {
            self.tell(no, body);
            above = self.state.runs[&no].parent;
        }
    }

    fn summarise(&mut self, summarise: &Summarise) -> Done<()> {
        let run = self.state.run_no(summarise.run)?;
        let session = self.state.runs[&run].session;
        let (message, through) = (&summarise.summary, summarise.through);
        let place = self.state.ordinal(session, through)?;
        let same = |(no, at): (No, i64)| {
            at == place && self.state.messages[&no].message.parts == message.parts
        };
        if self.state.sessions[&session].summary.is_some_and(same) {
            return Ok(());
        }
        let no = self.insert_message(run, message.clone(), None);
        self.session(session).summary = Some((no, place));
        let created = EventBody::MessageCreated {
            message: message.id,
            role: message.role,
            parts: message.parts.clone(),
        };
        self.log(session, Some(run), created);
        let summarised = EventBody::HistorySummarised {
            message: message.id,
            through,
        };
        self.log(session, Some(run), summarised);
        Ok(())
    }

    fn finish(&mut self, finish: &Finish) -> Done<Finished> {
        let no = self.state.run_no(finish.run)?;
        let run = &self.state.runs[&no];
        let ending = &finish.ending;
        if let Some(receipt) = &run.receipt {
            // The run has ended before: return that end.
            return Ok(Finished {
                receipt: receipt.clone(),
                rejected: None,
            });
        }
        let to = next_state(run.state, RunEvent::End(ending.cause.state()))?;
        let persist = self.time.elapsed.saturating_sub(finish.since);
        let receipt = ending.receipt(finish.run, finish.said, persist);

        self.write(no, &finish.entries);
        if let Some(wait) = &ending.wait {
            self.keep_wake(no, wait);
        }
        self.end(no, to, &receipt);
        Ok(Finished {
            receipt,
            rejected: None,
        })
    }

    fn keep_wake(&mut self, run: No, wait: &Wait) {
        let due_ms = wait.after.map(|after| {
            let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
            (self.time.now.0 as i64).saturating_add(after)
        });
        let question = wait.question.as_ref();
        let question = question.and_then(|q| self.state.question_ids.get(&q.id).copied());
        self.state.wakes.entry(run).or_insert(Wake {
            due_ms,
            question,
            carried: wait.carried,
        });
    }

    /// Ends a run, exactly once.
    fn end(&mut self, no: No, to: RunState, receipt: &Receipt) {
        let now = self.time.now;
        let run = self.run(no);
        run.state = to;
        run.ended_ms = Some(now);
        run.receipt = Some(receipt.clone());
        let session = run.session;
        let row = self.session(session);
        row.usage.input_tokens += receipt.usage.input_tokens;
        row.usage.output_tokens += receipt.usage.output_tokens;
        row.usage.cost_micros += receipt.usage.cost_micros;
        row.updated_ms = now;
        let receipt = receipt.clone();
        self.log(session, Some(no), EventBody::RunEnded { receipt });
    }

    fn withdraw_all(&mut self, runs: &[RunId], ending: &RunOutcome) -> Done<Vec<Receipt>> {
        let mut numbers = Vec::with_capacity(runs.len());
        for run in runs {
            let no = self.state.run_no(*run)?;
            let from = if numbers.contains(&no) {
                RunState::Cancelled
            } else {
                self.state.runs[&no].state
            };
            next_state(from, RunEvent::Withdraw)?;
            numbers.push(no);
        }
        let receipts = numbers.into_iter().map(|no| self.withdraw(no, ending));
        Ok(receipts.collect())
    }

    /// Ends a run that never started. Its messages stay outside the history.
    fn withdraw(&mut self, no: No, ending: &RunOutcome) -> Receipt {
        let run = &self.state.runs[&no];
        let (id, session) = (run.id, run.session);
        let changes = crate::transcript::finish(Transcript::new(id, 0), ending, self.time.now);
        let mut messages = Vec::new();
        for change in changes.entries {
            match change {
                Entry::Event(body) => self.log(session, Some(no), body),
                Entry::Message(message) => {
                    self.log(session, Some(no), finished(&message));
                    messages.push(*message);
                }
                Entry::Blob(..) | Entry::Grant(_) | Entry::Elsewhere(..) | Entry::Title(_) => {}
            }
        }
        for message in messages {
            self.insert_message(no, message, None);
        }

        // They are shown after the last message that has a place.
        let last = self.state.sessions[&session].next_ordinal() - 1;
        for message in self.state.runs[&no].messages.clone() {
            let stored = self
                .state
                .messages
                .get_mut(&message)
                .expect("it was listed");
            if stored.message.ordinal.is_none() {
                stored.beside = Some(last);
                self.session(session).beside.insert((last, message));
            }
        }
        let receipt = ending.receipt(id, OutputStats::default(), Duration::ZERO);
        self.end(no, RunState::Cancelled, &receipt);
        receipt
    }

    fn take_waits_back(&mut self, take: &TakeWaitsBack) -> Done<Vec<Receipt>> {
        let waits: Vec<No> = self.state.waits(take.waits).take(DUE_MAX).collect();
        let keeps_question =
            |wake: &Wake| matches!(take.waits, Waits::Times(_)) && wake.question.is_some();
        for run in &waits {
            let wake = &self.state.wakes[run];
            if !keeps_question(wake) {
                let run = self.state.runs[run].id;
                self.check_continuation(&Continuation { run, answer: None })?;
            }
        }

        let mut receipts = Vec::with_capacity(waits.len());
        for waited in waits {
            let run = &self.state.runs[&waited];
            let (session, goes_on) = (
                run.session,
                Continuation {
                    run: run.id,
                    answer: None,
                },
            );
            let accept = Accept {
                run: RunId::generate(),
                session: self.state.sessions[&session].id,
                prompt: run.prompt.clone().woken(None),
                attached: Vec::new(),
                digest: run.digest.clone(),
                key: None,
                goes_on: None,
                resumes: None,
                parent: None,
                queue_max: u32::MAX,
                start: false,
            };
            let wake = self.state.wakes.get_mut(&waited).expect("it was listed");
            if keeps_question(wake) {
                wake.due_ms = None;
            } else {
                self.go_on(session, &goes_on);
            }
            let begun = self.begin_run(session, &accept);
            receipts.push(self.withdraw(begun, &take.ending));
        }
        Ok(receipts)
    }

    fn shift_wakes(&mut self, by: Option<i64>) {
        let now = self.time.now.0 as i64;
        for (run, wake) in &mut self.state.wakes {
            let Some(due) = &mut wake.due_ms else {
                continue;
            };
            let ended = self.state.runs[run].ended_ms.map_or(0, |at| at.0 as i64);
            match by {
                Some(by) => *due += by,
                None if ended > now => *due = *due - ended + now,
                None => {}
            }
        }
    }
}

/// Forks.
impl Apply<'_> {
    fn fork(&mut self, fork: &ForkSession) -> Done<SessionId> {
        let (source, _) = self.state.present(fork.from)?;
        if let Some(key) = &fork.key
            && let Some(known) = self.state.known_key(source, key)?
        {
            let run = self.state.run_no(known)?;
            return Ok(self.state.sessions[&self.state.runs[&run].session].id);
        }
        let place = self.state.ordinal(source, fork.through)?;

        let row = &self.state.sessions[&source];
        let (workspace, agent) = (row.workspace, row.agent.clone());
        let (title, blobs, summary) = (row.title.clone(), row.blobs.clone(), row.summary);
        let copied: Vec<No> = row.history.range(..=place).map(|(_, no)| *no).collect();
        let summary = summary.filter(|(_, stands_for)| *stands_for <= place);
        let through = &self.state.messages[&self.state.message_ids[&fork.through]].message;
        let digest = self.state.runs[&self.state.run_ids[&through.run]]
            .digest
            .clone();
        let point = ForkPoint {
            session: fork.from,
            message: fork.through,
        };

        let session = self.begin_session(fork.id, workspace, agent, None, Some(point));
        let row = self.session(session);
        row.title = title;
        row.blobs = blobs;
        let run = self.begin_fork_run(session, fork.run, digest);
        let mut said = OutputStats::default();
        for no in copied {
            let message = self.state.messages[&no].message.clone();
            self.copy(session, run, message, &mut said);
        }
        if let Some((no, stands_for)) = summary {
            let message = self.state.messages[&no].message.clone();
            let copy = self.copy(session, run, message, &mut said);
            self.session(session).summary = Some((copy, stands_for));
        }
        let ending = RunOutcome::of(Cause::Returned(FinishReason::EndTurn));
        let receipt = ending.receipt(fork.run, said, Duration::ZERO);
        self.end(run, ending.cause.state(), &receipt);
        if let Some(key) = &fork.key {
            self.insert_key(source, run, key);
        }
        Ok(fork.id)
    }

    /// Creates the run that owns the copies.
    fn begin_fork_run(&mut self, session: No, id: RunId, digest: String) -> No {
        let prompt = PromptRecord::of_fork();
        let no = self.insert_run(session, id, prompt.clone(), &digest);
        let now = self.time.now;
        let run = self.run(no);
        run.state = RunState::Running;
        run.started_ms = Some(now);
        let queued = EventBody::RunQueued {
            origin: prompt.origin,
            digest,
        };
        self.log(session, Some(no), queued);
        self.log(session, Some(no), EventBody::RunStarted {});
        no
    }

    fn copy(&mut self, session: No, run: No, mut message: Message, said: &mut OutputStats) -> No {
        message.id = MessageId::generate();
        message.run = self.state.runs[&run].id;
        said.parts += message.parts.len() as u64;
        if message.role == Role::Assistant {
            said.text_bytes += message.text().len() as u64;
        }
        let created = EventBody::MessageCreated {
            message: message.id,
            role: message.role,
            parts: message.parts.clone(),
        };
        self.log(session, Some(run), created);
        if message.finish.is_some() {
            self.log(session, Some(run), finished(&message));
        }
        let place = message.ordinal.map(|place| place as i64);
        self.insert_message(run, message, place)
    }
}

fn next_state(from: RunState, event: RunEvent) -> Done<RunState> {
    from.next(event)
        .map_err(|illegal| StoreError::Content(illegal.to_string()))
}
