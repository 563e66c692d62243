//! Ends every run that an earlier owner left open; queued ones are held. The host does this before
//! anything else. Recovery is idempotent, and safe to kill at any point since each run is one
//! transaction. Damage to a run costs only the damaged part, and never keeps the host from
//! starting.

use super::backend::Sqlite;
use super::causes::Earlier;
use super::finish::{end, minimal, withdraw};
use super::listing::{Listing, lenient};
use super::numbers::{RunNo, SessionNo};
use super::tx::{Tx, in_savepoint};
use super::{entry, event};
use crate::StoreError;
use crate::damage::{Damage, Describe as _};
use crate::prompt::PromptRecord;
use crate::rows::Recovered;
use crate::transcript::Transcript;
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::RunId;
use lastword_types::run::{Cause, Receipt, RunEvent, RunOutcome, RunState};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::Duration;

/// A run that an earlier owner left open, with everything that can be read of it.
struct Left {
    run: RunNo,
    id: Option<RunId>,
    /// `None` if this host does not know the state's word.
    state: Option<RunState>,
    cause: Option<String>,
    /// The prompt's error, if it cannot be read.
    prompt: Result<(), String>,
    /// Its receipt, if it has ended.
    receipt: Option<String>,
}

const LEFT: Listing<'_> = Listing {
    table: "run",
    key: "no",
    columns: "run.no, run.session, session.workspace, session.id, workspace.id, run.id, run.state,
        run.cause, run.prompt, run_terminal.receipt, run_terminal.run",
    joins: "LEFT JOIN session ON session.no = run.session
        LEFT JOIN workspace ON workspace.no = session.workspace
        LEFT JOIN run_terminal ON run_terminal.run = run.no",
    which: "(run.state IS NULL
        OR run.state NOT IN ('completed', 'cancelled', 'failed', 'interrupted')) ORDER BY run.no",
};

fn left(row: &Row<'_>) -> Result<Left, StoreError> {
    let ended = lenient::<i64>(row, 10).is_some();
    let prompt = event::text(row, 8)
        .and_then(|json| serde_json::from_str::<PromptRecord>(json).map_err(StoreError::from));
    let id = lenient(row, 5).map(RunId::from_bytes);
    Ok(Left {
        run: RunNo {
            run: row.get(0)?,
            id: id.unwrap_or(RunId::from_bytes([0; 16])),
            session: SessionNo::read(row, 1),
        },
        id,
        state: lenient::<String>(row, 6).and_then(|word| word.parse().ok()),
        cause: lenient(row, 7),
        prompt: prompt.map(drop).map_err(|error| error.to_string()),
        receipt: ended.then(|| lenient(row, 9).unwrap_or_default()),
    })
}

impl Left {
    fn damage(&self, why: impl Into<String>) -> Damage {
        let damage = Damage::of("run").row(self.run.run).why(why);
        match self.id {
            Some(id) => damage.run(id),
            None => damage,
        }
    }
}

/// Ends or holds every open run. Returns what was done, and the damage that was found.
///
/// # Errors
/// Only when the store cannot be written now.
pub(super) fn recover(
    sqlite: &mut Sqlite,
    earlier: &Earlier,
) -> Result<(Recovered, Vec<Damage>), StoreError> {
    let (mut sum, mut damaged) = (Recovered::default(), Vec::new());
    let rows = match LEFT.read(&sqlite.conn, &[], left) {
        Err(StoreError::Damaged(damage)) => vec![Err(*damage)],
        rows => rows?,
    };

    for row in rows {
        match row {
            Ok(left) => {
                let one = one(sqlite, &left, earlier, &mut damaged)?;
                sum.ended += one.ended;
                sum.held += one.held;
            }
            Err(damage) => damaged.push(damage),
        }
    }

    Ok((sum, damaged))
}

/// Recovers one run: writes its whole end, or as much of it as can be written.
fn one(
    sqlite: &mut Sqlite,
    left: &Left,
    earlier: &Earlier,
    damaged: &mut Vec<Damage>,
) -> Result<Recovered, StoreError> {
    let why = match sqlite.once(|tx| whole(tx, left, earlier)) {
        Ok((one, more)) => {
            damaged.extend(more);
            return Ok(one);
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Closed(_))) => return Err(error),
        Err(error) => error.to_string(),
    };
    damaged.push(left.damage(why.clone()));
    let ending = crashed(&why);
    let least = sqlite.once(|tx| {
        begun(tx, left)?;
        let receipt = ending.receipt(
            left.run.id,
            lastword_types::run::OutputStats::default(),
            Duration::ZERO,
        );
        minimal(
            tx,
            left.run,
            RunState::Running,
            &ending.cause,
            receipt,
            &why,
        )
    });
    match least {
        Ok(_) => Ok(Recovered { ended: 1, held: 0 }),
        Err(error @ (StoreError::Unavailable(_) | StoreError::Closed(_))) => Err(error),
        Err(error) => {
            let why = format!("its end cannot be written: {error}");
            damaged.push(left.damage(why));
            Ok(Recovered::default())
        }
    }
}

fn crashed(detail: &str) -> RunOutcome {
    let mut ending = RunOutcome::of(Cause::HostCrash);
    ending.detail = Some(detail.to_owned());
    ending
}

