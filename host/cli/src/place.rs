//! Where things are kept: the data directory, the cache, and workspaces as they are shown.
//! Knows no contents.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::settings::Settings;
use lastword::{Archive, SessionRow};
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

fn default_data() -> Option<PathBuf> {
    let variable = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")));
    data.map(|data| data.join("lastword"))
}

const DIRECTORY: &str = "dir:";
const NAME: &str = "name:";

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
        Some(path) => format!("add `--workspace {path}`"),
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

/// The fewest characters of a session's id that are taken for it.
const PREFIX_MIN: usize = 4;

/// The session that a word names: its id, the unique beginning of one, or `latest`.
pub(crate) fn session(archive: &Archive, word: &str) -> Result<SessionRow, Failure> {
    if let Ok(id) = word.parse() {
        return archive.session(id).map_err(|error| match error {
            lastword::StoreError::Refused(_) => unknown(word),
            other => other.into(),
        });
    }
    let latest = word == "latest";
    let prefix = word.to_ascii_lowercase();
    let plausible = prefix.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !latest && (!plausible || prefix.len() < PREFIX_MIN || prefix.len() >= 36) {
        return Err(Failure::usage(format!(
            "`{word}` is not a session id; give an id like 01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55, \
             the first {PREFIX_MIN} or more characters of one, or `latest`; \
             `lastword sessions` lists those that there are"
        )));
    }
    let rows = archive.sessions(None, u32::MAX)?;
    let is_meant = |row: &SessionRow| match latest {
        true => has_begun(row),
        false => row.record.id.to_string().starts_with(&prefix),
    };
    let limit = if latest { 1 } else { 2 };
    let mut found = rows.into_iter().filter(is_meant).take(limit);
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "more than one session begins with `{word}`; give more of the id; \
             `lastword sessions` lists them"
        ))),
        (None, _) if latest => Err(Failure::usage(
            "there are no sessions yet; `lastword run AGENT` begins one",
        )),
        (None, _) => Err(unknown(word)),
    }
}

/// Whether a prompt was ever accepted: a full disk may leave a session without one.
pub(crate) fn has_begun(row: &SessionRow) -> bool {
    row.record.messages > 0 || row.record.title.is_some()
}

fn unknown(word: &str) -> Failure {
    Failure::usage(format!(
        "there is no session {word}; `lastword sessions` lists those that there are"
    ))
}
