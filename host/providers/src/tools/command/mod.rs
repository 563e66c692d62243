//! `run_command`: programs that the operator has listed, run in the workspace without a shell,
//! confined as far as the kernel can, and ended with the run that started them.
//!
//! A command is a process group. It is killed as a whole when its future is dropped, when its time
//! is over, when its first process ends, and when the host dies (`spawn` says how). Where the
//! kernel supports it, landlock restricts it to the workspace, a temporary directory of its own and
//! what the operator names; seccomp denies sockets, leaving the group, and calls that only
//! administrators and debuggers need.

mod commands;
mod confine;
mod group;
mod output;
mod spawn;
#[cfg(test)]
mod tests;
mod tool;
mod words;

pub use commands::Commands;
pub use group::{ProcessGroup, SpawnRequest, Spawner};
pub use tool::CommandTools;
