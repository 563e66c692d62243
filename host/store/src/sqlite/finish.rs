//! The finishing transaction: it writes the rest of a run's output and its end.
//!
//! The writer owns the command: no caller can drop it, and while the store cannot write, it is kept
//! and tried again. `recovery` ends runs with the same functions.

use super::numbers::RunNo;
use super::run;
use super::tx::{SavepointMode, Tx, in_savepoint};
use super::{entry, wake};
use crate::command::{self, Finished};
use crate::damage::Describe as _;
use crate::{Damage, Refusal, StoreError, conversation};
use lastword_types::event::EventBody;
use lastword_types::id::RunId;
use lastword_types::run::{Cause, OutputStats, Receipt, RunEvent, RunOutcome, RunState};
use rusqlite::{OptionalExtension, params};
use std::time::Duration;

/// Writes a run's end, or as much of it as the database accepts.
pub(super) fn finish(tx: &mut Tx<'_>, finish: &command::Finish) -> Result<Finished, StoreError> {
    let run = tx.run(finish.run)?;
    let ending = &finish.ending;
    let from = run::state(tx, run)?;
    if from.is_terminal() {
        // The run was ended before, so this returns that end.
        let stored = stored(tx.conn, finish.run)?;
        return Ok(Finished {
            receipt: stored.ok_or(Refusal::AlreadyEnded)?,
            rejected: None,
        });
    }

    let persist = tx.elapsed.saturating_sub(finish.since);
    let receipt = ending.receipt(finish.run, finish.said, persist);
    let whole = |tx: &mut Tx<'_>| {
        entry::write(tx, run, &finish.entries)?;
        if let Some(wait) = &ending.wait {
            wake::keep(tx, run, wait)?;
        }
        end(tx, run, from, &ending.cause, &receipt)
    };
    let whole = match tx.savepoints {
        // If it fails, the batch is applied again with a savepoint for each command.
        SavepointMode::None => whole(tx),
        SavepointMode::Each => in_savepoint(tx, whole),
    };

    let (receipt, rejected) = match whole {
        Ok(()) => (receipt, None),
        Err(error @ (StoreError::Content(_) | StoreError::Damaged(_)))
            if tx.savepoints == SavepointMode::Each =>
        {
            let why = error.to_string();
            let receipt = minimal(tx, run, from, &ending.cause, receipt, &why)?;
            (receipt, Some(error))
        }
        Err(other) => return Err(other),
    };

    tx.numbers.forget_run(finish.run);
    Ok(Finished { receipt, rejected })
}

/// Ends runs that are still queued or held.
pub(super) fn withdraw_all(
    tx: &mut Tx<'_>,
    runs: &[RunId],
    ending: &RunOutcome,
) -> Result<Vec<Receipt>, StoreError> {
    let end = |id: &RunId| {
        let run = tx.run(*id)?;
        withdraw(tx, run, ending)
    };
    runs.iter().map(end).collect()
}

/// Writes a reduced end if SQLite rejects the content of the whole one, or damage prevents it: the
/// state, the cause and one line of detail, and no event if the log cannot be written. Without an
/// end the run would block its session's queue.
pub(super) fn minimal(
    tx: &mut Tx<'_>,
    run: RunNo,
    from: RunState,
    cause: &Cause,
    mut receipt: Receipt,
    why: &str,
) -> Result<Receipt, StoreError> {
    tracing::error!(run = %receipt.run, why, "the store rejects a run's last words");
    let kept = format!("what was not yet written of this run could not be written: {why}");
    receipt.detail = Some(match receipt.detail.take() {
        Some(detail) => format!("{detail}; {kept}"),
        None => kept,
    });
    match in_savepoint(tx, |tx| end(tx, run, from, cause, &receipt)) {
        Err(
            StoreError::Damaged(_)
            | StoreError::Content(_)
            | StoreError::Refused(Refusal::UnknownSession(_)),
        ) => {
            in_savepoint(tx, |tx| {
                set_ended(tx, run, from, cause)?;
                keep_receipt(tx, run, &receipt)
            })?;
        }
        ended => ended?,
    }
    Ok(receipt)
}

/// Ends a run exactly once: by a compare-and-set on its row, and by a receipt row that can exist
/// only once.
pub(super) fn end(
    tx: &mut Tx<'_>,
    run: RunNo,
    from: RunState,
    cause: &Cause,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    set_ended(tx, run, from, cause)?;
    close(tx, run, receipt)
}

fn set_ended(tx: &mut Tx<'_>, run: RunNo, from: RunState, cause: &Cause) -> Result<(), StoreError> {
    if from.is_terminal() {
        return Err(Refusal::AlreadyEnded.into());
    }
    let to = from
        .next(RunEvent::End(cause.state()))
        .map_err(|illegal| StoreError::Content(illegal.to_string()))?;

    // The states are part of the text. If they were bound, SQLite would plan again at each call,
    // since a partial index depends on them.
    let sql = format!(
        "UPDATE run SET state = '{to}', cause = ?2, ended_ms = ?3
         WHERE no = ?1 AND state = '{from}' AND epoch <= ?4"
    );
    let changed = tx.conn.prepare_cached(&sql)?.execute(params![
        run.run,
        serde_json::to_string(cause)?,
        tx.now.0 as i64,
        tx.epoch,
    ])?;

    match changed {
        1 => Ok(()),
        _ => Err(Refusal::AlreadyEnded.into()),
    }
}

