//! Accepts and starts runs. Each step is a compare-and-set, and the order of the writer's queue
//! decides between two requests that race.

use super::entry::{insert_message, keep_blob, next_ordinal};
use super::numbers::{RunNo, SessionNo};
use super::tx::Tx;
use super::wake;
use crate::command::{Accept, Accepted, KeepKey};
use crate::damage::Describe as _;
use crate::prompt::{Key, PromptRecord};
use crate::{Damage, Refusal, StoreError};
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, RunId, SessionId};
use lastword_types::run::{RunEvent, RunState};
use lastword_types::session::{Message, Role, title_from};
use rusqlite::{Connection, OptionalExtension, params};

/// Accepts a prompt in one transaction: writes the run's row, its attached bytes and the user's
/// message, and settles what the session waited for.
pub(super) fn accept(tx: &mut Tx<'_>, accept: &Accept) -> Result<Accepted, StoreError> {
    let session = tx.session(accept.session)?;
    if let Some(key) = &accept.key
        && let Some(known) = known(tx.conn, session.session, session.id, key)?
    {
        return Ok(Accepted::Known(known));
    }
    if let Some(run) = accept.resumes
        && let Some(by) = resumed(tx, run, session, accept)?
    {
        return Ok(Accepted::Known(by));
    }
    if let Some(goes_on) = &accept.goes_on {
        wake::go_on(tx, session, goes_on)?;
    }
    if !accept.start && queued(tx, session.session)? >= i64::from(accept.queue_max) {
        return Err(Refusal::QueueFull(accept.session).into());
    }

    let state = if accept.start {
        next(RunState::Queued, RunEvent::Start)?
    } else {
        RunState::Queued
    };

    tx.conn
        .prepare_cached(
            "INSERT INTO run (id, session, state, epoch, prompt, digest, key, content,
                              accepted_ms, started_ms, resumes, parent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            accept.run.as_bytes(),
            session.session,
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
        id: accept.run,
        session,
    };
    tx.numbers.keep_run(run);
    for (id, bytes) in &accept.attached {
        keep_blob(tx.conn, session, id, bytes)?;
    }

    let message = user_message(tx, run, accept)?;
    log_accepted(tx, run, accept, message)?;
    Ok(Accepted::New)
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

/// Writes the user's message, which has a place in the history only if the run starts at once.
fn user_message(tx: &Tx<'_>, run: RunNo, accept: &Accept) -> Result<Option<MessageId>, StoreError> {
    if !accept.prompt.origin.brings_message() {
        touch(tx, run.session, None)?;
        return Ok(None);
    }
    let id = MessageId::generate();
    let mut message = Message::begin(id, accept.run, Role::User, tx.now);
    message.parts.clone_from(&accept.prompt.parts);
    message.finished_ms = Some(tx.now);
    let place = if accept.start {
        Some(next_ordinal(tx.conn, run.session.session)?)
    } else {
        None
    };
    insert_message(tx.conn, run, &message, place)?;
    touch(tx, run.session, Some(&title_from(&message.text())))?;
    Ok(Some(id))
}

/// Updates the time of a session's last change, and gives it a title if it has none. Refused for a
/// session that is being deleted.
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
        _ => Err(Refusal::UnknownSession(session.id).into()),
    }
}

/// Returns the run that an idempotency key already stands for, if any.
pub(super) fn known(
    conn: &Connection,
    no: i64,
    session: SessionId,
    key: &Key,
) -> Result<Option<RunId>, StoreError> {
    let known: Option<([u8; 16], Vec<u8>)> = conn
        .prepare_cached(
            "SELECT id, content FROM run WHERE session = ?1 AND key = ?2
             UNION ALL
             SELECT run.id, later_key.content FROM later_key JOIN run ON run.no = later_key.run
             WHERE later_key.session = ?1 AND later_key.key = ?2",
        )?
        .query_row(params![no, key.word], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(|error| {
            let row = format!("with the key {}", key.word);
            Damage::of("run").row(row).name(error.into())
        })?;
    match known {
        Some((id, before)) if before == key.content => Ok(Some(RunId::from_bytes(id))),
        Some(_) => Err(Refusal::KeyConflict(session).into()),
        None => Ok(None),
    }
}

/// Makes a key of a session stand for an existing run, which may be in another session.
pub(super) fn keep_key(tx: &Tx<'_>, run: RunNo, key: &Key) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO later_key (session, key, content, run) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![run.session.session, key.word, key.content, run.run])?;
    Ok(())
}

/// Makes a key stand for a run, unless it already stands for one.
pub(super) fn keep_key_once(tx: &mut Tx<'_>, keep: &KeepKey) -> Result<(), StoreError> {
    let run = tx.run(keep.run)?;
    match known(tx.conn, run.session.session, run.session.id, &keep.key)? {
        Some(_) => Ok(()),
        None => keep_key(tx, run, &keep.key),
    }
}

/// Returns the run that resumes one that ended early, if there is one. Refused if that run has
/// ended.
fn resumed(
    tx: &Tx<'_>,
    run: RunId,
    session: SessionNo,
    accept: &Accept,
) -> Result<Option<RunId>, StoreError> {
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
            id: by,
            session,
        };
        keep_key(tx, run, key)?;
    }
    Ok(Some(by))
}

/// Returns the number of waiting prompts. The list of states has to be word for word that of the
/// partial index.
fn queued(tx: &Tx<'_>, session: i64) -> Result<i64, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM run WHERE session = ?1
             AND state IN ('queued', 'held', 'running', 'finishing') AND state = 'queued'",
        )?
        .query_row([session], |row| row.get(0))?)
}

/// Starts a queued run: its user message gets its place in the history. Returns the prompt, which
/// may have been edited since it was accepted.
pub(super) fn start(tx: &mut Tx<'_>, run: RunId) -> Result<PromptRecord, StoreError> {
    let run = tx.run(run)?;
    let (from, to) = (RunState::Queued, next(RunState::Queued, RunEvent::Start)?);
    // The states are part of the text and not bound, as in the finishing transaction.
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

/// Returns the state of a run.
pub(super) fn state(tx: &Tx<'_>, run: RunNo) -> Result<RunState, StoreError> {
    let word: Option<String> = tx
        .conn
        .prepare_cached("SELECT state FROM run WHERE no = ?1")?
        .query_row([run.run], |row| row.get(0))
        .optional()
        .map_err(|error| unreadable(run, error.into()))?;
    let word = word.ok_or(Refusal::UnknownRun(run.id))?;
    word.parse::<RunState>()
        .map_err(|error| unreadable(run, error.into()))
}

/// Changes the state of a run by an event, if it is in the given state.
pub(super) fn change(
    tx: &Tx<'_>,
    run: RunNo,
    from: RunState,
    event: RunEvent,
) -> Result<(), StoreError> {
    let to = next(from, event)?;
    // The states are part of the text and not bound, as in the finishing transaction.
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
