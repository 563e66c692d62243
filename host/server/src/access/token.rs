//! The server's token, and the file in which it is stored. `bearer.rs` checks requests against it.

use lastword::file;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The number of bytes of a generated token.
const TOKEN_BYTES: usize = 32;
/// The smallest number of characters of a token in a file.
const CHARS_MIN: usize = 32;
/// The largest number of bytes of a token file.
const FILE_BYTES_MAX: usize = 4096;

/// A secret that gives its holder access. Its `Debug` output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read or created.
    #[error("cannot {what} the token file {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another user may have read the token.
    #[error(
        "the token file {} can be read by others (its mode is {mode:03o}); delete it, so that a new token is made, or run `chmod 600` if you are sure that nobody has read it", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to another user, or is not a regular file.
    #[error(
        "the token file {} is not a plain file of yours; name another, or delete it", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file contains no token.
    #[error(
        "the token file {} must hold one line of {CHARS_MIN} or more printable characters without spaces; delete it, so that a new token is made", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system provided no random bytes.
    #[error("the system gave no random bytes for a token: {0}")]
    Random(String),
}

impl Token {
    /// Generates a new token: 32 random bytes, as hex.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn generate() -> Result<Self, TokenError> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
        Ok(Self(bytes.iter().map(|b| format!("{b:02x}")).collect()))
    }

    /// Reads the token in a file. If the file does not exist, generates a new token and stores it
    /// there, in a file that no other user can read at any time.
    ///
    /// # Errors
    /// If other users can read the file, it does not contain a token, or it cannot be read or
    /// created.
    pub fn read_or_create(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        loop {
            match Self::read(path) {
                Err(TokenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                read => return read,
            }
            match create(path)? {
                Some(token) => return Ok(token),
                // Another process created the file first.
                None => continue,
            }
        }
    }

    /// Reads the token in a file.
    ///
    /// # Errors
    /// As for [`Token::read_or_create`], and if the file does not exist.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        let failed = failed("read", path);
        let foreign = || TokenError::Foreign { path: path.into() };
        let file = file::open(path).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::IsADirectory => foreign(),
            _ => failed(error),
        })?;
        // The metadata is that of the open file, which cannot be exchanged after the check.
        let metadata = file.metadata().map_err(&failed)?;
        let owner = rustix::process::geteuid().as_raw();
        if !metadata.is_file() || metadata.uid() != owner {
            return Err(foreign());
        }

        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.into();
            return Err(TokenError::Exposed { path, mode });
        }

        let bytes = file::read_from(file, FILE_BYTES_MAX).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => foreign(),
            _ => failed(error),
        })?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let token = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
        if token.len() < CHARS_MIN || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(TokenError::Malformed { path: path.into() });
        }

        Ok(Self(token.to_owned()))
    }

    /// Returns the token itself, which must stay secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> TokenError + 'a {
    move |source| TokenError::Io {
        what,
        path: path.into(),
        source,
    }
}

/// Creates the file with a new token; returns `None` if another process has created it meanwhile.
/// The file gets its name once it is complete, so that no process reads a part of the token.
fn create(path: &Path) -> Result<Option<Token>, TokenError> {
    let failed = failed("make", path);
    let token = Token::generate()?;
    let mut suffix = Token::generate()?.0;
    suffix.truncate(16);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{suffix}"));
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    // Created with its final mode, and only if it is new: other users can never open it.
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&draft).map_err(&failed)?;
    let written = writeln!(file, "{}", token.0)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    match written {
        Ok(()) => removed.map(|()| Some(token)).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
