//! The process that compiles one component: its task on standard input, its reply on standard
//! output, and its own limits. [`compile`](super::compile) is the other end.

use super::engine;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use std::io::{self, Read, Write};
use std::process::exit;
use wasmtime::Engine;

/// The first bytes of a task and of a reply.
const MAGIC: [u8; 8] = *b"lastword";
const NUMBER: usize = size_of::<u64>();
/// Bytes of the largest component in a task.
const WASM_BYTES_MAX: u64 = lastword_os::file::COMPONENT_BYTES_MAX as u64;
/// Makes the kernel kill this process before all others where memory is short.
const OOM_SCORE: &str = "1000";

/// A component to compile, and the memory that may be used for it.
pub(super) struct CompileTask<'a> {
    pub(super) memory_bytes: u64,
    pub(super) wasm: &'a [u8],
}

impl CompileTask<'_> {
    /// The bytes before the component.
    pub(super) fn head(&self) -> Vec<u8> {
        let numbers = [self.memory_bytes, self.wasm.len() as u64];
        let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
        MAGIC.into_iter().chain(numbers).collect()
    }
}

/// The result of a task.
pub(super) enum Reply {
    /// The artifact, and the hash of the engine that made it.
    Compiled { engine: u64, artifact: Vec<u8> },
    /// Why the component was not compiled.
    Refused(String),
}

impl Reply {
    /// Returns `None` if the reply is incomplete.
    pub(super) fn read(mut bytes: Vec<u8>) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let engine = u64::from_le_bytes(*rest.first_chunk()?);
        let length = u64::from_le_bytes(*rest.get(NUMBER..)?.first_chunk()?);
        let head = MAGIC.len() + 1 + 2 * NUMBER;

        if length != (bytes.len() - head) as u64 {
            return None;
        }

        let kind = *kind;
        bytes.drain(..head);

        match kind {
            0 => Some(Self::Compiled {
                engine,
                artifact: bytes,
            }),
            _ => Some(Self::Refused(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    fn write(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, engine, bytes) = match self {
            Self::Compiled { engine, artifact } => (0, *engine, artifact.as_slice()),
            Self::Refused(error) => (1, 0, error.as_bytes()),
        };

        to.write_all(&MAGIC)?;
        to.write_all(&[kind])?;
        to.write_all(&engine.to_le_bytes())?;
        to.write_all(&(bytes.len() as u64).to_le_bytes())?;
        to.write_all(bytes)?;

        to.flush()
    }
}

/// Compiles one component for a host that started this process with
/// [`Compiler::worker`](crate::Compiler::worker), and exits. Has to be called before the program
/// does or prints anything else.
///
/// Bounds its own memory as the task says, and ends with the host. Exit codes: 0 after a reply,
/// also if that is an error in the component; 1 if standard input held no task.
pub fn compile_worker() -> ! {
    let served = serve_task();
    if let Err(error) = &served {
        eprintln!("this command compiles for a host that starts it: {error}");
    }
    exit(i32::from(served.is_err()))
}

fn serve_task() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let wasm = read_task(&mut input)?;
    drop(input);
    std::thread::Builder::new().spawn(end_with_host)?;

    let answer = match compile(&wasm) {
        Ok((engine, artifact)) => Reply::Compiled { engine, artifact },
        Err(error) => Reply::Refused(format!("{error:#}")),
    };
    answer.write(io::stdout().lock())
}

fn read_task(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;

    if magic != MAGIC {
        return Err(io::Error::other("standard input holds no task"));
    }

    let mut number = || {
        let mut bytes = [0; NUMBER];
        input.read_exact(&mut bytes)?;
        Ok::<_, io::Error>(u64::from_le_bytes(bytes))
    };
    let (memory_bytes, length) = (number()?, number()?);

    if length > WASM_BYTES_MAX {
        return Err(io::Error::other("the component is too large"));
    }

    limit_resources(memory_bytes)?;
    let mut wasm = Vec::new();
    input.take(length).read_to_end(&mut wasm)?;

    if wasm.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }

    Ok(wasm)
}

/// Applies the limits of this process.
fn limit_resources(memory_bytes: u64) -> io::Result<()> {
    for (resource, most) in [(Resource::Data, memory_bytes), (Resource::Core, 0)] {
        let known = getrlimit(resource).maximum;
        let most = Some(known.map_or(most, |known| known.min(most)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(resource, limit)?;
    }

    // Best effort: without this file, the process is simply not killed first.
    let _best_effort = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

/// Ends this process when the host closes its standard input, since the reply is no longer wanted.
fn end_with_host() {
    let _nothing_more_comes = io::stdin().read(&mut [0]);
    // Other threads compile, which only the kernel can interrupt.
    let _is_gone = kill_process(getpid(), Signal::KILL);
}

fn compile(wasm: &[u8]) -> wasmtime::Result<(u64, Vec<u8>)> {
    let engine = Engine::new(&engine::config())?;
    let artifact = engine.precompile_component(wasm)?;
    Ok((engine::hash(&engine), artifact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written_or_not_at_all() {
        let artifact = vec![7; 100];
        let answer = Reply::Compiled {
            engine: 5,
            artifact: artifact.clone(),
        };

        let mut bytes = Vec::new();
        answer.write(&mut bytes).unwrap();

        for cut in 0..bytes.len() {
            assert!(Reply::read(bytes[..cut].to_vec()).is_none(), "{cut}");
        }

        let read = Reply::read(bytes.clone());
        assert!(
            matches!(read, Some(Reply::Compiled { engine: 5, artifact: read }) if read == artifact)
        );
        bytes.push(0);
        assert!(Reply::read(bytes).is_none());

        let mut bytes = Vec::new();
        Reply::Refused("why".to_owned()).write(&mut bytes).unwrap();
        assert!(matches!(Reply::read(bytes), Some(Reply::Refused(why)) if why == "why"));
    }

    #[test]
    fn a_task_that_is_cut_off_or_too_large_is_refused() {
        let head = |length: u64| {
            let numbers = [u64::MAX, length].into_iter().flat_map(u64::to_le_bytes);
            MAGIC.into_iter().chain(numbers).collect::<Vec<u8>>()
        };
        for bytes in [b"".to_vec(), b"GET / HTTP".to_vec(), head(u64::MAX)] {
            assert!(read_task(&mut bytes.as_slice()).is_err());
        }
    }
}
