//! Lists that continue after a row that cannot be read, and report the place of that row.

use crate::StoreError;
use crate::damage::{Damage, Describe as _};
use lastword_types::id::{RunId, SessionId};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, ToSql};
use sha2::{Digest, Sha256};

/// A list that continues after a row that cannot be read.
pub(super) struct Listing<'a> {
    /// The table whose rows are listed.
    pub(super) table: &'static str,
    /// The column that identifies a row.
    pub(super) key: &'static str,
    /// The columns that are read of each row.
    pub(super) columns: &'a str,
    /// The tables that are joined.
    pub(super) joins: &'a str,
    /// The condition for rows, and their order.
    pub(super) which: &'a str,
}

impl Listing<'_> {
    /// Reads the list with one query. If that fails, reads it row by row, and continues after rows
    /// and pages that cannot be read.
    ///
    /// # Errors
    /// If none of it can be read, or if the store cannot read now.
    pub(super) fn read<T>(
        &self,
        conn: &Connection,
        bound: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<Result<T, Damage>>, StoreError> {
        match self.at_once(conn, bound, &read) {
            Ok(rows) => Ok(rows.into_iter().map(Ok).collect()),
            Err(StoreError::Content(_) | StoreError::Damaged(_)) => {
                self.one_by_one(conn, bound, &read)
            }
            Err(other) => Err(other),
        }
    }

    fn at_once<T>(
        &self,
        conn: &Connection,
        bound: &[&dyn ToSql],
        read: &impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let Self {
            table,
            columns,
            joins,
            which,
            ..
        } = self;
        let sql = format!("SELECT {columns} FROM {table} {joins} WHERE {which}");
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query(bound)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn one_by_one<T>(
        &self,
        conn: &Connection,
        bound: &[&dyn ToSql],
        read: &impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<Result<T, Damage>>, StoreError> {
        let Self {
            table,
            key,
            columns,
            joins,
            which,
        } = self;
        // The keys come from an index if there is one, or from the table if only that can be read.
        let listed = |indexed: &str| {
            let sql = format!("SELECT {table}.{key} FROM {table} {indexed} {joins} WHERE {which}");
            keys(conn, &sql, bound)
        };
        let keys = listed("").or_else(|_| listed("NOT INDEXED"));
        let keys = keys.map_err(|error| Damage::of(table).name(error))?;
        let sql = format!("SELECT {columns} FROM {table} {joins} WHERE {table}.{key} = ?1");
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let one = || {
                let mut query = conn.prepare_cached(&sql)?;
                let mut rows = query.query([&key])?;
                rows.next()?.map(read).transpose()
            };
            match one() {
                Ok(row) => found.extend(row.map(Ok)),
                Err(error @ (StoreError::Content(_) | StoreError::Damaged(_))) => {
                    found.push(Err(place(conn, table, &key, error)));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }
}

fn keys(conn: &Connection, sql: &str, bound: &[&dyn ToSql]) -> Result<Vec<Value>, StoreError> {
    let mut query = conn.prepare(sql)?;
    let rows = query.query_map(bound, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the damage that an error reports; other errors stay errors.
pub(super) fn damage_of(error: StoreError) -> Result<Damage, StoreError> {
    match super::reader::unreadable(error) {
        StoreError::Damaged(damage) => Ok(*damage),
        other => Err(other),
    }
}

/// Describes a row that cannot be read, with its session and run if these can be read.
pub(super) fn place(conn: &Connection, table: &str, key: &Value, error: StoreError) -> Damage {
    let why = match error {
        StoreError::Content(why) => why,
        StoreError::Damaged(damage) => damage.why,
        other => other.to_string(),
    };
    let mut damage = Damage::of(table).row(shown(key)).why(why);
    let (session, run) = match table {
        "session" => ("no = ?1", ""),
        "run" | "run_terminal" | "wake" => ("no = (SELECT session FROM run WHERE no = ?1)", "?1"),
        "event" => (
            "no = (SELECT session FROM event WHERE pos = ?1)",
            "(SELECT run FROM event WHERE pos = ?1)",
        ),
        "message" => (
            "no = (SELECT session FROM message WHERE no = ?1)",
            "(SELECT run FROM message WHERE no = ?1)",
        ),
        "question" => (
            "no = (SELECT session FROM question WHERE no = ?1)",
            "(SELECT run FROM question WHERE no = ?1)",
        ),
        "granted" => ("no = (SELECT session FROM granted WHERE id = ?1)", ""),
        _ => ("", ""),
    };
    let id =
        |sql: String| -> Option<[u8; 16]> { conn.query_row(&sql, [key], |row| row.get(0)).ok() };
    if !session.is_empty() {
        let found = id(format!("SELECT id FROM session WHERE {session}"));
        damage.session = found.map(SessionId::from_bytes);
    }
    if !run.is_empty() {
        damage.run = id(format!("SELECT id FROM run WHERE no = {run}")).map(RunId::from_bytes);
    }
    damage
}

fn shown(key: &Value) -> String {
    match ValueRef::from(key) {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(no) => no.to_string(),
        ValueRef::Real(no) => no.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Reads a column that may have any content; `None` if it does not fit.
pub(super) fn lenient<T: rusqlite::types::FromSql>(row: &Row<'_>, column: usize) -> Option<T> {
    row.get::<_, Option<T>>(column).ok().flatten()
}

/// Returns the lower-case hex SHA-256 of bytes, which identifies components and attachments.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
