//! Messages in the store: the history that agents and people read.

use super::run::SessionNo;
use super::tx::Tx;
use super::{Refusal, StoreError, event};
use crate::clock::UnixMillis;
use crate::event::EventBody;
use crate::id::{MessageId, RunId, SessionId};
use crate::run::{Receipt, RunState};
use crate::session::{BlobId, FinishReason, Message, Role};
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(super) const COLUMNS: &str = "message.id, run.id, message.ordinal, message.role, message.parts,
    message.model, message.provider, message.finish, message.created_ms, message.finished_ms,
    message.extra";

pub(super) fn read(row: &Row<'_>) -> Result<Message, StoreError> {
    let role = match row.get_ref(3)?.as_str().unwrap_or_default() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => Role::System,
    };
    let finish: Option<String> = row.get(7)?;
    let finish: Option<FinishReason> = finish
        .map(|word| serde_json::from_value(serde_json::Value::String(word)))
        .transpose()?;
    let extra: Option<String> = row.get(10)?;
    Ok(Message {
        id: MessageId::from_bytes(row.get(0)?),
        run: RunId::from_bytes(row.get(1)?),
        ordinal: row.get::<_, Option<i64>>(2)?.map(|n| n as u64),
        role,
        parts: serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?,
        model: row.get(5)?,
        provider: row.get(6)?,
        finish,
        created_ms: UnixMillis(row.get::<_, i64>(8)? as u64),
        finished_ms: row
            .get::<_, Option<i64>>(9)?
            .map(|at| UnixMillis(at as u64)),
        extra: extra
            .map(|json| serde_json::from_str(&json))
            .transpose()?
            .unwrap_or_default(),
    })
}

/// Messages of the largest page of history.
pub const PAGE_MESSAGES: u32 = 256;

/// The last messages of a session that stand before `before` and after a given place, in
/// time order.
pub(super) fn history(
    conn: &Connection,
    session: SessionNo,
    before: Option<MessageId>,
    after: i64,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let before = match before {
        Some(id) => ordinal(conn, session, id)?,
        None => i64::MAX,
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM message JOIN run ON run.no = message.run
         WHERE message.session = ?1 AND message.ordinal < ?2 AND message.ordinal > ?3
         ORDER BY message.ordinal DESC LIMIT ?4"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let limit = limit.min(PAGE_MESSAGES);
    let mut rows = query.query(params![session.session, before, after, limit])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(read(row)?);
    }
    messages.reverse();
    Ok(messages)
}

/// The last messages of a session before one, as people read them: the history, and at the place
/// where they were taken back the prompts that never were in it.
pub(super) fn page(
    conn: &Connection,
    session: SessionNo,
    before: Option<MessageId>,
    limit: u32,
) -> Result<Vec<Message>, StoreError> {
    let (place, beside, no) = match before {
        Some(id) => conn
            .prepare_cached(
                "SELECT coalesce(ordinal, beside), ordinal IS NULL, no FROM message
                 WHERE id = ?1 AND session = ?2 AND coalesce(ordinal, beside) IS NOT NULL",
            )?
            .query_row(params![id.as_bytes(), session.session], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?
            .ok_or(Refusal::UnknownMessage)?,
        None => (i64::MAX, true, i64::MAX),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM (
           SELECT * FROM (
             SELECT no, ordinal AS place, 0 AS behind FROM message
             WHERE session = ?1 AND ordinal <= ?2 AND (ordinal, 0, no) < (?2, ?3, ?4)
             ORDER BY ordinal DESC LIMIT ?5)
           UNION ALL
           SELECT * FROM (
             SELECT no, beside AS place, 1 AS behind FROM message
             WHERE session = ?1 AND beside <= ?2 AND (beside, 1, no) < (?2, ?3, ?4)
             ORDER BY beside DESC, no DESC LIMIT ?5)
           ORDER BY place DESC, behind DESC, no DESC LIMIT ?5) shown
         JOIN message ON message.no = shown.no JOIN run ON run.no = message.run
         ORDER BY shown.place, shown.behind, shown.no"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let limit = limit.min(PAGE_MESSAGES);
    let mut rows = query.query(params![session.session, place, beside, no, limit])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(read(row)?);
    }
    Ok(messages)
}

/// Has the messages of a run that was taken back shown behind the last that has a place.
pub(super) fn show_beside(conn: &Connection, run: super::RunNo) -> Result<(), StoreError> {
    let session = run.session.session;
    let last = super::entry::next_ordinal(conn, session)? - 1;
    conn.prepare_cached("UPDATE message SET beside = ?2 WHERE run = ?1 AND ordinal IS NULL")?
        .execute(params![run.run, last])?;
    Ok(())
}

/// The messages after one place and through another, in order.
pub(super) fn places(
    conn: &Connection,
    session: SessionNo,
    after: i64,
    through: i64,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM message JOIN run ON run.no = message.run
         WHERE message.session = ?1 AND message.ordinal > ?2 AND message.ordinal <= ?3
         ORDER BY message.ordinal"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(params![session.session, after, through])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(read(row)?);
    }
    Ok(messages)
}

