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
    /// [`OpenError::Missing`] where there is none, [`OpenError::Newer`] for a later format,
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
            // A disk that was full when the tables were to be made.
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

    /// What was committed to the database and is in it no more, which the next host will say when
    /// it starts; `None` if nothing is missing, or where no host noted how far it was committed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn missing(&self) -> Result<Option<Missing>, StoreError> {
        Ok(committed::missing(&self.directory, &self.conn)?)
    }

    /// Whether a host owned the directory when it was opened. Without one, runs that are
    /// `running` or `finishing` await recovery.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.owned
    }

    /// The sessions that changed last, newest first, of one workspace or of all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sessions(
        &self,
        workspace: Option<WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.read(session::latest(&self.conn, workspace, limit))?;
        Ok(self.damages.readable(rows))
    }

    /// One session.
    ///
    /// # Errors
    /// [`crate::Refusal::UnknownSession`], or when the database cannot be read.
    pub fn session(&self, id: SessionId) -> Result<SessionRow, StoreError> {
        self.read(session::find(&self.conn, id))
    }

    /// The runs of a session with their messages, in the order of acceptance.
    ///
    /// # Errors
    /// As [`Archive::session`].
    pub fn runs(&self, session: SessionId) -> Result<Vec<RunRow>, StoreError> {
        let (runs, damaged) = self.read(message::runs(&self.conn, session))?;
        self.set_aside(damaged);
        Ok(runs)
    }

    /// The events of a session after `after`, at most [`crate::PAGE_EVENTS`].
    ///
    /// # Errors
    /// As [`Archive::session`].
    pub fn events(&self, session: SessionId, after: Seq) -> Result<Vec<Event>, StoreError> {
        let events = self.read(event::page(&self.conn, session, after))?;
        self.set_aside(events.iter().filter_map(event::damage).collect());
        Ok(events)
    }

    /// What of the database could not be read so far, in the order in which it was met; at most
    /// 1,000 places. Lists leave it out.
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
