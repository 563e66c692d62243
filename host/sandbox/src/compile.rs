//! Compiles components that are not trusted: in a process of its own with bounds on memory and time
//! if the embedder names a program for it, or in this process if the component looks cheap enough.
//! The other end of that process is [`worker`](super::worker).

use super::component::run_blocking;
use super::cost::check_cost;
use super::memory::Memory;
use super::worker::{CompileTask, Reply};
use super::{ComponentError, Engine};
use lastword_types::clock::Clock;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// The default bounds of one compilation: bytes of memory, and time.
const MEMORY_BYTES: u64 = 2 << 30;
const TIME: Duration = Duration::from_secs(120);
/// The largest number of processes that compile at the same time.
const WORKERS_MAX: usize = 2;
/// One compilation gets at most this fraction (one in two) of the memory that this process may use.
const MEMORY_SHARE: u64 = 2;
/// Variables that a program may need to start at all. No others are passed on.
const INHERITED: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];
/// How many bytes of the program's standard error an error message repeats.
const WORDS_MAX: usize = 400;

/// The place where components are compiled that are not in the cache.
///
/// Compiling cannot be interrupted, and a component of half a megabyte can be built so that
/// compiling it takes minutes and gigabytes. A process of its own bounds both. It ends with the
/// host and with the load that waits for it, without harm to runs. The process can be any program
/// that calls [`compile_worker`](crate::compile_worker) when it is started with these arguments; at
/// most two of them run at the same time.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: Option<(PathBuf, Vec<OsString>)>,
    memory_bytes: u64,
    time: Duration,
}

impl Compiler {
    /// Compiles in the host's own process, where nothing bounds it: a component whose functions
    /// look slow to compile is refused. Genuine agents nearly always pass.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            program: None,
            memory_bytes: MEMORY_BYTES,
            time: TIME,
        }
    }

    /// Compiles in processes of this program.
    #[must_use]
    pub fn worker(program: impl Into<PathBuf>) -> Self {
        Self {
            program: Some((program.into(), Vec::new())),
            ..Self::in_process()
        }
    }

    /// Adds an argument that the program is started with.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        if let Some((_, arguments)) = &mut self.program {
            arguments.push(argument.into());
        }
        self
    }

    /// Sets the number of bytes of memory that one compilation may use, at most half of the memory
    /// of the machine or the control group. Default: 2 GiB. Does not apply in the host's own
    /// process.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets how long one compilation may take. Default: 120 s. Does not apply in the host's own
    /// process.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }
}

/// The compiler of one host: the settings, and a semaphore over the processes.
pub struct Compilers {
    settings: Compiler,
    memory_bytes: u64,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
}

impl Compilers {
    /// Creates the compiler of a host. The bound on memory is reduced to a share of what the
    /// machine has.
    pub fn new(settings: Compiler, clock: Arc<dyn Clock>) -> Self {
        let share = Memory::of_process().map(|memory| memory.bytes() / MEMORY_SHARE);
        Self {
            memory_bytes: settings.memory_bytes.min(share.unwrap_or(u64::MAX)),
            settings,
            clock,
            turns: Semaphore::new(WORKERS_MAX),
        }
    }

    /// Compiles a component and passes the artifact to `keep`. Dropping the future ends a process
    /// that compiles; a compilation in this process continues, including `keep`.
    pub(super) async fn compile<T: Send + 'static>(
        &self,
        engine: &Arc<Engine>,
        wasm: Arc<[u8]>,
        keep: impl FnOnce(&[u8]) -> Result<T, ComponentError> + Send + 'static,
    ) -> Result<T, ComponentError> {
        let Some((program, arguments)) = &self.settings.program else {
            let engine = Arc::clone(engine);
            let compiling = run_blocking(move || {
                check_cost(&wasm)?;
                let artifact = engine.wasmtime().precompile_component(&wasm);
                let refused =
                    |error: wasmtime::Error| ComponentError::from_compiler(&format!("{error:#}"));
                keep(&artifact.map_err(refused)?)
            });
            return compiling.await;
        };

        let artifact = self.run_worker(engine, program, arguments, &wasm).await?;
        run_blocking(move || keep(&artifact)).await
    }

    /// Compiles in a process of its own and returns the artifact.
    async fn run_worker(
        &self,
        engine: &Engine,
        program: &Path,
        arguments: &[OsString],
        wasm: &[u8],
    ) -> Result<Vec<u8>, ComponentError> {
        let _turn = self.turns.acquire().await;
        let mut command = Command::new(program);
        command.args(arguments).env_clear();

        for name in INHERITED {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }

        let task = CompileTask {
            memory_bytes: self.memory_bytes,
            wasm,
        };
        let working = run_process(command, &task);

        let output = tokio::select! {
            output = working => output.map_err(|error| {
                ComponentError::Compiler(format!("{} cannot be run: {error}", program.display()))
            })?,
            () = self.clock.sleep(self.settings.time) => {
                let seconds = self.settings.time.as_secs();
                return Err(ComponentError::CompileTime { seconds });
            }
        };
        self.artifact(engine, output)
    }

    fn artifact(&self, engine: &Engine, output: Output) -> Result<Vec<u8>, ComponentError> {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let too_large = ComponentError::CompileMemory {
            bytes: self.memory_bytes,
        };

        match Reply::read(output.stdout) {
            Some(Reply::Compiled {
                engine: by,
                artifact,
            }) if by == engine.hash() => Ok(artifact),
            Some(Reply::Compiled { .. }) => Err(ComponentError::Compiler(
                "its program is of another version of lastword, or of another build".to_owned(),
            )),
            Some(Reply::Refused(error)) if mentions_memory(&error) => Err(too_large),
            Some(Reply::Refused(error)) => Err(ComponentError::from_compiler(&error)),
            None if mentions_memory(&stderr) || was_killed(output.status) => Err(too_large),
            None => {
                let stderr = stderr.trim();
                let from = stderr.ceil_char_boundary(stderr.len().saturating_sub(WORDS_MAX));
                let (stderr, status) = (&stderr[from..], output.status);
                Err(ComponentError::Compiler(format!(
                    "it ended with {status}: {stderr}"
                )))
            }
        }
    }
}

/// Starts a process, writes its task, and returns its output. Dropping the future kills the
/// process; it also ends by itself once the other end of its standard input is closed.
async fn run_process(mut command: Command, task: &CompileTask<'_>) -> io::Result<Output> {
    let mut child = command
        .current_dir("/")
        // A signal that a terminal sends to the host's group is not meant for the worker.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lifeline = child.stdin.take();
    if let Some(input) = &mut lifeline {
        let given = async {
            input.write_all(&task.head()).await?;
            input.write_all(task.wasm).await?;
            input.flush().await
        };
        // A process that ended early has said why on its output, which is read below.
        let _why_is_read = given.await;
    }

    let output = child.wait_with_output().await;
    drop(lifeline);
    output
}

fn mentions_memory(stderr: &str) -> bool {
    let known = [
        "memory allocation of",
        "Cannot allocate memory",
        "out of memory",
    ];
    known.iter().any(|known| stderr.contains(known))
}

/// Whether the kernel killed the process, as it does if memory is short.
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}
