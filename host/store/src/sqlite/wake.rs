//! The times and answers that sessions wait for: written with a waiting run's end, and removed when
//! a run that continues it is accepted. The host's timer asks for those that are due.

use super::listing::place;
use super::numbers::{RunNo, SESSION, SessionNo};
use super::tx::Tx;
use super::{finish, run};
use crate::command::{Accept, Accepted, Continuation, TakeWaitsBack, Waits};
use crate::damage::Damage;
use crate::prompt::PromptRecord;
use crate::rows::{DUE_MAX, Due, DueCursor, DuePage};
use crate::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{RunId, SessionId};
use lastword_types::run::{CarriedUsage, Receipt, Wait};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Writes what a run waits for, together with its end.
pub(super) fn keep(tx: &Tx<'_>, run: RunNo, wait: &Wait) -> Result<(), StoreError> {
    let due = wait.after.map(|after| {
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        (tx.now.0 as i64).saturating_add(after)
    });
    let question = wait
        .question
        .as_ref()
        .map(|question| *question.id.as_bytes());
    tx.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO wake (run, due_ms, question, carried)
             VALUES (?1, ?2, (SELECT no FROM question WHERE id = ?3), ?4)",
        )?
        .execute(params![
            run.run,
            due,
            question,
            serde_json::to_string(&wait.carried)?
        ])?;
    Ok(())
}

/// Removes what a run waits for, and settles its question. If two prompts would continue the run,
/// the second is refused.
pub(super) fn go_on(
    tx: &mut Tx<'_>,
    session: SessionNo,
    goes_on: &Continuation,
) -> Result<(), StoreError> {
    let waited: Option<Option<i64>> = tx
        .conn
        .prepare_cached(
            "DELETE FROM wake WHERE run = (SELECT no FROM run WHERE id = ?1) RETURNING question",
        )?
        .query_row([goes_on.run.as_bytes()], |row| row.get(0))
        .optional()?;
    match (waited, &goes_on.answer) {
        (Some(Some(question)), answer) => {
            super::question::settle_late(tx, session, question, answer.as_ref())
        }
        (Some(None), None) => Ok(()),
        (Some(None), Some(_)) | (None, _) => Err(Refusal::WrongState.into()),
    }
}

pub(super) fn due(
    conn: &Connection,
    now: UnixMillis,
    after: Option<DueCursor>,
) -> Result<(DuePage, Vec<Damage>), StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT run.id, session.id, run.prompt, due_ms, wake.run, wake.carried, EXISTS (
           SELECT 1 FROM run later WHERE later.session = run.session AND later.no > run.no
             AND iif(json_valid(later.prompt), json_extract(later.prompt, '$.origin'), NULL)
               IN ('user', 'answer', 'resume'))
         FROM wake LEFT JOIN run ON run.no = wake.run LEFT JOIN session ON session.no = run.session
         WHERE due_ms <= ?1 AND typeof(due_ms) = 'integer' AND (due_ms, wake.run) > (?2, ?3)
         ORDER BY due_ms, wake.run LIMIT ?4",
    )?;
    let after = after.map_or((i64::MIN, 0), |place| (place.due_ms, place.run));
    let mut rows = query.query(params![now.0 as i64, after.0, after.1, DUE_MAX as i64])?;
    let (mut page, mut damaged) = (DuePage::default(), Vec::new());
    while let Some(row) = rows.next()? {
        page.last = Some(DueCursor {
            due_ms: row.get(3)?,
            run: row.get(4)?,
        });
        match read(row) {
            Ok(due) => page.due.push(due),
            Err(error) => {
                let run: i64 = row.get(4)?;
                damaged.push(place(conn, "wake", &run.into(), error));
            }
        }
    }
    Ok((page, damaged))
}

pub(super) fn read(row: &Row<'_>) -> Result<Due, StoreError> {
    Ok(Due {
        run: RunId::from_bytes(row.get(0)?),
        session: SessionId::from_bytes(row.get(1)?),
        prompt: serde_json::from_str::<PromptRecord>(super::event::text(row, 2)?)?
            .woken(Some(carried(row)?)),
    })
}

/// The usage that a run which a time begins takes over: that of the runs before it, or none if a
/// user sent a prompt in between.
fn carried(row: &Row<'_>) -> Result<CarriedUsage, StoreError> {
    let before: Option<String> = row.get(5)?;
    let before = match (before, row.get(6)?) {
        (Some(json), false) => serde_json::from_str(&json)?,
        (None, _) | (_, true) => CarriedUsage::default(),
    };
    Ok(crate::prompt::one_more_wake(before))
}

