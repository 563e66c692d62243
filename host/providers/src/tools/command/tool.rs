//! The tool `run_command`: its arguments, its permission check, and its result.

use super::commands::Commands;
use super::confine::Confinement;
use super::group::{ProcessGroup, SpawnRequest, Spawner};
use super::output::OutputCapture;
use super::words::quoted;
use crate::tools::{Effects, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput};
use cap_std::fs::Dir;
use lastword_os::remove_tree;
use lastword_types::permission::{Access, Capability};
use rustix::fd::OwnedFd;
use serde::Deserialize;
use serde_json::json;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

/// The largest number of words in a command.
const WORDS_MAX: usize = 1_000;
/// The largest number of bytes of all words of a command.
const WORDS_BYTES_MAX: usize = 128 << 10;
/// The largest number of bytes of a command's standard input.
const STDIN_BYTES_MAX: usize = 1 << 20;
/// The longest time in which the last output is read after every process of the group is dead.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);
/// The longest time that a killed process may take to disappear.
const DEATH_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    command: Vec<String>,
    directory: Option<String>,
    stdin: Option<String>,
    timeout_s: Option<u64>,
}

/// Runs the commands of a host. A cloneable handle; created once, since it owns a thread.
#[derive(Clone)]
pub struct CommandTools {
    shared: Arc<Shared>,
}

struct Shared {
    commands: Commands,
    spawner: Spawner,
    /// Where commands get their temporary directories.
    temporary: PathBuf,
}

impl CommandTools {
    /// Creates the tool for the operator's commands. `temporary` is a directory of the host's own
    /// for temporary files.
    pub fn new(commands: Commands, temporary: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                commands,
                spawner: Spawner::default(),
                temporary,
            }),
        }
    }

    /// Returns the tool, if there are commands.
    pub fn tools(&self) -> Option<Tool> {
        let commands = &self.shared.commands;
        (!commands.is_empty()).then(|| Tool {
            name: "run_command".to_owned(),
            description: format!(
                "Run a program in the workspace and wait for it. There is no shell: the first \
                 word is the program, each further one an argument, nothing is expanded. These \
                 may run, with further arguments: {}. Long output keeps its beginning and end; \
                 what runs on in the background is killed when the program ends.",
                commands.display()
            ),
            parameters: json!({
                "type": "object",
                "properties": {
                    "command": {"type": "array", "minItems": 1, "maxItems": WORDS_MAX,
                        "items": {"type": "string"},
                        "description": "The program and its arguments: [\"cargo\", \"test\"]."},
                    "directory": {"type": "string",
                        "description": "Where to run it, relative to the workspace."},
                    "stdin": {"type": "string", "maxLength": STDIN_BYTES_MAX,
                        "description": "What it can read; nothing if not given."},
                    "timeout_s": {"type": "integer", "minimum": 1,
                        "maximum": commands.timeout_max.as_secs(),
                        "description": format!("When to kill it; after {} s if not given.",
                            commands.timeout.as_secs())},
                },
                "required": ["command"],
                "additionalProperties": false,
            }),
            effects: Effects::Some,
        })
    }

    /// Runs a command in a workspace, given by its opened directory.
    ///
    /// Dropping the future kills the command and everything that it has started.
    ///
    /// # Errors
    ///
    /// If the arguments are invalid, the operator or a rule does not allow the command, or the host
    /// cannot start it confined. A command that fails is not an error: its result is for the model.
    pub async fn call(
        self,
        workspace: Arc<File>,
        mut call: Invocation,
        runtime: Handle,
    ) -> Result<ToolOutput, ToolError> {
        let arguments = serde_json::from_value::<Arguments>(call.arguments.take());
        let arguments = arguments
            .map_err(|error| ToolError::invalid(format!("the arguments do not do: {error}")))?;
        arguments.check()?;

        let commands = &self.shared.commands;
        if !commands.allows(&arguments.command) {
            return Err(ToolError::new(ToolErrorKind::Denied, not_listed(commands)));
        }

        let line = quoted(&arguments.command);
        let at = match arguments.directory.as_deref() {
            Some(directory) => format!(" in {}", quoted(&[directory.to_owned()])),
            None => String::new(),
        };

        let title = format!("run {line}{at}");
        let mut access = Access::new(Capability::RunCommands, line, title);

        if arguments.directory.is_some() {
            // For this call only: the target does not contain the directory, and the same words may
            // do something else in another.
            access = access.once();
        }

        if let Some(stdin) = &arguments.stdin {
            access = access.details(&format!("stdin:\n{stdin}")).once();
        }

        call.permits.require(access).await?;
        self.shared.run(arguments, workspace, &runtime).await
    }
}

fn not_listed(commands: &Commands) -> String {
    if commands.is_empty() {
        "the operator of this host has listed no commands".to_owned()
    } else {
        format!(
            "the operator of this host has not listed this command; these may run: {}",
            commands.display()
        )
    }
}

