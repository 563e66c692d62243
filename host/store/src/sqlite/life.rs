//! Changes to a session other than its runs: its title, its plan and its deletion; and the deletion
//! of a workspace. Each change writes only its own columns, so that none undoes another.

use super::entry;
use super::numbers::{self, SESSION, SessionNo, WORKSPACES};
use super::session;
use super::tx::Tx;
use crate::command::ROWS_MAX;
use crate::rows::SessionRow;
use crate::{Refusal, StoreError};
use lastword_types::event::EventBody;
use lastword_types::id::{SessionId, WorkspaceId};
use lastword_types::session::Todo;
use rusqlite::{Connection, params};

/// Sets the title. Does nothing if it is unchanged.
pub(super) fn rename(
    tx: &mut Tx<'_>,
    id: SessionId,
    title: &str,
) -> Result<SessionRow, StoreError> {
    session::locate(tx.conn, id)?;
    let no = tx.session(id)?;
    if entry::set_title(tx.conn, no, title)? {
        let title = title.to_owned();
        tx.log(no)?
            .push(None, &EventBody::SessionRenamed { title })?;
    }
    session::find(tx.conn, id)
}

/// Sets the plan. Does nothing if it is unchanged.
pub(super) fn plan(
    tx: &mut Tx<'_>,
    id: SessionId,
    todo: &[Todo],
) -> Result<SessionRow, StoreError> {
    session::locate(tx.conn, id)?;
    let no = tx.session(id)?;
    let changed = tx
        .conn
        .prepare_cached("UPDATE session SET todo = ?2 WHERE no = ?1 AND todo IS NOT ?2")?
        .execute(params![no.session, serde_json::to_string(todo)?])?;
    if changed > 0 {
        let todo = todo.to_vec();
        tx.log(no)?.push(None, &EventBody::SessionTodo { todo })?;
    }
    session::find(tx.conn, id)
}

/// Marks a session: it takes no more prompts and is in no list, and the key that created it is free.
pub(super) fn begin_delete(tx: &Tx<'_>, no: SessionNo) -> Result<(), StoreError> {
    let marked = tx
        .conn
        .prepare_cached("UPDATE session SET going = max(going, 1) WHERE no = ?1 AND going < 3")?
        .execute([no.session])?;
    if marked == 0 {
        return Err(Refusal::UnknownSession(no.id).into());
    }

    tx.conn
        .prepare_cached("DELETE FROM session_key WHERE session = ?1")?
        .execute([no.session])?;
    Ok(())
}

/// Deletes some rows of a marked session. Returns whether all are deleted. Held prompts are deleted
/// with it; a run that is queued or has begun must end first. The session's bare row stays, with
/// the event of its deletion, for followers, including those that come back later.
pub(super) fn delete_some(tx: &mut Tx<'_>, no: SessionNo) -> Result<bool, StoreError> {
    let conn = tx.conn;
    let open: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM run WHERE session = ?1
               AND state IN ('queued', 'held', 'running', 'finishing') AND state <> 'held')",
        )?
        .query_row([no.session], |row| row.get(0))?;
    if open {
        return Err(Refusal::WrongState.into());
    }
    tell_deleted(tx, no)?;
    remember_last(tx)?;
    tx.numbers.forget_runs_of(no.session);

    let mut left = ROWS_MAX;
    for sql in [
        "DELETE FROM event WHERE pos IN (
           SELECT pos FROM event WHERE session = ?1
             AND seq <= (SELECT log_from FROM session WHERE no = ?1) LIMIT ?2)",
        "DELETE FROM wake WHERE run IN (
           SELECT wake.run FROM run JOIN wake ON wake.run = run.no
           WHERE run.session = ?1 LIMIT ?2)",
        "DELETE FROM question WHERE no IN (SELECT no FROM question WHERE session = ?1 LIMIT ?2)",
        "DELETE FROM granted WHERE id IN (SELECT id FROM granted WHERE session = ?1 LIMIT ?2)",
        "DELETE FROM message WHERE no IN (
           SELECT no FROM message WHERE session = ?1 AND ordinal IS NOT NULL LIMIT ?2)",
        "DELETE FROM message WHERE no IN (
           SELECT message.no FROM run JOIN message ON message.run = run.no
           WHERE run.session = ?1 AND message.ordinal IS NULL LIMIT ?2)",
        "DELETE FROM later_key WHERE (session, key) IN (
           SELECT session, key FROM later_key WHERE session = ?1 LIMIT ?2)",
        "DELETE FROM later_key WHERE (session, key) IN (
           SELECT later_key.session, later_key.key FROM run JOIN later_key ON later_key.run = run.no
           WHERE run.session = ?1 LIMIT ?2)",
        "DELETE FROM session_key WHERE session = ?1 AND ?2 > 0",
        "DELETE FROM run_terminal WHERE run IN (
           SELECT run FROM run JOIN run_terminal ON run_terminal.run = run.no
           WHERE run.session = ?1 LIMIT ?2)",
        "DELETE FROM run WHERE no IN (SELECT no FROM run WHERE session = ?1 LIMIT ?2)",
        "DELETE FROM state WHERE scope = 1 AND owner = ?1 AND ?2 > 0",
        "DELETE FROM blob WHERE id IN (
           SELECT blob FROM blob_use own WHERE session = ?1 AND NOT EXISTS (
             SELECT 1 FROM blob_use other
             WHERE other.blob = own.blob AND other.session <> own.session) LIMIT ?2)",
        "DELETE FROM blob_use WHERE session = ?1 AND ?2 > 0",
    ] {
        let limit = i64::try_from(left).unwrap_or(i64::MAX);
        let deleted = conn
            .prepare_cached(sql)?
            .execute(params![no.session, limit])?;
        left = left.saturating_sub(deleted);
        if left == 0 {
            return Ok(false);
        }
    }
    conn.prepare_cached("UPDATE session SET parent = NULL WHERE parent = ?1")?
        .execute([no.session])?;
    conn.prepare_cached(
        "UPDATE session SET going = 3, title = NULL, todo = NULL, parent = NULL,
           forked_from = NULL, summary_message = NULL, summary_through = NULL WHERE no = ?1",
    )?
    .execute([no.session])?;
    Ok(true)
}