/// Ends one run, or holds it. Uses a latched cause, from the database or from the file beside it.
fn whole(
    tx: &mut Tx<'_>,
    left: &Left,
    earlier: &Earlier,
) -> Result<(Recovered, Vec<Damage>), StoreError> {
    let mut damaged = Vec::new();
    if let Some(receipt) = &left.receipt {
        // The run has ended; only its state cannot be read.
        let receipt = serde_json::from_str::<Receipt>(receipt);
        let state = receipt.map_or(RunState::Interrupted, |receipt| receipt.state);
        set_state(tx, left, state)?;
        damaged.push(left.damage(format!("its state, which is {state} by its receipt")));
        return Ok((Recovered::default(), damaged));
    }
    match (left.state, &left.prompt, left.id) {
        (Some(RunState::Held), Ok(()), Some(_)) => return Ok((Recovered::default(), damaged)),
        (Some(RunState::Queued), Ok(()), Some(_)) => {
            if let Some(ending) = kept(left, earlier) {
                withdraw(tx, left.run, &ending)?;
                return Ok((Recovered { ended: 1, held: 0 }, damaged));
            }
            super::run::change(tx, left.run, RunState::Queued, RunEvent::Hold)?;
            tx.log(left.run.session)?
                .push(Some(left.run.run), &EventBody::RunHeld {})?;
            return Ok((Recovered { ended: 0, held: 1 }, damaged));
        }
        _ => {}
    }
    let ending = ending(left, earlier, &mut damaged);
    begun(tx, left)?;
    let (transcript, unread) = replay(tx.conn, left)?;
    let ending = told(ending, &unread);
    damaged.extend(unread);
    let changes = crate::transcript::finish(transcript, &ending, tx.now);
    in_savepoint(tx, |tx| entry::write(tx, left.run, &changes.entries))?;
    let receipt = ending.receipt(left.run.id, changes.said, Duration::ZERO);
    end(tx, left.run, RunState::Running, &ending.cause, &receipt)?;
    Ok((Recovered { ended: 1, held: 0 }, damaged))
}

/// Returns the cause that an earlier host kept beside the database.
fn kept(left: &Left, earlier: &Earlier) -> Option<RunOutcome> {
    let kept = earlier.get(&left.id?)?;
    Some(RunOutcome {
        detail: kept.detail.clone(),
        ..RunOutcome::of(kept.cause.clone())
    })
}

/// Returns the end of a run: with the latched cause, or because its host ended or it cannot be
/// read.
fn ending(left: &Left, earlier: &Earlier, damaged: &mut Vec<Damage>) -> RunOutcome {
    let waits = matches!(left.state, Some(RunState::Queued | RunState::Held));
    if let (true, Err(why)) = (waits, &left.prompt) {
        damaged.push(left.damage(format!("what was asked: {why}")));
        return crashed("what was asked cannot be read any more, so that it was not begun");
    }
    let latched = left.cause.as_deref().map(serde_json::from_str);
    match latched.transpose() {
        Ok(Some(cause)) => return RunOutcome::of(cause),
        Ok(None) => {}
        Err(error) => damaged.push(left.damage(format!("its cause: {error}"))),
    }
    match kept(left, earlier) {
        Some(kept) if kept.cause != Cause::HostCrash => return kept,
        _ => {}
    }
    if left.state.is_none() {
        damaged.push(left.damage("its state is none that this lastword knows"));
    }
    if left.id.is_none() {
        damaged.push(left.damage("its id"));
    }
    if left.run.session.session == 0 {
        damaged.push(left.damage("its session"));
    }
    crashed("the host ended without finishing this run; what it had said until then is kept")
}

/// Adds to the end how much of the run's output could not be read.
fn told(mut ending: RunOutcome, unread: &[Damage]) -> RunOutcome {
    if let Some(first) = unread.first() {
        let lost = format!(
            "{} of its events cannot be read, and what they said is lost (the first one: {})",
            unread.len(),
            first.why
        );
        ending.detail = Some(match ending.detail.take() {
            Some(detail) => format!("{detail}; {lost}"),
            None => lost,
        });
    }
    ending
}

/// Treats the run as one that has begun and that this host has to end, whatever its state was.
fn begun(tx: &Tx<'_>, left: &Left) -> Result<(), StoreError> {
    set_state(tx, left, RunState::Running)
}

fn set_state(tx: &Tx<'_>, left: &Left, state: RunState) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE run SET state = ?2, epoch = ?3 WHERE no = ?1")?
        .execute(params![left.run.run, state.as_str(), tx.epoch])?;
    Ok(())
}

const SAID: Listing<'_> = Listing {
    table: "event",
    key: "pos",
    columns: "body, at_ms",
    joins: "",
    which: "session = ?1 AND run = ?2 ORDER BY seq",
};

/// Rebuilds the transcript of one run from its log. Returns it with the damage in the log.
fn replay(conn: &Connection, left: &Left) -> Result<(Transcript, Vec<Damage>), StoreError> {
    let mut transcript = Transcript::new(left.run.id, 0);
    let mut unread = Vec::new();
    let rows = SAID.read(conn, &[&left.run.session.session, &left.run.run], |row| {
        let body: EventBody = serde_json::from_str(event::text(row, 0)?)?;
        Ok((body, UnixMillis(row.get::<_, i64>(1)? as u64)))
    });
    for row in rows? {
        match row {
            Ok((body, at)) => transcript.replay(body, at),
            Err(damage) => unread.push(damage),
        }
    }
    if !unread.is_empty() {
        // The event of a message's end may be unreadable. A message is stored only once.
        let mut kept = conn.prepare_cached("SELECT 1 FROM message WHERE id = ?1")?;
        for id in transcript.open_ids() {
            let is_kept = kept.query_row([id.as_bytes()], |_| Ok(())).optional()?;
            if is_kept.is_some() {
                transcript.close(id);
            }
        }
    }
    Ok((transcript, unread))
}
