//! A server that is a program: started in a process group of its own, and ended with all of
//! it. Knows its standard streams, and nothing of what goes over them.

use super::launch::Fill;
use super::text;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// How long a program may take to end by itself once its stdin is closed.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// How long it may take to end once it was asked to by a signal.
pub(super) const TERM_GRACE: Duration = Duration::from_secs(1);
/// How long an error waits for a program's end, to say how it ended.
const EPITAPH_WAIT: Duration = Duration::from_millis(500);
/// Lines of stderr that are shown in an error, the last ones.
const STDERR_LINES: usize = 10;
/// Lines of it that are kept: a secret of several lines is found only if its first is there.
const STDERR_LINES_KEPT: usize = 20;
/// Bytes of a line of stderr that are kept. Of a longer one nothing is: a secret that is cut is
/// not found any more.
const STDERR_LINE_KEPT: usize = 16 * 1024;
/// Bytes of it that are shown.
const STDERR_LINE_MAX: usize = 256;

/// A program under way. Dropping it ends the program, without waiting for it.
#[derive(Debug)]
pub(super) struct Process {
    ended: watch::Receiver<Option<String>>,
    stderr: Arc<Mutex<Tail>>,
    _stop: DropGuard,
}

/// The last lines of stderr.
#[derive(Debug, Default)]
struct Tail(VecDeque<String>);

/// Its standard streams, for whoever speaks to it.
pub(super) type Streams = (ChildStdout, ChildStdin);

impl Process {
    /// Starts a program that ends with `stop` at the latest.
    pub(super) fn start(
        server: &str,
        command: &[String],
        env: Vec<(String, String)>,
        directory: &Path,
        stop: &CancellationToken,
    ) -> io::Result<(Self, Streams)> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .env_clear()
            .envs(env)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let streams = child.stdout.take().zip(child.stdin.take());
        let (Some(streams), Some(stderr)) = (streams, child.stderr.take()) else {
            return Err(io::Error::other("its streams were taken"));
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid.and_then(Pid::from_raw);
        let group = Group(Some(
            pid.ok_or_else(|| io::Error::other("it has no process id"))?,
        ));
        let stop = stop.child_token();
        let tail = Arc::new(Mutex::new(Tail::default()));
        let reader = read_stderr(server.to_owned(), stderr, Arc::clone(&tail));
        let (end, ended) = watch::channel(None);
        let supervision = supervise(child, group, stop.clone(), AbortOnDropHandle::new(reader));
        // Owned by the token, which ends it within its graces.
        tokio::spawn(async move {
            let how = supervision.await;
            end.send_replace(Some(how));
        });
        let process = Self {
            ended,
            stderr: tail,
            _stop: stop.drop_guard(),
        };
        Ok((process, streams))
    }

