//! Questions and their answers. Each has a row in addition to the log's events, so that open
//! questions can be listed, and a client that answers too late learns the earlier answer.

use super::listing::Listing;
use super::numbers::{RunNo, SESSION, SessionNo, WORKSPACES};
use super::tx::Tx;
use crate::damage::{Damage, Describe as _};
use crate::rows::{OpenQuestions, QUESTIONS_MAX, QuestionAt};
use crate::transcript::Entry;
use crate::{Refusal, StoreError};
use lastword_types::event::EventBody;
use lastword_types::id::{QuestionId, RunId, WorkspaceId};
use lastword_types::session::{Answer, Question, QuestionState};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Whether an entry concerns a question, so that it is written to several logs.
pub(super) fn is_told_elsewhere(entry: &Entry) -> bool {
    match entry {
        Entry::Elsewhere(..) => true,
        Entry::Event(body) => matches!(
            body,
            EventBody::QuestionAsked { .. }
                | EventBody::QuestionAnswered { .. }
                | EventBody::QuestionDismissed { .. }
        ),
        _ => false,
    }
}

/// Writes an entry that concerns a question of this run, or one of another run that its answer
/// covers.
pub(super) fn tell(tx: &mut Tx<'_>, run: RunNo, entry: &Entry) -> Result<(), StoreError> {
    match entry {
        Entry::Event(body) => {
            note(tx.conn, run, body)?;
            tx.log(run.session)?.push(Some(run.run), body)?;
            tell_above(tx, run, body)
        }
        Entry::Elsewhere(other, body) => {
            let Some(asker) = Teller::find(tx.conn, other.as_bytes())? else {
                return Ok(());
            };
            note(tx.conn, asker.run, body)?;
            asker.push(tx, body)?;
            tell_above(tx, asker.run, body)
        }
        _ => Ok(()),
    }
}

/// Logs an event in the logs of the ancestors of this run, from its parent upwards, since their
/// readers see it there.
fn tell_above(tx: &mut Tx<'_>, run: RunNo, body: &EventBody) -> Result<(), StoreError> {
    let mut above: Option<[u8; 16]> = tx
        .conn
        .prepare_cached("SELECT parent FROM run WHERE no = ?1")?
        .query_row([run.run], |row| row.get(0))
        .optional()?
        .flatten();
    while let Some(id) = above {
        let Some(teller) = Teller::find(tx.conn, &id)? else {
            break;
        };
        teller.push(tx, body)?;
        above = teller.parent;
    }
    Ok(())
}

/// A run in whose log an event is written.
struct Teller {
    run: RunNo,
    ended: bool,
    parent: Option<[u8; 16]>,
}

impl Teller {
    /// Finds a run of a session that is not deleted.
    fn find(conn: &Connection, id: &[u8; 16]) -> Result<Option<Self>, StoreError> {
        let found = conn
            .prepare_cached(&format!(
                "SELECT run.no, {SESSION}, run.ended_ms IS NOT NULL, run.parent
                 FROM run JOIN session ON session.no = run.session {WORKSPACES}
                 WHERE run.id = ?1 AND session.going < 2"
            ))?
            .query_row([id], |row| {
                Ok(Self {
                    run: RunNo {
                        run: row.get(0)?,
                        id: RunId::from_bytes(*id),
                        session: SessionNo::read(row, 1),
                    },
                    ended: row.get(5)?,
                    parent: row.get(6)?,
                })
            });
        Ok(found.optional()?)
    }

    /// Logs an event of the run. If the run has ended, the event belongs to its session, since
    /// nothing follows a run's end.
    fn push(&self, tx: &mut Tx<'_>, body: &EventBody) -> Result<(), StoreError> {
        let run = (!self.ended).then_some(self.run.run);
        tx.log(self.run.session)?.push(run, body)
    }
}

/// Updates a question from the event that asks, answers or dismisses it.
fn note(conn: &Connection, run: RunNo, body: &EventBody) -> Result<(), StoreError> {
    match body {
        EventBody::QuestionAsked { question } => {
            conn.prepare_cached(
                "INSERT OR IGNORE INTO question (id, session, run, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                question.id.as_bytes(),
                run.session.session,
                run.run,
                serde_json::to_string(question)?
            ])?;
            Ok(())
        }
        EventBody::QuestionAnswered {
            question, answer, ..
        } => settle(conn, *question, Some(answer)),
        EventBody::QuestionDismissed { question } => settle(conn, *question, None),
        _ => Ok(()),
    }
}

/// Stores the answer or the dismissal of a question, if it is open.
fn settle(
    conn: &Connection,
    question: QuestionId,
    answer: Option<&Answer>,
) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE question SET answer = ?2 WHERE id = ?1 AND answer IS NULL")?
        .execute(params![
            question.as_bytes(),
            serde_json::to_string(&answer)?
        ])?;
    Ok(())
}

