//! The first process of a container: it starts the same command again as its child, hands on what
//! signals it gets, and collects every orphaned process, which the kernel gives to it as a new
//! parent.
//!
//! This needs a process of its own: waiting for any child in the command's own process would take
//! the exit status of children that other parts of the program wait for.

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait,
};
use rustix::termios::tcsetpgrp;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// The signals that are passed on to the child.
const SIGNALS: [Signal; 6] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
];

/// Returns whether this process is the first one, to which the kernel gives orphans.
pub(crate) fn is_first() -> bool {
    getpid() == Pid::INIT
}

/// Runs the command in a child and returns its exit code.
///
/// # Errors
/// If the child cannot be started. Nothing is running then.
pub(crate) fn run() -> io::Result<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ended = signal(SignalKind::child())?;
        // Listened to before there is a child, so that none is missed.
        let heard = SIGNALS.map(|one| (one, signal(SignalKind::from_raw(one.as_raw()))));
        let mut arguments = std::env::args_os();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(arguments.next().unwrap_or_default());
        let child = command.args(arguments).process_group(0).spawn()?;
        let child = Pid::from_child(&child);
        in_foreground(child);
        for (one, heard) in heard {
            let mut heard = heard?;
            tokio::spawn(async move {
                while heard.recv().await.is_some() {
                    // One that has ended needs no signal any more.
                    let _gone = kill_process(child, one);
                }
            });
        }
        loop {
            if let Some(status) = collect(child)? {
                return Ok(code(status));
            }
            ended.recv().await;
        }
    })
}

/// Gives the child the terminal, if there is one, so that Ctrl-C reaches it once.
fn in_foreground(child: Pid) {
    if tcsetpgrp(io::stdin(), child).is_ok() {
        // It may have been stopped for using the terminal in the background.
        let _is_running = kill_process_group(child, Signal::CONT);
    }
}

/// Collects all that have ended, and tells how the child did if it is among them.
fn collect(child: Pid) -> io::Result<Option<WaitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => return Ok(Some(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the exit code as a shell reports it.
fn code(status: WaitStatus) -> i32 {
    let signal = || status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or_else(signal).unwrap_or(1)
}
