//! lastword: a host for sandboxed agents whose last word is always on disk.

pub mod capability;
pub mod clock;
pub mod event;
pub mod host;
pub mod id;
pub mod permission;
pub mod run;
pub(crate) mod sandbox;
pub mod session;
#[doc(hidden)]
pub mod store;
pub mod workspace;

pub use host::{
    Agent, AgentSource, Host, HostBuilder, HostError, Prompt, Session, Workspace, WorkspaceOptions,
};
pub use permission::Capability;
pub use run::{Cause, Events, Receipt, Run, RunState};
pub use sandbox::{
    ComponentError, Digest, EngineError, Inspection, Limits, WIT_PACKAGE, WIT_VERSION,
};
pub use store::{Archive, OpenError, Recovered, RunRow, SessionRow, StoreError};
pub use workspace::WorkspaceKey;
