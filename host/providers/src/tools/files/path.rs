//! Resolves paths within the workspace, with every link, before permission is asked for; and opens
//! them afterwards without following any.
//!
//! A path is resolved once, inside the workspace ([`cap_std`] refuses whatever leads out of it).
//! What is asked for and opened later is the resolved path, one component after the other from an
//! open directory, each with `O_NOFOLLOW`: a component that became a link meanwhile is an error,
//! wherever the link leads.

use super::ToolFailure;
use crate::tools::{ToolError, ToolErrorKind};
use cap_std::fs::{Dir, File, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read as _};

/// The kernel's bound on a path, in bytes.
const PATH_BYTES_MAX: usize = 4_095;
/// Bytes of a file that is read or replaced as a whole.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;
/// The suffix that the kernel adds to the name of a file that was replaced while its path was
/// resolved.
const REPLACED: &str = " (deleted)";
/// How often the path of a file that is being replaced is resolved.
const RESOLVED_MAX: usize = 1_000;
/// Where guests see the workspace.
const GUEST_ROOT: &str = "/workspace";

/// A requested path, checked and normalised, but not resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestedPath {
    path: String,
    /// Whether it ended in a slash, which means a directory.
    directory: bool,
}

/// Explains an error of the file system for this path.
pub(super) fn explain(path: &str, error: &io::Error) -> ToolFailure {
    let reason = match error.kind() {
        ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is no directory".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
            return outside(path).into();
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            "a link stands where there was none a moment ago".to_owned()
        }
        _ => error.to_string(),
    };

    ToolFailure::Reported(format!("{path}: {reason}"))
}

fn outside(path: &str) -> ToolError {
    let message = format!(
        "{path} leads out of the workspace; tools see nothing else. Use a path relative to it"
    );
    ToolError::new(ToolErrorKind::Denied, message)
}

impl RequestedPath {
    /// Parses a path relative to the workspace, or below `/workspace`.
    pub(super) fn parse(path: &str) -> Result<Self, ToolError> {
        if path.len() > PATH_BYTES_MAX {
            let message = format!("the path is longer than {PATH_BYTES_MAX} bytes");
            return Err(ToolError::invalid(message));
        }

        if path.contains('\0') {
            return Err(ToolError::invalid("the path has a NUL character in it"));
        }

        let below = path
            .strip_prefix(GUEST_ROOT)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let relative = match below {
            Some(rest) => rest.trim_start_matches('/'),
            None if path.starts_with('/') => return Err(outside(path)),
            None => path,
        };

        let mut depth = 0_usize;

        for component in relative.split('/') {
            match component {
                "" | "." => {}
                ".." => depth = depth.checked_sub(1).ok_or_else(|| outside(path))?,
                _ => depth += 1,
            }
        }

        let components: Vec<_> = relative
            .split('/')
            .filter(|component| !matches!(*component, "" | "."))
            .collect();

        Ok(Self {
            directory: relative.ends_with('/') || relative.ends_with("/."),
            path: if components.is_empty() {
                ".".to_owned()
            } else {
                components.join("/")
            },
        })
    }

    /// The path of a file; only right if no part of it is a link.
    pub(super) fn plain(&self) -> Option<&str> {
        let up = self.path.split('/').any(|component| component == "..");
        (!up && !self.directory && self.path != ".").then_some(&*self.path)
    }

    /// The path without links of an existing file or directory.
    pub(super) fn existing(&self, root: &Dir) -> Result<String, ToolFailure> {
        let resolved = resolve(root, &self.path)?;
        if self.directory && !is_directory(root, &resolved) {
            Err(ToolFailure::Reported(format!(
                "{}/: it is no directory",
                self.path
            )))
        } else {
            Ok(resolved)
        }
    }