/// The place of a message in the history.
pub(super) fn ordinal(
    conn: &Connection,
    session: SessionNo,
    id: MessageId,
) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "SELECT ordinal FROM message WHERE id = ?1 AND session = ?2 AND ordinal IS NOT NULL",
    )?
    .query_row(params![id.as_bytes(), session.session], |row| row.get(0))
    .optional()?
    .ok_or_else(|| Refusal::UnknownMessage.into())
}

/// The summary of a session, if it has one, and the place through which it stands for the
/// history.
pub(super) fn summary(
    conn: &Connection,
    session: SessionNo,
) -> Result<Option<(Message, i64)>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, session.summary_through FROM session
         JOIN message ON message.no = session.summary_message JOIN run ON run.no = message.run
         WHERE session.no = ?1"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([session.session])?;
    match rows.next()? {
        Some(row) => Ok(Some((read(row)?, row.get(11)?))),
        None => Ok(None),
    }
}

/// The name in a message's `extra` under which an agent finds the text of the summary that
/// stands for everything through this message.
const SUMMARISED_AS: &str = "summarised-as";

/// Puts the text of the session's summary beside the message through which it stands.
pub(super) fn mark_summary(
    conn: &Connection,
    session: SessionNo,
    messages: &mut [Message],
) -> Result<(), StoreError> {
    let Some((summary, through)) = summary(conn, session)? else {
        return Ok(());
    };
    let through = u64::try_from(through).ok();
    if let Some(message) = messages
        .iter_mut()
        .find(|message| message.ordinal == through)
    {
        let text = serde_json::to_string(&summary.text())?;
        message.extra.insert(SUMMARISED_AS.to_owned(), text);
    }
    Ok(())
}

/// Keeps a summary that stands for everything through one message, if it is another than the
/// present one. The originals stay.
pub(super) fn summarise(
    tx: &mut Tx<'_>,
    run: super::RunNo,
    session: SessionNo,
    message: &Message,
    through: MessageId,
) -> Result<(), StoreError> {
    let place = ordinal(tx.conn, session, through)?;
    let present = summary(tx.conn, session)?;
    if present.is_some_and(|(present, at)| at == place && present.parts == message.parts) {
        return Ok(());
    }
    let no = super::entry::insert_message(tx.conn, run, message, None)?;
    tx.conn
        .prepare_cached(
            "UPDATE session SET summary_message = ?2, summary_through = ?3 WHERE no = ?1",
        )?
        .execute(params![session.session, no, place])?;
    let body = EventBody::HistorySummarised {
        message: message.id,
        through,
    };
    let mut log = tx.log(session)?;
    let begun = EventBody::MessageCreated {
        message: message.id,
        role: message.role,
        parts: message.parts.clone(),
    };
    log.push(Some(run.run), &begun)?;
    log.push(Some(run.run), &body)
}

/// The bytes of a data part of this session.
pub(super) fn blob(
    conn: &Connection,
    session: SessionNo,
    id: &BlobId,
) -> Result<Option<Vec<u8>>, StoreError> {
    // A blob is shared by digest; only a session that was given the bytes may read them.
    Ok(conn
        .prepare_cached(
            "SELECT bytes FROM blob_use JOIN blob ON blob.id = blob_use.blob
             WHERE blob_use.session = ?1 AND blob_use.blob = ?2",
        )?
        .query_row(params![session.session, id.0], |row| row.get(0))
        .optional()?)
}

/// A run as `show` prints it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Where it stands. `Running` without an owner awaits recovery.
    pub state: RunState,
    /// Its end, if it has one.
    pub receipt: Option<Receipt>,
    /// Its messages: those with a place first, in order.
    pub messages: Vec<Message>,
}

/// The runs of a session with all their messages, in the order of acceptance.
pub(super) fn runs(conn: &Connection, session: SessionId) -> Result<Vec<RunRow>, StoreError> {
    let no = event::session_no(conn, session)?;
    let mut query = conn.prepare_cached(
        "SELECT run.id, run.state, run_terminal.receipt FROM run
         LEFT JOIN run_terminal ON run_terminal.run = run.no
         WHERE run.session = ?1 ORDER BY run.no",
    )?;
    let mut rows = query.query([no])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let word: String = row.get(1)?;
        let receipt: Option<String> = row.get(2)?;
        runs.push(RunRow {
            id: RunId::from_bytes(row.get(0)?),
            state: RunState::from_word(&word)
                .ok_or_else(|| StoreError::Content(format!("unknown state {word}")))?,
            receipt: receipt
                .map(|json| serde_json::from_str(&json))
                .transpose()?,
            messages: Vec::new(),
        });
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM message JOIN run ON run.no = message.run
         WHERE message.session = ?1 ORDER BY message.ordinal IS NULL, message.ordinal, message.no"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([no])?;
    let places: std::collections::HashMap<RunId, usize> = runs
        .iter()
        .enumerate()
        .map(|(at, run)| (run.id, at))
        .collect();
    while let Some(row) = rows.next()? {
        let message = read(row)?;
        if let Some(&at) = places.get(&message.run) {
            runs[at].messages.push(message);
        }
    }
    Ok(runs)
}
