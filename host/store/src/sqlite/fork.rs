//! Begins a session with a copy of another's history. A run that is never executed owns the copies,
//! so that the new log has the same order as every other log.

use super::numbers::{RunNo, SessionNo};
use super::session::{self, NewSession};
use super::tx::Tx;
use super::{entry, finish, message, queue, run};
use crate::command::ForkSession;
use crate::prompt::PromptRecord;
use crate::rows::PAGE_MESSAGES;
use crate::{StoreError, conversation};
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, RunId, SessionId};
use lastword_types::run::{Cause, OutputStats, RunOutcome, RunState};
use lastword_types::session::{FinishReason, ForkPoint, Message, Role};
use rusqlite::params;
use std::time::Duration;

/// Begins a session with the history of another, or finds the one for which its key stands.
pub(super) fn fork_once(tx: &mut Tx<'_>, fork: &ForkSession) -> Result<SessionId, StoreError> {
    session::locate(tx.conn, fork.from)?;
    let source = tx.session(fork.from)?;
    if let Some(key) = &fork.key
        && let Some(known) = run::known(tx.conn, source.session, source.id, key)?
    {
        return Ok(queue::find(tx.conn, known)?.session);
    }
    let copies = begin(tx, source, fork)?;
    if let Some(key) = &fork.key {
        let stands_for = RunNo {
            session: source,
            ..copies
        };
        run::keep_key(tx, stands_for, key)?;
    }
    Ok(fork.id)
}

/// Begins a session with the messages of another, up to and including one of them. Returns the run
/// that owns the copies.
fn begin(tx: &mut Tx<'_>, source: SessionNo, fork: &ForkSession) -> Result<RunNo, StoreError> {
    let record = session::find(tx.conn, fork.from)?.record;
    let place = message::ordinal(tx.conn, source.session, fork.through)?;
    let begun = NewSession {
        id: fork.id,
        agent: record.agent.clone(),
        parent: None,
        forked_from: Some(ForkPoint {
            session: fork.from,
            message: fork.through,
        }),
    };
    let no = session::create(tx, source.workspace_id, &begun)?;
    tx.conn
        .prepare_cached("UPDATE session SET title = ?2 WHERE no = ?1")?
        .execute(params![no.session, record.title])?;
    tx.conn
        .prepare_cached(
            "INSERT INTO blob_use (session, blob) SELECT ?1, blob FROM blob_use WHERE session = ?2",
        )?
        .execute([no.session, source.session])?;
    let id = fork.run;
    let run = begin_run(tx, id, no, fork.through)?;
    let said = copy_all(tx, source.session, place, run)?;
    let ending = RunOutcome::of(Cause::Returned(FinishReason::EndTurn));
    let receipt = ending.receipt(id, said, Duration::ZERO);
    finish::end(tx, run, RunState::Running, &ending.cause, &receipt)?;
    Ok(run)
}

/// Creates the run that owns the copies. Its digest is that of the run that wrote the last of them.
fn begin_run(
    tx: &mut Tx<'_>,
    id: RunId,
    session: SessionNo,
    through: MessageId,
) -> Result<RunNo, StoreError> {
    let digest: String = tx
        .conn
        .prepare_cached(
            "SELECT run.digest FROM message JOIN run ON run.no = message.run
             WHERE message.id = ?1",
        )?
        .query_row([through.as_bytes()], |row| row.get(0))?;
    let prompt = PromptRecord::of_fork();
    let state = RunState::Running;
    tx.conn
        .prepare_cached(
            "INSERT INTO run (id, session, state, epoch, prompt, digest, accepted_ms, started_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        )?
        .execute(params![
            id.as_bytes(),
            session.session,
            state.as_str(),
            tx.epoch,
            serde_json::to_string(&prompt)?,
            digest,
            tx.now.0 as i64,
        ])?;
    let run = RunNo {
        run: tx.conn.last_insert_rowid(),
        id,
        session,
    };
    let mut log = tx.log(session)?;
    let queued = EventBody::RunQueued {
        origin: prompt.origin,
        digest,
    };
    log.push(Some(run.run), &queued)?;
    log.push(Some(run.run), &EventBody::RunStarted {})?;
    Ok(run)
}

/// Copies the history up to and including a place, a page at a time, and the summary that replaces
/// some of it.
fn copy_all(
    tx: &mut Tx<'_>,
    source: i64,
    place: i64,
    run: RunNo,
) -> Result<OutputStats, StoreError> {
    let mut said = OutputStats::default();
    let mut after = 0;
    while after < place {
        let through = place.min(after.saturating_add(i64::from(PAGE_MESSAGES)));
        // For an unreadable message its replacement is copied.
        let (page, _) = message::places(tx.conn, source, after, through)?;
        for message in page {
            copy(tx, message, run, &mut said)?;
        }
        after = through;
    }
    let summary = match message::summary(tx.conn, source) {
        Err(StoreError::Damaged(_)) => None,
        summary => summary?,
    };
    if let Some((summary, stands_for)) = summary
        && stands_for <= place
    {
        let no = copy(tx, summary, run, &mut said)?;
        tx.conn
            .prepare_cached(
                "UPDATE session SET summary_message = ?2, summary_through = ?3 WHERE no = ?1",
            )?
            .execute(params![run.session.session, no, stands_for])?;
    }
    Ok(said)
}

fn copy(
    tx: &mut Tx<'_>,
    mut message: Message,
    run: RunNo,
    said: &mut OutputStats,
) -> Result<i64, StoreError> {
    message.id = MessageId::generate();
    message.run = run.id;
    said.parts += message.parts.len() as u64;
    if message.role == Role::Assistant {
        said.text_bytes += message.text().len() as u64;
    }
    let place = message.ordinal.map(|place| place as i64);
    let no = entry::insert_message(tx.conn, run, &message, place)?;
    let created = EventBody::MessageCreated {
        message: message.id,
        role: message.role,
        parts: message.parts.clone(),
    };
    let mut log = tx.log(run.session)?;
    log.push(Some(run.run), &created)?;
    if message.finish.is_some() {
        log.push(Some(run.run), &conversation::finished(&message))?;
    }
    Ok(no)
}