    /// The path without links of a file that may not exist yet: the existing part is resolved, the
    /// rest is appended.
    pub(super) fn target(&self, root: &Dir) -> Result<String, ToolFailure> {
        if self.directory || self.path == "." {
            let reason = format!("{}/ names a directory; name a file in it", self.path);
            return Err(ToolFailure::Reported(reason));
        }

        let components: Vec<_> = self.path.split('/').collect();
        for known in (0..=components.len()).rev() {
            let base = components[..known].join("/");
            let base = if known == 0 { "." } else { &base };

            let resolved = match root.canonicalize(base) {
                Ok(_) => resolve(root, base)?,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(explain(&self.path, &error)),
            };

            let rest = &components[known..];
            if rest.contains(&"..") {
                return Err(explain(&self.path, &ErrorKind::NotFound.into()));
            }

            let mut path = resolved;

            if let Some((first, more)) = rest.split_first() {
                path = join(&path, first);
                if root.symlink_metadata(&path).is_ok() {
                    let reason = format!("{path}: it is a link to what does not exist");
                    return Err(ToolFailure::Reported(reason));
                }
                path = more.iter().fold(path, |path, name| join(&path, name));
            }

            return Ok(path);
        }

        Err(explain(&self.path, &ErrorKind::NotFound.into()))
    }
}

fn resolve(root: &Dir, path: &str) -> Result<String, ToolFailure> {
    for _ in 0..RESOLVED_MAX {
        let resolved = root
            .canonicalize(path)
            .map_err(|error| explain(path, &error))?;
        match resolved.to_str() {
            Some("" | ".") => return Ok(".".to_owned()),
            Some(resolved)
                if resolved.ends_with(REPLACED) && !resolves_to(root, path, resolved) => {}
            Some(resolved) => return Ok(resolved.to_owned()),
            None => {
                return Err(ToolFailure::Reported(format!(
                    "{path}: its name is not UTF-8"
                )));
            }
        }
    }

    let reason = "it is replaced again and again at this moment; try again";
    Err(ToolFailure::Reported(format!("{path}: {reason}")))
}

/// Whether a path resolves to `resolved`.
fn resolves_to(root: &Dir, path: &str, resolved: &str) -> bool {
    let found = (root.metadata(path), root.symlink_metadata(resolved));
    let (Ok(one), Ok(other)) = found else {
        return false;
    };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn is_directory(root: &Dir, path: &str) -> bool {
    let found = root.symlink_metadata(path);
    found.is_ok_and(|found| found.is_dir())
}

/// A name in a directory; `.` is the workspace itself.
pub(super) fn join(directory: &str, name: &str) -> String {
    match directory {
        "" | "." => name.to_owned(),
        _ => format!("{directory}/{name}"),
    }
}

/// The directory of a resolved path, and the name in it.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

fn no_follow(more: OFlags) -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(i32::from_ne_bytes(flags.bits().to_ne_bytes()));
    options
}

/// Opens a directory by its resolved path, without following links.
pub(super) fn open_directory(root: &Dir, path: &str) -> io::Result<Dir> {
    let mut directory = root.try_clone()?;
    for name in path.split('/').filter(|name| *name != ".") {
        directory = step(&directory, name)?;
    }
    Ok(directory)
}

/// Opens a directory in another one, without following links.
pub(super) fn step(directory: &Dir, name: &str) -> io::Result<Dir> {
    let opened = directory.open_with(name, &no_follow(OFlags::DIRECTORY))?;
    Ok(Dir::from_std_file(opened.into_std()))
}

/// Opens a file in a directory, without following links or blocking.
///
/// # Errors
///
/// If it is missing or not a regular file. A FIFO or a device is not opened at all, unless it took
/// the file's place at this very moment, and even then nothing blocks.
pub(super) fn open_file(directory: &Dir, name: &str, path: &str) -> Result<OpenFile, ToolFailure> {
    let failed = |error: io::Error| explain(path, &error);
    let before = directory.symlink_metadata(name).map_err(failed)?;
    regular(&before, path)?;
    let file = directory.open_with(name, &no_follow(OFlags::empty()));
    let file = file.map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    regular(&metadata, path)?;
    Ok(OpenFile { file, metadata })
}

