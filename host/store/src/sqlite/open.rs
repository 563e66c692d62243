//! Opens the database of a data directory: takes the directory (`directory`), compares the database
//! with the record of what was committed (`committed`), migrates it, and has `recovery` end the
//! runs that an earlier host left.

use super::backend::Sqlite;
use super::causes::{Causes, Earlier};
use super::committed::{self, Compared, Record};
use super::directory::{self, DATABASE, Ownership, Places};
use super::life;
use super::numbers::Numbers;
use super::reader::ReadThreads;
use super::recovery;
use crate::damage::{Damage, Damages, Describe as _};
use crate::handle::{Opened, Store};
use crate::notice::Notice;
use crate::rows::Recovered;
use crate::{OpenError, StoreError};
use lastword_types::clock::Clock;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The format of databases that this host writes.
pub(super) const FORMAT: i64 = 5;
/// The SQL that migrates a database from each format to the next.
const MIGRATIONS: [&str; FORMAT as usize] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
];
/// The first version of SQLite in which a reset does not corrupt the write-ahead log.
const SQLITE_MIN: (i32, &str) = (3_051_003, "3.51.3");
/// How long one statement waits for another process's lock before the write is retried.
const BUSY: Duration = Duration::from_secs(1);

impl Store {
    /// Takes ownership of the data directory, migrates the database, and recovers the runs that an
    /// earlier owner left open. Blocks; the ownership lasts until the store is closed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let (opened, ownership) = open(directory, Arc::clone(&clock))?;
        let path = opened.directory.clone().unwrap_or_default().join(DATABASE);
        Self::start(opened, ownership, clock).map_err(|source| OpenError::Io {
            what: "start the writer thread for",
            path,
            source,
        })
    }
}

/// Opens the backend of a data directory.
pub(super) fn open(
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Result<(Opened<Sqlite>, Ownership), OpenError> {
    if rusqlite::version_number() < SQLITE_MIN.0 {
        return Err(OpenError::Sqlite {
            found: rusqlite::version().to_owned(),
            needed: SQLITE_MIN.1,
        });
    }

    let directory = directory::prepare(directory)?;
    let ownership = directory::own(&directory)?;
    let mut notices = directory::close_to_others(&directory)?;
    let path = directory.join(DATABASE);
    let refused = |error: rusqlite::Error| OpenError::of(&path, &error);

    let (conn, compared, upgraded) = open_database(&directory)?;
    let damages = Arc::new(Damages::default());
    let epoch = take_over(&conn, &compared, &damages).map_err(refused)?;
    notices.extend(upgraded);
    notices.extend(compared.notice);
    let last = last_position(&conn, &damages).map_err(refused)?;
    let (causes, earlier, unkept) = Causes::open(&directory);
    notices.extend(unkept);

    let mut backend = Sqlite {
        conn,
        clock,
        epoch,
        next_pos: last.saturating_add(1),
        numbers: Numbers::default(),
        wal_pages: Arc::default(),
        places: None,
        record: None,
    };
    let recovered = recover(&mut backend, &earlier, &damages);
    let recovered = recovered.map_err(|error| match error {
        StoreError::Unavailable(why) => OpenError::CannotWrite {
            path: path.clone(),
            why,
        },
        error => OpenError::Database {
            path: path.clone(),
            message: format!("recovery failed: {error}"),
        },
    })?;

    // Recovery has used the causes that an earlier host kept.
    causes.begin();
    notices.extend(watch(&mut backend, &directory, &ownership).map_err(refused)?);
    for notice in &notices {
        tracing::warn!(target: "lastword::notice", "{notice}");
    }

    let readers = ReadThreads::start(&directory, &damages).map_err(refused)?;
    let opened = Opened {
        backend,
        epoch,
        readers: Box::new(readers),
        causes: Arc::new(causes),
        damages,
        directory: Some(directory),
        recovered,
        notices,
    };
    Ok((opened, ownership))
}

/// Sets the backend up to count the pages of the write-ahead log, to check the places of its open
/// files, and to note its commits.
fn watch(
    sqlite: &mut Sqlite,
    directory: &Path,
    ownership: &Ownership,
) -> Result<Option<Notice>, rusqlite::Error> {
    let pages = Arc::clone(&sqlite.wal_pages);
    sqlite
        .conn
        .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(count, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }))?;

    match Places::of(directory, ownership) {
        Ok(places) => sqlite.places = Some(places),
        Err(error) => tracing::warn!(%error, "open files cannot be looked after"),
    }

    let now = sqlite.clock.now();
    let (record, notice) = Record::begin(directory, &sqlite.conn, sqlite.epoch, now);
    sqlite.record = Some(record);
    Ok(notice)
}

