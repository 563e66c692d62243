//! A server that is a program: started in a process group of its own, and ended with the whole
//! group. [`connection`](super::connection) gets its standard streams.

use super::launch::SecretSource;
use super::text;
use lastword_providers::tools::{ProcessGroup, SpawnRequest, Spawner};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// The longest time in which a program may end by itself after its stdin is closed.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The longest time in which it may end after SIGTERM.
pub(super) const TERM_GRACE: Duration = Duration::from_secs(1);
/// The longest time that an error waits for a program's end, to say how it ended.
const EXIT_WAIT: Duration = Duration::from_millis(500);
/// The number of last lines of stderr that an error shows.
const STDERR_LINES: usize = 10;
/// Lines of stderr that are kept. More than are shown, since a secret of several lines is only
/// recognised with its first line.
const STDERR_LINES_KEPT: usize = 20;
/// Bytes of a line of stderr that are kept. A longer line is dropped whole, since a secret that is
/// cut is not recognised.
const STDERR_LINE_KEPT: usize = 16 * 1024;
/// The largest number of bytes of a line that are shown.
const STDERR_LINE_MAX: usize = 256;

/// A running program. Dropping it ends the program, without waiting for it.
#[derive(Debug)]
pub(super) struct Process {
    ended: watch::Receiver<Option<String>>,
    stderr: Arc<Mutex<StderrTail>>,
    stop: DropGuard,
}

/// The last lines of stderr.
#[derive(Debug, Default)]
struct StderrTail(VecDeque<String>);

/// The standard streams that messages go over.
pub(super) type Streams = (ChildStdout, ChildStdin);

/// The programs of one workspace and one server, including those whose start was given up.
#[derive(Clone)]
pub(super) struct Processes {
    spawner: Arc<Spawner>,
    all: TaskTracker,
}

impl Processes {
    /// Creates an empty set. The programs are killed when the last copy of `spawner` is dropped.
    pub(super) fn new(spawner: Arc<Spawner>) -> Self {
        Self {
            spawner,
            all: TaskTracker::new(),
        }
    }

    /// Starts a program, which ends when `stop` is cancelled. Dropping the future ends the program
    /// that was started.
    pub(super) async fn start(
        &self,
        server: &str,
        command: &[String],
        env: Vec<(String, String)>,
        directory: &Path,
        stop: &CancellationToken,
    ) -> io::Result<(Process, Streams)> {
        let mut program = Command::new(&command[0]);
        program
            .args(&command[1..])
            .env_clear()
            .envs(env)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        let stop = stop.child_token();
        let guard = stop.clone().drop_guard();
        let tail = Arc::new(Mutex::new(StderrTail::default()));
        let (begun, streams) = oneshot::channel();
        let (end, ended) = watch::channel(None);

        let supervised = supervise(
            Arc::clone(&self.spawner),
            SpawnRequest::unconfined(program, Handle::current()),
            begun,
            stop,
            (server.to_owned(), Arc::clone(&tail)),
        );

        // The task ends the program when its token is cancelled, and [`Processes::ended`] waits for
        // it.
        self.all.spawn(async move {
            if let Some(how) = supervised.await {
                end.send_replace(Some(how));
            }
        });

        let streams = streams.await;
        let streams = streams.map_err(|_| io::Error::other("the host is ending"))??;

        let process = Process {
            ended,
            stderr: tail,
            stop: guard,
        };
        Ok((process, streams))
    }

    /// Waits until all started programs are gone. Their `stop` tokens end them.
    pub(super) async fn wait(&self) {
        self.all.close();
        self.all.wait().await;
        self.all.reopen();
    }
}

impl Process {
    /// Ends the program, within its grace periods.
    pub(super) async fn end(self) {
        let mut ended = self.ended.clone();
        drop(self.stop);
        let _supervisor_gone = ended.wait_for(Option::is_some).await;
    }

    /// Waits until the program and its group are gone.
    pub(super) async fn wait(&self) {
        let mut ended = self.ended.clone();
        let _supervisor_gone = ended.wait_for(Option::is_some).await;
    }

    /// Returns how the program ended, and its last lines of stderr, for people and without secrets.
    pub(super) async fn exit_summary(&self, fill: &dyn SecretSource) -> String {
        let _still_running = tokio::time::timeout(EXIT_WAIT, self.wait()).await;
        let how = self.ended.borrow().clone();
        let how = how.unwrap_or_else(|| "it closed its stdout and still runs".to_owned());
        let tail = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);

        if tail.0.is_empty() {
            return format!("{how}; it wrote nothing to stderr");
        }

        let all = tail.0.iter().map(String::as_str).collect::<Vec<_>>();
        let all = fill.redact(&all.join("\n"));
        let lines = all.lines().map(|line| text::prefix(line, STDERR_LINE_MAX));
        let mut lines = lines.collect::<Vec<_>>();

        lines.drain(..lines.len().saturating_sub(STDERR_LINES));
        format!("{how}; its stderr ends with:\n{}", lines.join("\n"))
    }
}

