//! Process groups: started by one thread that lives as long as they do, and killed as a whole when
//! they are dropped, or when the host dies.

use super::confine::Confinement;
use super::spawn;
#[cfg(feature = "commands")]
use rustix::fd::AsFd as _;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
#[cfg(feature = "commands")]
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs::File;
use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// The number of commands that may be queued for the thread. Further ones wait until there is
/// space.
const WAITING_MAX: usize = 16;

/// A program to start.
pub struct SpawnRequest {
    pub(super) command: Command,
    /// The soft limit of its descriptors; `None` for that of the host.
    descriptors: Option<u64>,
    /// Its directory and confinement; `None` for the rights of the host.
    pub(super) confined: Option<(File, Confinement)>,
    /// Reaps a group that is dropped before it ended.
    pub(super) runtime: Handle,
}

impl SpawnRequest {
    /// A confined program.
    #[cfg(feature = "commands")]
    pub(super) fn confined(
        command: Command,
        directory: File,
        confinement: Confinement,
        runtime: Handle,
    ) -> Self {
        Self {
            command,
            descriptors: None,
            confined: Some((directory, confinement)),
            runtime,
        }
    }

    /// A program with the rights of the host.
    pub fn unconfined(command: Command, runtime: Handle) -> Self {
        Self {
            command,
            descriptors: None,
            confined: None,
            runtime,
        }
    }
}

type Job = (SpawnRequest, oneshot::Sender<io::Result<ProcessGroup>>);

/// The thread that starts programs. It ends when this is dropped, and its programs are killed with
/// it.
#[derive(Default)]
pub struct Spawner {
    descriptors: Option<u64>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Spawner {
    /// Creates the thread. Programs start with this soft limit of descriptors; `None` for that of
    /// the host.
    pub fn with_descriptors(descriptors: Option<u64>) -> Self {
        Self {
            descriptors,
            ..Self::default()
        }
    }

    /// Starts a program. Dropping the future kills it.
    pub async fn start(&self, mut start: SpawnRequest) -> io::Result<ProcessGroup> {
        let gone = || io::Error::other("the thread that starts commands is gone");
        let (answer, started) = oneshot::channel();
        start.descriptors = self.descriptors;
        let jobs = self.jobs()?;
        jobs.send((start, answer)).await.map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }

    fn jobs(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut jobs = self
            .jobs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);

        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }

        let (sender, mut receiver) = mpsc::channel::<Job>(WAITING_MAX);
        let thread = std::thread::Builder::new().name("lastword-spawn".to_owned());

        thread.spawn(move || {
            while let Some((start, answer)) = receiver.blocking_recv() {
                // If the caller is gone, the group is dropped, which kills it.
                let _dropped = answer.send(ProcessGroup::start(start));
            }
        })?;

        Ok(jobs.insert(sender).clone())
    }
}

/// The processes of a command. Dropping it kills them all.
pub struct ProcessGroup {
    child: Option<Child>,
    pid: Pid,
    ended: OwnedFd,
    runtime: Handle,
    /// Closed when the host dies, which kills the group.
    _lifeline: OwnedFd,
}

impl ProcessGroup {
    fn start(start: SpawnRequest) -> io::Result<Self> {
        let SpawnRequest {
            mut command,
            descriptors,
            confined,
            runtime,
        } = start;

        let (reading, writing) = io::pipe()?;
        spawn::prepare(&mut command, reading.into(), descriptors, confined);

        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ended) => Ok(Self {
                child: Some(child),
                pid,
                ended,
                runtime,
                _lifeline: writing.into(),
            }),
            Err(error) => {
                kill(pid);
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// Takes its standard streams, once.
    pub fn streams(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        match &mut self.child {
            Some(child) => (child.stdin.take(), child.stdout.take(), child.stderr.take()),
            None => (None, None, None),
        }
    }

    /// Completes once the first process has ended. It is not reaped, so its number is not reused.
    ///
    /// A thread waits for it, which is freed at the latest when the group is killed.
    #[cfg(feature = "commands")]
    pub(super) fn ended(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let ended = self.ended.try_clone();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let waiting = self.runtime.spawn_blocking(move || {
            waitid(WaitId::PidFd(ended?.as_fd()), options)?;
            Ok(())
        });
        async move { waiting.await.map_err(io::Error::other)? }
    }

    /// A pidfd of the first process, to wait for it without reaping it.
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        self.ended.try_clone()
    }

    /// Sends SIGTERM to the group.
    pub fn terminate(&self) {
        // An error means that the group has ended.
        let _gone = kill_process_group(self.pid, Signal::TERM);
    }

    /// Kills the rest of the group and reaps the first process, which has ended.
    pub fn collect(mut self) -> io::Result<ExitStatus> {
        kill(self.pid);
        match self.child.take() {
            Some(mut child) => child.wait(),
            None => Err(io::Error::other("it was collected already")),
        }
    }

    /// Kills the group.
    #[cfg(feature = "commands")]
    pub(super) fn kill(&self) {
        kill(self.pid);
    }
}

/// Only called while the first process is not reaped, so that the number is the group's.
fn kill(group: Pid) {
    // An error means that no process is left.
    let _gone = kill_process_group(group, Signal::KILL);
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        kill(self.pid);

        match child.try_wait() {
            Ok(Some(_)) => {}
            // It is dead, but the kernel may not have finished.
            _ => drop(self.runtime.spawn_blocking(move || child.wait())),
        }
    }
}
