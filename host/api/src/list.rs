//! Lists, page by page, and the parts of them that cannot be read.

use lastword_types::id::{RunId, SessionId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageView<T> {
    /// The entries of the page.
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The entries that belong to the page and cannot be read; absent if there are none.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damage>,
}

impl<T> PageView<T> {
    /// Creates the only page of a list that can be read completely.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next: None,
            damaged: Vec::new(),
        }
    }
}

/// One row, or one part of the database, that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Damage {
    /// The table; empty if it is unknown to which table the damaged part belongs.
    pub table: String,
    /// The row's key in its table, if the damage concerns a single row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// The session that the row belongs to, if that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The run that the row belongs to, if that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What cannot be read, and why.
    pub why: String,
    /// What is lost with it.
    pub lost: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.row, self.table.is_empty()) {
            (Some(row), _) => write!(f, "row {row} of the table `{}`", self.table)?,
            (None, false) => write!(f, "the table `{}`", self.table)?,
            (None, true) => f.write_str("a part of the database")?,
        }

        match (self.session, self.run) {
            (Some(session), Some(run)) => write!(f, " (session {session}, run {run})")?,
            (Some(session), None) => write!(f, " (session {session})")?,
            (None, Some(run)) => write!(f, " (run {run})")?,
            (None, None) => {}
        }

        write!(f, " cannot be read: {}; lost: {}", self.why, self.lost)
    }
}
