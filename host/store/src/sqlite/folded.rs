//! Reads runs whose events were folded away, from their rows, messages and receipts, and logs from
//! their present beginning.

use super::message;
use crate::damage::{Damage, Describe as _};
use crate::prompt::PromptRecord;
use crate::transcript::{Remains, retell};
use crate::{Archive, Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, Position, Seq};
use lastword_types::id::{RunId, SessionId};
use lastword_types::run::Origin;
use rusqlite::{Connection, OptionalExtension};

/// Returns all events of a run that has ended, rebuilt from its row, its messages and its receipt.
/// Their numbers and positions are 0, since the original ones are deleted.
pub(super) fn retold(
    conn: &Connection,
    id: RunId,
) -> Result<(Vec<Event>, Vec<Damage>), StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let (session, remains, damaged) =
        remains(&snapshot, id).map_err(|error| Damage::of("run").run(id).name(error))?;
    let told = retell(remains).into_iter().map(|(at_ms, body)| Event {
        seq: Seq(0),
        pos: Position(0),
        session,
        run: Some(id),
        at_ms,
        body,
    });
    Ok((told.collect(), damaged))
}

/// A run's row: its number, its session, the number after which that session's log begins, and the
/// rest of the row.
type Row = (
    i64,
    [u8; 16],
    i64,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

fn remains(conn: &Connection, id: RunId) -> Result<(SessionId, Remains, Vec<Damage>), StoreError> {
    let row: Option<Row> = conn
        .prepare_cached(
            "SELECT run.no, session.id, session.log_from, run.prompt, run.digest,
                    run.accepted_ms, run.started_ms, run.ended_ms, run_terminal.receipt
             FROM run JOIN session ON session.no = run.session
             LEFT JOIN run_terminal ON run_terminal.run = run.no WHERE run.id = ?1",
        )?
        .query_row([id.as_bytes()], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
                row.get(6)?,
                row.get(7)?,
                row.get(8)?,
            ))
        })
        .optional()?;
    let (no, session, from, prompt, digest, accepted, started, ended, receipt) =
        row.ok_or(Refusal::UnknownRun(id))?;
    let through = from as u64;
    // Without an end nothing of the run was folded.
    let receipt = receipt.ok_or(Refusal::Expired { through })?;
    // If the prompt cannot be read, the other events can still be rebuilt.
    let origin = serde_json::from_str(&prompt).map(|prompt: PromptRecord| prompt.origin);
    let (messages, damaged) = messages(conn, no)?;
    let remains = Remains {
        origin: origin.unwrap_or_else(|_| Origin::Other(String::new())),
        digest,
        accepted_ms: UnixMillis(accepted as u64),
        started_ms: started.map(|at| UnixMillis(at as u64)),
        ended_ms: UnixMillis(ended.unwrap_or(accepted) as u64),
        messages,
        receipt: serde_json::from_str(&receipt)?,
    };
    Ok((SessionId::from_bytes(session), remains, damaged))
}

fn messages(conn: &Connection, run: i64) -> Result<message::ReadMessages, StoreError> {
    // Each half has an index of its own.
    let which = "message.no IN (
          SELECT no FROM message WHERE run = ?1 AND ordinal IS NOT NULL
            AND session = (SELECT session FROM run WHERE no = ?1)
          UNION ALL SELECT no FROM message WHERE run = ?1 AND ordinal IS NULL)
        ORDER BY message.ordinal IS NULL, message.ordinal, message.no";
    message::listed(conn, which, &[&run])
}

impl Archive {
    /// Returns the stored events of a session after `after`, at most [`crate::PAGE_EVENTS`]. If the
    /// log begins later, returns those from its beginning.
    ///
    /// # Errors
    /// As for [`Archive::session`].
    pub fn kept_events(&self, session: SessionId, after: Seq) -> Result<Vec<Event>, StoreError> {
        let mut after = after;
        loop {
            match self.events(session, after) {
                Err(StoreError::Refused(Refusal::Expired { through })) => after = Seq(through),
                page => return page,
            }
        }
    }
}
