//! What wakes a session after a run that waits: written with the run's end, taken back with
//! the acceptance of the run that goes on with it. Knows no timer.

use super::damage::{Damage, place};
use super::run::{RunNo, SessionNo};
use super::tx::Tx;
use super::{Refusal, Store, StoreError};
use crate::clock::UnixMillis;
use crate::id::{RunId, SessionId, WorkspaceId};
use crate::run::Wait;
use crate::session::Answer;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Sessions that are due, in one page.
const DUE_MAX: i64 = 100;

/// A session whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The run that ended waiting.
    pub run: RunId,
    /// The session to go on with.
    pub session: SessionId,
    /// What the run was asked, for its configuration.
    pub prompt: super::PromptRecord,
}

/// A page of sessions whose time has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DuePage {
    /// In the order in which they wait.
    pub due: Vec<Due>,
    /// Where the next page begins; `None` after the last one.
    pub last: Option<DuePlace>,
}

/// Where a session stands among those that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuePlace {
    due_ms: i64,
    run: i64,
}

/// The run that a prompt goes on with: one that ended waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct GoesOn {
    /// That run.
    pub run: RunId,
    /// The answer to what it asked, which is dismissed without one.
    pub answer: Option<Answer>,
}

/// Notes what a run waits for, with its end.
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
            "INSERT OR IGNORE INTO wake (run, due_ms, question)
             VALUES (?1, ?2, (SELECT no FROM question WHERE id = ?3))",
        )?
        .execute(params![run.run, due, question])?;
    Ok(())
}

/// Takes back what a run waits for, and settles what it asked: of two who would go on with
/// it, the second is refused.
pub(super) fn go_on(
    tx: &mut Tx<'_>,
    session: SessionNo,
    goes_on: &GoesOn,
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

fn due(
    conn: &Connection,
    now: UnixMillis,
    after: Option<DuePlace>,
) -> Result<(DuePage, Vec<Damage>), StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT run.id, session.id, run.prompt, due_ms, wake.run
         FROM wake LEFT JOIN run ON run.no = wake.run LEFT JOIN session ON session.no = run.session
         WHERE due_ms <= ?1 AND typeof(due_ms) = 'integer' AND (due_ms, wake.run) > (?2, ?3)
         ORDER BY due_ms, wake.run LIMIT ?4",
    )?;
    let after = after.map_or((i64::MIN, 0), |place| (place.due_ms, place.run));
    let mut rows = query.query(params![now.0 as i64, after.0, after.1, DUE_MAX])?;
    let (mut page, mut damaged) = (DuePage::default(), Vec::new());
    while let Some(row) = rows.next()? {
        page.last = Some(DuePlace {
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
        prompt: serde_json::from_str(super::event::text(row, 2)?)?,
    })
}

impl Store {
    /// The sessions whose time has come by then, after a place, those that wait longest
    /// first; a page of them, and none after the last.
    pub async fn due(
        &self,
        now: UnixMillis,
        after: Option<DuePlace>,
    ) -> Result<DuePage, StoreError> {
        let readers = &self.shared.readers;
        let (page, damaged) = readers.read(move |conn| due(conn, now, after)).await?;
        self.set_aside(damaged);
        Ok(page)
    }

    /// When, after a time, the next session's time comes.
    pub async fn next_due(&self, after: UnixMillis) -> Result<Option<UnixMillis>, StoreError> {
        let read = move |conn: &Connection| {
            let next: Option<i64> = conn
                .prepare_cached(
                    "SELECT min(due_ms) FROM wake
                     WHERE due_ms > ?1 AND typeof(due_ms) = 'integer'",
                )?
                .query_row([after.0 as i64], |row| row.get(0))?;
            Ok(next.map(|at| UnixMillis(at as u64)))
        };
        self.shared.readers.read(read).await
    }

    /// Whether a run of a workspace ended waiting for a time that has not come.
    pub async fn waits(&self, workspace: WorkspaceId) -> Result<bool, StoreError> {
        let read = move |conn: &Connection| {
            Ok(conn
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM wake JOIN run ON run.no = wake.run
                       JOIN session ON session.no = run.session
                       JOIN workspace ON workspace.no = session.workspace
                       WHERE workspace.id = ?1)",
                )?
                .query_row([workspace.as_bytes()], |row| row.get(0))?)
        };
        self.shared.readers.read(read).await
    }
}
