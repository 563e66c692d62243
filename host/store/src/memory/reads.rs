//! Carries out each query on the maps in `state`.

use super::super::command::{StateOwner, StateScope, Waits};
use super::super::conversation::{self, Bounds, latest_turns};
use super::super::notify::ChangeSet;
use super::super::prompt::{Key, one_more_wake};
use super::super::queries::Queries;
use super::super::rows::{
    DUE_MAX, Due, DueCursor, DuePage, FOLD_EVENTS, FOLD_SESSIONS, FoldPage, FoldScan, Followed,
    GRANTS_MAX, HeldScope, Listed, OpenQuestions, PAGE_EVENTS, PAGE_MESSAGES, PAGE_ROWS, Positions,
    QUESTIONS_MAX, QuestionAt, QueuedRow, RunAt, RunRow, RunSummaryRow, SCANNED, SessionAt,
    SessionRow, SessionsPage, WorkspaceRow, parse_cursor, within,
};
use super::super::{Refusal, StoreError};
use super::state::{Deletion, No, Run, Session, State, StoredQuestion, Wake};
use crate::transcript::{Remains, retell};
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, EventBody, Position, Seq};
use lastword_types::id::{AgentId, GrantId, MessageId, QuestionId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{CarriedUsage, Receipt, RunState, RunSummary};
use lastword_types::session::{BlobId, Granted, Message, Question, QuestionState};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

type Found<T> = Result<T, StoreError>;

impl State {
    /// Returns the runs whose waits will be taken back, in the order of acceptance.
    pub(super) fn waits(&self, waits: Waits) -> impl Iterator<Item = No> {
        let is_meant = move |run: &No, wake: &Wake| {
            let session = &self.sessions[&self.runs[run].session];
            let meant = match waits {
                Waits::Session(id) => session.id == id,
                Waits::Times(id) => {
                    wake.due_ms.is_some() && self.workspaces[&session.workspace].id == id
                }
            };
            meant && session.deletion == Deletion::None
        };
        let waits = self.wakes.iter();
        waits
            .filter(move |(run, wake)| is_meant(run, wake))
            .map(|(run, _)| *run)
    }

    fn event(&self, session: No, seq: u64) -> &Event {
        let mut events = self.sessions[&session].events_after(seq - 1);
        events.next().expect("a position is of an event")
    }

    fn summary(&self, run: &Run) -> RunSummary {
        RunSummary {
            run: run.id,
            session: self.sessions[&run.session].id,
            state: run.state,
            origin: run.prompt.origin.clone(),
            digest: run.digest.clone(),
            accepted_ms: run.accepted_ms,
            started_ms: run.started_ms,
            ended_ms: run.ended_ms,
            receipt: run.receipt.clone(),
        }
    }

    fn run_at(&self, run: &Run) -> RunAt {
        let session = &self.sessions[&run.session];
        RunAt {
            id: run.id,
            session: session.id,
            agent: session.agent.clone(),
            workspace: self.workspaces[&session.workspace].id,
            state: run.state,
            prompt: run.prompt.clone(),
        }
    }

    fn messages_of(&self, numbers: impl IntoIterator<Item = No>) -> Vec<Message> {
        let messages = numbers
            .into_iter()
            .map(|no| self.messages[&no].message.clone());
        messages.collect()
    }

    /// Returns the messages of a run in order: first those with a place in the history, then the
    /// others.
    fn run_messages(&self, run: &Run) -> Vec<Message> {
        let mut numbers = run.messages.clone();
        numbers.sort_by_key(|no| {
            let place = self.messages[no].message.ordinal;
            (place.is_none(), place, *no)
        });
        self.messages_of(numbers)
    }

    fn workspace_row(&self, no: No) -> WorkspaceRow {
        let workspace = &self.workspaces[&no];
        let own =
            |session: &&Session| session.workspace == no && session.deletion == Deletion::None;
        WorkspaceRow {
            id: workspace.id,
            key: workspace.key.clone(),
            created_ms: workspace.created_ms,
            sessions: self.sessions.values().filter(own).count() as u64,
            place: no,
        }
    }

    /// Returns the session and the number after which a stream that has read up to `after`
    /// continues. A deleted session has only the event of its deletion, and is unknown to a reader
    /// that has seen it.
    fn begin(&self, id: SessionId, after: u64) -> Found<(&Session, u64)> {
        let session = &self.sessions[&self.session_no(id)?];
        if session.deletion == Deletion::Done {
            return if after < session.last_seq {
                Ok((session, session.last_seq - 1))
            } else {
                Err(Refusal::UnknownSession(id).into())
            };
        }
        within(after, session.log_from, session.last_seq)?;
        Ok((session, after))
    }

    fn check_positions(&self, workspace: Option<No>, after: u64, end: bool) -> Found<()> {
        let logs = self.workspaces.iter();
        let logs = logs.filter(|(no, _)| workspace.is_none_or(|only| only == **no));
        let from = logs.map(|(_, workspace)| workspace.log_from).max();
        let last = if end { self.last_pos() } else { u64::MAX };
        within(after, from.unwrap_or(0), last)
    }

    fn only_workspace(&self, id: Option<WorkspaceId>) -> Found<Option<No>> {
        id.map(|id| self.workspace_no(id)).transpose()
    }

    fn question_at(&self, no: No, stored: &StoredQuestion) -> QuestionAt {
        let session = &self.sessions[&stored.session];
        QuestionAt {
            question: stored.question.clone(),
            state: match &stored.answer {
                None => QuestionState::Open,
                Some(None) => QuestionState::Dismissed,
                Some(Some(answer)) => QuestionState::Answered(answer.clone()),
            },
            workspace: self.workspaces[&session.workspace].id,
            waits: self.wakes.values().any(|wake| wake.question == Some(no)),
        }
    }

    /// Returns a session and its descendants.
    fn family(&self, first: No) -> HashSet<No> {
        let mut family = HashSet::from([first]);
        // Children have higher numbers than their parents.
        for (no, session) in self.sessions.range(first..) {
            if session
                .parent
                .is_some_and(|parent| family.contains(&parent))
            {
                family.insert(*no);
            }
        }
        family
    }

    /// Returns the usage that a run which a time begins takes over: that of the runs before it, or
    /// none if a person sent a prompt in between.
    fn carried(&self, run: No, wake: &Wake) -> CarriedUsage {
        let later = self.sessions[&self.runs[&run].session]
            .runs
            .range(run + 1..);
        let person = |no: &No| self.runs[no].prompt.is_of_person();
        let before = if later.into_iter().any(person) {
            CarriedUsage::default()
        } else {
            wake.carried
        };
        one_more_wake(before)
    }
}

impl Queries for State {
    fn asking_workspaces(&self) -> Found<Vec<WorkspaceId>> {
        let open = self
            .questions
            .values()
            .filter(|stored| stored.answer.is_none());
        let mut asking: Vec<No> = open
            .map(|stored| self.sessions[&stored.session].workspace)
            .collect();
        asking.sort_unstable();
        asking.dedup();
        Ok(asking.iter().map(|no| self.workspaces[no].id).collect())
    }

    fn before_run(&self, id: RunId) -> Found<Seq> {
        let Some(no) = self.run_ids.get(&id) else {
            return if self.gone_runs.contains_key(&id) {
                Ok(Seq(0))
            } else {
                Err(Refusal::UnknownRun(id).into())
            };
        };

        let session = &self.sessions[&self.runs[no].session];
        let through = session.log_from;
        let mut events = session.events_after(through);
        let first = events.find(|event| event.run == Some(id));
        let first = first.ok_or(Refusal::Expired { through })?;
        Ok(Seq(first.seq.0 - 1))
    }

    fn blob(&self, session: SessionId, id: BlobId) -> Found<Option<Vec<u8>>> {
        let session = &self.sessions[&self.session_no(session)?];
        let bytes = session.blobs.get(&id).and_then(|id| self.blobs.get(id));
        Ok(bytes.cloned())
    }

    fn changes(
        &self,
        workspace: Option<WorkspaceId>,
        mut changes: ChangeSet,
        after: Position,
    ) -> Found<(Positions, ChangeSet)> {
        let (after, through) = (after.0, changes.through);
        let mut found: Vec<&Event> = Vec::new();
        for (id, first) in &changes.sessions {
            let Ok(no) = self.session_no(*id) else {
                continue;
            };
            let from = u64::try_from(*first).unwrap_or(0).saturating_sub(1);
            let grown = self.sessions[&no].events_after(from.min(i64::MAX as u64 - 1));
            let new = |event: &&Event| event.pos.0 > after && event.pos.0 <= through;
            found.extend(grown.filter(new).take(PAGE_EVENTS + 1));
        }
        found.sort_unstable_by_key(|event| event.pos);
        let rest = found.split_off(found.len().min(PAGE_EVENTS));
        let mut left: HashMap<SessionId, i64> = HashMap::new();
        for event in rest {
            left.entry(event.session).or_insert(event.seq.0 as i64);
        }
        let head = left.is_empty();
        changes.sessions = left;
        let through = match found.last() {
            Some(event) if !head => event.pos.0,
            _ => through.max(after),
        };
        if let (true, Some(workspace)) = (found.is_empty(), workspace) {
            // If nothing was found, the workspace may be deleted, which is an error.
            self.workspace_no(workspace)?;
        }
        let page = Positions {
            events: found.into_iter().cloned().collect(),
            through: Position(through),
            head,
        };
        Ok((page, changes))
    }

    fn check(&self, session: SessionId, after: Seq) -> Found<()> {
        self.begin(session, after.0).map(drop)
    }

    fn check_position(&self, workspace: Option<WorkspaceId>, after: Position) -> Found<()> {
        let workspace = self.only_workspace(workspace)?;
        self.check_positions(workspace, after.0, true)
    }

    fn context(&self, session: SessionId, after: Option<MessageId>) -> Found<Vec<Message>> {
        let no = self.session_no(session)?;
        let session = &self.sessions[&no];
        let (summary, place) = match (after, session.summary) {
            (Some(after), _) => (None, self.ordinal(no, after)?),
            (None, Some((summary, through))) => (Some(summary), through),
            (None, None) => (None, 0),
        };
        let rest = session.history.range(place + 1..).rev();
        let rest = rest.map(|(_, no)| self.messages[no].message.clone());
        let rest = latest_turns(rest, Bounds::CONTEXT)?;
        let summary = self.messages_of(summary);
        Ok(summary.into_iter().chain(rest).collect())
    }

    fn due(&self, now: UnixMillis, after: Option<DueCursor>) -> Found<DuePage> {
        let after = after.map_or((i64::MIN, 0), |place| (place.due_ms, place.run));
        let due = self.wakes.iter();
        let due = due.filter_map(|(run, wake)| Some((wake.due_ms?, *run)));
        let mut due: Vec<(i64, No)> = due
            .filter(|place| place.0 <= now.0 as i64 && *place > after)
            .collect();
        due.sort_unstable();
        due.truncate(DUE_MAX);
        let last = due.last().map(|&(due_ms, run)| DueCursor { due_ms, run });
        let due = due.into_iter().map(|(_, no)| {
            let run = &self.runs[&no];
            let carried = self.carried(no, &self.wakes[&no]);
            Due {
                run: run.id,
                session: self.sessions[&run.session].id,
                prompt: run.prompt.clone().woken(Some(carried)),
            }
        });
        Ok(DuePage {
            due: due.collect(),
            last,
        })
    }

    fn events(&self, session: SessionId, after: Seq) -> Found<Vec<Event>> {
        let (session, after) = self.begin(session, after.0)?;
        Ok(session
            .events_after(after)
            .take(PAGE_EVENTS)
            .cloned()
            .collect())
    }

    fn fold_page(&self, after: Option<i64>) -> Found<FoldPage> {
        let sessions = self.sessions.range(after.unwrap_or(0) + 1..);
        let sessions = sessions.filter(|(_, session)| session.deletion == Deletion::None);
        let page: Vec<_> = sessions.take(FOLD_SESSIONS).collect();
        let last = page.last().map(|(no, _)| **no);
        let from = page
            .iter()
            .map(|(_, session)| (session.id, session.log_from));
        Ok((from.collect(), last))
    }

    fn fold_scan(
        &self,
        session: SessionId,
        before: UnixMillis,
        mut scan: FoldScan,
    ) -> Found<(FoldScan, bool)> {
        let session = &self.sessions[&self.session_no(session)?];
        let mut count = 0;
        for event in session.events_after(scan.seen as u64).take(FOLD_EVENTS) {
            count += 1;
            let run = event.run.and_then(|id| self.run_ids.get(&id).copied());
            let over = match run {
                Some(run) => self.runs[&run].ended_ms,
                None => Some(event.at_ms),
            };
            if over.is_none_or(|at| at > before) {
                return Ok((scan, false));
            }
            scan.seen = event.seq.0 as i64;
            if let Some(run) = run {
                match event.body {
                    EventBody::RunEnded { .. } => scan.open.remove(&run),
                    _ => scan.open.insert(run),
                };
            }
            if scan.open.is_empty() {
                scan.through = scan.seen;
            }
        }
        Ok((scan, count == FOLD_EVENTS))
    }

    fn followed(&self, session: SessionId) -> Found<Followed> {
        let no = self.session_no(session)?;
        Ok(Followed {
            session,
            workspace: self.workspaces[&self.sessions[&no].workspace].id,
        })
    }

    fn followed_run(&self, id: RunId) -> Found<Followed> {
        let live = self.run_ids.get(&id).map(|no| self.runs[no].session);
        let session = live.or_else(|| self.gone_runs.get(&id).copied());
        let session = session.ok_or(Refusal::UnknownRun(id))?;
        self.followed(self.sessions[&session].id)
    }

    fn grant(&self, id: GrantId) -> Found<Option<(WorkspaceId, Granted)>> {
        let grant = self.grants.get(&id);
        Ok(grant.map(|grant| (self.workspaces[&grant.workspace].id, grant.granted.clone())))
    }

    fn granted(&self, session: SessionId, agent: AgentId) -> Found<Vec<String>> {
        let no = self.session_no(session)?;
        let workspace = self.sessions[&no].workspace;
        let counts = |grant: &&super::state::StoredGrant| {
            grant.workspace == workspace
                && grant.granted.agent == agent
                && grant.session.is_none_or(|only| only == no)
        };
        let rules = self.grants.values().filter(counts).take(GRANTS_MAX);
        Ok(rules.map(|grant| grant.granted.rule.clone()).collect())
    }

    fn grants(&self, workspace: WorkspaceId) -> Found<Vec<Granted>> {
        let no = self.workspace_no(workspace)?;
        let grants = self.grants.values().filter(|grant| grant.workspace == no);
        let mut grants: Vec<Granted> = grants.map(|grant| grant.granted.clone()).collect();
        grants.sort_by_key(|granted| (granted.granted_ms, granted.id));
        grants.truncate(GRANTS_MAX);
        Ok(grants)
    }

    fn has_waits(&self, waits: Waits) -> Found<bool> {
        Ok(self.waits(waits).next().is_some())
    }

    fn held(&self, scope: HeldScope) -> Found<Vec<RunAt>> {
        let held = self.runs.values().filter(|run| run.state == RunState::Held);
        let held = held.map(|run| self.run_at(run)).filter(|run| match scope {
            HeldScope::All => true,
            HeldScope::Workspace(id) => run.workspace == id,
            HeldScope::Session(id) => run.session == id,
            HeldScope::Run(id) => run.id == id,
        });
        Ok(held.collect())
    }

    fn history(
        &self,
        session: SessionId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Found<Vec<Message>> {
        let no = self.session_no(session)?;
        let session = &self.sessions[&no];
        let before = match before {
            Some(id) => self.ordinal(no, id)?,
            None => i64::MAX,
        };
        let last = session.history.range(..before).rev();
        let last = last.take(limit.min(PAGE_MESSAGES) as usize);
        let mut messages = self.messages_of(last.map(|(_, no)| *no));
        messages.reverse();
        if let Some((summary, through)) = session.summary {
            let summary = &self.messages[&summary].message;
            conversation::mark_summary(summary, through, &mut messages)?;
        }
        Ok(messages)
    }

    fn kept_agents(&self) -> Found<Vec<(AgentId, String, Vec<u8>)>> {
        let agents = self.agents.iter();
        let agents =
            agents.map(|(name, (digest, wasm))| (name.clone(), digest.clone(), wasm.clone()));
        Ok(agents.collect())
    }

    fn known(&self, session: SessionId, key: Key) -> Found<Option<RunId>> {
        self.known_key(self.session_no(session)?, &key)
    }

    fn known_workspace(&self, id: WorkspaceId) -> Found<WorkspaceRow> {
        Ok(self.workspace_row(self.workspace_no(id)?))
    }

    fn list(&self, page: SessionsPage) -> Found<Vec<Listed<SessionRow>>> {
        let before = page.after.as_deref().map_or(Ok(i64::MAX), parse_cursor)?;
        let workspace = page
            .workspace
            .map(|id| self.workspace_ids.get(&id).copied());
        let parent = page.parent.map(|id| self.session_ids.get(&id).copied());
        let sessions = self.sessions.range(..before).rev();
        let sessions = sessions.filter(|(_, session)| {
            session.deletion == Deletion::None
                && workspace.is_none_or(|only| only == Some(session.workspace))
                && parent.is_none_or(|only| only.is_some() && only == session.parent)
        });
        let sessions = sessions.take(page.limit.min(PAGE_ROWS + 1) as usize);
        Ok(sessions
            .map(|(no, _)| self.session_row(*no))
            .map(Ok)
            .collect())
    }

    fn list_runs(
        &self,
        session: SessionId,
        limit: u32,
        after: Option<String>,
    ) -> Found<Vec<Listed<RunSummaryRow>>> {
        let after = after.as_deref().map_or(Ok(0), parse_cursor)?;
        let (_, session) = self.readable(session)?;
        // There is nothing after the last number.
        let runs = session.runs.range(after.saturating_add(1)..);
        let runs = runs.take(limit.min(PAGE_ROWS + 1) as usize);
        let summary = |no: &No| RunSummaryRow {
            run: self.summary(&self.runs[no]),
            place: *no,
        };
        Ok(runs.map(summary).map(Ok).collect())
    }

    fn locate(&self, id: SessionId) -> Found<SessionAt> {
        let (_, session) = self.present(id)?;
        Ok(SessionAt {
            id,
            workspace: self.workspaces[&session.workspace].id,
            agent: session.agent.clone(),
        })
    }

    fn messages(
        &self,
        session: SessionId,
        before: Option<MessageId>,
        limit: u32,
    ) -> Found<Vec<Message>> {
        let (no, session) = self.readable(session)?;
        let place = |message: &No| {
            let stored = &self.messages[message];
            let ordinal = stored.message.ordinal.map(|place| place as i64);
            let place = ordinal.or(stored.beside)?;
            Some((place, ordinal.is_none(), *message))
        };
        let before = match before {
            Some(id) => {
                let message = self.message_ids.get(&id);
                let message = message.filter(|message| self.messages[message].session == no);
                message.and_then(place).ok_or(Refusal::UnknownMessage(id))?
            }
            None => (i64::MAX, true, i64::MAX),
        };
        let history = session.history.range(..=before.0).rev().map(|(_, no)| *no);
        let beside = session
            .beside
            .range(..=(before.0, i64::MAX))
            .rev()
            .map(|(_, no)| *no);
        let limit = limit.min(PAGE_MESSAGES) as usize;
        let earlier = |message: &No| place(message).is_some_and(|place| place < before);
        let mut page: Vec<No> = history.filter(earlier).take(limit).collect();
        page.extend(beside.filter(earlier).take(limit));
        page.sort_by_key(|message| Reverse(place(message)));
        page.truncate(limit);
        page.reverse();
        Ok(self.messages_of(page))
    }

    fn next_due(&self, after: UnixMillis) -> Found<Option<UnixMillis>> {
        let due = self.wakes.values().filter_map(|wake| wake.due_ms);
        let next = due.filter(|due| *due > after.0 as i64).min();
        Ok(next.map(|at| UnixMillis(at as u64)))
    }

    fn open_questions(&self, of: OpenQuestions) -> Found<Vec<Question>> {
        let family = match &of {
            OpenQuestions::Session(id) => self.family(self.readable(*id)?.0),
            _ => HashSet::new(),
        };
        let is_meant = |stored: &&StoredQuestion| {
            let workspace = self.sessions[&stored.session].workspace;
            stored.answer.is_none()
                && match &of {
                    OpenQuestions::All => true,
                    OpenQuestions::Workspaces(ids) => ids.contains(&self.workspaces[&workspace].id),
                    OpenQuestions::Session(_) => family.contains(&stored.session),
                }
        };
        let open = self.questions.values().filter(is_meant).take(QUESTIONS_MAX);
        Ok(open.map(|stored| stored.question.clone()).collect())
    }

    fn positions(
        &self,
        workspace: Option<WorkspaceId>,
        after: Position,
        first: bool,
    ) -> Found<Positions> {
        let workspace = self.only_workspace(workspace)?;
        self.check_positions(workspace, after.0, first)?;
        let ahead = self
            .positions
            .range(after.0.saturating_add(1)..)
            .take(SCANNED);
        let ahead: Vec<_> = ahead.collect();
        let Some((last, _)) = ahead.last() else {
            return Ok(Positions {
                through: after,
                head: true,
                ..Positions::default()
            });
        };
        let through = Position(**last);
        let own = ahead.iter().filter(|(_, (session, _))| {
            workspace.is_none_or(|only| only == self.sessions[session].workspace)
        });
        let events = own.map(|(_, (session, seq))| self.event(*session, *seq).clone());
        let events: Vec<Event> = events.take(PAGE_EVENTS).collect();
        let full = events.len() == PAGE_EVENTS;
        Ok(Positions {
            through: match events.last() {
                Some(event) if full => event.pos,
                _ => through,
            },
            events,
            head: !full && ahead.len() < SCANNED,
        })
    }

    fn question(&self, id: QuestionId) -> Found<Option<QuestionAt>> {
        let no = self.question_ids.get(&id);
        Ok(no.map(|no| self.question_at(*no, &self.questions[no])))
    }

    fn queued(&self, session: SessionId) -> Found<Vec<QueuedRow>> {
        let (_, session) = self.readable(session)?;
        let runs = session.runs.iter().map(|no| &self.runs[no]);
        let waiting = runs.filter(|run| matches!(run.state, RunState::Queued | RunState::Held));
        let row = |run: &Run| QueuedRow {
            id: run.id,
            state: run.state,
            prompt: run.prompt.clone(),
            key: run.key.clone(),
            accepted_ms: run.accepted_ms,
        };
        Ok(waiting.map(row).collect())
    }

    fn receipt(&self, run: RunId) -> Found<Option<Receipt>> {
        let run = self.run_ids.get(&run).map(|no| &self.runs[no]);
        Ok(run.and_then(|run| run.receipt.clone()))
    }

    fn retold(&self, id: RunId) -> Found<Vec<Event>> {
        let run = &self.runs[&self.run_no(id)?];
        let session = &self.sessions[&run.session];
        let through = session.log_from;
        // Without an end nothing of the run was folded.
        let receipt = run.receipt.clone().ok_or(Refusal::Expired { through })?;
        let remains = Remains {
            origin: run.prompt.origin.clone(),
            digest: run.digest.clone(),
            accepted_ms: run.accepted_ms,
            started_ms: run.started_ms,
            ended_ms: run.ended_ms.unwrap_or(run.accepted_ms),
            messages: self.run_messages(run),
            receipt,
        };
        let told = retell(remains).into_iter().map(|(at_ms, body)| Event {
            seq: Seq(0),
            pos: Position(0),
            session: session.id,
            run: Some(id),
            at_ms,
            body,
        });
        Ok(told.collect())
    }

    fn run(&self, id: RunId) -> Found<RunAt> {
        Ok(self.run_at(&self.runs[&self.run_no(id)?]))
    }

    fn run_summary(&self, id: RunId) -> Found<RunSummary> {
        Ok(self.summary(&self.runs[&self.run_no(id)?]))
    }

    fn runs(&self, session: SessionId) -> Found<Vec<RunRow>> {
        let (_, session) = self.readable(session)?;
        let row = |no: &No| {
            let run = &self.runs[no];
            RunRow {
                id: run.id,
                state: run.state,
                started_ms: run.started_ms,
                ended_ms: run.ended_ms,
                receipt: run.receipt.clone(),
                messages: self.run_messages(run),
            }
        };
        Ok(session.runs.iter().map(row).collect())
    }

    fn session(&self, id: SessionId) -> Found<SessionRow> {
        let (no, _) = self.present(id)?;
        Ok(self.session_row(no))
    }

    fn sessions(&self, workspace: Option<WorkspaceId>, limit: u32) -> Found<Vec<SessionRow>> {
        let workspace = workspace.map(|id| self.workspace_ids.get(&id).copied());
        let own = |(_, session): &(&No, &Session)| {
            session.deletion == Deletion::None
                && workspace.is_none_or(|only| only == Some(session.workspace))
        };
        let mut latest: Vec<_> = self.sessions.iter().filter(own).collect();
        latest.sort_by_key(|(no, session)| Reverse((session.updated_ms, **no)));
        let latest = latest.into_iter().take(limit.min(PAGE_ROWS) as usize);
        Ok(latest.map(|(no, _)| self.session_row(*no)).collect())
    }

    fn sessions_of(&self, workspace: WorkspaceId) -> Found<Vec<SessionId>> {
        let no = self.workspace_no(workspace)?;
        let own = |session: &&Session| session.workspace == no && session.deletion < Deletion::Done;
        let sessions = self.sessions.values().filter(own);
        Ok(sessions.map(|session| session.id).collect())
    }

    fn state(&self, owner: StateOwner, scope: StateScope, key: String) -> Found<Option<Vec<u8>>> {
        let of = self.owner(owner.session, scope)?;
        Ok(self.values.get(&(of, owner.agent, key)).cloned())
    }

    fn state_keys(
        &self,
        owner: StateOwner,
        scope: StateScope,
        prefix: String,
    ) -> Found<Vec<String>> {
        let of = self.owner(owner.session, scope)?;
        let keys = self.values.keys().filter(|(own, agent, key)| {
            *own == of && *agent == owner.agent && key.starts_with(&prefix)
        });
        Ok(keys.map(|(.., key)| key.clone()).collect())
    }

    fn workspace_key(&self, workspace: WorkspaceId) -> Found<String> {
        Ok(self.workspaces[&self.workspace_no(workspace)?].key.clone())
    }

    fn workspaces(&self, limit: u32, after: Option<String>) -> Found<Vec<Listed<WorkspaceRow>>> {
        let after = after.as_deref().map_or(Ok(0), parse_cursor)?;
        let rows = self.workspaces.range(after.saturating_add(1)..);
        let rows = rows.take(limit.min(PAGE_ROWS + 1) as usize);
        Ok(rows
            .map(|(no, _)| self.workspace_row(*no))
            .map(Ok)
            .collect())
    }
}
