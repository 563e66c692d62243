//! Where things are kept: the data directory, the cache, and workspaces as they are shown.
//! Knows no contents.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::settings::Settings;
use lastword::text;
use std::path::{Path, PathBuf};

/// Where sessions and compiled agents are kept.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) data: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Place {
    /// What was asked for, or the user's own directories.
    pub(crate) fn of(shared: &Shared, settings: &Settings) -> Result<Self, Failure> {
        let asked = shared.data_dir.clone();
        let data = asked
            .or_else(|| settings.run.data_dir.clone())
            .or_else(default_data)
            .ok_or_else(|| {
                Failure::usage(
                    "there is no home directory to keep sessions in; name a directory with \
                     `--data-dir` or LASTWORD_DATA_DIR",
                )
            })?;
        let cache = shared.cache_dir.clone();
        let cache = cache.unwrap_or_else(|| data.join("cache"));
        Ok(Self { data, cache })
    }
}

/// The owner of a data directory, as another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its process, as far as that is known.
    pub(crate) pid: String,
    pub(crate) data: PathBuf,
}

fn default_data() -> Option<PathBuf> {
    let variable = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    data.map(|data| data.join("lastword"))
}

pub(crate) const DIRECTORY: &str = "dir:";
pub(crate) const NAME: &str = "name:";

/// A stored workspace key, for people.
pub(crate) fn workspace(key: &str) -> String {
    match (key.strip_prefix(DIRECTORY), key.strip_prefix(NAME)) {
        (Some(path), _) => path.to_owned(),
        (_, Some(name)) => format!("({name})"),
        _ => key.to_owned(),
    }
}

/// What to do to run in the workspace of a stored key.
pub(crate) fn how_to_name(key: &str) -> String {
    match key.strip_prefix(DIRECTORY) {
        Some(path) => format!("add `--workspace {}`", text::shell(path)),
        None => "run it without `--workspace`".to_owned(),
    }
}

/// Whether a stored workspace key stands for a directory.
pub(crate) fn is_directory(key: &str, directory: &Path) -> bool {
    let directory = directory
        .canonicalize()
        .or_else(|_| std::path::absolute(directory));
    let stored = key.strip_prefix(DIRECTORY).map(Path::new);
    directory.is_ok_and(|directory| stored == Some(&directory))
}
