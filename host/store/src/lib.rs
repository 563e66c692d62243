//! What is kept, and the only place that knows how: SQLite, one writer thread, a log of
//! events and the messages materialised from it.
//!
//! An interface of plain data, so that a second implementation can follow. It is public for
//! the project's own benchmarks and is not an extension point yet.
//!
//! Nothing outside this folder names rusqlite or holds SQL. No transaction is held across an
//! await: work goes to the writer as a value and comes back as an answer.

mod agent;
mod archive;
mod backup;
mod causes;
mod checkpoint;
mod committed;
mod consistency;
mod context;
mod damage;
mod directory;
mod doctor;
mod durable;
mod entry;
mod error;
mod event;
mod finish;
mod folded;
mod fork;
#[cfg(test)]
mod full;
mod grant;
mod handle;
mod life;
mod message;
mod notice;
mod notify;
mod open;
mod options;
mod output;
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
pub mod transcript;
mod tx;
mod wake;
mod work;
mod writer;

pub use archive::Archive;
pub use backup::{Backup, BackupError, backup};
pub use context::{CONTEXT_BYTES_MAX, CONTEXT_MESSAGES_MAX};
pub use damage::Damage;
pub use doctor::{Examination, examine};
pub use error::{OpenError, Refusal, StoreError};
pub use event::{Followed, Following, PAGE_EVENTS, Positions};
pub use finish::OnEnded;
pub use handle::WorkspaceNo;
pub use message::{PAGE_MESSAGES, RunRow};
pub use notice::{Missing, Notice};
pub use notify::Fresh;
pub use open::Store;
pub use options::StoredOptions;
pub use output::{BACKLOG_BYTES_MAX, BACKLOG_DELTAS_MAX, Covered, Output, OutputError, Sealed};
pub use question::{OpenQuestions, QuestionAt};
pub use queue::{Edited, HeldRow, HeldScope, QueuedRow, RunAt};
pub use recovery::Recovered;
pub use run::{Accept, Accepted, Key, PromptRecord, RunNo, SessionNo, kept_bytes};
pub use runs::{RunSummary, RunSummaryRow};
pub use session::{PAGE_ROWS, SessionAt, SessionRow, SessionsPage, WorkspaceRow};
pub use state::{StateOwner, StateQuota, StateScope};
pub use wake::{Due, DuePage, DuePlace, GoesOn, Waits};
pub use writer::Handed;
pub use writer::SHUT_DOWN;