/// Withdraws a run that never started: its user message, an assistant message that says
/// `cancelled`, and one terminal event, all outside the history.
pub(super) fn withdraw(
    tx: &mut Tx<'_>,
    run: RunNo,
    ending: &RunOutcome,
) -> Result<Receipt, StoreError> {
    let id = run.id;
    let from = run::state(tx, run)?;
    run::change(tx, run, from, RunEvent::Withdraw)?;
    tx.conn
        .prepare_cached("UPDATE run SET cause = ?2, ended_ms = ?3 WHERE no = ?1")?
        .execute(params![
            run.run,
            serde_json::to_string(&ending.cause)?,
            tx.now.0 as i64
        ])?;

    let transcript = crate::transcript::Transcript::new(id, 0);
    let changes = crate::transcript::finish(transcript, ending, tx.now);
    let mut log = tx.log(run.session)?;
    let mut messages = Vec::new();
    for change in changes.entries {
        match change {
            crate::transcript::Entry::Event(body) => log.push(Some(run.run), &body)?,
            crate::transcript::Entry::Message(message) => {
                log.push(Some(run.run), &conversation::finished(&message))?;
                messages.push(message);
            }
            crate::transcript::Entry::Blob(..)
            | crate::transcript::Entry::Grant(_)
            | crate::transcript::Entry::Elsewhere(..)
            | crate::transcript::Entry::Title(_) => {}
        }
    }
    for message in messages {
        entry::insert_message(tx.conn, run, &message, None)?;
    }
    super::message::show_beside(tx.conn, run)?;

    // The counts are zero, since the run itself had no output: its messages are the host's.
    let receipt = ending.receipt(id, OutputStats::default(), Duration::ZERO);
    close(tx, run, &receipt)?;
    tx.numbers.forget_run(id);
    Ok(receipt)
}

/// Writes the receipt row, of which the database accepts one for each run.
fn keep_receipt(tx: &Tx<'_>, run: RunNo, receipt: &Receipt) -> Result<(), StoreError> {
    let inserted = tx
        .conn
        .prepare_cached("INSERT OR IGNORE INTO run_terminal (run, receipt) VALUES (?1, ?2)")?
        .execute(params![run.run, serde_json::to_string(receipt)?])?;
    match inserted {
        1 => Ok(()),
        _ => Err(Refusal::AlreadyEnded.into()),
    }
}

/// Writes the receipt, the usage and the event of an end, after its compare-and-set.
fn close(tx: &mut Tx<'_>, run: RunNo, receipt: &Receipt) -> Result<(), StoreError> {
    keep_receipt(tx, run, receipt)?;
    tx.conn
        .prepare_cached(
            "UPDATE session SET input_tokens = coalesce(input_tokens, 0) + ?2,
                                output_tokens = coalesce(output_tokens, 0) + ?3,
                                cost_micros = coalesce(cost_micros, 0) + ?5, updated_ms = ?4
             WHERE no = ?1",
        )?
        .execute(params![
            run.session.session,
            receipt.usage.input_tokens as i64,
            receipt.usage.output_tokens as i64,
            tx.now.0 as i64,
            receipt.usage.cost_micros as i64,
        ])?;
    let body = EventBody::RunEnded {
        receipt: receipt.clone(),
    };
    tx.log(run.session)?.push(Some(run.run), &body)
}

/// Stores a latched cause while the end still takes a while, so that the cause survives a crash in
/// between.
pub(super) fn latch(tx: &mut Tx<'_>, run: RunId, cause: &Cause) -> Result<(), StoreError> {
    let run = tx.run(run)?;
    run::change(tx, run, RunState::Running, RunEvent::Finish)?;
    tx.conn
        .prepare_cached("UPDATE run SET cause = ?2 WHERE no = ?1")?
        .execute(params![run.run, serde_json::to_string(cause)?])?;
    Ok(())
}

fn unreadable(run: RunId, error: StoreError) -> StoreError {
    Damage::of("run_terminal").run(run).name(error)
}

/// Returns the stored receipt of a run that has ended.
pub(super) fn stored(
    conn: &rusqlite::Connection,
    run: RunId,
) -> Result<Option<Receipt>, StoreError> {
    let json: Option<String> = conn
        .prepare_cached(
            "SELECT receipt FROM run_terminal JOIN run ON run.no = run_terminal.run
             WHERE run.id = ?1",
        )?
        .query_row([run.as_bytes()], |row| row.get(0))
        .optional()
        .map_err(|error| unreadable(run, error.into()))?;
    let receipt = json.map(|json| serde_json::from_str(&json)).transpose();
    receipt.map_err(|error| unreadable(run, error.into()))
}