/// A time or an answer that a session waits for.
struct Waited {
    run: RunNo,
    prompt: PromptRecord,
    digest: String,
    question: Option<i64>,
}

fn waited(conn: &Connection, waits: Waits) -> Result<Vec<Waited>, StoreError> {
    let (which, id) = match &waits {
        Waits::Session(id) => ("session.id = ?1", id.as_bytes()),
        Waits::Times(id) => ("due_ms IS NOT NULL AND workspace.id = ?1", id.as_bytes()),
    };
    let sql = format!(
        "SELECT run.no, {SESSION}, run.id, run.prompt, run.digest, question
         FROM workspace JOIN session ON session.workspace = workspace.no
         JOIN run ON run.session = session.no JOIN wake ON wake.run = run.no
         WHERE {which} AND session.going = 0 ORDER BY run.no LIMIT ?2"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(params![id, DUE_MAX as i64])?;
    let mut waited = Vec::new();
    while let Some(row) = rows.next()? {
        waited.push(Waited {
            run: RunNo {
                run: row.get(0)?,
                id: RunId::from_bytes(row.get(5)?),
                session: SessionNo::read(row, 1),
            },
            // An unreadable prompt is taken back like any other; its run never begins.
            prompt: serde_json::from_str(super::event::text(row, 6).unwrap_or_default())
                .unwrap_or_else(|_| PromptRecord::unreadable()),
            digest: row.get(7)?,
            question: row.get(8)?,
        });
    }
    Ok(waited)
}

/// Takes back a page of waits. The run that each would have begun is accepted and withdrawn at
/// once, so that it has its events, its end and its receipt like every other.
pub(super) fn take_back(tx: &mut Tx<'_>, take: &TakeWaitsBack) -> Result<Vec<Receipt>, StoreError> {
    let mut receipts = Vec::new();
    for waited in waited(tx.conn, take.waits)? {
        let keeps_question = matches!(take.waits, Waits::Times(_)) && waited.question.is_some();
        if keeps_question {
            tx.conn
                .prepare_cached("UPDATE wake SET due_ms = NULL WHERE run = ?1")?
                .execute([waited.run.run])?;
        }
        let goes_on = Continuation {
            run: waited.run.id,
            answer: None,
        };
        let accept = Accept {
            run: RunId::generate(),
            session: waited.run.session.id,
            prompt: waited.prompt.woken(None),
            attached: Vec::new(),
            digest: waited.digest,
            key: None,
            goes_on: (!keeps_question).then_some(goes_on),
            resumes: None,
            parent: None,
            queue_max: u32::MAX,
            start: false,
        };
        tx.numbers.keep_session(waited.run.session);
        if run::accept(tx, &accept)? == Accepted::New {
            let run = tx.run(accept.run)?;
            receipts.push(finish::withdraw(tx, run, &take.ending)?);
        }
    }
    Ok(receipts)
}

/// Whether any wait exists that [`take_back`] would take back.
pub(super) fn any(conn: &Connection, waits: Waits) -> Result<bool, StoreError> {
    Ok(!waited(conn, waits)?.is_empty())
}

/// Corrects the times that sessions wait for: adds `by` milliseconds to all of them. Without `by`,
/// those of runs that ended in the future begin to wait anew now.
pub(super) fn shift(tx: &Tx<'_>, by: Option<i64>) -> Result<(), StoreError> {
    let sql = match by {
        Some(_) => "UPDATE wake SET due_ms = due_ms + ?1 WHERE due_ms IS NOT NULL",
        None => {
            "UPDATE wake SET due_ms = due_ms - run.ended_ms + ?1 FROM run
             WHERE run.no = wake.run AND run.ended_ms > ?1 AND due_ms IS NOT NULL"
        }
    };
    let bound = by.unwrap_or(tx.now.0 as i64);
    tx.conn.prepare_cached(sql)?.execute([bound])?;
    Ok(())
}

/// Returns the earliest time after `after` that a session waits for.
pub(super) fn next_due(
    conn: &Connection,
    after: UnixMillis,
) -> Result<Option<UnixMillis>, StoreError> {
    let next: Option<i64> = conn
        .prepare_cached(
            "SELECT min(due_ms) FROM wake WHERE due_ms > ?1 AND typeof(due_ms) = 'integer'",
        )?
        .query_row([after.0 as i64], |row| row.get(0))?;
    Ok(next.map(|at| UnixMillis(at as u64)))
}
