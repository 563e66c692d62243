//! The operations on sessions other than prompting: list, rename, set the plan, fork, export,
//! delete. Also lists and purges workspaces, and prunes old events.

use super::{Agent, Host, HostError, HostInner, Session, Workspace, bounds};
use crate::run::{Events, RunSummary};
use lastword_store::{
    BeginDelete, Damage, DeleteWorkspace, ForkSession, Key, PAGE_ROWS, Refusal, RenameSession,
    RunRow, RunSummaryRow, SessionRow, SessionsPage, SetTodo, Store, StoreError, WorkspaceRow,
    cursor_after,
};
use lastword_types::event::{Position, Seq};
use lastword_types::id::{MessageId, RunId, SessionId, WorkspaceId};
use lastword_types::session::{
    BlobId, Export, ExportedRun, Message, SessionRecord, TITLE_GIVEN_CHARS_MAX, Todo,
    WorkspaceRecord, title_given,
};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Rounds of stopping a session's runs before its deletion gives up. The first should end all of
/// them, and no run is accepted after it.
const DELETE_ROUNDS: u32 = 3;
/// The longest time between two checks for events beyond the retention. A shorter retention is
/// checked more often.
const FOLD_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` after the last one.
    pub next: Option<String>,
    /// The rows of this page that cannot be read and are left out.
    pub damaged: Vec<Damage>,
}

/// Which sessions are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only the sessions of this workspace, if set.
    pub workspace: Option<WorkspaceId>,
    /// Only the child sessions of this session, if set.
    pub parent: Option<SessionId>,
    /// The largest number of items, up to [`PAGE_ROWS`].
    pub limit: u32,
    /// The [`Page::next`] of the previous page.
    pub after: Option<String>,
}

impl Default for SessionFilter {
    fn default() -> Self {
        Self {
            workspace: None,
            parent: None,
            limit: PAGE_ROWS,
            after: None,
        }
    }
}

impl<T> Page<T> {
    /// Builds a page from rows. The query asked for one more row than the page holds, which tells
    /// whether this is the last page.
    fn of<R>(
        store: &Store,
        mut rows: Vec<Result<R, Damage>>,
        limit: u32,
        cursor: impl Fn(&R) -> String,
        item: impl Fn(R) -> T,
    ) -> Self {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().filter(|_| more);
        let next = last.and_then(|row| match row {
            Ok(row) => Some(cursor(row)),
            Err(damage) => cursor_after(damage),
        });
        let damaged = rows.iter().filter_map(|row| row.as_ref().err().cloned());
        Self {
            damaged: damaged.collect(),
            items: store.readable(rows).into_iter().map(item).collect(),
            next,
        }
    }
}

fn known(row: &WorkspaceRow) -> WorkspaceRecord {
    WorkspaceRecord::stored(row.id, &row.key, row.created_ms, row.sessions)
}

impl Host {
    /// Returns the sessions, the newest first, page by page. The order is stable: a pass over
    /// all pages returns each session that exists throughout exactly once, even if sessions change
    /// in the meantime. A session that is created during a pass comes in the next one.
    ///
    /// [`Host::sessions`] returns the most recently changed sessions.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::InvalidCursor`] for a cursor that no page returned.
    pub async fn list_sessions(
        &self,
        filter: SessionFilter,
    ) -> Result<Page<SessionRecord>, HostError> {
        let limit = filter.limit.clamp(1, PAGE_ROWS);
        let page = SessionsPage {
            workspace: filter.workspace,
            parent: filter.parent,
            limit: limit + 1,
            after: filter.after,
        };

        let store = &self.inner.store;
        let rows = store.list(page).await?;
        let record = |row: SessionRow| row.record;
        Ok(Page::of(store, rows, limit, SessionRow::cursor, record))
    }

    /// Returns the workspaces that were ever opened and not purged, in the order in which they
    /// were first opened.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// As for [`Host::list_sessions`].
    pub async fn list_workspaces(
        &self,
        limit: u32,
        after: Option<String>,
    ) -> Result<Page<WorkspaceRecord>, HostError> {
        let limit = limit.clamp(1, PAGE_ROWS);
        let store = &self.inner.store;
        let rows = store.workspaces(limit + 1, after).await?;
        let record = |row: WorkspaceRow| known(&row);
        Ok(Page::of(store, rows, limit, WorkspaceRow::cursor, record))
    }

    /// Returns a workspace that was ever opened and not purged. It need not be open.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`].
    pub async fn workspace_record(&self, id: WorkspaceId) -> Result<WorkspaceRecord, HostError> {
        Ok(known(&self.inner.store.known_workspace(id).await?))
    }

    /// Closes a workspace, and deletes all its sessions, the values that agents stored in it, and
    /// its own record. Its directory is not touched.
    ///
    /// Dropping the future may leave the workspace closed, with a part of its sessions deleted;
    /// call this again for the rest.
    ///
    /// # Errors
    /// [`HostError::UnknownWorkspace`]; [`HostError::WorkspaceClosing`] while a run of it
    /// cannot be ended, or if it was opened again in the meantime: try again.
    pub async fn purge_workspace(&self, id: WorkspaceId) -> Result<(), HostError> {
        let store = &self.inner.store;
        let named = |error| match error {
            StoreError::Refused(Refusal::WrongState) => HostError::WorkspaceClosing(id),
            other => other.into(),
        };

        store.workspace_key(id).await?;
        if !self.inner.close(id).await.left.is_empty() {
            return Err(HostError::WorkspaceClosing(id));
        }

        for session in store.sessions_of(id).await? {
            match store.execute(BeginDelete { session }).await {
                // Another caller has deleted it in the meantime.
                Err(StoreError::Refused(Refusal::UnknownSession(_))) => {}
                marked => {
                    marked?;
                    store.delete_session(session).await.map_err(named)?;
                }
            }
        }

        let delete = DeleteWorkspace { workspace: id };
        store.execute(delete).await.map_err(named)
    }

    /// Returns every event of the host after a position; `Position(0)` is before the first.
    #[must_use]
    pub fn events(&self, after: Position) -> Events {
        Events::of_positions(self.clone(), None, after)
    }

    /// Returns the events of all sessions of a workspace after a position, in the order in which
    /// they were written. The workspace need not be open.
    #[must_use]
    pub fn workspace_events(&self, id: WorkspaceId, after: Position) -> Events {
        Events::of_positions(self.clone(), Some(id), after)
    }

    /// Returns the events of a session after one that was read before, and its workspace. A
    /// deleted session has a single event, `session.deleted`.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`] for one that never existed, or whose workspace was purged.
    pub async fn session_events(
        &self,
        id: SessionId,
        after: Seq,
    ) -> Result<(WorkspaceId, Events), HostError> {
        let store = &self.inner.store;
        let found = store.followed(id).await?;
        let events = Events::of_session(self.clone(), id, after);
        Ok((found.workspace, events))
    }

    /// Returns the events of a run, from its first one or after one that was read before, with its
    /// workspace and its session, like [`Host::session_events`].
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownRun`].
    pub async fn run_events(
        &self,
        id: RunId,
        after: Option<Seq>,
    ) -> Result<(WorkspaceId, SessionId, Events), HostError> {
        let store = &self.inner.store;
        let found = store.followed_run(id).await?;
        let events = Events::of_run(self.clone(), found.session, id);
        let events = match after {
            Some(after) => events.after(after),
            None => events,
        };
        Ok((found.workspace, found.session, events))
    }

    /// Folds the events of all runs that ended longer ago than the retention
    /// ([`HostBuilder::retention`](super::HostBuilder::retention)): the events are deleted,
    /// messages and receipts stay. Returns the number of deleted events, which is zero if no
    /// retention is set.
    ///
    /// Dropping the future may leave a part of the runs folded, each of them whole.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn prune_events(&self) -> Result<u64, HostError> {
        match self.inner.retention {
            Some(age) => self.inner.prune_events(age).await,
            None => Ok(0),
        }
    }
}

impl HostInner {
    async fn prune_events(&self, age: Duration) -> Result<u64, HostError> {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let now = self.dispatcher.clock.now();
        let before = lastword_types::clock::UnixMillis(now.0.saturating_sub(age));
        Ok(self.store.prune_events(before).await?)
    }

    /// Prunes old events at intervals, for as long as the host exists.
    pub(super) fn keep_folding(self: &Arc<Self>, age: Duration) -> AbortOnDropHandle<()> {
        let host: Weak<Self> = Arc::downgrade(self);
        let clock = Arc::clone(&self.dispatcher.clock);
        let interval = (age / 2).clamp(Duration::from_secs(1), FOLD_INTERVAL_MAX);
        let task = self.dispatcher.embedder.spawn(async move {
            loop {
                clock.sleep(interval).await;
                let Some(host) = host.upgrade() else { return };
                if let Err(error) = host.prune_events(age).await {
                    tracing::warn!(%error, "old events could not be folded away");
                }
            }
        });
        AbortOnDropHandle::new(task)
    }
}

impl Workspace {
    /// Creates a child session of another session of this workspace.
    ///
    /// Dropping the future after its first poll does not undo the creation: to repeat a call that
    /// was dropped or failed, use [`Workspace::new_child_session_with_key`].
    ///
    /// # Errors
    /// [`HostError::UnknownSession`] if the parent is not a session of this workspace;
    /// [`HostError::UnknownWorkspace`] once that is purged.
    pub async fn new_child_session(
        &self,
        agent: &Agent,
        parent: SessionId,
    ) -> Result<Session, HostError> {
        self.begin_session(agent, Some(parent), None).await
    }

    /// Like [`Workspace::new_child_session`], with a key that identifies the request, as for
    /// [`Workspace::new_session_with_key`]: the same key, agent and parent return the same session.
    ///
    /// Dropping the future after its first poll does not undo the creation; another call with the
    /// same key returns that session.
    ///
    /// # Errors
    /// As [`Workspace::new_child_session`] and [`Workspace::new_session_with_key`].
    pub async fn new_child_session_with_key(
        &self,
        agent: &Agent,
        parent: SessionId,
        key: impl Into<String>,
    ) -> Result<Session, HostError> {
        self.begin_session(agent, Some(parent), Some(key.into()))
            .await
    }
}

impl Session {
    /// Changes the session's title; nothing else changes.
    ///
    /// Dropping the future after its first poll does not undo the change.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a title that is empty, has more than 200 characters or a
    /// control character; [`HostError::UnknownSession`].
    pub async fn rename(&self, title: &str) -> Result<SessionRecord, HostError> {
        let title = title_given(title).ok_or_else(|| {
            HostError::Invalid(format!(
                "a title has 1 to {TITLE_GIVEN_CHARS_MAX} characters and no control characters"
            ))
        })?;
        let store = &self.host.inner.store;
        let rename = RenameSession {
            session: self.id,
            title: title.to_owned(),
        };

        Ok(store.execute(rename).await?.record)
    }

    /// Replaces the session's plan; nothing else changes.
    ///
    /// Dropping the future after its first poll does not undo the change.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a plan of more than 100 points, or with one of more than 500
    /// characters; [`HostError::UnknownSession`].
    pub async fn set_todo(&self, todo: Vec<Todo>) -> Result<SessionRecord, HostError> {
        bounds::check_todo(&todo)?;
        let set = SetTodo {
            session: self.id,
            todo,
        };
        Ok(self.host.inner.store.execute(set).await?.record)
    }

    /// Returns the messages before `before`, or the last ones, in time order; at most
    /// [`PAGE_MESSAGES`](lastword_store::PAGE_MESSAGES). The messages of a run that was withdrawn
    /// while it waited appear at that time, without an [ordinal](Message::ordinal): they are in no
    /// agent's history. A queued prompt has no message yet; [`Session::queue`] lists it.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownMessage`], [`HostError::UnknownSession`].
    pub async fn messages_page(
        &self,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, HostError> {
        let store = &self.host.inner.store;
        Ok(store.messages(self.id, before, limit).await?)
    }

    /// Returns all runs of the session with their messages, in the order of acceptance.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn runs(&self) -> Result<Vec<RunRow>, HostError> {
        let runs = self.host.inner.store.runs(self.id).await;
        let mut runs = runs?;
        for run in &mut runs {
            run.state = self.host.inner.dispatcher.standing(run.id, run.state);
        }
        Ok(runs)
    }

    /// Returns the session's runs without their messages, in the order of acceptance, page by
    /// page; at most [`PAGE_ROWS`] at a time. A run that is accepted during a pass comes last.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`]; [`HostError::InvalidCursor`] for a cursor that no page
    /// returned.
    pub async fn list_runs(
        &self,
        limit: u32,
        after: Option<String>,
    ) -> Result<Page<RunSummary>, HostError> {
        let limit = limit.clamp(1, PAGE_ROWS);
        let store = &self.host.inner.store;
        let rows = store.list_runs(self.id, limit + 1, after).await?;
        let standing = |row: RunSummaryRow| {
            let mut run = row.run;
            run.state = self.host.inner.dispatcher.standing(run.run, run.state);
            run
        };

        Ok(Page::of(
            store,
            rows,
            limit,
            RunSummaryRow::cursor,
            standing,
        ))
    }

    /// Creates a session with this one's history up to and including a message. The two are
    /// independent afterwards.
    ///
    /// Dropping the future after its first poll does not undo the fork: to repeat a call that was
    /// dropped or failed, use [`Session::fork_with_key`].
    ///
    /// # Errors
    /// [`HostError::UnknownMessage`], [`HostError::UnknownSession`].
    pub async fn fork(&self, through: MessageId) -> Result<Session, HostError> {
        self.fork_as(through, None).await
    }

    /// Like [`Session::fork`], with a key that identifies the request: the same key returns the
    /// same session, for as long as it exists.
    ///
    /// Dropping the future after its first poll does not undo the fork; another call with the same
    /// key returns it.
    ///
    /// # Errors
    /// As [`Session::fork`]; [`HostError::KeyConflict`].
    pub async fn fork_with_key(
        &self,
        through: MessageId,
        key: impl Into<String>,
    ) -> Result<Session, HostError> {
        let key = key.into();
        bounds::check_key(&key)?;
        let key = Key::of_fork(key, through)?;
        self.fork_as(through, Some(key)).await
    }

    async fn fork_as(&self, through: MessageId, key: Option<Key>) -> Result<Session, HostError> {
        let fork = ForkSession {
            id: SessionId::generate(),
            run: RunId::generate(),
            from: self.id,
            through,
            key,
        };

        let id = self.host.inner.store.execute(fork).await?;
        self.host.session(id).await
    }

    /// Ends the session's runs and deletes it, with all data that no other session refers to. Its
    /// child sessions stay, and so does one event, `session.deleted`, which ends its streams and
    /// those of its runs, also for readers that come back later. It takes no prompts from the
    /// first poll on; if the future is dropped, the next call or the next host deletes the rest.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`]; when the store cannot be written.
    pub async fn delete(&self) -> Result<(), HostError> {
        let inner = &self.host.inner;
        let session = self.id;
        inner.store.execute(BeginDelete { session }).await?;
        for _ in 0..DELETE_ROUNDS {
            let dispatcher = &inner.dispatcher;
            for live in dispatcher.stop_session(self.workspace, session, |_| true) {
                if let Err(error) = live.ended().await {
                    tracing::debug!(run = %live.id, ?error, "a run of a deleted session has no end");
                }
            }
            match inner.store.delete_session(session).await {
                Err(StoreError::Refused(Refusal::WrongState)) => {}
                done => return Ok(done?),
            }
        }

        Err(HostError::StoreUnavailable(
            "a run of the session has no end yet".to_owned(),
        ))
    }

    /// Returns the whole session as one value.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn export(&self) -> Result<Export, HostError> {
        let session = self.host.inner.store.session(self.id).await?.record;
        let runs = self.runs().await?;
        let runs = runs.into_iter().map(|run| ExportedRun {
            run: run.id,
            state: run.state,
            receipt: run.receipt,
            messages: run.messages,
        });
        Ok(Export {
            session,
            runs: runs.collect(),
        })
    }

    /// Returns the bytes of a data part of this session; `None` if the session has no such part.
    ///
    /// Dropping the future has no effect.
    ///
    /// # Errors
    /// [`HostError::UnknownSession`].
    pub async fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, HostError> {
        let blob = self.host.inner.store.blob(self.id, id.clone()).await?;
        if blob.is_none() {
            // Distinguishes a missing part from a session that does not exist.
            self.record().await?;
        }
        Ok(blob)
    }
}
