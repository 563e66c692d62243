//! The paths of the data directory and the cache, and workspaces in a form for people.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::settings::Settings;
use lastword::{WorkspaceKey, text};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What the names of the database's files begin with.
const DATABASE: &str = "lastword.db";
/// What else hosts keep in a data directory, some of it before there is a database.
const KEPT: [&str; 7] = [
    "lastword.causes",
    "lastword.committed",
    "owner.lock",
    "socket",
    "token",
    "mcp-tokens",
    "cache",
];

/// The directories of sessions and of compiled agents.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) data: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Paths {
    /// Returns the paths of the options or the settings, or else the user's own directories.
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

    /// Fails if a data directory without a database is none at all: a file, or a folder of other
    /// things. One that is not there yet, or is empty, will be made.
    pub(crate) fn may_be_new(&self) -> Result<(), Failure> {
        let entries = match std::fs::read_dir(&self.data) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.foreign(&error.to_string())),
            Ok(entries) => entries,
        };

        let mut is_empty = true;
        for entry in entries {
            let entry = entry.map_err(|error| self.foreign(&error.to_string()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(DATABASE) || KEPT.contains(&&*name) {
                return Ok(());
            }
            is_empty = false;
        }

        if is_empty {
            Ok(())
        } else {
            Err(self.foreign("it holds other things, and no database"))
        }
    }

    fn foreign(&self, why: &str) -> Failure {
        Failure::usage(format!(
            "{} is no data directory of lastword: {why}; name the one that is meant with \
             `--data-dir` or LASTWORD_DATA_DIR",
            self.data.display()
        ))
    }
}

/// The owner of a data directory, as another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The id of its process, if it is known.
    pub(crate) pid: String,
    pub(crate) data: PathBuf,
}

/// The user's home directory, if there is one.
pub(crate) fn home() -> Option<PathBuf> {
    variable("HOME")
}

/// The user's own settings file, which need not be there.
pub(crate) fn own_settings() -> Option<PathBuf> {
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    folder.map(|folder| folder.join("lastword/config.toml"))
}

fn default_data() -> Option<PathBuf> {
    let data = variable("XDG_DATA_HOME").or_else(|| Some(home()?.join(".local/share")));
    data.map(|data| data.join("lastword"))
}

/// The directory that a variable of the environment names, if it is absolute.
fn variable(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(name)?);
    path.is_absolute().then_some(path)
}

/// Returns the directory of a stored workspace key, as text; `None` for a workspace without one.
pub(crate) fn directory(key: &str) -> Option<String> {
    match WorkspaceKey::from_stored(key)? {
        WorkspaceKey::Directory(path) => Some(path.display().to_string()),
        WorkspaceKey::Name(_) => None,
    }
}

/// A stored workspace key, for people.
pub(crate) fn workspace(key: &str) -> String {
    match (WorkspaceKey::from_stored(key), key.split_once(':')) {
        (Some(WorkspaceKey::Directory(path)), _) => path.display().to_string(),
        (Some(WorkspaceKey::Name(name)), _) => format!("({name})"),
        (None, Some(("lossy", path))) => format!("{path} (its true name is not known)"),
        (None, _) => key.to_owned(),
    }
}

/// What to do to run in the workspace of a stored key; `is_default` if the command, which was given a
/// directory, would be there without it.
pub(crate) fn how_to_name(key: &str, is_default: bool) -> String {
    match WorkspaceKey::from_stored(key) {
        Some(WorkspaceKey::Directory(path)) => {
            format!("add `--workspace {}`", text::shell(&path.to_string_lossy()))
        }
        Some(WorkspaceKey::Name(_)) if is_default => "run it without `--workspace`".to_owned(),
        Some(WorkspaceKey::Name(_)) => {
            "only the program that named this workspace can ask there".to_owned()
        }
        None => "it can be read with `lastword show`, and not gone on with".to_owned(),
    }
}

/// Whether a stored workspace key is that of this directory.
pub(crate) fn is_directory(key: &str, directory: &Path) -> bool {
    let directory = WorkspaceKey::directory(directory).ok();
    directory.is_some_and(|directory| WorkspaceKey::from_stored(key) == Some(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_helps_is_advised() {
        let named = WorkspaceKey::name("shared").stored();
        assert!(how_to_name(&named, true).contains("without `--workspace`"));
        assert!(how_to_name(&named, false).contains("only the program"));
        let directory = WorkspaceKey::Directory("/a b".into()).stored();
        assert_eq!(how_to_name(&directory, false), "add `--workspace '/a b'`");
    }
}