fn regular(metadata: &Metadata, path: &str) -> Result<(), ToolFailure> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }

    let reason = match () {
        () if kind.is_dir() => "a directory; list_files shows what is in it",
        () if kind.is_symlink() => "a link by now; ask again",
        () => "a pipe, a socket or a device, which tools do not open",
    };

    Err(ToolFailure::Reported(format!("{path}: it is {reason}")))
}

/// A regular file, with its metadata at the time it was opened.
pub(super) struct OpenFile {
    file: File,
    pub(super) metadata: Metadata,
}

impl OpenFile {
    /// Reads all bytes; an error with their number if there are too many.
    pub(super) fn read(&mut self, path: &str) -> Result<Vec<u8>, ToolFailure> {
        let size = self.metadata.size();
        let mut bytes = Vec::new();

        if size <= FILE_BYTES_MAX {
            // Bounded by FILE_BYTES_MAX, which fits; one more byte shows that it grew.
            bytes.reserve_exact(usize::try_from(size).unwrap_or_default() + 1);
            let mut bounded = (&mut self.file).take(FILE_BYTES_MAX + 1);
            bounded
                .read_to_end(&mut bytes)
                .map_err(|error| explain(path, &error))?;
        }

        if size > FILE_BYTES_MAX || bytes.len() as u64 > FILE_BYTES_MAX {
            Err(ToolFailure::Reported(format!(
                "{path}: it has {size} bytes, more than the {FILE_BYTES_MAX} that tools read"
            )))
        } else {
            Ok(bytes)
        }
    }
}

/// Opens a file by its resolved path.
pub(super) fn open_at(root: &Dir, path: &str) -> Result<OpenFile, ToolFailure> {
    let (directory, name) = split(path);
    let directory = open_directory(root, directory).map_err(|error| explain(path, &error))?;
    open_file(&directory, name, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_the_workspace() {
        let check = |path: &str, expected: &str, directory: bool| {
            let wanted = RequestedPath::parse(path).expect(path);
            assert_eq!(wanted.path, expected, "{path}");
            assert_eq!(wanted.directory, directory, "{path}");
        };
        check("a/b", "a/b", false);
        check("./a//b/.", "a/b", true);
        check("/workspace", ".", false);
        check("/workspace/a/", "a", true);
        check("", ".", false);
        check("a/../b", "a/../b", false);
    }

    #[test]
    fn a_file_that_is_being_replaced_keeps_its_name() {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);

        for name in ["f", "g (deleted)"] {
            std::fs::write(at(name), "").expect("a file");
        }

        let root = std::fs::File::open(place.path()).expect("it is there");
        let root = Dir::from_std_file(root);
        let done = std::sync::atomic::AtomicBool::new(false);

        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    std::fs::write(at("new"), "").expect("a file");
                    std::fs::rename(at("new"), at("f")).expect("it moves");
                }
            });

            let resolved = || RequestedPath::parse("f").expect("a path").target(&root);
            let resolved: Vec<_> = (0..20_000).map(|_| resolved()).collect();
            done.store(true, std::sync::atomic::Ordering::Release);

            for resolved in resolved {
                assert_eq!(resolved.expect("it is there"), "f");
            }
        });

        let named = RequestedPath::parse("g (deleted)").expect("a path");
        assert_eq!(named.existing(&root).expect("it is there"), "g (deleted)");
    }

    #[test]
    fn a_path_that_leads_out_is_refused_before_it_is_resolved() {
        for path in [
            "..",
            "a/../..",
            "/",
            "/etc/passwd",
            "/workspaces/a",
            "/workspace/../a",
        ] {
            let error = RequestedPath::parse(path).expect_err(path);
            assert_eq!(error.kind, ToolErrorKind::Denied, "{path}");
        }

        for path in ["a\0b", &"a/".repeat(2_100)] {
            let error = RequestedPath::parse(path).expect_err("no path");
            assert_eq!(error.kind, ToolErrorKind::Invalid);
        }
    }
}
