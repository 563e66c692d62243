//! Workspaces: what one is known by, who keeps it open, and the steps of its life. Pure but
//! for resolving a path; knows no sessions and no runs.

pub(crate) mod claims;
mod lifecycle;
pub(crate) mod registry;

pub use lifecycle::{CloseReason, Lifecycle, OnLastClient};

use std::fmt;
use std::path::{Path, PathBuf};

/// What a workspace is known by: a directory, or a name without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkspaceKey {
    /// A directory, by its canonical path; by its absolute path if it does not exist yet. One
    /// that holds what the host keeps, or lies in it, cannot be opened.
    Directory(PathBuf),
    /// A name; its runs see no files.
    Name(String),
}

impl WorkspaceKey {
    /// The key of a directory: symbolic links are resolved, so that two ways to one place are
    /// one workspace.
    ///
    /// # Errors
    /// When the path cannot be made absolute: it is empty, or the current directory is gone.
    pub fn directory(path: impl AsRef<Path>) -> std::io::Result<Self> {
        let path = path.as_ref();
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .map(Self::Directory)
    }

    /// The key of a workspace without a directory.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// The key that is stored as this text.
    pub(crate) fn from_stored(stored: &str) -> Self {
        match stored.split_once(':') {
            Some(("dir", path)) => Self::Directory(path.into()),
            Some((_, name)) => Self::Name(name.to_owned()),
            None => Self::Name(stored.to_owned()),
        }
    }

    /// The text under which it is stored.
    pub(crate) fn stored(&self) -> String {
        match self {
            Self::Directory(path) => format!("dir:{}", path.display()),
            Self::Name(name) => format!("name:{name}"),
        }
    }
}

impl fmt::Display for WorkspaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
