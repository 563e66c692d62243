//! Compiling components that are not trusted: in a process of its own with bounds on memory and
//! time, if the embedder names a program for it, or in this one if the component looks cheap enough.
//! Knows nothing of what a component does; the other process is [`worker`](super::worker).

use super::component::blocking;
use super::cost::check_cost;
use super::memory::Memory;
use super::worker::{Answer, Task};
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

/// Bytes of memory for one compilation, and how long it may take, unless told otherwise.
const MEMORY_BYTES: u64 = 2 << 30;
const TIME: Duration = Duration::from_secs(120);
/// Processes that compile at the same time.
const WORKERS_MAX: usize = 2;
/// Which part of the memory that this process may have one compilation gets at the most.
const MEMORY_SHARE: u64 = 2;
/// Variables that a program may need to begin at all. No other one is handed on.
const INHERITED: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];
/// Bytes of what a program says on standard error that an error repeats.
const WORDS_MAX: usize = 400;

/// Where components are compiled that the cache does not have.
///
/// Compiling cannot be interrupted, and a component of half a megabyte can be made so that it takes
/// minutes and gigabytes. A process of its own bounds both, ends with the host, with the load that
/// waits for it, and without harm to runs. It is any program that calls
/// [`compile_worker`](crate::compile_worker) when it is started with these arguments; two of them
/// run at the same time at the most.
///
/// ```no_run
/// use lastword::{Compiler, Host};
///
/// // The first lines of `main`.
/// if std::env::args().nth(1).as_deref() == Some("compile-worker") {
///     lastword::compile_worker();
/// }
/// // This very program, also if its file was replaced meanwhile.
/// let compiler = Compiler::worker("/proc/self/exe").arg("compile-worker");
/// let builder = Host::builder().compiler(compiler);
/// ```
#[derive(Clone, Debug)]
pub struct Compiler {
    program: Option<(PathBuf, Vec<OsString>)>,
    memory_bytes: u64,
    time: Duration,
}

impl Compiler {
    /// In the host's own process, where nothing bounds it: a component is refused whose functions
    /// look as if they took long. What passes has nearly always been written to be run.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            program: None,
            memory_bytes: MEMORY_BYTES,
            time: TIME,
        }
    }

    /// In processes of this program.
    #[must_use]
    pub fn worker(program: impl Into<PathBuf>) -> Self {
        Self {
            program: Some((program.into(), Vec::new())),
            ..Self::in_process()
        }
    }

    /// Adds an argument to those that the program is started with.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        if let Some((_, arguments)) = &mut self.program {
            arguments.push(argument.into());
        }
        self
    }

    /// Bytes of memory that one compilation may take, at the most a half of what the machine or the
    /// control group has. Default 2 GiB. Not for the host's own process.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// How long one compilation may take. Default 120 s. Not for the host's own process.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }
}

/// Compiles for one host.
pub struct Compilers {
    settings: Compiler,
    memory_bytes: u64,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
}

impl Compilers {
    /// A compiler with these settings; a child may use a share of the machine's memory at the most.
    pub fn new(settings: Compiler, clock: Arc<dyn Clock>) -> Self {
        let share = Memory::of_process().map(|memory| memory.bytes() / MEMORY_SHARE);
        Self {
            memory_bytes: settings.memory_bytes.min(share.unwrap_or(u64::MAX)),
            settings,
            clock,
            turns: Semaphore::new(WORKERS_MAX),
        }
    }

    /// Compiles a component, and hands the artifact to `keep`. Dropping the future ends a process
    /// that compiles; a compilation in this process goes on, up to and with `keep`.
    pub(super) async fn compile<T: Send + 'static>(
        &self,
        engine: &Arc<Engine>,
        wasm: Arc<[u8]>,
        keep: impl FnOnce(&[u8]) -> Result<T, ComponentError> + Send + 'static,
    ) -> Result<T, ComponentError> {
        let Some((program, arguments)) = &self.settings.program else {
            let engine = Arc::clone(engine);
            let compiling = blocking(move || {
                check_cost(&wasm)?;
                let artifact = engine.wasmtime().precompile_component(&wasm);
                let refused =
                    |error: wasmtime::Error| ComponentError::of_compiler(&format!("{error:#}"));
                keep(&artifact.map_err(refused)?)
            });
            return compiling.await;
        };

        let artifact = self.work(engine, program, arguments, &wasm).await?;
        blocking(move || keep(&artifact)).await
    }

    /// The artifact, from a process of its own.
    async fn work(
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

        let task = Task {
            memory_bytes: self.memory_bytes,
            wasm,
        };
        let working = hand_over(command, &task);

        let output = tokio::select! {
            output = working => output.map_err(|error| {
                ComponentError::Compiler(format!("{} cannot be run: {error}", program.display()))
            })?,
            () = self.clock.sleep(self.settings.time) => {
                let seconds = self.settings.time.as_secs();
                return Err(ComponentError::CompileTime { seconds });
            }
        };
        self.read(engine, output)
    }

    fn read(&self, engine: &Engine, output: Output) -> Result<Vec<u8>, ComponentError> {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let too_large = ComponentError::CompileMemory {
            bytes: self.memory_bytes,
        };

        match Answer::read(output.stdout) {
            Some(Answer::Compiled {
                engine: by,
                artifact,
            }) if by == engine.hash() => Ok(artifact),
            Some(Answer::Compiled { .. }) => Err(ComponentError::Compiler(
                "its program is of another version of lastword, or of another build".to_owned(),
            )),
            Some(Answer::Refused(error)) if says_memory(&error) => Err(too_large),
            Some(Answer::Refused(error)) => Err(ComponentError::of_compiler(&error)),
            None if says_memory(&words) || was_killed(output.status) => Err(too_large),
            None => {
                let words = words.trim();
                let from = words.ceil_char_boundary(words.len().saturating_sub(WORDS_MAX));
                let (words, status) = (&words[from..], output.status);
                Err(ComponentError::Compiler(format!(
                    "it ended with {status}: {words}"
                )))
            }
        }
    }
}

/// Starts a process, gives it its task and waits for what it answers. It is killed with the
/// future, and ends by itself once the other end of its standard input is gone.
async fn hand_over(mut command: Command, task: &Task<'_>) -> io::Result<Output> {
    let mut child = command
        .current_dir("/")
        // What a terminal sends to the host is not for it.
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
        // One that ended instead has said why.
        let _why_is_read = given.await;
    }

    let output = child.wait_with_output().await;
    drop(lifeline);
    output
}

fn says_memory(words: &str) -> bool {
    let known = [
        "memory allocation of",
        "Cannot allocate memory",
        "out of memory",
    ];
    known.iter().any(|known| words.contains(known))
}

/// As the kernel does where memory is short.
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(9)
}
