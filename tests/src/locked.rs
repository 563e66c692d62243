//! A database that cannot be written for a while.

use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

/// Holds the database's write lock, as another process might: the host's store cannot write.
pub struct Locked(Connection);

impl Locked {
    /// From now on.
    ///
    /// # Panics
    /// If the lock is not to be had.
    #[must_use]
    pub fn hold(data: &Path) -> Self {
        let conn = Connection::open(data.join("lastword.db")).expect("a database");
        conn.busy_timeout(Duration::from_secs(20))
            .expect("a connection");
        conn.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        Self(conn)
    }

    /// Lets the host write again.
    ///
    /// # Panics
    /// If it was not held any more.
    pub fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("the lock was held");
    }
}
