//! Workspaces: their keys, and the notices of their life. Pure except for resolving a path.

mod lifecycle;

pub use lifecycle::{CloseReason, Lifecycle, OnLastClient};

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The largest number of bytes of a workspace's name.
pub const WORKSPACE_NAME_BYTES_MAX: usize = 1024;
/// The largest number of bytes of the path of a workspace's directory, as the system limits it.
pub const WORKSPACE_PATH_BYTES_MAX: usize = 4096;

/// The key of a workspace: a directory, or a name without one. Its JSON is the text that
/// [`WorkspaceKey::stored`] returns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WorkspaceKey {
    /// A directory by its canonical path, or by its absolute path if it does not exist yet. A
    /// directory that contains the host's data, or lies in it, cannot be opened.
    Directory(PathBuf),
    /// A name. Its runs see no files.
    Name(String),
}

impl WorkspaceKey {
    /// Returns the key of a directory. Symbolic links are resolved, so that two paths to one
    /// directory are one workspace.
    ///
    /// # Errors
    /// If the path cannot be made absolute: it is empty, or the current directory does not exist.
    pub fn directory(path: impl AsRef<Path>) -> std::io::Result<Self> {
        let path = path.as_ref();
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .map(Self::Directory)
    }

    /// Returns the key of a workspace without a directory.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// Refuses a key that cannot be stored or shown. The error says what is wrong, and names the
    /// bound.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Name(name) => {
                let fits = (1..=WORKSPACE_NAME_BYTES_MAX).contains(&name.len());
                let printable = !name.trim().is_empty() && !name.chars().any(char::is_control);
                (fits && printable).then_some(()).ok_or_else(|| {
                    format!(
                        "the name of a workspace has 1 to {WORKSPACE_NAME_BYTES_MAX} bytes, no \
                         control characters and not only white space; this one has {} bytes",
                        name.len()
                    )
                })
            }
            Self::Directory(path) => {
                let bytes = path.as_os_str().as_bytes();
                let fits = (1..=WORKSPACE_PATH_BYTES_MAX).contains(&bytes.len());
                (fits && !bytes.contains(&0)).then_some(()).ok_or_else(|| {
                    format!(
                        "the path of a workspace has 1 to {WORKSPACE_PATH_BYTES_MAX} bytes and \
                         no NUL; this one has {} bytes",
                        bytes.len()
                    )
                })
            }
        }
    }

    /// Returns the key that is stored as this text, in the form of [`WorkspaceKey::stored`]. `None`
    /// for any other text: one of a later version, or `lossy:PATH`, which earlier versions stored
    /// for a path with bytes that are not UTF-8 and which can stand for more than one directory.
    #[must_use]
    pub fn from_stored(stored: &str) -> Option<Self> {
        match stored.split_once(':')? {
            ("dir", path) => Some(Self::Directory(path.into())),
            ("bytes", escaped) => Some(Self::Directory(unescape(escaped)?)),
            ("name", name) => Some(Self::Name(name.to_owned())),
            _ => None,
        }
    }

    /// Returns the text under which a store keeps the key; different keys have different texts. It
    /// is `name:NAME`; `dir:PATH` for a path that is UTF-8; `bytes:PATH` for any other path, where
    /// `%XX` stands for each byte that is not part of UTF-8 text, and for `%`.
    #[must_use]
    pub fn stored(&self) -> String {
        match self {
            Self::Name(name) => format!("name:{name}"),
            Self::Directory(path) => match path.to_str() {
                Some(path) => format!("dir:{path}"),
                None => format!("bytes:{}", escape(path)),
            },
        }
    }
}

/// A text that [`WorkspaceKey::from_stored`] does not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no workspace's key: expected `dir:PATH`, `name:NAME` or `bytes:PATH`")]
pub struct InvalidWorkspaceKey {
    text: String,
}

impl TryFrom<String> for WorkspaceKey {
    type Error = InvalidWorkspaceKey;

    fn try_from(text: String) -> Result<Self, InvalidWorkspaceKey> {
        Self::from_stored(&text).ok_or(InvalidWorkspaceKey { text })
    }
}

impl From<WorkspaceKey> for String {
    fn from(key: WorkspaceKey) -> Self {
        key.stored()
    }
}

fn escape(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn unescape(text: &str) -> Option<PathBuf> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(OsString::from_vec(bytes).into())
}

impl fmt::Display for WorkspaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(bytes: &[u8]) -> WorkspaceKey {
        WorkspaceKey::Directory(OsString::from_vec(bytes.to_vec()).into())
    }

    #[test]
    fn every_key_is_kept_as_a_text_of_its_own_and_read_as_it_was() {
        let keys = [
            WorkspaceKey::name("dir:/srv"),
            WorkspaceKey::name("a%FF"),
            directory(b"/srv/a%FF"),
            directory(b"/srv/a\xff"),
            directory(b"/srv/a\xfe"),
            directory(b"/srv/a%FF\xff"),
            directory(b"/srv/a%25\xff"),
            directory(b"/srv/\xc3"),
            directory(b"/srv/\xc3\xa4"),
            directory(b"/srv/\xed\xa0\x80"),
            directory("/srv/\u{FFFD}".as_bytes()),
        ];
        let stored: Vec<String> = keys.iter().map(WorkspaceKey::stored).collect();
        for (at, (key, text)) in keys.iter().zip(&stored).enumerate() {
            assert_eq!(WorkspaceKey::from_stored(text).as_ref(), Some(key));
            let json = serde_json::to_string(key).expect("a key is JSON");
            assert_eq!(serde_json::from_str(&json).ok().as_ref(), Some(key));
            assert!(!stored[..at].contains(text), "{text} is kept for two");
        }
        assert_eq!(stored[3], "bytes:/srv/a%FF");
        assert_eq!(stored[8], "dir:/srv/\u{e4}");
    }

    #[test]
    fn a_text_that_stands_for_no_one_key_is_read_as_none() {
        for text in [
            "lossy:/srv/\u{FFFD}",
            "bytes:/srv/%F",
            "bytes:%\u{e4}",
            "bytes:%zz",
            "later:on",
            "plain",
        ] {
            assert_eq!(WorkspaceKey::from_stored(text), None, "{text}");
            let json = serde_json::Value::from(text);
            assert!(
                serde_json::from_value::<WorkspaceKey>(json).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_key_is_held_to_its_bounds() {
        let name = |bytes: usize| WorkspaceKey::name("n".repeat(bytes));
        let path = |bytes: usize| directory(&b"/".repeat(bytes));
        for key in [name(1), name(WORKSPACE_NAME_BYTES_MAX), path(1), path(4096)] {
            assert_eq!(key.check(), Ok(()));
        }
        for key in [
            name(0),
            name(WORKSPACE_NAME_BYTES_MAX + 1),
            name(1 << 20),
            WorkspaceKey::name("a\0b"),
            WorkspaceKey::name("a\nb"),
            WorkspaceKey::name(" "),
            path(0),
            path(WORKSPACE_PATH_BYTES_MAX + 1),
            directory(b"/a\0b"),
        ] {
            let bound = key.check().expect_err("it is refused");
            assert!(bound.contains("1024") || bound.contains("4096"), "{bound}");
        }
    }
}
