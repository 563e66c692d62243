//! The runs of a session as a list of light entries, page by page: where each stands and how
//! it ended, not what was said in it.

use super::damage::{Damage, Listing};
use super::open::Store;
use super::session::{PAGE_ROWS, cursor, parse_cursor};
use super::{StoreError, event};
use lastword_types::clock::UnixMillis;
use lastword_types::id::{RunId, SessionId};
use lastword_types::run::{Origin, Receipt, RunState};
use rusqlite::{Connection, Row, params};

/// A run, without its messages.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// What began it: `user`, `resume`, `fork`, …
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub origin: Origin,
    /// The lower-case hex SHA-256 of the agent's component.
    pub digest: String,
    /// When it was accepted.
    pub accepted_ms: UnixMillis,
    /// When its agent was called, once it has been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<UnixMillis>,
    /// When it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<UnixMillis>,
    /// How it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A run and where it stands in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummaryRow {
    /// The run.
    pub run: RunSummary,
    pub(super) no: i64,
}

impl RunSummaryRow {
    /// Where the list goes on after this run.
    #[must_use]
    pub fn cursor(&self) -> String {
        cursor(self.no)
    }
}

/// What is read of a run, beside its receipt.
pub(super) const SUMMARY: &str = "run.no, run.id, run.state,
    iif(json_valid(run.prompt), json_extract(run.prompt, '$.origin'), NULL), run.digest,
    run.accepted_ms, run.started_ms, run.ended_ms, run_terminal.receipt";
pub(super) const RECEIPTS: &str = "LEFT JOIN run_terminal ON run_terminal.run = run.no";

pub(super) fn read(row: &Row<'_>) -> Result<RunSummaryRow, StoreError> {
    let word: String = row.get(2)?;
    let time = |at: Option<i64>| at.map(|at| UnixMillis(at as u64));
    let receipt: Option<String> = row.get(8)?;
    Ok(RunSummaryRow {
        no: row.get(0)?,
        run: RunSummary {
            id: RunId::from_bytes(row.get(1)?),
            state: RunState::from_word(&word)
                .ok_or_else(|| StoreError::Content(format!("unknown state {word}")))?,
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

/// Some runs of a session, in the order of acceptance.
fn list(
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

impl Store {
    /// A page of a session's runs, in the order of acceptance.
    pub async fn list_runs(
        &self,
        session: SessionId,
        limit: u32,
        after: Option<String>,
    ) -> Result<Vec<Result<RunSummaryRow, Damage>>, StoreError> {
        let read = move |conn: &Connection| list(conn, session, limit, after.as_deref());
        self.shared.readers.read(read).await
    }
}
