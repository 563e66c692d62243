//! `run_command`: programs that the operator has listed, run in the workspace without a shell,
//! confined as far as the kernel can, and gone with the run that started them.
//!
//! A command is a process group. It is killed as a whole when its future is dropped, when its
//! time is over, when its first process ends, and when the host dies (`spawn` says how each is
//! done). Where the kernel has them: landlock keeps it to the workspace, a temporary directory
//! of its own and what the operator names; seccomp keeps it from sockets, from leaving its
//! group, and from what only administrators and debuggers need.

#[cfg(feature = "commands")]
mod commands;
#[cfg(feature = "commands")]
mod confine;
mod group;
#[cfg(feature = "commands")]
mod output;
mod spawn;
#[cfg(all(test, feature = "commands"))]
mod tests;
#[cfg(feature = "commands")]
mod tool;
#[cfg(feature = "commands")]
mod words;

#[cfg(feature = "commands")]
pub use commands::Commands;
pub use group::{Group, Start, Starter};
#[cfg(feature = "commands")]
pub use tool::CommandTools;

/// What a command is kept to; without the feature `commands` there are none to be kept.
#[cfg(not(feature = "commands"))]
mod confine {
    pub(super) enum Confinement {}
}
