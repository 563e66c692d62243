//! What goes over the wire of lastword's HTTP API: the bodies of requests, what is answered, errors,
//! and the notices in streams. `lastword-server` reads and writes these types, `lastword-client`
//! writes and reads them, so that neither has a copy of the other's.
//!
//! Ids, messages, events and receipts come from `lastword-types`; this crate holds only what the API
//! adds to them. Every type can be read and written. Bodies of requests refuse
//! members that they do not know; answers ignore them, so that a client can talk to a newer server.
//!
//! With the feature `openapi` each type describes itself for an OpenAPI document.

mod agents;
mod forms;
mod list;
mod path;
pub mod problem;
mod questions;
mod runs;
mod server;
mod sessions;
mod stream;
mod workspaces;

pub use agents::{AgentFile, AgentView, ManifestView, WantView};
pub use lastword_types::damage::Damage;
pub use lastword_types::run::{QueuedRun, RunSummary};
pub use list::PageView;
pub use path::WirePath;
pub use problem::Problem;
pub use questions::{AnsweredView, QuestionStatus, QuestionView};
pub use runs::{EditedRun, NewAttachment, NewPart, NewRun, RunView};
pub use server::{Health, HealthStatus, Version};
pub use sessions::{Fork, NewSession, SessionChanges};
pub use stream::{EVENT_PROBLEM, Notice, NoticeKind};
pub use workspaces::{ClosedWorkspace, NewWorkspace, WorkspaceState, WorkspaceView};
