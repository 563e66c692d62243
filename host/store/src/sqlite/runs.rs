//! The runs of a session as a list, page by page: the state and the end of each, without its
//! messages.

use super::event;
use super::listing::Listing;
use crate::StoreError;
use crate::damage::Damage;
use crate::rows::{PAGE_ROWS, RunSummaryRow, parse_cursor};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{RunId, SessionId};
use lastword_types::run::RunSummary;
use rusqlite::{Connection, Row, params};

/// The columns of a run in addition to its receipt.
pub(super) const SUMMARY: &str = "run.no, run.id, run.state,
    iif(json_valid(run.prompt), json_extract(run.prompt, '$.origin'), NULL), run.digest,
    run.accepted_ms, run.started_ms, run.ended_ms, run_terminal.receipt";
pub(super) const RECEIPTS: &str = "LEFT JOIN run_terminal ON run_terminal.run = run.no";

pub(super) fn read(row: &Row<'_>) -> Result<RunSummaryRow, StoreError> {
    let word: String = row.get(2)?;
    let time = |at: Option<i64>| at.map(|at| UnixMillis(at as u64));
    let receipt: Option<String> = row.get(8)?;
    Ok(RunSummaryRow {
        place: row.get(0)?,
        run: RunSummary {
            id: RunId::from_bytes(row.get(1)?),
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
