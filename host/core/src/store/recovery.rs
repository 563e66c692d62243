//! What a host does before anything else: every run that an earlier owner left gets its end.
//! Idempotent, and safe to kill at any point: one run, one transaction.

use super::causes::Earlier;
use super::finish::{end, withdraw};
use super::run::{RunNo, SessionNo};
use super::tx::Tx;
use super::{StoreError, entry};
use crate::clock::UnixMillis;
use crate::event::EventBody;
use crate::id::RunId;
use crate::run::{Cause, Ending, RunEvent, RunState, Transcript};
use rusqlite::Connection;
use std::time::Duration;

/// What recovery did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that had begun and got their end now.
    pub ended: u64,
    /// Queued runs that are held until they are resumed.
    pub held: u64,
}

/// A run that an earlier owner left open.
pub(super) struct Left {
    run: RunNo,
    id: RunId,
    state: RunState,
    cause: Option<String>,
}

/// Every run that is open and was touched last by an earlier owner.
pub(super) fn left(conn: &Connection, epoch: i64) -> Result<Vec<Left>, StoreError> {
    let mut query = conn.prepare(
        "SELECT run.no, run.session, session.workspace, run.id, run.state, run.cause FROM run
         JOIN session ON session.no = run.session
         WHERE run.state IN ('queued', 'running', 'finishing') AND run.epoch < ?1
         ORDER BY run.no",
    )?;
    let rows = query.query_map([epoch], |row| {
        Ok((
            RunNo {
                run: row.get(0)?,
                session: SessionNo {
                    session: row.get(1)?,
                    workspace: row.get(2)?,
                },
            },
            RunId::from_bytes(row.get(3)?),
            row.get::<_, String>(4)?,
            row.get(5)?,
        ))
    })?;
    let mut left = Vec::new();
    for row in rows {
        let (run, id, word, cause) = row?;
        let state = RunState::from_word(&word)
            .ok_or_else(|| StoreError::Content(format!("unknown state {word}")))?;
        left.push(Left {
            run,
            id,
            state,
            cause,
        });
    }
    Ok(left)
}

/// Ends one run, or holds it. A cause that was latched counts, be it in the database or beside it.
pub(super) fn recover(
    tx: &mut Tx<'_>,
    left: &Left,
    earlier: &Earlier,
) -> Result<Recovered, StoreError> {
    let kept = earlier.get(&left.id);
    let kept = kept.map(|kept| Ending {
        detail: kept.detail.clone(),
        ..Ending::of(kept.cause.clone())
    });
    if left.state == RunState::Queued {
        if let Some(ending) = kept {
            withdraw(tx, left.id, left.run, &ending)?;
            return Ok(Recovered { ended: 1, held: 0 });
        }
        super::run::change(tx, left.run, RunState::Queued, RunEvent::Hold)?;
        tx.log(left.run.session)?
            .push(Some(left.run.run), &EventBody::RunHeld {})?;
        return Ok(Recovered { ended: 0, held: 1 });
    }
    let mut ending = match (&left.cause, kept) {
        (Some(json), _) => Ending::of(serde_json::from_str(json)?),
        (None, Some(kept)) => kept,
        (None, None) => Ending::of(Cause::HostCrash),
    };
    if ending.cause == Cause::HostCrash {
        let detail =
            "the host ended without finishing this run; what it had said until then is kept";
        ending.detail = Some(detail.to_owned());
    }
    let transcript = replay(tx.conn, left)?;
    let changes = crate::run::finish(transcript, &ending, tx.now);
    entry::write(tx, left.run, &changes.entries)?;
    let receipt = ending.receipt(left.id, changes.said, Duration::ZERO);
    end(tx, left.run, &ending.cause, &receipt)?;
    Ok(Recovered { ended: 1, held: 0 })
}

/// Reads the log of one run back into the transcript that its memory had held.
fn replay(conn: &Connection, left: &Left) -> Result<Transcript, StoreError> {
    let mut transcript = Transcript::new(left.id, 0);
    let mut query = conn.prepare_cached(
        "SELECT body, at_ms FROM event WHERE session = ?1 AND run = ?2 ORDER BY seq",
    )?;
    let mut rows = query.query([left.run.session.session, left.run.run])?;
    while let Some(row) = rows.next()? {
        let body: EventBody = serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or_default())?;
        transcript.replay(body, UnixMillis(row.get::<_, i64>(1)? as u64));
    }
    Ok(transcript)
}
