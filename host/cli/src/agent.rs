//! Finds the component that a person names by a file or by the folder of a crate, which `cargo.rs`
//! builds.

use crate::cargo;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::units;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// When to tell that an agent is being compiled: a person at a terminal, a log, and both again.
const TOLD_SOON: Duration = Duration::from_millis(300);
const TOLD_ELSEWHERE: Duration = Duration::from_secs(2);
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// A component on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

/// Whether what a person names is a crate, which is built first.
pub(crate) fn is_crate(path: &Path) -> bool {
    path.is_dir() || path.file_name().is_some_and(|name| name == "Cargo.toml")
}

/// The name that a word may have at a host, where no file or folder is called so.
pub(crate) fn name(word: &Path) -> Option<&str> {
    let name = word.to_str()?;
    let is_path = name.contains('/') || name.ends_with(".wasm") || word.exists();
    (!is_path && !name.is_empty()).then_some(name)
}

/// Finds the component, building it first where a crate is named.
pub(crate) fn find(path: &Path, terminal: &Terminal) -> Result<Found, Failure> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| {
        Failure::usage(match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("there is no file or folder {shown}; name a .wasm file, or the folder of an agent's crate")
            }
            _ => format!("cannot read {shown}: {error}"),
        })
    })?;
    if metadata.is_dir() {
        return cargo::build(path, terminal);
    }

    if is_crate(path) {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        return cargo::build(folder.unwrap_or(Path::new(".")), terminal);
    }

    let stem = path.file_stem().unwrap_or_default();
    Ok(Found {
        name: stem.to_string_lossy().into_owned(),
        file: path.to_owned(),
    })
}

/// Waits for an agent to be loaded. Says what takes so long if it is compiled, which happens once for
/// each component: at a terminal soon, elsewhere only if it takes seconds, so that logs stay short.
pub(crate) async fn loading<T, E>(
    name: &str,
    loaded: impl Future<Output = Result<T, E>>,
    terminal: &Terminal,
) -> Result<T, E> {
    let began = Instant::now();
    let first = if terminal.err.terminal {
        TOLD_SOON
    } else {
        TOLD_ELSEWHERE
    };
    let mut loaded = pin!(loaded);
    let mut again = tokio::time::interval_at(began + first, TOLD_AGAIN);
    let mut told = false;
    loop {
        tokio::select! {
            loaded = loaded.as_mut() => {
                if told && loaded.is_ok() {
                    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    terminal.note(&format!("compiled {name} in {}", units::time(micros)));
                }
                return loaded;
            }
            _ = again.tick() => {
                let so_far = if std::mem::replace(&mut told, true) {
                    format!(", {} s so far", began.elapsed().as_secs())
                } else {
                    " …".to_owned()
                };
                terminal.note(&format!("compiling {name}{so_far}"));
            }
        }
    }
}
