//! The store: everything that the host keeps. A caller hands in commands and queries as plain
//! data. One writer thread commits the commands in batches, and a backend carries them out:
//! `sqlite` in a data directory, `memory` without a file.
//!
//! Start reading at [`Store`] (`handle`), then `command`, `writer` and `backend`.
//! The crate is public for the project's own benchmarks and is not an extension point yet.
//!
//! Only this crate uses rusqlite and SQL. No transaction is held across an await: a command goes
//! to the writer as a value, and the reply comes back as a value.

mod backend;
mod command;
mod conversation;
mod damage;
mod error;
mod handle;
mod memory;
mod notice;
mod notify;
mod options;
mod output;
mod prompt;
mod queries;
mod rows;
mod watermark;
mod work;
mod writer;

pub mod transcript;

mod sqlite;

pub use backend::{Backend, Batch, BatchId, CommitError, Committed, Resolution};
pub use command::*;
pub use conversation::{CONTEXT_BYTES_MAX, CONTEXT_MESSAGES_MAX};
pub use damage::{Damage, cursor_after};
pub use error::{OpenError, Refusal, StoreError, StoreErrorKind};
pub use handle::{OnEnded, Store};
pub use notice::{Missing, Notice};
pub use notify::{ChangeSet, Following, LogRange};
pub use options::StoredOptions;
pub use output::{
    BACKLOG_BYTES_MAX, BACKLOG_DELTAS_MAX, Covered, OutputError, RunOutputBuffer, Sealed,
};
pub use prompt::{Key, PromptRecord, kept_bytes};
pub use queries::Queries;
pub use rows::{
    Due, DueCursor, DuePage, FoldScan, Followed, HeldScope, Listed, OpenQuestions, PAGE_EVENTS,
    PAGE_MESSAGES, PAGE_ROWS, Positions, QuestionAt, QueuedRow, Recovered, RunAt, RunRow,
    RunSummaryRow, SessionAt, SessionRow, SessionsPage, WorkspaceRow,
};
pub use sqlite::{Archive, Backup, BackupError, Examination, backup, examine};
pub use writer::SHUT_DOWN;
pub use writer::Submission;
