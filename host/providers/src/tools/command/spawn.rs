//! What a command's process does between fork and exec; the only place in the library with code
//! there. Everything is prepared before the fork.
#![expect(
    unsafe_code,
    reason = "only the process itself can be confined, between its fork and its exec"
)]

use super::confine::Confinement;
use libc::{F_SETFL, F_SETOWN, O_ASYNC, SIGKILL, fcntl};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, fchdir, getpid, getppid, getrlimit,
    set_parent_process_death_signal, setrlimit,
};
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// A Linux command that neither `rustix` nor `libc` defines for every C library.
const F_SETSIG: c_int = 10;

/// Prepares a command: its group, its end with the host, the soft limit of its descriptors, and its
/// directory and confinement if it has any. It has to be spawned by the calling thread, and that
/// thread has to live as long as the host: the kernel watches the thread, not the process.
///
/// `lifeline` is the reading end of a pipe whose other end only the host holds.
pub(super) fn prepare(
    command: &mut Command,
    lifeline: OwnedFd,
    descriptors: Option<u64>,
    mut confined: Option<(File, Confinement)>,
) {
    let host = getpid();
    let prepare = move || {
        die_with_thread(host)?;
        die_with_pipe(lifeline.as_fd())?;

        if let Some(current) = descriptors {
            let known = getrlimit(Resource::Nofile);
            let current = Some(current);
            setrlimit(Resource::Nofile, Rlimit { current, ..known })?;
        }

        match &mut confined {
            Some((directory, confinement)) => {
                fchdir(directory)?;
                apply(confinement)
            }
            None => Ok(()),
        }
    };

    command.process_group(0);

    // SAFETY: the closure runs in the forked process, of which only this thread is left. It
    // makes system calls, through functions that neither allocate nor lock: rustix calls the
    // kernel directly; `restrict_self` and `apply_filter` are `prctl` and their own call, on a
    // ruleset and on filters that were built before the fork; errors are made from numbers.
    // What it captured is its own, in this process's copy of the memory; only the ruleset is
    // dropped here, which closes a descriptor, and no memory is freed.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Makes the first process die with the thread that started it.
fn die_with_thread(host: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The host may have died before the call.
    if getppid() == Some(host) {
        Ok(())
    } else {
        Err(Errno::SRCH.into())
    }
}

/// Makes every process of the group die with the host: when the last writing end of the pipe is
/// closed, the kernel signals the owner of its reading end. All processes that do not close it keep
/// it open, and one is enough.
fn die_with_pipe(lifeline: BorrowedFd<'_>) -> io::Result<()> {
    let group = -getpid().as_raw_nonzero().get();
    let fd = lifeline.as_raw_fd();
    let check = |answer: c_int| match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };

    // SAFETY: three commands of `fcntl` that take a number, on an open descriptor.
    unsafe {
        check(fcntl(fd, F_SETOWN, group))?;
        check(fcntl(fd, F_SETSIG, SIGKILL))?;
        check(fcntl(fd, F_SETFL, O_ASYNC))?;
    }

    Ok(fcntl_setfd(lifeline, FdFlags::empty())?)
}

#[cfg(feature = "commands")]
fn apply(confinement: &mut Confinement) -> io::Result<()> {
    for (resource, limit) in &confinement.limits {
        setrlimit(*resource, *limit)?;
    }

    rustix::thread::set_no_new_privs(true)?;

    if let Some(lesser) = confinement.capabilities {
        rustix::thread::set_capabilities(None, lesser)?;
    }

    let refused = || io::Error::from(Errno::PERM);

    if let Some(ruleset) = confinement.landlock.take() {
        ruleset.restrict_self().map_err(|_| refused())?;
    }

    for filter in &confinement.filters {
        seccompiler::apply_filter(filter).map_err(|_| refused())?;
    }

    Ok(())
}

#[cfg(not(feature = "commands"))]
fn apply(confinement: &mut Confinement) -> io::Result<()> {
    match *confinement {}
}
