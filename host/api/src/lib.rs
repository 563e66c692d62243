//! The wire types of lastword's HTTP API: the bodies of requests and responses, errors, and the
//! notices in streams. `lastword-server` and `lastword-client` share these types, so that neither
//! has its own copy.
//!
//! Ids, messages, events and receipts come from `lastword-types`; this crate defines only what the
//! API adds to them. Every type can be serialized and parsed. Bodies of requests with unknown
//! members are refused; unknown members of responses are ignored, so that a client can talk to a
//! newer server.
//!
//! With the feature `openapi`, each type describes itself for an OpenAPI document.

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
pub use runs::{EditedRun, NewAttachment, NewPart, NewRun};
pub use server::{Health, HealthStatus, Version};
pub use sessions::{Fork, NewSession, SessionChanges};
pub use stream::{EVENT_PROBLEM, Notice, NoticeKind};
pub use workspaces::{ClosedWorkspace, NewWorkspace, WorkspaceState, WorkspaceView};
