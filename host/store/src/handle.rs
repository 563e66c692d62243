//! What the host asks of the store: each request is handed to the writer as work, or read
//! beside it. Knows how neither is done.

use super::damage::{Damage, damage_of};
use super::open::Store;
use super::options::{self, StoredOptions};
use super::output::{Output, Sealed};
use super::queue::{self, Edited, HeldRow, HeldScope, QueuedRow, RunAt};
use super::run::{self, Accept, Accepted, Key, PromptRecord, RunNo, SessionNo};
use super::session::{NewSession, SessionAt};
use super::state::{self, StateOwner, StateQuota, StateScope};
use super::tx::Tx;
use super::work::Then;
use super::writer::Handed;
use super::{OnEnded, RunRow, SessionRow, StoreError, context, event, finish, message, session};
use crate::transcript::Transcript;
use lastword_types::event::{Event, Seq};
use lastword_types::id::{AgentId, MessageId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{Cause, Ending, Receipt};
use lastword_types::session::{BlobId, Message};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A workspace by its number in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkspaceNo(pub(super) i64);

impl Store {
    pub(super) async fn write<T: Send + 'static>(
        &self,
        act: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        // A caller that went away keeps what it asked for; only the answer is lost.
        let then = move |result| drop(sender.send(result));
        drop(self.shared.queue.push(Then::boxed(act, then)));
        answer
            .await
            .map_err(|_| StoreError::Closed("the writer ended".to_owned()))?
    }

    /// Makes or finds a workspace, and keeps what it is opened with: what is given, or else
    /// what it was opened with last. Answers that too.
    pub async fn workspace(
        &self,
        key: String,
        options: Option<StoredOptions>,
    ) -> Result<(WorkspaceId, WorkspaceNo, StoredOptions), StoreError> {
        let open = move |tx: &mut Tx<'_>| {
            let (id, no) = session::workspace(tx, &key)?;
            let options = match &options {
                Some(options) => {
                    options::keep(tx, no, options)?;
                    options.clone()
                }
                None => options::last(tx, no)?,
            };
            Ok((id, WorkspaceNo(no), options))
        };
        self.write(open).await
    }

    /// Begins a session.
    pub async fn new_session(
        &self,
        workspace: WorkspaceNo,
        agent: AgentId,
    ) -> Result<(SessionId, SessionNo), StoreError> {
        let id = SessionId::generate();
        let new = NewSession {
            id,
            agent,
            parent: None,
            forked_from: None,
        };
        let no = self
            .write(move |tx| session::create(tx, workspace.0, &new))
            .await?;
        Ok((id, no))
    }

    /// Accepts a prompt. `then` is called on the writer thread once its fate is known,
    /// whether or not anybody waits; it must not block.
    pub fn accept(
        &self,
        accept: Accept,
        then: impl FnOnce(Result<Accepted, StoreError>) + Send + 'static,
    ) -> Handed {
        self.shared
            .queue
            .push(Then::boxed(move |tx| run::accept(tx, &accept), then))
    }

    /// The run that an idempotency key of a session stands for already, if there is one;
    /// [`Refusal::KeyConflict`](super::Refusal::KeyConflict) if it came with another request.
    pub async fn known(&self, session: SessionNo, key: Key) -> Result<Option<RunId>, StoreError> {
        let read = move |conn: &Connection| run::known(conn, session, &key);
        self.shared.readers.read(read).await
    }

    /// Starts a queued run; as [`Store::accept`], but kept while the store cannot write.
    /// Answers what is asked as it stands by then.
    pub fn start(
        &self,
        run: RunNo,
        then: impl FnOnce(Result<PromptRecord, StoreError>) + Send + 'static,
    ) -> Handed {
        let queue = &self.shared.queue;
        queue.push(Then::kept(move |tx| run::start(tx, run), then))
    }

    /// Ends runs that are still queued or held, all in one transaction; as [`Store::start`].
    pub fn withdraw(
        &self,
        runs: Vec<(RunId, RunNo)>,
        ending: Ending,
        then: impl FnOnce(Result<Vec<Receipt>, StoreError>) + Send + 'static,
    ) {
        let causes = Arc::clone(&self.shared.causes);
        let work = finish::Withdraw::new(runs, ending, causes, Box::new(then));
        drop(self.shared.queue.push(Box::new(work)));
    }

    /// Keeps why a run ends beside the database, should this process end before that is
    /// committed.
    pub fn keep_cause(&self, run: RunId, ending: &Ending) {
        self.shared.causes.keep(run, ending);
    }

    /// Takes that back: the run has its end.
    pub fn forget_cause(&self, run: RunId) {
        self.shared.causes.forget(run);
    }

    /// Notes a latched cause whose end still takes a while.
    pub fn latch(&self, run: RunNo, cause: Cause) {
        let note = move |tx: &mut Tx<'_>| finish::latch(tx, run, &cause);
        let then = |outcome: Result<(), StoreError>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a latched cause could not be noted");
            }
        };
        drop(self.shared.queue.push(Then::kept(note, then)));
    }

    /// Hands a run's end over, whose guest is gone since then on the clock's scale. It is the
    /// writer's from here on.
    pub fn finish(
        &self,
        id: RunId,
        sealed: Sealed,
        ending: Ending,
        since: Duration,
        on_ended: OnEnded,
    ) {
        let causes = Arc::clone(&self.shared.causes);
        let work = finish::Finish::new(id, sealed, ending, since, causes, on_ended);
        drop(self.shared.queue.push(Box::new(work)));
    }

    /// A new run's output, into an empty transcript.
    #[must_use]
    pub fn output(&self, run: RunNo, transcript: Transcript) -> Arc<Output> {
        let queue = Arc::clone(&self.shared.queue);
        Output::new(run, transcript, queue, Arc::clone(&self.shared.clock))
    }

    /// Puts a held run back into the queue, for which the key stands from then on; `then` as
    /// for [`Store::accept`].
    pub fn resume(
        &self,
        run: RunNo,
        key: Option<Key>,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Handed {
        let act = move |tx: &mut Tx<'_>| queue::resume(tx, run, key.as_ref());
        self.shared.queue.push(Then::boxed(act, then))
    }

    /// Has a key stand for a run that was there before it; as [`Store::known`] if it stands for
    /// one already.
    pub async fn keep_key(&self, run: RunNo, key: Key) -> Result<(), StoreError> {
        self.write(move |tx| match run::known(tx.conn, run.session, &key)? {
            Some(_) => Ok(()),
            None => run::keep_key(tx, run, &key),
        })
        .await
    }

    /// Keeps a summary; the originals stay.
    pub async fn summarise(
        &self,
        run: RunNo,
        session: SessionNo,
        summary: Message,
        through: MessageId,
    ) -> Result<(), StoreError> {
        self.write(move |tx| message::summarise(tx, run, session, &summary, through))
            .await
    }

    /// Writes, replaces or deletes a value of an agent's, if `expected` is what is there;
    /// `None` expects nothing in particular. Answers whether it was written.
    pub async fn put_state(
        &self,
        owner: StateOwner,
        scope: StateScope,
        key: String,
        expected: Option<Option<Vec<u8>>>,
        value: Option<Vec<u8>>,
        quota: StateQuota,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let (expected, value) = (expected.as_ref(), value.as_deref());
            state::put(tx, &owner, scope, &key, expected, value, quota)
        })
        .await
    }

    /// Reads a value of an agent's.
    pub async fn state(
        &self,
        owner: StateOwner,
        scope: StateScope,
        key: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let readers = &self.shared.readers;
        readers
            .read(move |conn| state::get(conn, &owner, scope, &key))
            .await
    }

    /// The keys of an agent's values.
    pub async fn state_keys(
        &self,
        owner: StateOwner,
        scope: StateScope,
        prefix: String,
    ) -> Result<Vec<String>, StoreError> {
        let readers = &self.shared.readers;
        readers
            .read(move |conn| state::keys(conn, &owner, scope, &prefix))
            .await
    }

    /// The last messages before `before`, in time order.
    pub async fn history(
        &self,
        session: SessionNo,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let read = move |conn: &Connection| {
            let (mut messages, mut damaged) = message::history(conn, session, before, 0, limit)?;
            if let Err(error) = message::mark_summary(conn, session, &mut messages) {
                damaged.push(damage_of(error)?);
            }
            Ok((messages, damaged))
        };
        let (messages, damaged) = self.shared.readers.read(read).await?;
        self.set_aside(damaged);
        Ok(messages)
    }

    /// The last messages of a session before `before` as people read them, those included that
    /// were taken back before they had a place in the history.
    pub async fn messages(
        &self,
        id: SessionId,
        session: SessionNo,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        let read = move |conn: &Connection| {
            // Both at one time: half a session that is being deleted is none.
            let snapshot = conn.unchecked_transaction()?;
            event::session_no(&snapshot, id)?;
            message::page(&snapshot, session, before, limit)
        };
        let (messages, damaged) = self.shared.readers.read(read).await?;
        self.set_aside(damaged);
        Ok(messages)
    }

    /// The messages that a model shall see: the summary, if there is one, and what came after
    /// it or after the message `after`; of a very long conversation, the latest whole turns.
    pub async fn context(
        &self,
        session: SessionNo,
        after: Option<MessageId>,
    ) -> Result<Vec<Message>, StoreError> {
        let read = move |conn: &Connection| {
            if let Some(after) = after {
                let place = message::ordinal(conn, session, after)?;
                return context::since(conn, session, place);
            }
            let (summary, through, damaged) = match message::summary(conn, session) {
                Ok(Some((summary, through))) => (Some(summary), through, None),
                Ok(None) => (None, 0, None),
                // All of it, then.
                Err(error) => (None, 0, Some(damage_of(error)?)),
            };
            let (rest, more) = context::since(conn, session, through)?;
            let damaged = damaged.into_iter().chain(more).collect();
            Ok((summary.into_iter().chain(rest).collect(), damaged))
        };
        let (messages, damaged): (Vec<Message>, Vec<Damage>) =
            self.shared.readers.read(read).await?;
        self.set_aside(damaged);
        Ok(messages)
    }

    /// The bytes of a data part that this session names.
    pub async fn blob(
        &self,
        session: SessionNo,
        id: BlobId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let readers = &self.shared.readers;
        readers
            .read(move |conn| message::blob(conn, session, &id))
            .await
    }

    /// One session.
    pub async fn session(&self, id: SessionId) -> Result<SessionRow, StoreError> {
        self.shared
            .readers
            .read(move |conn| session::find(conn, id))
            .await
    }

    /// Where a session belongs and whom it talks to.
    pub async fn locate(&self, id: SessionId) -> Result<SessionAt, StoreError> {
        let readers = &self.shared.readers;
        readers.read(move |conn| session::locate(conn, id)).await
    }

    /// The sessions that changed last, newest first.
    pub async fn sessions(
        &self,
        workspace: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let (readers, limit) = (&self.shared.readers, limit.min(session::PAGE_ROWS));
        let rows = readers
            .read(move |conn| session::latest(conn, workspace, limit))
            .await?;
        Ok(self.readable(rows))
    }

    /// The runs of a session with their messages.
    pub async fn runs(&self, session: SessionId) -> Result<Vec<RunRow>, StoreError> {
        let readers = &self.shared.readers;
        let (runs, damaged) = readers
            .read(move |conn| message::runs(conn, session))
            .await?;
        self.set_aside(damaged);
        Ok(runs)
    }

    /// Held runs, in the order of acceptance.
    pub async fn held(&self, scope: HeldScope) -> Result<Vec<HeldRow>, StoreError> {
        let readers = &self.shared.readers;
        let rows = readers.read(move |conn| queue::held(conn, scope)).await?;
        Ok(self.readable(rows))
    }

    /// The prompts of a session that are queued or held, in the order of acceptance.
    pub async fn queued(&self, session: SessionId) -> Result<Vec<QueuedRow>, StoreError> {
        let readers = &self.shared.readers;
        let rows = readers.read(move |conn| queue::list(conn, session)).await?;
        Ok(self.readable(rows))
    }

    /// Replaces what a prompt asks that is queued or held;
    /// [`Refusal::WrongState`](super::Refusal::WrongState) if it is neither,
    /// [`Refusal::Empty`](super::Refusal::Empty) if nothing would be left to ask.
    pub async fn edit_queued(
        &self,
        session: SessionId,
        run: RunId,
        edited: Edited,
    ) -> Result<QueuedRow, StoreError> {
        self.write(move |tx| queue::edit(tx, session, run, &edited))
            .await
    }

    /// Holds runs that are queued, all in one transaction; those that are not any more are
    /// left as they are. As [`Store::start`].
    pub fn hold(
        &self,
        runs: Vec<RunNo>,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let act = move |tx: &mut Tx<'_>| queue::hold(tx, &runs);
        drop(self.shared.queue.push(Then::kept(act, then)));
    }

    /// One run, whatever its state.
    pub async fn run(&self, id: RunId) -> Result<RunAt, StoreError> {
        self.shared
            .readers
            .read(move |conn| queue::find(conn, id))
            .await
    }

    /// The stored end of a run, if it has one.
    pub async fn receipt(&self, run: RunId) -> Result<Option<Receipt>, StoreError> {
        self.shared
            .readers
            .read(move |conn| finish::stored(conn, run))
            .await
    }

    /// A page of a session's log.
    pub async fn events(&self, session: SessionId, after: Seq) -> Result<Vec<Event>, StoreError> {
        self.shared
            .readers
            .read(move |conn| event::page(conn, session, after))
            .await
            .inspect(|events: &Vec<Event>| self.note_events(events))
    }

    /// What of the database could not be read so far, in the order in which it was met; at most
    /// 1,000 places.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        self.shared.damages.all()
    }

    /// The rows that can be read; the others are noted.
    #[must_use]
    pub fn readable<T>(&self, rows: Vec<Result<T, Damage>>) -> Vec<T> {
        self.shared.damages.readable(rows)
    }

    pub(super) fn set_aside(&self, damaged: Vec<Damage>) {
        for damage in damaged {
            self.shared.damages.note(damage);
        }
    }

    /// Notes the events that stand for ones that cannot be read.
    pub(super) fn note_events(&self, events: &[Event]) {
        self.set_aside(events.iter().filter_map(event::damage).collect());
    }

    /// Where a run's events begin.
    pub async fn before_run(&self, run: RunId) -> Result<Seq, StoreError> {
        self.shared
            .readers
            .read(move |conn| event::before_run(conn, run))
            .await
    }

    /// Wakes when the session's log has grown. To be subscribed to before the first read.
    #[must_use]
    pub fn follow(&self, session: SessionNo) -> watch::Receiver<i64> {
        self.shared.notify.follow(session.session)
    }
}