impl Arguments {
    fn check(&self) -> Result<(), ToolError> {
        let Some(program) = self.command.first().filter(|program| !program.is_empty()) else {
            return Err(ToolError::invalid("the command has no program"));
        };
        let bytes: usize = self.command.iter().map(|word| word.len() + 1).sum();
        if self.command.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX {
            let message = format!("at most {WORDS_MAX} words and {WORDS_BYTES_MAX} bytes");
            return Err(ToolError::invalid(format!(
                "the command is too long: {message}"
            )));
        }

        let stdin = self.stdin.as_deref().unwrap_or_default();
        if stdin.len() > STDIN_BYTES_MAX {
            let message = format!("stdin has more than {STDIN_BYTES_MAX} bytes");
            return Err(ToolError::invalid(message));
        }

        if self
            .command
            .iter()
            .chain(&self.directory)
            .any(|word| word.contains('\0'))
        {
            return Err(ToolError::invalid("the command has a NUL character in it"));
        }

        // In another directory, the allowed name would be another file's.
        let relative = program.contains('/') && !program.starts_with('/');
        if relative && self.directory.is_some() {
            return Err(ToolError::invalid(
                "a program in the workspace runs at its top only; leave out directory",
            ));
        }

        Ok(())
    }
}

fn internal_error(what: &str) -> impl Fn(io::Error) -> ToolError {
    move |error| ToolError::new(ToolErrorKind::Internal, format!("{what}: {error}"))
}

/// A command's temporary directory, removed in the background.
struct TempDirectory {
    path: PathBuf,
    runtime: Handle,
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        self.runtime.spawn_blocking(move || {
            if let Err(error) = remove_tree(&path) {
                tracing::debug!(%error, path = %path.display(), "temporary files are left behind");
            }
        });
    }
}

impl Shared {
    async fn run(
        self: Arc<Self>,
        arguments: Arguments,
        workspace: Arc<File>,
        runtime: &Handle,
    ) -> Result<ToolOutput, ToolError> {
        let commands = &self.commands;
        let asked = arguments.timeout_s.map(Duration::from_secs);
        let limit = asked.unwrap_or(commands.timeout).min(commands.timeout_max);
        let stdin = arguments.stdin.clone().unwrap_or_default();
        let program = arguments.command[..1].join("");
        let (this, at) = (Arc::clone(&self), runtime.clone());
        let ready = runtime.spawn_blocking(move || this.prepare(&arguments, &workspace, at));
        let ready = ready.await.map_err(|error| {
            let message = format!("the command could not be prepared: {error}");
            ToolError::new(ToolErrorKind::Internal, message)
        })?;

        let (start, _temporary) = match ready {
            Ok(ready) => ready,
            Err(StartError::Said(text)) => return Ok(ToolOutput::error(text)),
            Err(StartError::Error(error)) => return Err(error),
        };

        let confined = start.confined.as_ref();
        let enforced = confined.map(|(_, confinement)| confinement.enforced.clone());
        let enforced = enforced.unwrap_or_default();
        let begun = Instant::now();

        let group = match self.spawner.start(start).await {
            Ok(group) => group,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("{program}: there is no such program");
                return Ok(ToolOutput::error(text));
            }
            Err(error) => return Ok(ToolOutput::error(format!("{program}: {error}"))),
        };

