//! The durable backend: one SQLite database with a write-ahead log. Only this folder uses rusqlite
//! and SQL.
//!
//! `open` takes ownership of the directory and recovers what an earlier owner left. `backend`
//! commits batches on the writer's thread. `queries` reads at the same time over connections of
//! its own (`reader`).

mod agent;
mod archive;
mod backend;
mod backup;
mod causes;
mod checkpoint;
mod committed;
mod consistency;
mod context;
mod directory;
mod doctor;
mod entry;
mod error;
mod event;
mod finish;
mod folded;
mod fork;
mod grant;
mod life;
mod listing;
mod message;
mod numbers;
mod open;
mod queries;
mod question;
mod queue;
mod reader;
mod recovery;
mod retention;
mod run;
mod runs;
mod session;
mod slots;
mod state;
mod tx;
mod wake;

#[cfg(test)]
mod acting;
#[cfg(test)]
mod full;

pub use archive::Archive;
pub use backup::{Backup, BackupError, backup};
pub(super) use directory::bytes_on_disk;
pub use doctor::{Examination, examine};
