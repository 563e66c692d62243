//! Runs without their messages: the state and the end of one, or of those of a session as a list,
//! page by page.

use super::event;
use super::listing::Listing;
use crate::damage::{Damage, Describe as _};
use crate::rows::{PAGE_ROWS, RunSummaryRow, parse_cursor};
use crate::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{RunId, SessionId};
use lastword_types::run::RunSummary;
use rusqlite::{Connection, Row, params};

/// The columns of a run in addition to its receipt.
pub(super) const SUMMARY: &str = "run.no, run.id, run.state,
    iif(json_valid(run.prompt), json_extract(run.prompt, '$.origin'), NULL), run.digest,
    run.accepted_ms, run.started_ms, run.ended_ms, run_terminal.receipt,
    (SELECT session.id FROM session WHERE session.no = run.session)";
pub(super) const RECEIPTS: &str = "LEFT JOIN run_terminal ON run_terminal.run = run.no";

pub(super) fn read(row: &Row<'_>) -> Result<RunSummaryRow, StoreError> {
    let word: String = row.get(2)?;
    let time = |at: Option<i64>| at.map(|at| UnixMillis(at as u64));
    let receipt: Option<String> = row.get(8)?;
    Ok(RunSummaryRow {
        place: row.get(0)?,
        run: RunSummary {
            run: RunId::from_bytes(row.get(1)?),
            session: SessionId::from_bytes(row.get(9)?),
            state: word.parse()?,
            origin: row.get::<_, String>(3)?.into(),
            digest: row.get(4)?,
            accepted_ms: UnixMillis(row.get::<_, i64>(5)? as u64),
            started_ms: time(row.get(6)?),
            ended_ms: time(row.get(7)?),
            receipt: receipt
                .map(|json| serde_json::from_str(&json))
                .transpose()?,
        },
    })
}

/// Returns one run, whatever its state.
pub(super) fn find(conn: &Connection, id: RunId) -> Result<RunSummary, StoreError> {
    let sql = format!("SELECT {SUMMARY} FROM run {RECEIPTS} WHERE run.id = ?1");
    let found = || {
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query([id.as_bytes()])?;
        rows.next()?.map(read).transpose()
    };
    let found = found().map_err(|error| Damage::of("run").run(id).name(error))?;
    found
        .map(|row| row.run)
        .ok_or_else(|| Refusal::UnknownRun(id).into())
}

/// Returns a page of the runs of a session, in the order of acceptance.
pub(super) fn list(
    conn: &Connection,
    session: SessionId,
    limit: u32,
    after: Option<&str>,
) -> Result<Vec<Result<RunSummaryRow, Damage>>, StoreError> {
    let after = after.map_or(Ok(0), parse_cursor)?;
    let no = event::session_no(conn, session)?;
    let listing = Listing {
        table: "run",
        key: "no",
        columns: SUMMARY,
        joins: RECEIPTS,
        which: "run.session = ?1 AND run.no > ?2 ORDER BY run.no LIMIT ?3",
    };
    listing.read(conn, params![no, after, limit.min(PAGE_ROWS + 1)], read)
}