    /// Waits until the program and its group are gone.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _supervisor_gone = ended.wait_for(Option::is_some).await;
    }

    /// How it ended and what it said last, for people and without secrets.
    pub(super) async fn epitaph(&self, fill: &dyn Fill) -> String {
        let _still_running = tokio::time::timeout(EPITAPH_WAIT, self.ended()).await;
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

/// A process group, which dies with this value.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // An error means that nobody is left in it.
            let _nobody_left = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Waits for the program's end, or brings it about; says how it ended. The group is killed
/// before its leader is reaped: until then nobody else can have its number.
async fn supervise(
    mut child: Child,
    mut group: Group,
    stop: CancellationToken,
    stderr: AbortOnDropHandle<()>,
) -> String {
    let asked = tokio::select! {
        () = exited(&group) => false,
        () = stop.cancelled() => true,
    };
    if asked && tokio::time::timeout(GRACE, exited(&group)).await.is_err() {
        group.signal(Signal::TERM);
        let _killed_below = tokio::time::timeout(TERM_GRACE, exited(&group)).await;
    }
    group.signal(Signal::KILL);
    let status = child.wait().await;
    // Reaped: the number may be given away now.
    group.0 = None;
    // What it said last is still in the pipe; a descendant that left the group may hold it.
    let _held = tokio::time::timeout(EPITAPH_WAIT / 2, stderr).await;
    match (asked, status) {
        (true, _) => "it was ended".to_owned(),
        (false, Ok(status)) => format!("it ended with {status}"),
        (false, Err(error)) => format!("it ended, and nobody knows how: {error}"),
    }
}

/// Waits until the leader is a zombie, and leaves it one.
async fn exited(group: &Group) {
    let Some(pid) = group.0 else { return };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let Ok(mut children) = signal(SignalKind::child()) else {
        // Without news of children its end shows when its group is ended.
        return std::future::pending().await;
    };
    // An error means that it is no child any more: it is gone.
    while let Ok(None) = waitid(WaitId::Pid(pid), options) {
        let _every_child = children.recv().await;
    }
}

fn read_stderr(
    server: String,
    stderr: ChildStderr,
    tail: Arc<Mutex<Tail>>,
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
            let said = match goes_on && line.len() == STDERR_LINE_KEPT {
                true => format!("[a line of more than {STDERR_LINE_KEPT} bytes]"),
                false => String::from_utf8_lossy(&line).trim_end().to_owned(),
            };
            if said.is_empty() || is_rest {
                continue;
            }
            tracing::trace!(target: "lastword::mcp", server, bytes = said.len(), "a line on stderr");
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.0.len() == STDERR_LINES_KEPT {
                tail.0.pop_front();
            }
            tail.0.push_back(said);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::launch::NoSecrets;
    use super::*;
    use std::time::Instant;

    fn start(script: &str, stop: &CancellationToken) -> (Process, Streams) {
        let command = ["sh", "-c", script].map(str::to_owned);
        let path = std::env::var("PATH").unwrap();
        let env = vec![("PATH".to_owned(), path)];
        Process::start("it", &command, env, Path::new("/"), stop).unwrap()
    }

    /// The first line that it says on stdout.
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

    /// Whether a process that was killed is buried before long: the kernel takes a moment.
    fn is_gone(pid: &str) -> bool {
        let began = Instant::now();
        while is_there(pid) && began.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        !is_there(pid)
    }

    #[tokio::test]
    async fn a_program_that_ends_leaves_its_last_words() {
        let stop = CancellationToken::new();
        let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i >&2; done; exit 3";
        let (process, _streams) = start(script, &stop);
        process.ended().await;
        let epitaph = process.epitaph(&NoSecrets).await;
        assert!(epitaph.contains("exit status: 3"), "{epitaph}");
        assert!(epitaph.ends_with("line 11\nline 12"), "{epitaph}");
        assert!(!epitaph.contains("line 2\n"), "{epitaph}");
    }

    /// Knows one secret.
    struct Keeping(String);

    impl Fill for Keeping {
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
            let (process, _streams) = start(&script(fill), &stop);
            process.ended().await;
            for secret in ["canary-value", "cana\nry-value"] {
                let epitaph = process.epitaph(&Keeping(secret.to_owned())).await;
                assert!(!epitaph.contains(secret), "{epitaph}");
                assert!(epitaph.ends_with("last"), "{epitaph}");
                let rest = epitaph.lines().any(|line| line.starts_with("y-value"));
                assert!(!rest, "{epitaph}");
            }
        }
    }

    #[tokio::test]
    async fn a_program_that_heeds_its_stdin_is_not_killed() {
        let stop = CancellationToken::new();
        let (process, (_stdout, stdin)) = start("cat >/dev/null; echo bye >&2; exit 0", &stop);
        drop(stdin);
        process.ended().await;
        let epitaph = process.epitaph(&NoSecrets).await;
        assert!(epitaph.contains("exit status: 0"), "{epitaph}");
        assert!(epitaph.contains("bye"), "{epitaph}");
    }

    #[tokio::test]
    async fn a_group_that_heeds_nothing_dies_within_its_graces() {
        let stop = CancellationToken::new();
        let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; exec sleep 600' & wait";
        let (process, (stdout, stdin)) = start(script, &stop);
        let grandchild = first_line(stdout).await;
        assert!(is_there(&grandchild));
        drop(stdin);
        let began = Instant::now();
        stop.cancel();
        process.ended().await;
        assert!(began.elapsed() < GRACE + TERM_GRACE + Duration::from_secs(5));
        assert!(is_gone(&grandchild), "{grandchild} survived its group");
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_dies_with_it() {
        let stop = CancellationToken::new();
        let script = "sh -c 'echo $$; exec sleep 600' & sleep 0.2";
        let (process, (stdout, _stdin)) = start(script, &stop);
        let grandchild = first_line(stdout).await;
        process.ended().await;
        assert!(is_gone(&grandchild), "{grandchild} survived its parent");
    }

    #[test]
    fn a_runtime_that_ends_takes_the_group_with_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let grandchild = runtime.block_on(async {
            let stop = CancellationToken::new();
            let script = "trap '' TERM; sh -c 'echo $$; exec sleep 600' & wait";
            let (process, (stdout, stdin)) = start(script, &stop);
            let grandchild = first_line(stdout).await;
            drop((process, stdin));
            grandchild
        });
        drop(runtime);
        assert!(is_gone(&grandchild), "{grandchild} survived the host");
    }

    #[tokio::test]
    async fn nothing_of_the_environment_is_inherited_but_what_was_said() {
        let stop = CancellationToken::new();
        let (_process, (stdout, _stdin)) = start("env | grep -c CARGO", &stop);
        assert_eq!(first_line(stdout).await, "0");
    }
}
