//! The finishing transaction: everything that a run leaves, and its one end.
//!
//! The work is the writer's own: no caller can drop it, and while the store cannot write it
//! is kept and tried again. Recovery goes through the same function.

use super::causes::Causes;
use super::durable::Durable;
use super::output::Sealed;
use super::run::{self, RunNo};
use super::tx::{Apart, Tx, in_savepoint};
use super::work::Work;
use super::{Damage, Refusal, StoreError, entry, wake};
use crate::transcript::Changes;
use lastword_types::event::EventBody;
use lastword_types::id::RunId;
use lastword_types::run::{Cause, Ending, Receipt, RunEvent, RunState, Said};
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;
use std::time::Duration;

/// What is called once the end is durable, or can no longer become so in this process.
pub type OnEnded = Box<dyn FnOnce(Result<Receipt, StoreError>) + Send>;

/// A run's end on its way to the disk.
pub(super) struct Finish {
    id: RunId,
    run: RunNo,
    ending: Ending,
    /// When the guest was gone, on the clock's scale.
    since: Duration,
    sealed: Option<Sealed>,
    pending: Vec<crate::transcript::Entry>,
    changes: Option<Changes>,
    receipt: Option<Receipt>,
    durable: Arc<Durable>,
    /// Why the database has no more than that the run ended.
    rejected: Option<StoreError>,
    causes: Arc<Causes>,
    on_ended: OnEnded,
}

impl Finish {
    pub(super) fn new(
        id: RunId,
        mut sealed: Sealed,
        ending: Ending,
        since: Duration,
        causes: Arc<Causes>,
        on_ended: OnEnded,
    ) -> Self {
        Self {
            id,
            run: sealed.run,
            ending,
            since,
            pending: std::mem::take(&mut sealed.pending),
            durable: Arc::clone(&sealed.durable),
            rejected: None,
            sealed: Some(sealed),
            changes: None,
            receipt: None,
            causes,
            on_ended,
        }
    }
}

impl Work for Finish {
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let persist = tx.elapsed.saturating_sub(self.since);
        if let Some(sealed) = self.sealed.take() {
            self.changes = Some(crate::transcript::finish(
                sealed.transcript,
                &self.ending,
                tx.now,
            ));
        }
        let changes = self
            .changes
            .as_ref()
            .expect("made from the transcript above");
        let receipt = self.ending.receipt(self.id, changes.said, persist);
        let whole = |tx: &mut Tx<'_>| {
            entry::write(tx, self.run, &self.pending)?;
            entry::write(tx, self.run, &changes.entries)?;
            if let Some(wait) = &self.ending.wait {
                wake::keep(tx, self.run, wait)?;
            }
            end(tx, self.run, &self.ending.cause, &receipt)
        };
        let whole = match tx.apart {
            // Anything amiss brings this job back, apart from the others.
            Apart::No => whole(tx),
            Apart::Yes => in_savepoint(tx, whole),
        };
        self.receipt = Some(match whole {
            Ok(()) => receipt,
            // A commit whose fate was unknown had happened: the end is this one.
            Err(StoreError::Refused(Refusal::AlreadyEnded)) => {
                stored(tx.conn, self.id)?.ok_or(Refusal::AlreadyEnded)?
            }
            Err(error @ (StoreError::Content(_) | StoreError::Damaged(_)))
                if tx.apart == Apart::Yes =>
            {
                let why = error.to_string();
                let minimal = minimal(tx, self.run, &self.ending.cause, receipt, &why)?;
                self.rejected = Some(error);
                minimal
            }
            Err(other) => return Err(other),
        });
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) {
        let decided = is_decided(&outcome);
        if !decided {
            self.wait();
        }
        let Self {
            id,
            receipt,
            durable,
            rejected,
            causes,
            on_ended,
            ..
        } = *self;
        match rejected.as_ref().or(outcome.as_ref().err()) {
            None => durable.reached(u64::MAX),
            Some(error) => durable.failed(error),
        }
        on_ended(outcome.map(|()| receipt.expect("written before it was committed")));
        if decided {
            causes.forget(id);
        }
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn wait(&self) {
        self.causes.keep(self.id, &self.ending);
    }

    fn run(&self) -> Option<i64> {
        Some(self.run.run)
    }
}

