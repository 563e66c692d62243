//! Lists, edits, holds and resumes prompts that wait. Each change is a compare-and-set on the
//! prompt's state, so that a prompt that starts meanwhile stays as it started.

use super::entry::keep_blob;
use super::event;
use super::listing::Listing;
use super::run::{change, keep_key, known};
use super::tx::Tx;
use crate::command::{EditQueued, Resume};
use crate::damage::{Damage, Describe as _};
use crate::rows::{HeldScope, QueuedRow, RunAt};
use crate::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::{AgentId, MessageId, RunId, SessionId, WorkspaceId};
use lastword_types::run::{RunEvent, RunState};
use lastword_types::session::Part;
use rusqlite::{Connection, OptionalExtension, Row, params};

const QUEUED: &str = "id, state, prompt, key, accepted_ms";

fn queued_row(row: &Row<'_>) -> Result<QueuedRow, StoreError> {
    Ok(QueuedRow {
        id: RunId::from_bytes(row.get(0)?),
        state: row.get_ref(1)?.as_str().unwrap_or_default().parse()?,
        prompt: serde_json::from_str(row.get_ref(2)?.as_str().unwrap_or_default())?,
        key: row.get(3)?,
        accepted_ms: UnixMillis(row.get::<_, i64>(4)? as u64),
    })
}

/// Returns the waiting prompts of a session, in the order of acceptance.
pub(super) fn list(
    conn: &Connection,
    session: SessionId,
) -> Result<Vec<Result<QueuedRow, Damage>>, StoreError> {
    let no = event::session_no(conn, session)?;
    // The first list of states has to be word for word that of the partial index.
    let listing = Listing {
        table: "run",
        key: "no",
        columns: QUEUED,
        joins: "",
        which: "session = ?1 AND state IN ('queued', 'held', 'running', 'finishing')
            AND state IN ('queued', 'held') ORDER BY no",
    };
    listing.read(conn, &[&no], queued_row)
}

/// Replaces the content of a waiting prompt, and that of its user's message.
pub(super) fn edit(tx: &mut Tx<'_>, edit: &EditQueued) -> Result<QueuedRow, StoreError> {
    let found = find(tx.conn, edit.run)?;
    if found.session != edit.session {
        return Err(Refusal::UnknownRun(edit.run).into());
    }
    let no = tx.run(edit.run)?;
    let mut prompt = found.prompt;
    let (data, said) = prompt.parts.into_iter().partition(Part::is_data);
    let mut parts: Vec<Part> = edit.said.clone().unwrap_or(said);
    parts.extend(edit.attached.clone().unwrap_or(data));
    if parts.iter().all(Part::is_blank) {
        return Err(Refusal::Empty.into());
    }
    for (id, bytes) in &edit.blobs {
        keep_blob(tx.conn, no.session, id, bytes)?;
    }
    prompt.parts = parts;
    let parts = &prompt.parts;
    let sql = format!(
        "UPDATE run SET prompt = ?2 WHERE no = ?1 AND state IN ('queued', 'held')
         RETURNING {QUEUED}"
    );
    let edited = {
        let mut update = tx.conn.prepare_cached(&sql)?;
        let mut rows = update.query(params![no.run, serde_json::to_string(&prompt)?])?;
        match rows.next()? {
            Some(row) => queued_row(row)?,
            None => return Err(Refusal::WrongState.into()),
        }
    };
    let message: Option<[u8; 16]> = tx
        .conn
        .prepare_cached(
            "UPDATE message SET parts = ?2 WHERE run = ?1 AND ordinal IS NULL AND role = 'user'
             RETURNING id",
        )?
        .query_row(params![no.run, serde_json::to_string(parts)?], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(message) = message {
        let body = EventBody::MessageReplaced {
            message: MessageId::from_bytes(message),
            parts: parts.clone(),
        };
        tx.log(no.session)?.push(Some(no.run), &body)?;
    }
    Ok(edited)
}

/// Holds the runs that are still queued. Others are left as they are.
pub(super) fn hold(tx: &mut Tx<'_>, runs: &[RunId]) -> Result<(), StoreError> {
    for run in runs {
        let run = tx.run(*run)?;
        match change(tx, run, RunState::Queued, RunEvent::Hold) {
            Ok(()) => tx
                .log(run.session)?
                .push(Some(run.run), &EventBody::RunHeld {})?,
            Err(StoreError::Refused(Refusal::WrongState)) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Puts a held run back into the queue. Its key was looked up before; if two requests race, the
/// second finds that the run is no longer held.
pub(super) fn resume(tx: &mut Tx<'_>, resume: &Resume) -> Result<(), StoreError> {
    let run = tx.run(resume.run)?;
    change(tx, run, RunState::Held, RunEvent::Resume)?;
    if let Some(key) = &resume.key {
        if known(tx.conn, run.session.session, run.session.id, key)?.is_some() {
            return Err(Refusal::KeyConflict(run.session.id).into());
        }
        keep_key(tx, run, key)?;
    }

    tx.log(run.session)?
        .push(Some(run.run), &EventBody::RunResumed {})
}

/// Returns the held runs, in the order of acceptance.
pub(super) fn held(
    conn: &Connection,
    scope: HeldScope,
) -> Result<Vec<Result<RunAt, Damage>>, StoreError> {
    let (which, id) = match scope {
        HeldScope::All => ("?1 IS NULL", None),
        HeldScope::Workspace(id) => ("workspace.id = ?1", Some(*id.as_bytes())),
        HeldScope::Session(id) => ("session.id = ?1", Some(*id.as_bytes())),
        HeldScope::Run(id) => ("run.id = ?1", Some(*id.as_bytes())),
    };
    let which = format!(
        "{which} AND run.state IN ('queued', 'held', 'running', 'finishing')
         AND run.state = 'held' ORDER BY run.no"
    );
    let listing = Listing {
        table: "run",
        key: "no",
        columns: AT,
        joins: PLACES,
        which: &which,
    };
    listing.read(conn, &[&id], at)
}

pub(super) const AT: &str =
    "run.id, session.id, session.agent, workspace.id, run.state, run.prompt";
pub(super) const PLACES: &str = "LEFT JOIN session ON session.no = run.session
    LEFT JOIN workspace ON workspace.no = session.workspace";

pub(super) fn at(row: &Row<'_>) -> Result<RunAt, StoreError> {
    let agent: String = row.get(2)?;
    Ok(RunAt {
        id: RunId::from_bytes(row.get(0)?),
        session: SessionId::from_bytes(row.get(1)?),
        agent: AgentId::new(agent).map_err(|error| StoreError::Content(error.to_string()))?,
        workspace: WorkspaceId::from_bytes(row.get(3)?),
        state: row.get_ref(4)?.as_str().unwrap_or_default().parse()?,
        prompt: serde_json::from_str(row.get_ref(5)?.as_str().unwrap_or_default())?,
    })
}

/// Returns one run, whatever its state.
pub(super) fn find(conn: &Connection, id: RunId) -> Result<RunAt, StoreError> {
    let sql = format!("SELECT {AT} FROM run {PLACES} WHERE run.id = ?1");
    let found = || {
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query([id.as_bytes()])?;
        rows.next()?.map(at).transpose()
    };
    let found = found().map_err(|error| Damage::of("run").run(id).name(error))?;
    found.ok_or_else(|| Refusal::UnknownRun(id).into())
}
