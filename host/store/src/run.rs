//! Runs in the store: accepted, started, withdrawn. Each step is a compare-and-set, and the
//! order of the writer's queue decides between two that race.

use super::entry::{insert_message, keep_blob, next_ordinal};
use super::tx::Tx;
use super::wake::{self, GoesOn};
use super::{Damage, Refusal, StoreError};
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, QuestionId, RunId};
use lastword_types::run::{CarriedUsage, Origin, RunEvent, RunState};
use lastword_types::session::{Answer, BlobId, Message, Part, Role, title_from};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Duration;

/// A run and its session by their numbers in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunNo {
    pub(super) run: i64,
    pub(super) session: SessionNo,
}

impl RunNo {
    /// Its session.
    #[must_use]
    pub fn session(&self) -> SessionNo {
        self.session
    }
}

/// A session and its workspace by their numbers in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionNo {
    pub(super) session: i64,
    pub(super) workspace: i64,
}

impl SessionNo {
    /// Whether two sessions are of one workspace.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.workspace == other.workspace
    }
}

/// What a caller asks of a session, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptRecord {
    /// What began the run. One that [brings a message](Origin::brings_message) makes one of the
    /// user's.
    pub origin: Origin,
    /// What is asked.
    pub parts: Vec<Part>,
    /// The agent's configuration for this run, as JSON text.
    pub config: String,
    /// How long the run may take once it is running.
    pub deadline: Option<Duration>,
    /// What the runs before it used, of one that a wake began without a person in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedUsage>,
}

/// An idempotency key, with the digest of all that was asked under it. Unique per session,
/// whatever kind of request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    word: String,
    content: Vec<u8>,
}

impl Key {
    /// Of a prompt.
    pub fn of_prompt(word: String, prompt: &PromptRecord) -> Result<Self, StoreError> {
        Self::of(word, prompt)
    }

    /// Of going on with a run that is held or ended early.
    pub fn of_resume(word: String, run: RunId) -> Result<Self, StoreError> {
        Self::of(word, &("resume", run))
    }

    /// Of a fork through a message.
    pub fn of_fork(word: String, through: MessageId) -> Result<Self, StoreError> {
        Self::of(word, &("fork", through))
    }

    /// Of an answer to a question.
    pub fn of_answer(
        word: String,
        question: QuestionId,
        answer: &Answer,
    ) -> Result<Self, StoreError> {
        Self::of(word, &("answer", question, answer))
    }

    fn of(word: String, content: &impl Serialize) -> Result<Self, StoreError> {
        let content = Sha256::digest(serde_json::to_vec(content)?).to_vec();
        Ok(Self { word, content })
    }
}

/// Counts bytes instead of keeping them.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes that parts have as they are kept.
#[must_use]
pub fn kept_bytes(parts: &[Part]) -> usize {
    let mut count = Count(0);
    // Neither a part nor the count can fail.
    serde_json::to_writer(&mut count, parts).map_or(usize::MAX, |()| count.0)
}

/// A prompt to accept.
pub struct Accept {
    /// The run's id, made by the host.
    pub run: RunId,
    /// The session.
    pub session: SessionNo,
    /// What is asked.
    pub prompt: PromptRecord,
    /// Bytes that it names, by their digest.
    pub attached: Vec<(BlobId, Vec<u8>)>,
    /// The digest of the agent's component.
    pub digest: String,
    /// The caller's idempotency key.
    pub key: Option<Key>,
    /// What it goes on with, if it does; refused with [`Refusal::WrongState`] if another
    /// prompt has gone on with that.
    pub goes_on: Option<GoesOn>,
    /// The run that ended early and that it goes on with, if it does. If a run does so that
    /// has no end yet, that is the run; refused with [`Refusal::Resumed`] if that has its end.
    pub resumes: Option<RunId>,
    /// The run that begins it, if one does.
    pub parent: Option<RunId>,
    /// Prompts of this session that may wait at the most.
    pub queue_max: u32,
    /// Start in the same transaction: the session is idle and a slot is held.
    pub start: bool,
}

/// What became of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable as a new run.
    New(RunNo),
    /// Its key came before, with the same content, or the run that it was to go on with is
    /// gone on with: this is the run of that time.
    Known(RunId),
}

