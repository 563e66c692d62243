//! A host for sandboxed agents that always writes the end of a run to disk.
//!
//! An agent is a WebAssembly component. The host runs it in a workspace, streams its output
//! into a log, and can stop it at any point: in a loop, in a host call, during its start.
//! Whatever ends a run, the host writes the final state under a separate deadline, and
//! returns a [`Receipt`] once that state is on disk. If the host itself is killed, the next
//! host ends every unfinished run before it accepts a prompt.
//!
//! # An embedder's first program
//!
//! ```no_run
//! use lastword::event::EventBody;
//! use lastword::{Capability, Host, WorkspaceKey, WorkspaceOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::builder().data_dir("/var/lib/agents").build().await?;
//! let agent = host.load_agent("census", "census.wasm").await?; // the name is yours to choose
//! let options = WorkspaceOptions::new().grant(Capability::ReadFiles);
//! let workspace = host.open_workspace(WorkspaceKey::directory(".")?, options).await?; // open while kept
//! let session = workspace.new_session(&agent).await?;
//!
//! let run = session.prompt("What is in here?").await?; // durable once this returns
//! let mut events = run.events(); // past and future, replayable from any event
//! while let Some(event) = events.next().await {
//!     if let EventBody::TextDelta { text, .. } = event?.body {
//!         print!("{text}");
//!     }
//! }
//! let receipt = run.cancel().await?; // of a run that has ended: the end that it has
//! assert!(receipt.persisted);
//! host.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! * **Accepted is durable.** [`Session::prompt`] returns after the commit. The run belongs
//!   to its workspace; dropping a future or handle does not withdraw it.
//! * **A dropped future leaves what its documentation says**, for every call. A call that takes a
//!   key can be repeated: it begins one run or one session.
//! * **Seen is durable.** A reader receives an event after its commit, never before.
//! * **Every run ends once.** The first cause wins ([`Cause`]); the end is one transaction,
//!   and the database itself refuses a second.
//! * **A cancel is quick and certain.** The guest is gone within microseconds to
//!   milliseconds, whatever it does; its output is kept, to the last byte appended.
//! * **The finishing write has its own deadline** ([`Limits::finish_deadline`]). It bounds how
//!   long a caller waits for the receipt; the store completes the write in any case. A receipt
//!   with `persisted: false` does not confirm that the end is on disk.
//! * **Without a grant, nothing is allowed** ([`Capability`]). A refusal is a value that the
//!   agent can read; it names what would grant the access.
//!
//! # Defaults
//!
//! One run at a time per session; 256 runs per host, or as many as the memory allows
//! ([`HostBuilder::concurrent_runs`]); the limits of a run are those of [`Limits`]; no model; no
//! grants. The host never touches the environment, the terminal or the home directory, installs no
//! global logger, and changes a limit of its process only on request
//! ([`HostBuilder::raise_descriptor_limit`]). It compiles components in its own process, if they
//! look cheap enough, unless a separate compiler process is set ([`HostBuilder::compiler`]).
//!
//! # After a restart
//!
//! The next host ends the runs that an earlier one left, and holds the prompts that had not begun
//! ([`Host::recovered`] counts both). Load the agents, then call [`Host::reopen_held`]: it opens
//! the workspaces of held prompts with their last options and puts the prompts back into the queue.
//!
//! ```no_run
//! # use lastword::{Host, WorkspaceKey, WorkspaceOptions};
//! # async fn example() -> Result<(), lastword::HostError> {
//! let host = Host::builder().data_dir("/var/lib/agents").build().await?;
//! host.load_kept_agents().await?; // those that `Host::keep_agent` stored
//! host.load_agent("census", "census.wasm").await?; // those from files are loaded each time
//! let resumed = host.reopen_held().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Stored are sessions, what answers granted, and all options of a workspace. [`Host::open_workspace`]
//! replaces these options with those that it is given; [`Host::claim_workspace`] without options
//! keeps them, and so does the host itself. Everything that is set in [`HostBuilder`] belongs to
//! that host alone: models, tools, denials, limits.
//!
//! # In a container
//!
//! Processes that commands or MCP servers leave without a parent are adopted by the first process
//! of a container. A host does not reap them, since it would also reap children that other parts
//! of the program wait for: if your program is the container's first process, use `--init`.

mod guest;
pub mod host;
pub mod run;
mod workspace;

/// Tools: the interfaces that an embedder implements, and the names of the built-in tools.
pub mod tools {
    pub use crate::guest::tools::BUILTIN_TOOLS;
    #[doc(inline)]
    pub use lastword_providers::tools::*;
}

#[cfg(feature = "mcp")]
#[doc(inline)]
pub use lastword_mcp as mcp;
#[doc(inline)]
pub use lastword_providers::{http, model, permits, secrets};

/// Time, behind a trait.
pub mod clock {
    pub use lastword_os::clock::SystemClock;
    pub use lastword_types::clock::{Clock, UnixMillis};
}

#[doc(inline)]
pub use lastword_os::file;
#[doc(hidden)]
pub use lastword_store as store;
#[doc(inline)]
pub use lastword_types::{event, hint, id, permission, session, similar, text};

pub use host::{
    ATTACHED_BYTES_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, Agent, AgentSource,
    CONFIG_BYTES_MAX, ClientLease, ClosedWorkspace, ERROR_NAMES, Edit, ErrorKind, Health, Host,
    HostBuilder, HostError, KEY_BYTES_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX,
    LifecycleEvents, PROMPT_BYTES_MAX, Page, Prompt, RULE_BYTES_MAX, RULES_MAX, Resume, Session,
    SessionFilter, WeakHost, Workspace, WorkspaceOptions, WorkspaceProviders, WorkspaceStage,
    WorkspaceStages, WorkspaceStatus,
};
pub use lastword_sandbox::{
    Compiler, ComponentError, Digest, EngineError, Inspection, Limits, WIT_PACKAGE, WIT_VERSION,
    compile_worker,
};
pub use lastword_store::{
    Archive, Backup, BackupError, Damage, Examination, Missing, Notice, OpenError, Recovered,
    RunRow, SessionRow, StoreError, StoreErrorKind, backup, examine,
};
pub use lastword_types::hint::Hint;
pub use lastword_types::permission::Capability;
pub use lastword_types::words::UnknownWord;
pub use lastword_types::workspace::{
    CloseReason, Lifecycle, OnLastClient, WORKSPACE_NAME_BYTES_MAX, WORKSPACE_PATH_BYTES_MAX,
    WorkspaceKey,
};
pub use run::{Cause, Events, HostStats, Origin, QueuedRun, Receipt, Run, RunState, RunSummary};
