//! Keeps workspaces apart from the host's own directories. An agent that could write to the data
//! directory could change sessions; in the cache, it could change code that the host runs; and
//! reading there would reveal the data of all workspaces. Directories are compared by identity,
//! and not only by name.

use super::HostError;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The directories that no workspace may contain or lie in.
#[derive(Debug)]
pub(super) struct ReservedDirs {
    directories: Vec<PathBuf>,
}

impl ReservedDirs {
    /// Creates the set from the paths by which the host accesses these directories. A directory
    /// that does not exist yet is looked up again at each check.
    pub(super) fn new(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Self {
            directories: directories.into_iter().map(absolute).collect(),
        }
    }

    /// Refuses a workspace that contains one of them or lies in one. Blocks.
    pub(super) fn check(&self, path: &Path, opened: &File) -> Result<(), HostError> {
        let failed = |source| HostError::Io {
            what: "look at the workspace",
            path: path.to_owned(),
            source,
        };

        let workspace = opened.metadata().map_err(failed)?;
        let real = path.canonicalize().map_err(failed)?;
        let clash = self.directories.iter().find(|kept| {
            // The path is compared by name, too: a link in it could be replaced later.
            is_within(kept, &workspace)
                || existing(kept).is_some_and(|kept| is_within(&kept, &workspace))
                || kept.metadata().is_ok_and(|kept| is_within(&real, &kept))
        });
        match clash {
            None => Ok(()),
            Some(kept) => Err(HostError::NotApart {
                directory: path.to_owned(),
                kept: kept.clone(),
            }),
        }
    }
}

/// Whether a path leads to a directory or through it.
fn is_within(path: &Path, directory: &Metadata) -> bool {
    let is_it = |found: Metadata| (found.dev(), found.ino()) == (directory.dev(), directory.ino());
    let mut above = path.ancestors();
    above.any(|above| above.metadata().is_ok_and(is_it))
}

/// Returns the existing part of a path, without links.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|above| above.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory of the test's own, which is deleted with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("lastword-apart-{}", uuid::Uuid::now_v7());
            let folder = std::env::temp_dir().join(name);
            for directory in ["data", "beside", "over/data/inner", "links"] {
                std::fs::create_dir_all(folder.join(directory)).expect("a directory");
            }
            Self(folder)
        }

        fn is_refused(&self, workspace: &str, kept: &str) -> bool {
            let path = self.0.join(workspace);
            let opened = File::open(&path).expect("it is there");
            let kept = ReservedDirs::new([self.0.join(kept)]);
            match kept.check(&path, &opened) {
                Ok(()) => false,
                Err(HostError::NotApart { .. }) => true,
                Err(error) => panic!("{error}"),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("it goes");
        }
    }

    #[test]
    fn what_is_kept_lies_neither_in_a_workspace_nor_around_it() {
        let folder = Folder::new();
        symlink(folder.0.join("over"), folder.0.join("links/over")).expect("a link");
        symlink(folder.0.join("data"), folder.0.join("links/data")).expect("a link");
        for (workspace, kept) in [
            ("over", "over/data"),
            ("over/data", "over/data"),
            ("over/data/inner", "over/data"),
            ("over", "over/not/there/yet"),
            // Through links: to the workspace, to the host's directory, and on the way to it.
            ("links/over", "over/data"),
            ("over", "links/over/data"),
            ("over", "links/over/not/there"),
            ("links", "links/data"),
        ] {
            assert!(folder.is_refused(workspace, kept), "{workspace} {kept}");
        }
        for (workspace, kept) in [
            ("beside", "data"),
            ("data", "over/data"),
            ("beside", "not/there/yet"),
            ("beside", "links/over/data"),
        ] {
            assert!(!folder.is_refused(workspace, kept), "{workspace} {kept}");
        }
    }
}