/// Accepts a prompt: the run's row, its bytes, the user's message, and what becomes of what
/// was waited for, in one transaction.
pub(super) fn accept(tx: &mut Tx<'_>, accept: &Accept) -> Result<Accepted, StoreError> {
    if let Some(key) = &accept.key
        && let Some(known) = known(tx.conn, accept.session, key)?
    {
        return Ok(Accepted::Known(known));
    }
    if let Some(run) = accept.resumes
        && let Some(by) = resumed(tx, run, accept)?
    {
        return Ok(Accepted::Known(by));
    }
    if let Some(goes_on) = &accept.goes_on {
        wake::go_on(tx, accept.session, goes_on)?;
    }
    if !accept.start && queued(tx, accept.session.session)? >= i64::from(accept.queue_max) {
        return Err(Refusal::QueueFull.into());
    }
    let state = match accept.start {
        true => next(RunState::Queued, RunEvent::Start)?,
        false => RunState::Queued,
    };
    tx.conn
        .prepare_cached(
            "INSERT INTO run (id, session, state, epoch, prompt, digest, key, content,
                              accepted_ms, started_ms, resumes, parent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            accept.run.as_bytes(),
            accept.session.session,
            state.as_str(),
            tx.epoch,
            serde_json::to_string(&accept.prompt)?,
            accept.digest,
            accept.key.as_ref().map(|key| &key.word),
            accept.key.as_ref().map(|key| &key.content),
            tx.now.0 as i64,
            accept.start.then_some(tx.now.0 as i64),
            accept.resumes.map(|run| *run.as_bytes()),
            accept.parent.map(|run| *run.as_bytes()),
        ])?;
    let run = RunNo {
        run: tx.conn.last_insert_rowid(),
        session: accept.session,
    };
    for (id, bytes) in &accept.attached {
        keep_blob(tx.conn, accept.session, id, bytes)?;
    }
    let message = user_message(tx, run, accept)?;
    log_accepted(tx, run, accept, message)?;
    Ok(Accepted::New(run))
}

fn log_accepted(
    tx: &mut Tx<'_>,
    run: RunNo,
    accept: &Accept,
    message: Option<MessageId>,
) -> Result<(), StoreError> {
    let mut log = tx.log(run.session)?;
    log.push(
        Some(run.run),
        &EventBody::RunQueued {
            origin: accept.prompt.origin.clone(),
            digest: accept.digest.clone(),
        },
    )?;
    if let Some(message) = message {
        log.push(
            Some(run.run),
            &EventBody::MessageCreated {
                message,
                role: Role::User,
                parts: accept.prompt.parts.clone(),
            },
        )?;
    }
    if accept.start {
        log.push(Some(run.run), &EventBody::RunStarted {})?;
    }
    Ok(())
}

/// The user's message, with a place in the history only if the run starts at once.
fn user_message(tx: &Tx<'_>, run: RunNo, accept: &Accept) -> Result<Option<MessageId>, StoreError> {
    if !accept.prompt.origin.brings_message() {
        touch(tx, run.session, None)?;
        return Ok(None);
    }
    let id = MessageId::generate();
    let mut message = Message::begin(id, accept.run, Role::User, tx.now);
    message.parts.clone_from(&accept.prompt.parts);
    message.finished_ms = Some(tx.now);
    let place = match accept.start {
        true => Some(next_ordinal(tx.conn, run.session.session)?),
        false => None,
    };
    insert_message(tx.conn, run, &message, place)?;
    touch(tx, run.session, Some(&title_from(&message.text())))?;
    Ok(Some(id))
}

/// Notes that a session changed, and gives it a title if it has none. A session that is to be
/// deleted takes nothing more.
fn touch(tx: &Tx<'_>, session: SessionNo, title: Option<&str>) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE session SET title = coalesce(title, nullif(?2, '')), updated_ms = ?3
             WHERE no = ?1 AND going = 0",
        )?
        .execute(params![session.session, title, tx.now.0 as i64])?;
    match changed {
        1 => Ok(()),
        _ => Err(Refusal::UnknownSession.into()),
    }
}