/// Starts a program, waits for its end or ends it, and returns how it ended; `None` if it did not
/// start. The group is killed before its leader is reaped: until then no other process can have its
/// number. Dropping the future kills it.
async fn supervise(
    spawner: Arc<Spawner>,
    start: SpawnRequest,
    begun: oneshot::Sender<io::Result<Streams>>,
    stop: CancellationToken,
    (server, tail): (String, Arc<Mutex<StderrTail>>),
) -> Option<String> {
    let started = spawner.start(start).await.and_then(|mut group| {
        let (streams, stderr) = streams(&mut group)?;
        Ok((group, streams, stderr))
    });

    let (group, stderr) = match started {
        Ok((group, streams, stderr)) => {
            // If the start was given up, `stop` is cancelled and ends the program below.
            let _nobody_waits = begun.send(Ok(streams));
            (group, stderr)
        }
        Err(error) => {
            let _nobody_waits = begun.send(Err(error));
            return None;
        }
    };

    let stderr = AbortOnDropHandle::new(read_stderr(server, stderr, tail));
    let pidfd = group.pidfd();
    let exited = leader_exited(pidfd);

    tokio::pin!(exited);
    let asked = tokio::select! {
        () = &mut exited => false,
        () = stop.cancelled() => true,
    };

    if asked && tokio::time::timeout(GRACE, &mut exited).await.is_err() {
        group.terminate();
        let _killed_below = tokio::time::timeout(TERM_GRACE, &mut exited).await;
    }

    // The kernel may take a moment to remove it.
    let status = tokio::task::spawn_blocking(move || group.collect());
    let status = status.await.map_err(io::Error::other).flatten();

    // The last output is still in the pipe, which a descendant that left the group may keep open.
    let _held = tokio::time::timeout(EXIT_WAIT / 2, stderr).await;

    Some(match (asked, status) {
        (true, _) => "it was ended".to_owned(),
        (false, Ok(status)) => format!("it ended with {status}"),
        (false, Err(error)) => format!("it ended, with an unknown status: {error}"),
    })
}

fn streams(group: &mut ProcessGroup) -> io::Result<(Streams, ChildStderr)> {
    let (Some(stdin), Some(stdout), Some(stderr)) = group.streams() else {
        return Err(io::Error::other("its streams were taken"));
    };
    let streams = (ChildStdout::from_std(stdout)?, ChildStdin::from_std(stdin)?);
    Ok((streams, ChildStderr::from_std(stderr)?))
}

/// Completes once the leader of a group has ended, and leaves it a zombie.
async fn leader_exited(pidfd: io::Result<OwnedFd>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let watched = pidfd.and_then(|pidfd| Ok((pidfd, signal(SignalKind::child())?)));
    let Ok((pidfd, mut children)) = watched else {
        // Without a pidfd, the end is noticed when the group is ended.
        return std::future::pending().await;
    };

    // An error means that it is no longer a child, so it is gone.
    while let Ok(None) = waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        let _every_child = children.recv().await;
    }
}

