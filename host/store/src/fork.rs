//! A session that begins with the history of another. One run that never ran owns what was
//! copied, so that the new log has the order that every log has.

use super::open::Store;
use super::run::{self, Key, PromptRecord, RunNo, SessionNo};
use super::session::{self, NewSession};
use super::tx::Tx;
use super::{StoreError, entry, finish, message, queue};
use lastword_types::event::EventBody;
use lastword_types::id::{MessageId, RunId, SessionId};
use lastword_types::run::{Cause, Ending, Origin, RunState, Said};
use lastword_types::session::{FinishReason, ForkPoint, Message, Role};
use rusqlite::params;
use std::time::Duration;

/// Begins a session with the history of another, or finds the one that a key of that stands for.
fn fork_once(
    tx: &mut Tx<'_>,
    from: SessionId,
    through: MessageId,
    key: Option<&Key>,
) -> Result<SessionId, StoreError> {
    let source = session::find(tx.conn, from)?.no;
    if let Some(key) = key
        && let Some(known) = run::known(tx.conn, source, key)?
    {
        return Ok(queue::find(tx.conn, known)?.session);
    }
    let new = SessionId::generate();
    let copies = fork(tx, from, through, new)?;
    if let Some(key) = key {
        let stands_for = RunNo {
            session: source,
            ..copies
        };
        run::keep_key(tx, stands_for, key)?;
    }
    Ok(new)
}

/// Begins a session with the messages of another, up to and including one of them. Returns the
/// run that owns the copies.
fn fork(
    tx: &mut Tx<'_>,
    from: SessionId,
    through: MessageId,
    new: SessionId,
) -> Result<RunNo, StoreError> {
    let source = session::find(tx.conn, from)?;
    let place = message::ordinal(tx.conn, source.no, through)?;
    let begun = NewSession {
        id: new,
        agent: source.record.agent.clone(),
        parent: None,
        forked_from: Some(ForkPoint {
            session: from,
            message: through,
        }),
    };
    let no = session::create(tx, source.no.workspace, &begun)?;
    tx.conn
        .prepare_cached("UPDATE session SET title = ?2 WHERE no = ?1")?
        .execute(params![no.session, source.record.title])?;
    tx.conn
        .prepare_cached(
            "INSERT INTO blob_use (session, blob) SELECT ?1, blob FROM blob_use WHERE session = ?2",
        )?
        .execute([no.session, source.no.session])?;
    let id = RunId::generate();
    let run = begin_run(tx, id, no, through)?;
    let said = copy_all(tx, source.no, place, id, run)?;
    let ending = Ending::of(Cause::Returned(FinishReason::EndTurn));
    let receipt = ending.receipt(id, said, Duration::ZERO);
    finish::end(tx, run, &ending.cause, &receipt)?;
    Ok(run)
}

/// The run that owns the copies; its digest is that of the run that wrote the last of them.
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
    let prompt = PromptRecord {
        origin: Origin::Fork,
        parts: Vec::new(),
        config: "{}".to_owned(),
        deadline: None,
        carried: None,
    };
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

/// Copies the history through a place, a page at a time, and the summary that stands for
/// some of it.
fn copy_all(
    tx: &mut Tx<'_>,
    source: SessionNo,
    place: i64,
    id: RunId,
    run: RunNo,
) -> Result<Said, StoreError> {
    let mut said = Said::default();
    let mut after = 0;
    while after < place {
        let through = place.min(after.saturating_add(i64::from(message::PAGE_MESSAGES)));
        // What cannot be read is copied as what stands in for it.
        let (page, _) = message::places(tx.conn, source, after, through)?;
        for message in page {
            copy(tx, message, id, run, &mut said)?;
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
        let no = copy(tx, summary, id, run, &mut said)?;
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
    id: RunId,
    run: RunNo,
    said: &mut Said,
) -> Result<i64, StoreError> {
    message.id = MessageId::generate();
    message.run = id;
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
        log.push(Some(run.run), &entry::finished(&message))?;
    }
    Ok(no)
}

impl Store {
    /// Begins a session with the history of another, through one of its messages; the same key of
    /// that session again returns the same one.
    pub async fn fork(
        &self,
        from: SessionId,
        through: MessageId,
        key: Option<Key>,
    ) -> Result<SessionId, StoreError> {
        self.write(move |tx| fork_once(tx, from, through, key.as_ref()))
            .await
    }
}