/// Stores the answer or the dismissal of the question of a run that has ended. Refused if it is
/// already settled.
pub(super) fn settle_late(
    tx: &mut Tx<'_>,
    session: SessionNo,
    no: i64,
    answer: Option<&Answer>,
) -> Result<(), StoreError> {
    let question: Option<[u8; 16]> = tx
        .conn
        .prepare_cached(
            "UPDATE question SET answer = ?2 WHERE no = ?1 AND answer IS NULL RETURNING id",
        )?
        .query_row(params![no, serde_json::to_string(&answer)?], |row| {
            row.get(0)
        })
        .optional()?;
    let question = QuestionId::from_bytes(question.ok_or(Refusal::WrongState)?);
    let body = match answer {
        Some(answer) => EventBody::QuestionAnswered {
            question,
            answer: answer.clone(),
            grant: None,
            by: None,
        },
        None => EventBody::QuestionDismissed { question },
    };
    tx.log(session)?.push(None, &body)
}

pub(super) const COLUMNS: &str = "body, answer, workspace.id,
    EXISTS (SELECT 1 FROM wake WHERE wake.question = question.no), question.id, run.id";
pub(super) const PLACES: &str = "LEFT JOIN session ON session.no = question.session
    LEFT JOIN workspace ON workspace.no = session.workspace
    LEFT JOIN run ON run.no = question.run";

pub(super) fn find(conn: &Connection, id: QuestionId) -> Result<Option<QuestionAt>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM question {PLACES} WHERE question.id = ?1");
    let mut query = conn.prepare_cached(&sql)?;
    let found = query.query([id.as_bytes()]).map_err(StoreError::from);
    let found = found.and_then(|mut rows| rows.next()?.map(read).transpose());
    found.map_err(|error| Damage::of("question").row(id).name(error))
}

pub(super) fn read(row: &Row<'_>) -> Result<QuestionAt, StoreError> {
    let answer: Option<String> = row.get(1)?;
    let state = match answer.as_deref().map(serde_json::from_str).transpose()? {
        None => QuestionState::Open,
        Some(None) => QuestionState::Dismissed,
        Some(Some(answer)) => QuestionState::Answered(answer),
    };
    let question = asked(row)?;
    let named = (
        QuestionId::from_bytes(row.get(4)?),
        RunId::from_bytes(row.get(5)?),
    );
    if named != (question.id, question.run) {
        let why = "it is of another question or run than its row";
        return Err(StoreError::Content(why.to_owned()));
    }
    Ok(QuestionAt {
        question,
        state,
        workspace: WorkspaceId::from_bytes(row.get(2)?),
        waits: row.get(3)?,
    })
}

/// Returns the question in the first column.
pub(super) fn asked(row: &Row<'_>) -> Result<Question, StoreError> {
    Ok(serde_json::from_str(super::event::text(row, 0)?)?)
}

/// Returns the workspaces in which a question is open.
pub(super) fn asking_workspaces(conn: &Connection) -> Result<Vec<WorkspaceId>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT id FROM workspace WHERE no IN (
           SELECT session.workspace FROM question
           JOIN session ON session.no = question.session WHERE answer IS NULL)",
    )?;
    let ids = query.query_map([], |row| row.get::<_, Value>(0))?;
    let mut workspaces = Vec::new();
    for id in ids {
        // A workspace whose id cannot be read cannot be named by a caller.
        if let Value::Blob(id) = id? {
            workspaces.extend(id.try_into().ok().map(WorkspaceId::from_bytes));
        }
    }
    Ok(workspaces)
}

/// Returns the questions without an answer, the oldest first.
pub(super) fn open(
    conn: &Connection,
    of: &OpenQuestions,
) -> Result<Vec<Result<Question, Damage>>, StoreError> {
    let (which, bound) = match of {
        OpenQuestions::All => ("?1 IS NULL", Value::Null),
        OpenQuestions::Workspaces(ids) => (
            "session.workspace IN (SELECT no FROM workspace WHERE id IN (
               SELECT unhex(value, '-') FROM json_each(?1)))",
            Value::Text(serde_json::to_string(ids)?),
        ),
        OpenQuestions::Session(id) => {
            let no = super::event::session_no(conn, *id)?;
            let family = "session.no IN (WITH RECURSIVE family (no) AS (
               VALUES (?1) UNION
               SELECT child.no FROM family JOIN session child ON child.parent = family.no)
               SELECT no FROM family)";
            (family, Value::Integer(no))
        }
    };
    let which = format!("answer IS NULL AND {which} ORDER BY question.no LIMIT ?2");
    let listing = Listing {
        table: "question",
        key: "no",
        columns: "body",
        joins: "LEFT JOIN session ON session.no = question.session",
        which: &which,
    };
    listing.read(conn, params![bound, QUESTIONS_MAX as i64], asked)
}
