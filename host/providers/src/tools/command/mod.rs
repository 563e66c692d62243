//! `run_command`: programs that the operator has listed, run in the workspace without a shell,
//! confined as far as the kernel can, and ended with the run that started them.
//!
//! A command is a process group. It is killed as a whole when its future is dropped, when its time
//! is over, when its first process ends, and when the host dies (`spawn` says how). Where the
//! kernel supports it, landlock restricts it to the workspace, a temporary directory of its own and
//! what the operator names; seccomp denies sockets, leaving the group, and calls that only
//! administrators and debuggers need.

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
pub use group::{ProcessGroup, SpawnRequest, Spawner};
#[cfg(feature = "commands")]
pub use tool::CommandTools;

/// The confinement of a command; without the feature `commands` there are no commands.
#[cfg(not(feature = "commands"))]
mod confine {
    pub(super) enum Confinement {}
}