        let ended = RunningCommand::begin(group, stdin.into_bytes())
            .map_err(internal_error("what the command prints cannot be read"))?
            .finish(limit)
            .await
            .map_err(internal_error("the command cannot be waited for"))?;
        Ok(ended.answer(limit, begun.elapsed(), &enforced))
    }

    /// Opens and builds everything that is needed to start.
    fn prepare(
        &self,
        arguments: &Arguments,
        workspace: &File,
        runtime: Handle,
    ) -> Result<(SpawnRequest, TempDirectory), StartError> {
        let internal = |error| internal_error("the command could not be prepared")(error);
        let root = Dir::from_std_file(workspace.try_clone().map_err(internal)?);

        let directory = match arguments.directory.as_deref() {
            None => root,
            Some(path) => {
                // As guests see it; any other absolute path is outside.
                let below = path.strip_prefix("/workspace").unwrap_or(path);
                let relative = match below.strip_prefix('/') {
                    Some(relative) if below.len() < path.len() => relative,
                    _ if below.is_empty() => ".",
                    _ => path,
                };
                let relative = if relative.is_empty() { "." } else { relative };
                root.open_dir(relative)
                    .map_err(|error| StartError::Said(format!("{path}: {error}")))?
            }
        };

        let temporary = self.temporary.join(format!("command-{}", Uuid::now_v7()));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&temporary).map_err(internal)?;

        let temporary = TempDirectory {
            path: temporary,
            runtime: runtime.clone(),
        };
        let confinement = Confinement::new(&self.commands, workspace, &temporary.path);
        let mut command = Command::new(&arguments.command[0]);

        command
            .args(&arguments.command[1..])
            .env_clear()
            .env("HOME", &temporary.path)
            .env("TMPDIR", &temporary.path)
            .envs(
                self.commands
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(match arguments.stdin {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        let confinement = confinement.map_err(internal)?;
        let start =
            SpawnRequest::confined(command, directory.into_std_file(), confinement, runtime);
        Ok((start, temporary))
    }
}

enum StartError {
    Said(String),
    Error(ToolError),
}

impl From<ToolError> for StartError {
    fn from(error: ToolError) -> Self {
        Self::Error(error)
    }
}

type SharedCapture = Arc<Mutex<OutputCapture>>;

/// A running command, with its streams.
struct RunningCommand {
    group: ProcessGroup,
    stdin: Option<(pipe::Sender, Vec<u8>)>,
    stdout: (Option<pipe::Receiver>, SharedCapture),
    stderr: (Option<pipe::Receiver>, SharedCapture),
}

/// How a command ended.
struct CommandResult {
    status: Option<ExitStatus>,
    timed_out: bool,
    stdout: SharedCapture,
    stderr: SharedCapture,
}

impl RunningCommand {
    fn begin(mut group: ProcessGroup, words: Vec<u8>) -> io::Result<Self> {
        let (stdin, stdout, stderr) = group.streams();
        let sender = |stdin| pipe::Sender::from_owned_fd(OwnedFd::from(stdin));
        let receiver = |stream: Option<OwnedFd>| stream.map(pipe::Receiver::from_owned_fd);

        Ok(Self {
            group,
            stdin: stdin.map(sender).transpose()?.map(|stdin| (stdin, words)),
            stdout: (
                receiver(stdout.map(OwnedFd::from)).transpose()?,
                SharedCapture::default(),
            ),
            stderr: (
                receiver(stderr.map(OwnedFd::from)).transpose()?,
                SharedCapture::default(),
            ),
        })
    }

    /// Writes its input and reads its output until its first process has ended, then kills the
    /// rest.
    async fn finish(self, limit: Duration) -> io::Result<CommandResult> {
        let Self {
            group,
            stdin,
            stdout,
            stderr,
        } = self;

        let shown = (Arc::clone(&stdout.1), Arc::clone(&stderr.1));

        let feed = async {
            if let Some((mut stdin, words)) = stdin {
                // A program need not read its input.
                let _unread = stdin.write_all(&words).await;
            }
        };
        let streams = futures_util::future::join3(feed, read(stdout), read(stderr));
        let mut streams = std::pin::pin!(futures_util::FutureExt::fuse(streams));
        let mut ended = std::pin::pin!(group.ended());

        let waiting = async {
            loop {
                tokio::select! {
                    _ = &mut streams => {}
                    ended = &mut ended => break ended,
                }
            }
        };
        let in_time = timeout(limit, waiting).await;
        let timed_out = in_time.is_err();

        in_time.unwrap_or(Ok(()))?;
        group.kill();

        let dead = if timed_out {
            timeout(DEATH_TIME_MAX, &mut ended).await.is_ok()
        } else {
            true
        };

        if !futures_util::future::FusedFuture::is_terminated(&streams) {
            // A process that left the group may keep them open.
            let _held_open = timeout(DRAIN_TIME_MAX, &mut streams).await;
        }

        Ok(CommandResult {
            status: dead.then(|| group.collect()).transpose()?,
            timed_out,
            stdout: shown.0,
            stderr: shown.1,
        })
    }
}

async fn read((stream, shown): (Option<pipe::Receiver>, SharedCapture)) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(1..) = stream.read(&mut buffer).await.inspect(|read| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.add(&buffer[..*read]);
    }) {}
}

impl CommandResult {
    fn answer(&self, limit: Duration, took: Duration, enforced: &[&str]) -> ToolOutput {
        let stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let code = self.status.and_then(|status| status.code());
        let signal = self.status.and_then(|status| status.signal());

        let end = match (self.timed_out, code, signal) {
            (true, ..) => format!("killed after {} s, its time", limit.as_secs()),
            (_, Some(code), _) => format!("exit code {code}"),
            (_, _, Some(signal)) => format!("killed by signal {signal}"),
            _ => "its end is not known".to_owned(),
        };

        let mut text = format!("[{end}]\n");

        for (name, stream) in [("stdout", &stdout), ("stderr", &stderr)] {
            if stream.total() > 0 {
                text.push_str(&format!("[{name}]\n{}", stream.text()));
                if !text.ends_with('\n') {
                    text.push('\n');
                }
            }
        }

        ToolOutput {
            is_error: self.timed_out || code != Some(0),
            ..ToolOutput::text(text)
        }
        .structured(json!({
            "exit_code": code, "signal": signal, "timed_out": self.timed_out,
            "stdout_bytes": stdout.total(), "stderr_bytes": stderr.total(),
            "truncated": stdout.is_truncated() || stderr.is_truncated(),
        }))
        .metadata(json!({
            "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "enforced": enforced,
        }))
    }
}