/// Opens the database, compares it with the record of its commits, and migrates it. The notice says
/// so if there was something to migrate.
fn open_database(directory: &Path) -> Result<(Connection, Compared, Option<Notice>), OpenError> {
    let path = &directory.join(DATABASE);
    let refused = |error: rusqlite::Error| OpenError::of(path, &error);
    let conn = Connection::open(path).map_err(refused)?;
    conn.busy_timeout(BUSY).map_err(refused)?;
    conn.set_prepared_statement_cache_capacity(128);

    let found = format_of(&conn).map_err(refused)?;
    if found > FORMAT {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }

    // Before the first write, since that overwrites the rest of a damaged log.
    let compared = committed::compare(directory, &conn);
    configure(&conn).map_err(refused)?;
    migrate(&conn, found).map_err(refused)?;
    let upgraded = (1..FORMAT).contains(&found).then_some(Notice::Upgraded {
        from: found,
        to: FORMAT,
    });
    Ok((conn, compared, upgraded))
}

/// Returns the format of a database: its `user_version`, 0 for an empty one.
pub(super) fn format_of(conn: &Connection) -> Result<i64, rusqlite::Error> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn configure(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", false)?;
    // Otherwise a plan that depends on bound values is made again at each call, which costs more
    // than it saves here.
    conn.set_db_config(
        rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG,
        true,
    )?;
    conn.pragma_update(None, "cache_size", -16_000)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)
}

/// Migrates a database in one transaction, so that a disk that fills up half-way leaves the old
/// format.
fn migrate(conn: &Connection, found: i64) -> Result<(), rusqlite::Error> {
    let done = usize::try_from(found).unwrap_or(0);
    let Some(missing) = MIGRATIONS.get(done..).filter(|missing| !missing.is_empty()) else {
        return Ok(());
    };
    let sql = missing.join("\n");
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE; {sql} PRAGMA user_version = {FORMAT}; COMMIT"
    ))
    .inspect_err(|_| {
        let _nothing_was_begun = conn.execute_batch("ROLLBACK");
    })
}

/// The largest number that a host gives: a larger one is damage.
const NUMBER_MAX: i64 = 1 << 60;