/// Logs once that a session is deleted. From then on its log begins with that event.
fn tell_deleted(tx: &mut Tx<'_>, no: SessionNo) -> Result<(), StoreError> {
    let conn = tx.conn;
    let first = conn
        .prepare_cached("UPDATE session SET going = 2 WHERE no = ?1 AND going < 2")?
        .execute([no.session])?;
    if first == 0 {
        return Ok(());
    }
    tx.log(no)?.push(None, &EventBody::SessionDeleted {})?;
    conn.prepare_cached(
        "UPDATE session SET log_from = (SELECT max(seq) - 1 FROM event WHERE session = no)
         WHERE no = ?1",
    )?
    .execute([no.session])?;
    Ok(())
}

/// Stores the highest numbers ever given before rows are deleted, since no number is given twice.
pub(super) fn remember_last(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE owner SET last_pos = max(last_pos, ?1),
               last_session = max(last_session, coalesce((SELECT max(no) FROM session), 0)),
               last_workspace = max(last_workspace, coalesce((SELECT max(no) FROM workspace), 0))",
        )?
        .execute([tx.last_pos()])?;
    Ok(())
}

/// Returns the sessions whose deletion has begun and is not finished.
pub(super) fn going(conn: &Connection) -> Result<Vec<SessionNo>, StoreError> {
    let sql = format!(
        "SELECT {SESSION} FROM session {WORKSPACES} WHERE going IN (1, 2) ORDER BY session.no"
    );
    let mut query = conn.prepare(&sql)?;
    let rows = query.query_map([], |row| Ok(SessionNo::read(row, 0)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the sessions of a workspace, including those whose deletion is not finished.
pub(super) fn sessions_of(
    conn: &Connection,
    workspace: WorkspaceId,
) -> Result<Vec<SessionId>, StoreError> {
    let no = numbers::workspace(conn, workspace)?;
    let mut query = conn
        .prepare_cached("SELECT id FROM session WHERE workspace = ?1 AND going < 3 ORDER BY no")?;
    let rows = query.query_map([no], |row| Ok(SessionId::from_bytes(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Deletes a workspace without sessions, and the rows that its deleted sessions left.
pub(super) fn delete_workspace(tx: &mut Tx<'_>, id: WorkspaceId) -> Result<(), StoreError> {
    let no = numbers::workspace(tx.conn, id)?;
    let used: bool = tx
        .conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM session WHERE workspace = ?1 AND going < 3)")?
        .query_row([no], |row| row.get(0))?;
    if used {
        return Err(Refusal::WrongState.into());
    }

    remember_last(tx)?;
    // Wakes the followers of the workspace, which then find that it is deleted.
    tx.wake(SessionNo {
        session: 0,
        workspace: no,
        id: SessionId::from_bytes([0; 16]),
        workspace_id: id,
    });
    tx.numbers.forget_workspace(no);

    for of_deleted in [
        "DELETE FROM event WHERE session IN (SELECT no FROM session WHERE workspace = ?1)",
        "DELETE FROM gone_run WHERE session IN (SELECT no FROM session WHERE workspace = ?1)",
        // A later session may get the number of one of these, and must not get its values.
        "DELETE FROM state WHERE scope = 1
         AND owner IN (SELECT no FROM session WHERE workspace = ?1)",
        "DELETE FROM session_key WHERE workspace = ?1",
        "DELETE FROM session WHERE workspace = ?1",
    ] {
        tx.conn.prepare_cached(of_deleted)?.execute([no])?;
    }
    tx.conn
        .prepare_cached("DELETE FROM state WHERE scope = 2 AND owner = ?1")?
        .execute([no])?;
    tx.conn
        .prepare_cached("DELETE FROM granted WHERE workspace = ?1")?
        .execute([no])?;
    tx.conn
        .prepare_cached("DELETE FROM workspace WHERE no = ?1")?
        .execute([no])?;
    Ok(())
}
