//! What wakes a session after a run that waits: written with the run's end, taken back in the
//! transaction that accepts the run which it wakes, so that there is one. Knows no timer.

use super::run::{RunNo, SessionNo};
use super::tx::Tx;
use super::{Refusal, Store, StoreError};
use crate::clock::UnixMillis;
use crate::event::EventBody;
use crate::id::{QuestionId, RunId, SessionId, WorkspaceId};
use crate::run::Wait;
use crate::session::Answer;
use rusqlite::{Connection, params};

/// The most sessions that are woken at a time.
const DUE_MAX: i64 = 100;

/// A session whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The run that ended waiting.
    pub run: RunId,
    /// The session to go on with.
    pub session: SessionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What the run was asked, for its configuration.
    pub prompt: super::PromptRecord,
    no: i64,
    at: SessionNo,
    question: Option<[u8; 16]>,
}

/// How a wait ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Over {
    /// Its time has come.
    Time(Due),
    /// What the run had asked is answered.
    Answer(QuestionId, Answer),
}

/// Nothing wakes the session for that run any more.
///
/// # Errors
/// [`Refusal::WrongState`] if nothing does.
pub(super) fn take(tx: &mut Tx<'_>, session: SessionNo, over: &Over) -> Result<(), StoreError> {
    match over {
        Over::Time(due) => woken(tx, due),
        Over::Answer(question, answer) => {
            super::question::answer_waiting(tx, session, *question, answer)
        }
    }
}

/// What the run had asked is dismissed.
fn woken(tx: &mut Tx<'_>, due: &Due) -> Result<(), StoreError> {
    let taken = tx
        .conn
        .prepare_cached("DELETE FROM wake WHERE run = ?1")?
        .execute([due.no])?;
    if taken == 0 {
        return Err(Refusal::WrongState.into());
    }
    let Some(question) = due.question.map(QuestionId::from_bytes) else {
        return Ok(());
    };
    let body = EventBody::QuestionDismissed { question };
    let run = RunNo {
        run: due.no,
        session: due.at,
    };
    super::question::note(tx.conn, run, &body)?;
    tx.log(due.at)?.push(None, &body)
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

fn due(conn: &Connection, now: UnixMillis) -> Result<Vec<Due>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT run.id, session.id, workspace.id, run.prompt, run.no, session.no, workspace.no,
                question.id
         FROM wake JOIN run ON run.no = wake.run JOIN session ON session.no = run.session
         JOIN workspace ON workspace.no = session.workspace
         LEFT JOIN question ON question.no = wake.question
         WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
    )?;
    let mut rows = query.query(params![now.0 as i64, DUE_MAX])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(Due {
            run: RunId::from_bytes(row.get(0)?),
            session: SessionId::from_bytes(row.get(1)?),
            workspace: WorkspaceId::from_bytes(row.get(2)?),
            prompt: serde_json::from_str(row.get_ref(3)?.as_str().unwrap_or_default())?,
            no: row.get(4)?,
            at: SessionNo {
                session: row.get(5)?,
                workspace: row.get(6)?,
            },
            question: row.get(7)?,
        });
    }
    Ok(due)
}

impl Store {
    /// The sessions whose time has come, and when the next one's will.
    pub async fn due(&self) -> Result<(Vec<Due>, Option<UnixMillis>), StoreError> {
        let now = self.shared.clock.now();
        let read = move |conn: &Connection| {
            let next: Option<i64> = conn
                .prepare_cached("SELECT min(due_ms) FROM wake WHERE due_ms > ?1")?
                .query_row([now.0 as i64], |row| row.get(0))?;
            Ok((due(conn, now)?, next.map(|at| UnixMillis(at as u64))))
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