/// What is called once runs that never began have their ends, or can no longer get them in this
/// process.
type OnWithdrawn = Box<dyn FnOnce(Result<Vec<Receipt>, StoreError>) + Send>;

/// The ends of runs that are queued or held, on their way to the disk together.
pub(super) struct Withdraw {
    runs: Vec<(RunId, RunNo)>,
    ending: Ending,
    receipts: Vec<Receipt>,
    causes: Arc<Causes>,
    then: OnWithdrawn,
}

impl Withdraw {
    pub(super) fn new(
        runs: Vec<(RunId, RunNo)>,
        ending: Ending,
        causes: Arc<Causes>,
        then: OnWithdrawn,
    ) -> Self {
        Self {
            runs,
            ending,
            receipts: Vec::new(),
            causes,
            then,
        }
    }
}

impl Work for Withdraw {
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let ends = self.runs.iter();
        let ends = ends.map(|(id, run)| withdraw(tx, *id, *run, &self.ending));
        self.receipts = ends.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) {
        let decided = is_decided(&outcome);
        if !decided {
            self.wait();
        }
        let Self {
            runs,
            receipts,
            causes,
            then,
            ..
        } = *self;
        then(outcome.map(|()| receipts));
        for (id, _) in runs.iter().filter(|_| decided) {
            causes.forget(*id);
        }
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn wait(&self) {
        for (id, _) in &self.runs {
            self.causes.keep(*id, &self.ending);
        }
    }
}

/// Whether recovery has nothing to do with a run that was to end: it has its end, or the database
/// says that it goes on.
fn is_decided(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Ok(()) | Err(StoreError::Refused(_)))
}

/// What remains of an end whose content SQLite rejects, or for which there is no room in what is
/// damaged: the state, the cause and one line, so that it cannot strand the session's queue; without
/// its event where the log cannot be written.
pub(super) fn minimal(
    tx: &mut Tx<'_>,
    run: RunNo,
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
    match in_savepoint(tx, |tx| end(tx, run, cause, &receipt)) {
        Err(
            StoreError::Damaged(_)
            | StoreError::Content(_)
            | StoreError::Refused(Refusal::UnknownSession),
        ) => {
            in_savepoint(tx, |tx| {
                set_ended(tx, run, cause)?;
                keep_receipt(tx, run, &receipt)
            })?;
        }
        ended => ended?,
    }
    Ok(receipt)
}

/// The one end: a compare-and-set on the run's row, and a row that can exist only once.
pub(super) fn end(
    tx: &mut Tx<'_>,
    run: RunNo,
    cause: &Cause,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    set_ended(tx, run, cause)?;
    close(tx, run, receipt)
}

fn set_ended(tx: &mut Tx<'_>, run: RunNo, cause: &Cause) -> Result<(), StoreError> {
    let from = run::state(tx, run)?;
    if from.is_terminal() {
        return Err(Refusal::AlreadyEnded.into());
    }
    let to = from
        .next(RunEvent::End(cause.state()))
        .map_err(|illegal| StoreError::Content(illegal.to_string()))?;
    // The states stand in the text: bound, they would have SQLite plan anew at each call,
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
    id: RunId,
    run: RunNo,
    ending: &Ending,
) -> Result<Receipt, StoreError> {
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
                log.push(Some(run.run), &entry::finished(&message))?;
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
    // It never spoke: what its messages hold is the host's.
    let receipt = ending.receipt(id, Said::default(), Duration::ZERO);
    close(tx, run, &receipt)?;
    Ok(receipt)
}

/// The row that the database takes once for each run.
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

/// The rows and the event behind the compare-and-set.
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

/// Notes that a run's cause is latched while its end still takes a while, so that a crash in
/// between keeps the cause.
pub(super) fn latch(tx: &mut Tx<'_>, run: RunNo, cause: &Cause) -> Result<(), StoreError> {
    run::change(tx, run, RunState::Running, RunEvent::Finish)?;
    tx.conn
        .prepare_cached("UPDATE run SET cause = ?2 WHERE no = ?1")?
        .execute(params![run.run, serde_json::to_string(cause)?])?;
    Ok(())
}

fn unreadable(run: RunId, error: StoreError) -> StoreError {
    Damage::of("run_terminal").run(run).name(error)
}

/// The stored receipt of a run that has ended.
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
