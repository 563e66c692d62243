//! What wakes a session after a run that waits: written with the run's end, taken back with
//! the acceptance of the run that goes on with it. Knows no timer.

use super::damage::{Damage, place};
use super::run::{self, Accept, Accepted, PromptRecord, RunNo, SessionNo};
use super::tx::Tx;
use super::{Refusal, Store, StoreError, finish};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{RunId, SessionId, WorkspaceId};
use lastword_types::run::{CarriedUsage, Ending, Origin, Receipt, Wait};
use lastword_types::session::{Answer, Part};
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
    /// What goes on with it: with the configuration of that run, and what it takes over.
    pub prompt: PromptRecord,
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
        "SELECT run.id, session.id, run.prompt, due_ms, wake.run, wake.carried, EXISTS (
           SELECT 1 FROM run later WHERE later.session = run.session AND later.no > run.no
             AND iif(json_valid(later.prompt), json_extract(later.prompt, '$.origin'), NULL)
               IN ('user', 'answer', 'resume'))
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
        prompt: woken(
            serde_json::from_str(super::event::text(row, 2)?)?,
            Some(carried(row)?),
        ),
    })
}

/// What goes on with a run that ended waiting, once its time has come.
fn woken(prompt: PromptRecord, carried: Option<CarriedUsage>) -> PromptRecord {
    PromptRecord {
        origin: Origin::Wake,
        parts: vec![Part::text("The time that you waited for has come.")],
        carried,
        ..prompt
    }
}

/// What a run that a time begins takes over: nothing of the runs before, if a person asked in
/// between.
fn carried(row: &Row<'_>) -> Result<CarriedUsage, StoreError> {
    let before: Option<String> = row.get(5)?;
    let before = match (before, row.get(6)?) {
        (Some(json), false) => serde_json::from_str(&json)?,
        (None, _) | (_, true) => CarriedUsage::default(),
    };
    let wakes = 1;
    Ok(before.plus(CarriedUsage {
        wakes,
        ..CarriedUsage::default()
    }))
}

/// Stands for the prompt of a run that cannot be read.
fn unreadable() -> PromptRecord {
    PromptRecord {
        origin: Origin::Other(String::new()),
        parts: Vec::new(),
        config: "{}".to_owned(),
        deadline: None,
        carried: None,
    }
}

/// Whose waits are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// All that a session waits for: a time, and an answer.
    Session(SessionId),
    /// The times that the sessions of a workspace wait for; what they asked can still be
    /// answered.
    Times(WorkspaceId),
}

/// Something that a session waits for.
struct Waited {
    run: RunNo,
    id: RunId,
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
        "SELECT run.no, session.no, workspace.no, run.id, run.prompt, run.digest, question
         FROM workspace JOIN session ON session.workspace = workspace.no
         JOIN run ON run.session = session.no JOIN wake ON wake.run = run.no
         WHERE {which} AND session.going = 0 ORDER BY run.no LIMIT ?2"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(params![id, DUE_MAX])?;
    let mut waited = Vec::new();
    while let Some(row) = rows.next()? {
        waited.push(Waited {
            run: RunNo {
                run: row.get(0)?,
                session: SessionNo {
                    session: row.get(1)?,
                    workspace: row.get(2)?,
                },
            },
            id: RunId::from_bytes(row.get(3)?),
            // What cannot be read is taken back like all else; the run that this makes never begins.
            prompt: serde_json::from_str(super::event::text(row, 4).unwrap_or_default())
                .unwrap_or_else(|_| unreadable()),
            digest: row.get(5)?,
            question: row.get(6)?,
        });
    }
    Ok(waited)
}

/// Takes waits back, a page of them: the run that each would have begun is accepted and
/// withdrawn at once, so that it has its events, its end and its receipt like every other.
fn take_back(tx: &mut Tx<'_>, waits: Waits, ending: &Ending) -> Result<Vec<Receipt>, StoreError> {
    let mut receipts = Vec::new();
    for waited in waited(tx.conn, waits)? {
        let keeps_question = matches!(waits, Waits::Times(_)) && waited.question.is_some();
        if keeps_question {
            tx.conn
                .prepare_cached("UPDATE wake SET due_ms = NULL WHERE run = ?1")?
                .execute([waited.run.run])?;
        }
        let goes_on = GoesOn {
            run: waited.id,
            answer: None,
        };
        let accept = Accept {
            run: RunId::generate(),
            session: waited.run.session,
            prompt: woken(waited.prompt, None),
            attached: Vec::new(),
            digest: waited.digest,
            key: None,
            goes_on: (!keeps_question).then_some(goes_on),
            resumes: None,
            parent: None,
            queue_max: u32::MAX,
            start: false,
        };
        if let Accepted::New(run) = run::accept(tx, &accept)? {
            receipts.push(finish::withdraw(tx, accept.run, run, ending)?);
        }
    }
    Ok(receipts)
}

impl Store {
    /// Sets the times that sessions wait for back: those of all by so many milliseconds, as the
    /// wall clock was; or else those of runs that ended, by the wall clock, in the future, to
    /// what they waited for from now on.
    pub async fn set_times_back(&self, by: Option<i64>) -> Result<(), StoreError> {
        let sql = match by {
            Some(_) => "UPDATE wake SET due_ms = due_ms + ?1 WHERE due_ms IS NOT NULL",
            None => {
                "UPDATE wake SET due_ms = due_ms - run.ended_ms + ?1 FROM run
                 WHERE run.no = wake.run AND run.ended_ms > ?1 AND due_ms IS NOT NULL"
            }
        };
        self.write(move |tx| {
            let bound = by.unwrap_or(tx.now.0 as i64);
            tx.conn.prepare_cached(sql)?.execute([bound])?;
            Ok(())
        })
        .await
    }

    /// Takes back what sessions wait for, and returns the ends of the runs that this would
    /// have begun.
    pub async fn take_waits_back(
        &self,
        waits: Waits,
        ending: Ending,
    ) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::new();
        // A disk that refuses is no matter to a session that waits for nothing.
        let none = move |conn: &Connection| Ok(waited(conn, waits)?.is_empty());
        if self.shared.readers.read(none).await? {
            return Ok(receipts);
        }
        loop {
            let ending = ending.clone();
            let page = self.write(move |tx| take_back(tx, waits, &ending)).await?;
            if page.is_empty() {
                return Ok(receipts);
            }
            receipts.extend(page);
        }
    }

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
}
