//! The process that compiles one component: its task on standard input, its answer on standard
//! output, and its bounds. [`compile`](super::compile) is the other end.

use super::engine;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use std::io::{self, Read, Write};
use std::process::exit;
use wasmtime::Engine;

/// What a task begins with, and an answer.
const MAGIC: [u8; 8] = *b"lastword";
const NUMBER: usize = size_of::<u64>();
/// Bytes of the largest component in a task.
const WASM_BYTES_MAX: u64 = lastword_os::file::COMPONENT_BYTES_MAX as u64;
/// How soon the kernel ends this process where memory is short: before all others.
const OOM_SCORE: &str = "1000";

/// What is to be compiled, and with how much memory.
pub(super) struct Task<'a> {
    pub(super) memory_bytes: u64,
    pub(super) wasm: &'a [u8],
}

impl Task<'_> {
    /// What comes before the component.
    pub(super) fn head(&self) -> Vec<u8> {
        let numbers = [self.memory_bytes, self.wasm.len() as u64];
        let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
        MAGIC.into_iter().chain(numbers).collect()
    }
}

/// What came of it.
pub(super) enum Answer {
    /// The artifact, and what the engine is known by that made it.
    Compiled { engine: u64, artifact: Vec<u8> },
    /// Why there is none.
    Refused(String),
}

impl Answer {
    /// `None` if it is not whole.
    pub(super) fn read(mut said: Vec<u8>) -> Option<Self> {
        let rest = said.strip_prefix(&MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let engine = u64::from_le_bytes(*rest.first_chunk()?);
        let length = u64::from_le_bytes(*rest.get(NUMBER..)?.first_chunk()?);
        let head = MAGIC.len() + 1 + 2 * NUMBER;

        if length != (said.len() - head) as u64 {
            return None;
        }

        let kind = *kind;
        said.drain(..head);

        match kind {
            0 => Some(Self::Compiled {
                engine,
                artifact: said,
            }),
            _ => Some(Self::Refused(String::from_utf8_lossy(&said).into_owned())),
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

/// Compiles one component for a host that started this process for it with
/// [`Compiler::worker`](crate::Compiler::worker), and ends the process. To be called before
/// anything else is done, or printed.
///
/// Bounds its own memory as the task says, and ends with the host. Exit codes: 0 after an answer,
/// also if that is an error of the component's; 1 if standard input held no task.
pub fn compile_worker() -> ! {
    let answered = work();
    if let Err(error) = &answered {
        eprintln!("this command compiles for a host that starts it: {error}");
    }
    exit(i32::from(answered.is_err()))
}

fn work() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let wasm = read(&mut input)?;
    drop(input);
    std::thread::Builder::new().spawn(end_with_host)?;

    let answer = match compile(&wasm) {
        Ok((engine, artifact)) => Answer::Compiled { engine, artifact },
        Err(error) => Answer::Refused(format!("{error:#}")),
    };
    answer.write(io::stdout().lock())
}

fn read(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;

    if magic != MAGIC {
        return Err(io::Error::other("this is no task"));
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

    bound(memory_bytes)?;
    let mut wasm = Vec::new();
    input.take(length).read_to_end(&mut wasm)?;

    if wasm.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }

    Ok(wasm)
}

/// Bounds this process.
fn bound(memory_bytes: u64) -> io::Result<()> {
    for (resource, most) in [(Resource::Data, memory_bytes), (Resource::Core, 0)] {
        let known = getrlimit(resource).maximum;
        let most = Some(known.map_or(most, |known| known.min(most)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(resource, limit)?;
    }

    // Where there is no such file, nothing ends before all others.
    let _best_effort = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

/// Standard input stays open for as long as the host wants an answer.
fn end_with_host() {
    let _nothing_more_comes = io::stdin().read(&mut [0]);
    // Other threads compile, which nothing but the kernel can interrupt.
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
        let answer = Answer::Compiled {
            engine: 5,
            artifact: artifact.clone(),
        };

        let mut said = Vec::new();
        answer.write(&mut said).unwrap();

        for cut in 0..said.len() {
            assert!(Answer::read(said[..cut].to_vec()).is_none(), "{cut}");
        }

        let read = Answer::read(said.clone());
        assert!(
            matches!(read, Some(Answer::Compiled { engine: 5, artifact: read }) if read == artifact)
        );
        said.push(0);
        assert!(Answer::read(said).is_none());

        let mut said = Vec::new();
        Answer::Refused("why".to_owned()).write(&mut said).unwrap();
        assert!(matches!(Answer::read(said), Some(Answer::Refused(why)) if why == "why"));
    }

    #[test]
    fn a_task_that_is_cut_off_or_too_large_is_refused() {
        let head = |length: u64| {
            let numbers = [u64::MAX, length].into_iter().flat_map(u64::to_le_bytes);
            MAGIC.into_iter().chain(numbers).collect::<Vec<u8>>()
        };
        for said in [b"".to_vec(), b"GET / HTTP".to_vec(), head(u64::MAX)] {
            assert!(read(&mut said.as_slice()).is_err());
        }
    }
}
