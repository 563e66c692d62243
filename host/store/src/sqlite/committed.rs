//! A record, outside the database, of how far the database was committed. It is needed since SQLite
//! silently drops everything after a damaged frame of its write-ahead log, and since an older copy
//! of the database looks as whole as a newer one. The writer notes each commit here before it sends
//! the replies, and the next start compares.
//!
//! The note is written but not synced: after a power cut it may be behind the database, never
//! ahead of it.

use super::directory::{COMMITTED, DATABASE, WAL};
use super::slots::{self, Slots};
use crate::notice::{Missing, Notice};
use lastword_types::clock::UnixMillis;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Two slots that are written alternately, so that one is always intact.
const SLOTS: usize = 2;
/// The version of the format of a note.
const VERSION: u32 = 1;

/// The last commit of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    v: u32,
    /// The database's own id, in hexadecimal digits.
    database: String,
    epoch: i64,
    /// The position of the last commit.
    pos: i64,
    /// When it was committed.
    at_ms: u64,
}

/// The last commit according to the database itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    database: Option<String>,
    pos: i64,
    /// When the last event was written.
    at: Option<UnixMillis>,
}

/// The result of a comparison, with the numbers after which a host continues so that no number is
/// given twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) notice: Option<Notice>,
    /// The epoch that the next epoch must exceed.
    pub(super) epoch: i64,
    /// The position after which positions go on.
    pub(super) pos: i64,
}

/// The record, as the writer updates it.
pub(super) struct Record {
    slots: Option<Slots>,
    note: Note,
    turn: usize,
}

impl Record {
    /// Begins the record of a database with its present state. Replaces the notes of an earlier
    /// host.
    pub(super) fn begin(
        directory: &Path,
        conn: &Connection,
        epoch: i64,
        now: UnixMillis,
    ) -> (Self, Option<Notice>) {
        let path = directory.join(COMMITTED);
        // An unreadable log does not prevent the start; the first commit reports more.
        let standing = standing(conn).unwrap_or_default();
        let mut record = Self {
            slots: None,
            note: Note {
                v: VERSION,
                database: standing.database.unwrap_or_default(),
                epoch,
                pos: standing.pos,
                at_ms: now.0,
            },
            turn: 0,
        };
        let opened = Slots::open(&path, SLOTS).and_then(|slots| {
            let slots = record.slots.insert(slots);
            // Both slots are written, since the other one may belong to another database.
            (0..SLOTS).try_for_each(|slot| slots.write(slot, &record.note.bytes()))
        });
        let notice = opened.err().map(|error| {
            record.slots = None;
            let why = error.to_string();
            Notice::Unrecorded { path, why }
        });
        (record, notice)
    }

    /// Records a commit. Call it after COMMIT and before any reply.
    pub(super) fn note(&mut self, pos: i64, now: UnixMillis) {
        let Some(slots) = &self.slots else { return };
        (self.note.pos, self.note.at_ms) = (pos, now.0);
        self.turn = (self.turn + 1) % SLOTS;
        if let Err(error) = slots.write(self.turn, &self.note.bytes()) {
            tracing::warn!(%error, "how far the database is committed cannot be noted any more");
            self.slots = None;
        }
    }

    /// Waits until the last note is on the disk.
    pub(super) fn sync(&self) {
        if let Some(Err(error)) = self.slots.as_ref().map(Slots::sync) {
            tracing::debug!(%error, "the record of what is committed could not be synced");
        }
    }
}

impl Note {
    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and digits")
    }
}