/// The run that an idempotency key stands for already, if there is one.
pub(super) fn known(
    conn: &Connection,
    session: SessionNo,
    key: &Key,
) -> Result<Option<RunId>, StoreError> {
    let known: Option<([u8; 16], Vec<u8>)> = conn
        .prepare_cached(
            "SELECT id, content FROM run WHERE session = ?1 AND key = ?2
             UNION ALL
             SELECT run.id, later_key.content FROM later_key JOIN run ON run.no = later_key.run
             WHERE later_key.session = ?1 AND later_key.key = ?2",
        )?
        .query_row(params![session.session, key.word], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(|error| {
            let row = format!("with the key {}", key.word);
            Damage::of("run").row(row).name(error.into())
        })?;
    match known {
        Some((id, before)) if before == key.content => Ok(Some(RunId::from_bytes(id))),
        Some(_) => Err(Refusal::KeyConflict.into()),
        None => Ok(None),
    }
}

/// Has a key of a session stand for a run that was there before it, or that is another session's.
pub(super) fn keep_key(tx: &Tx<'_>, run: RunNo, key: &Key) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO later_key (session, key, content, run) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![run.session.session, key.word, key.content, run.run])?;
    Ok(())
}

/// The run that goes on with one that ended early, if there is one and it has no end yet.
fn resumed(tx: &Tx<'_>, run: RunId, accept: &Accept) -> Result<Option<RunId>, StoreError> {
    let by: Option<(i64, [u8; 16], bool)> = tx
        .conn
        .prepare_cached("SELECT no, id, ended_ms IS NOT NULL FROM run WHERE resumes = ?1")?
        .query_row([run.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((no, by, ended)) = by else {
        return Ok(None);
    };
    let by = RunId::from_bytes(by);
    if ended {
        return Err(Refusal::Resumed { by }.into());
    }
    if let Some(key) = &accept.key {
        let run = RunNo {
            run: no,
            session: accept.session,
        };
        keep_key(tx, run, key)?;
    }
    Ok(Some(by))
}

/// How many prompts wait. The list of states is that of the partial index, word for word.
fn queued(tx: &Tx<'_>, session: i64) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM run WHERE session = ?1
             AND state IN ('queued', 'held', 'running', 'finishing') AND state = 'queued'",
        )?
        .query_row([session], |row| row.get(0))?)
}

/// Starts a queued run: its user message gets its place in the history. Answers what is
/// asked, which may have been edited since it was accepted.
pub(super) fn start(tx: &mut Tx<'_>, run: RunNo) -> Result<PromptRecord, StoreError> {
    let (from, to) = (RunState::Queued, next(RunState::Queued, RunEvent::Start)?);
    // In the text rather than bound, as in the finishing transaction.
    let sql = format!(
        "UPDATE run SET state = '{to}', started_ms = ?2, epoch = ?3
         WHERE no = ?1 AND state = '{from}' RETURNING prompt"
    );
    let prompt: String = tx
        .conn
        .prepare_cached(&sql)?
        .query_row(params![run.run, tx.now.0 as i64, tx.epoch], |row| {
            row.get(0)
        })
        .optional()?
        .ok_or(Refusal::WrongState)?;
    let place = next_ordinal(tx.conn, run.session.session)?;
    tx.conn
        .prepare_cached("UPDATE message SET ordinal = ?2 WHERE run = ?1 AND ordinal IS NULL")?
        .execute(params![run.run, place])?;
    tx.log(run.session)?
        .push(Some(run.run), &EventBody::RunStarted {})?;
    let prompt = serde_json::from_str(&prompt).map_err(StoreError::from);
    prompt.map_err(|error| unreadable(run, error))
}

fn unreadable(run: RunNo, error: StoreError) -> StoreError {
    Damage::of("run").row(run.run).name(error)
}

/// Where a run stands.
pub(super) fn state(tx: &Tx<'_>, run: RunNo) -> Result<RunState, StoreError> {
    let word: Option<String> = tx
        .conn
        .prepare_cached("SELECT state FROM run WHERE no = ?1")?
        .query_row([run.run], |row| row.get(0))
        .optional()
        .map_err(|error| unreadable(run, error.into()))?;
    let word = word.ok_or(Refusal::UnknownRun)?;
    let unknown = || StoreError::Content(format!("unknown state {word}"));
    RunState::from_word(&word).ok_or_else(|| unreadable(run, unknown()))
}

/// Moves a run from one state by one event, if it is there.
pub(super) fn change(
    tx: &Tx<'_>,
    run: RunNo,
    from: RunState,
    event: RunEvent,
) -> Result<(), StoreError> {
    let to = next(from, event)?;
    // In the text rather than bound, as in the finishing transaction.
    let sql = format!("UPDATE run SET state = '{to}' WHERE no = ?1 AND state = '{from}'");
    let changed = tx.conn.prepare_cached(&sql)?.execute([run.run])?;
    match changed {
        1 => Ok(()),
        _ => Err(Refusal::WrongState.into()),
    }
}

fn next(from: RunState, event: RunEvent) -> Result<RunState, StoreError> {
    from.next(event)
        .map_err(|illegal| StoreError::Content(illegal.to_string()))
}