fn read_stderr(
    server: String,
    stderr: ChildStderr,
    tail: Arc<Mutex<StderrTail>>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        let mut goes_on = false;

        loop {
            line.clear();
            let bound = u64::try_from(STDERR_LINE_KEPT).unwrap_or(u64::MAX);
            match (&mut lines).take(bound).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }

            let is_rest = std::mem::replace(&mut goes_on, !line.ends_with(b"\n"));

            let shown = if goes_on && line.len() == STDERR_LINE_KEPT {
                format!("[a line of more than {STDERR_LINE_KEPT} bytes]")
            } else {
                String::from_utf8_lossy(&line).trim_end().to_owned()
            };

            if shown.is_empty() || is_rest {
                continue;
            }

            tracing::trace!(target: "lastword::mcp", server, bytes = shown.len(), "a line on stderr");
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.0.len() == STDERR_LINES_KEPT {
                tail.0.pop_front();
            }

            tail.0.push_back(shown);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::launch::NoSecretSource;
    use super::*;
    use std::time::Instant;

    async fn start(script: &str, stop: &CancellationToken) -> (Process, Streams) {
        let command = ["sh", "-c", script].map(str::to_owned);
        let path = std::env::var("PATH").unwrap();
        let env = vec![("PATH".to_owned(), path)];
        let processes = Processes::new(Arc::default());
        let started = processes.start("it", &command, env, Path::new("/"), stop);
        started.await.unwrap()
    }

    /// Reads the first line of stdout.
    async fn first_line(stdout: ChildStdout) -> String {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line).await;
        read.unwrap();
        line.trim().to_owned()
    }

    fn is_there(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z") && !stat.contains(") X"))
    }

    /// Whether a killed process is reaped before long: the kernel takes a moment.
    fn is_gone(pid: &str) -> bool {
        let began = Instant::now();
        while is_there(pid) && began.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        !is_there(pid)
    }

    #[tokio::test]
    async fn an_ended_program_reports_its_last_stderr() {
        let stop = CancellationToken::new();
        let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i >&2; done; exit 3";
        let (process, _streams) = start(script, &stop).await;
        process.wait().await;
        let exit = process.exit_summary(&NoSecretSource).await;
        assert!(exit.contains("exit status: 3"), "{exit}");
        assert!(exit.ends_with("line 11\nline 12"), "{exit}");
        assert!(!exit.contains("line 2\n"), "{exit}");
    }

    /// Redacts one secret.
    struct Keeping(String);

    impl SecretSource for Keeping {
        fn fill(&self, text: &str) -> Result<String, String> {
            Ok(text.to_owned())
        }

        fn redact(&self, text: &str) -> String {
            text.replace(&self.0, "[secret]")
        }
    }

    #[tokio::test]
    async fn a_secret_is_found_wherever_a_line_is_cut() {
        let stop = CancellationToken::new();

        let script = |fill: usize| {
            format!(
                "head -c {fill} /dev/zero | tr '\\0' x >&2; echo canary-value >&2; \
                 echo 'cana' >&2; echo 'ry-value' >&2; echo last >&2"
            )
        };

        for fill in [10, 4090, STDERR_LINE_KEPT - 6] {
            let (process, _streams) = start(&script(fill), &stop).await;
            process.wait().await;
            for secret in ["canary-value", "cana\nry-value"] {
                let exit = process.exit_summary(&Keeping(secret.to_owned())).await;
                assert!(!exit.contains(secret), "{exit}");
                assert!(exit.ends_with("last"), "{exit}");
                let rest = exit.lines().any(|line| line.starts_with("y-value"));
                assert!(!rest, "{exit}");
            }
        }
    }

    #[tokio::test]
    async fn a_program_that_ends_with_its_stdin_is_not_killed() {
        let stop = CancellationToken::new();
        let (process, (_stdout, stdin)) =
            start("cat >/dev/null; echo bye >&2; exit 0", &stop).await;
        drop(stdin);
        process.wait().await;
        let exit = process.exit_summary(&NoSecretSource).await;
        assert!(exit.contains("exit status: 0"), "{exit}");
        assert!(exit.contains("bye"), "{exit}");
    }

    #[tokio::test]
    async fn a_group_that_ignores_signals_is_killed_after_its_grace_periods() {
        let stop = CancellationToken::new();
        let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; exec sleep 600' & wait";
        let (process, (stdout, stdin)) = start(script, &stop).await;
        let grandchild = first_line(stdout).await;

        assert!(is_there(&grandchild));
        drop(stdin);

        let began = Instant::now();
        stop.cancel();
        process.wait().await;
        assert!(began.elapsed() < GRACE + TERM_GRACE + Duration::from_secs(5));
        assert!(is_gone(&grandchild), "{grandchild} survived its group");
    }

    #[tokio::test]
    async fn descendants_of_an_ended_program_are_killed() {
        let stop = CancellationToken::new();
        let script = "sh -c 'echo $$; exec sleep 600' & sleep 0.2";
        let (process, (stdout, _stdin)) = start(script, &stop).await;
        let grandchild = first_line(stdout).await;
        process.wait().await;
        assert!(is_gone(&grandchild), "{grandchild} survived its parent");
    }

    #[test]
    fn the_end_of_the_runtime_kills_the_group() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();

        let grandchild = runtime.block_on(async {
            let stop = CancellationToken::new();
            let script = "trap '' TERM; sh -c 'echo $$; exec sleep 600' & wait";
            let (process, (stdout, stdin)) = start(script, &stop).await;
            let grandchild = first_line(stdout).await;
            drop((process, stdin));
            grandchild
        });

        drop(runtime);
        assert!(is_gone(&grandchild), "{grandchild} survived the host");
    }

    /// Set in the environment when this test starts itself as the host.
    const HOST: &str = "LASTWORD_TEST_HOST";

    /// A killed host cannot end its programs itself.
    #[tokio::test]
    async fn a_program_that_ignores_signals_dies_with_a_killed_host() {
        const NAME: &str = "process::tests::\
                            a_program_that_ignores_signals_dies_with_a_killed_host";

        if let Ok(place) = std::env::var(HOST) {
            let stop = CancellationToken::new();
            let script = format!(
                "trap '' TERM; cd {place}; sleep 600 & echo $! $$ > part; mv part pids; sleep 600"
            );
            let (process, _streams) = start(&script, &stop).await;
            process.wait().await;
            panic!("the host was not killed");
        }

        let place = tempfile::tempdir().unwrap();
        let mut host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(HOST, place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();

        let file = place.path().join("pids");
        let began = Instant::now();

        while !file.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing was started"
            );
            std::thread::yield_now();
        }

        let pids = std::fs::read_to_string(&file).unwrap();
        let pids: Vec<_> = pids.split_whitespace().collect();
        assert!(pids.len() == 2 && pids.iter().all(|pid| is_there(pid)));
        host.kill().unwrap();
        host.wait().unwrap();
        assert!(
            pids.iter().all(|pid| is_gone(pid)),
            "{pids:?} survived the host"
        );
    }

    #[tokio::test]
    async fn only_configured_variables_are_inherited() {
        let stop = CancellationToken::new();
        let (_process, (stdout, _stdin)) = start("env | grep -c CARGO", &stop).await;
        assert_eq!(first_line(stdout).await, "0");
    }
}