/// Compares a database with the last note about it, before anything is written to it. If something
/// is missing, copies the rest of its write-ahead log.
pub(super) fn compare(directory: &Path, conn: &Connection) -> Compared {
    let path = directory.join(COMMITTED);
    let unreadable = |why: String| Compared {
        notice: Some(Notice::Unrecorded {
            path: path.clone(),
            why,
        }),
        ..Compared::default()
    };
    let note = match last_note(&path) {
        Ok(note) => note,
        Err(why) => return unreadable(why),
    };
    let Some(note) = note else {
        return Compared::default();
    };
    let standing = match standing(conn) {
        Ok(standing) => standing,
        Err(error) => {
            return Compared {
                epoch: note.epoch,
                pos: note.pos,
                ..unreadable(format!("the database does not say: {error}"))
            };
        }
    };
    if standing.is_of_another(&note) {
        return Compared {
            notice: Some(Notice::OtherDatabase),
            ..Compared::default()
        };
    }
    let missing = standing.missing(&note).map(|missing| Missing {
        kept: keep_log(directory, note.epoch),
        ..missing
    });
    Compared {
        notice: missing.map(Notice::Missing),
        epoch: note.epoch,
        pos: note.pos,
    }
}

/// Returns what the database in a directory lacks. Changes nothing, and can be called while a host
/// owns it. `None` also if there is no readable record.
pub(super) fn missing(
    directory: &Path,
    conn: &Connection,
) -> Result<Option<Missing>, rusqlite::Error> {
    // The note is read first, since a running host may commit in between.
    let note = last_note(&directory.join(COMMITTED)).ok().flatten();
    let standing = standing(conn)?;
    let note = note.filter(|note| !standing.is_of_another(note));
    Ok(note.and_then(|note| standing.missing(&note)))
}

fn last_note(path: &Path) -> Result<Option<Note>, String> {
    let content = slots::read(path).map_err(|error| error.to_string())?;
    let notes = content.whole.iter().filter_map(|(_, bytes)| {
        let note: Note = serde_json::from_slice(bytes).ok()?;
        (note.v == VERSION).then_some(note)
    });
    let last = notes.max_by_key(|note| (note.epoch, note.pos));
    match (last, content.damaged) {
        (None, 1..) => Err("what the last host noted is damaged".to_owned()),
        (last, _) => Ok(last),
    }
}

impl Standing {
    fn is_of_another(&self, note: &Note) -> bool {
        let own = self.database.as_ref();
        own.is_some_and(|own| *own != note.database)
    }

    fn missing(&self, note: &Note) -> Option<Missing> {
        (self.pos < note.pos).then(|| Missing {
            first: (self.pos + 1) as u64,
            last: note.pos as u64,
            since: self.at,
            until: UnixMillis(note.at_ms),
            kept: None,
        })
    }
}

/// Reads the last commit of a database in any format, even if damage has removed its tables.
fn standing(conn: &Connection) -> Result<Standing, rusqlite::Error> {
    let has = |table: &str, column: &str| {
        let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
        conn.query_row(sql, [table, column], |row| row.get::<_, bool>(0))
    };
    let mut standing = Standing::default();
    if has("owner", "last_pos")? {
        let sql = "SELECT last_pos FROM owner";
        let pos = conn.query_row(sql, [], |row| row.get(0)).optional()?;
        standing.pos = pos.unwrap_or(0);
    }
    if has("owner", "id")? {
        let sql = "SELECT lower(hex(id)) FROM owner";
        standing.database = conn.query_row(sql, [], |row| row.get(0)).optional()?;
    }
    if has("event", "pos")? {
        let sql = "SELECT pos, at_ms FROM event ORDER BY pos DESC LIMIT 1";
        let last = conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        if let Some((pos, at)) = last.optional()? {
            let at: i64 = at;
            standing.pos = standing.pos.max(pos);
            standing.at = Some(UnixMillis(at as u64));
        }
    }
    Ok(standing)
}

/// Copies the write-ahead log as it was found, before it is overwritten.
fn keep_log(directory: &Path, epoch: i64) -> Option<PathBuf> {
    let found = directory.join(WAL);
    if !std::fs::metadata(&found).is_ok_and(|found| found.len() > 0) {
        return None;
    }
    let kept = directory.join(format!("{DATABASE}.damaged-wal-{epoch}"));
    // A copy has the permissions of the original.
    match std::fs::copy(&found, &kept) {
        Ok(_) => Some(kept),
        Err(error) => {
            tracing::warn!(%error, file = %kept.display(), "the damaged log could not be kept");
            let _partial = std::fs::remove_file(&kept);
            None
        }
    }
}
