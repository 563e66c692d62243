//! Reads a data directory that another process may own, over a connection that never writes,
//! migrates or checkpoints.

use super::directory::{self, DATABASE};
use super::open::{FORMAT, format_of};
use super::{committed, event, message, reader, session};
use crate::damage::{Damage, Damages};
use crate::{Missing, OpenError, RunRow, SessionRow, StoreError};
use lastword_types::event::{Event, Seq};
use lastword_types::id::{SessionId, WorkspaceId};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// A read-only view of a data directory.
///
/// Reads block the calling thread for a bounded page; there is no background thread.
pub struct Archive {
    conn: Connection,
    directory: PathBuf,
    owned: bool,
    damages: Damages,
}

impl Archive {
    /// Opens the database of a data directory, also while another process owns it.
    ///
    /// # Errors
    /// [`OpenError::Missing`] if there is none, [`OpenError::Newer`] for a later format,
    /// [`OpenError::Older`] for an earlier one.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE);
        if !path.is_file() {
            return Err(OpenError::Missing {
                directory: directory.to_owned(),
            });
        }
        let refused = |error: rusqlite::Error| OpenError::of(&path, &error);
        let conn = reader::connect_any(directory).map_err(refused)?;
        let found = format_of(&conn).map_err(refused)?;
        if found > FORMAT {
            return Err(OpenError::Newer {
                path,
                found,
                known: FORMAT,
            });
        }
        if found == 0 {
            // The disk was full when a host created the database, and the tables are missing.
            return Err(OpenError::Missing {
                directory: directory.to_owned(),
            });
        }
        if found < FORMAT {
            return Err(OpenError::Older {
                path,
                found,
                known: FORMAT,
            });
        }
        let owned = directory::is_owned(directory);
        Ok(Self {
            conn,
            directory: directory.to_owned(),
            owned,
            damages: Damages::default(),
        })
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Returns the commits that are missing from the database, which the next host will report when
    /// it starts; `None` if none is missing, or if no host recorded its commits.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn missing(&self) -> Result<Option<Missing>, StoreError> {
        Ok(committed::missing(&self.directory, &self.conn)?)
    }

    /// Whether a host owned the directory when the archive was opened. If none did, runs that are
    /// `running` or `finishing` await recovery.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.owned
    }

    /// Returns the sessions that changed last, newest first, of one workspace or of all.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn sessions(
        &self,
        workspace: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.read(session::latest(&self.conn, workspace, limit))?;
        Ok(self.damages.readable(rows))
    }

    /// Returns one session.
    ///
    /// # Errors
    /// [`crate::Refusal::UnknownSession`], or if the database cannot be read.
    pub fn session(&self, id: SessionId) -> Result<SessionRow, StoreError> {
        self.read(session::find(&self.conn, id))
    }

    /// Returns the runs of a session with their messages, in the order of acceptance.
    ///
    /// # Errors
    /// As for [`Archive::session`].
    pub fn runs(&self, session: SessionId) -> Result<Vec<RunRow>, StoreError> {
        let (runs, damaged) = self.read(message::runs(&self.conn, session))?;
        self.set_aside(damaged);
        Ok(runs)
    }

    /// Returns the events of a session after `after`, at most [`crate::PAGE_EVENTS`].
    ///
    /// # Errors
    /// As for [`Archive::session`].
    pub fn events(&self, session: SessionId, after: Seq) -> Result<Vec<Event>, StoreError> {
        let events = self.read(event::page(&self.conn, session, after))?;
        self.set_aside(events.iter().filter_map(event::damage).collect());
        Ok(events)
    }

    /// Returns the parts of the database that could not be read so far, in the order in which they
    /// were found; at most 1,000. Lists leave them out.
    #[must_use]
    pub fn damaged(&self) -> Vec<Damage> {
        self.damages.all()
    }

    fn set_aside(&self, damaged: Vec<Damage>) {
        for damage in damaged {
            self.damages.note(damage);
        }
    }

    fn read<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        read.map_err(reader::unreadable)
            .inspect_err(|error| self.damages.note_error(error))
    }
}