/// Takes ownership of the database and returns the epoch of this owner, which rises once for each
/// process that owns the directory. No epoch or position is given twice, even if the database has
/// lost the last ones. An owner row that cannot be read is created again. From here on every open
/// run belongs to this host.
fn take_over(
    conn: &Connection,
    compared: &Compared,
    damages: &Damages,
) -> Result<i64, rusqlite::Error> {
    let sound = format!(
        "UPDATE owner SET epoch = max(epoch, ?1) + 1, last_pos = max(last_pos, ?2) WHERE one = 1
           AND typeof(epoch) = 'integer' AND epoch BETWEEN 0 AND {NUMBER_MAX}
           AND typeof(last_pos) = 'integer' AND last_pos BETWEEN 0 AND {NUMBER_MAX}
           AND typeof(last_session) = 'integer' AND last_session BETWEEN 0 AND {NUMBER_MAX}
           AND typeof(last_workspace) = 'integer' AND last_workspace BETWEEN 0 AND {NUMBER_MAX}
           AND typeof(id) = 'blob'
         RETURNING epoch"
    );
    let owner = Damage::of("owner");
    let why = match conn.query_row(&sound, [compared.epoch, compared.pos], |row| row.get(0)) {
        Err(rusqlite::Error::QueryReturnedNoRows) => "a number in it is none".to_owned(),
        Err(error) if is_corrupt(&error) => {
            // The damaged page stays in the database, under another table name.
            let anew = format!(
                "ALTER TABLE owner RENAME TO owner_damaged_{};
                 CREATE TABLE owner (
                   one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL,
                   last_pos INTEGER NOT NULL DEFAULT 0, last_session INTEGER NOT NULL DEFAULT 0,
                   last_workspace INTEGER NOT NULL DEFAULT 0, id BLOB)",
                uuid::Uuid::now_v7().simple()
            );
            conn.execute_batch(&format!("BEGIN IMMEDIATE; {anew}; COMMIT"))
                .inspect_err(|_| {
                    let _nothing_was_begun = conn.execute_batch("ROLLBACK");
                })?;
            error.to_string()
        }
        epoch => return epoch,
    };

    damages.note(owner.row(1).why(why));
    let anew = format!(
        "INSERT OR REPLACE INTO owner (one, epoch, id) VALUES (1, 1 + coalesce((
           SELECT max(epoch) FROM run
           WHERE typeof(epoch) = 'integer' AND epoch < {NUMBER_MAX}), 0), coalesce((
           SELECT id FROM owner WHERE typeof(id) = 'blob'), randomblob(16)))"
    );
    if conn.execute_batch(&anew).is_err() {
        // The epochs of the runs cannot be read either.
        let least = "INSERT OR REPLACE INTO owner (one, epoch, id) VALUES (1, 1, randomblob(16))";
        conn.execute_batch(least)?;
    }

    conn.execute_batch("DELETE FROM owner WHERE one <> 1")?;
    conn.query_row(
        "UPDATE owner SET epoch = max(epoch, ?1 + 1), last_pos = ?2 RETURNING epoch",
        [compared.epoch, compared.pos],
        |row| row.get(0),
    )
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

/// Returns the highest position ever given, from the log, or from its index if only that can be
/// read.
fn last_position(conn: &Connection, damages: &Damages) -> Result<i64, rusqlite::Error> {
    let given = conn.query_row("SELECT last_pos FROM owner WHERE one = 1", [], |row| {
        row.get(0)
    });
    let given: i64 = given?;
    for from in ["", "INDEXED BY event_seq"] {
        let sql = format!("SELECT coalesce(max(pos), 0) FROM event {from}");
        match conn.query_row(&sql, [], |row| row.get::<_, i64>(0)) {
            Ok(last) => return Ok(last.max(given)),
            Err(error) if is_corrupt(&error) => {
                damages.note(Damage::of("event").why(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(given)
}

fn recover(
    sqlite: &mut Sqlite,
    earlier: &Earlier,
    damages: &Damages,
) -> Result<Recovered, StoreError> {
    let (sum, damaged) = recovery::recover(sqlite, earlier)?;
    for damage in damaged {
        damages.note(damage);
    }

    // Continue the deletions that an earlier host had begun.
    let mut delete = || -> Result<(), StoreError> {
        for session in life::going(&sqlite.conn)? {
            while !sqlite.once(|tx| life::delete_some(tx, session))? {}
        }
        Ok(())
    };
    match delete() {
        Err(StoreError::Damaged(damage)) => damages.note(*damage),
        Err(error @ (StoreError::Content(_) | StoreError::Refused(_))) => {
            damages.note(Damage::of("session").why(error.to_string()));
        }
        deleted => deleted?,
    }

    if sum != Recovered::default() {
        tracing::info!(
            ended = sum.ended,
            held = sum.held,
            "recovered what an earlier host left"
        );
    }
    Ok(sum)
}
