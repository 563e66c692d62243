//! The server's token, and the file that it is kept in. `bearer.rs` checks requests against it.

use lastword::file;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a token that is made here.
const TOKEN_BYTES: usize = 32;
/// Characters of the shortest token that is taken from a file.
const CHARS_MIN: usize = 32;
/// Bytes of the longest file that is taken for a token's.
const FILE_BYTES_MAX: usize = 4096;

/// A secret that lets its holder in. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read or made.
    #[error("cannot {what} the token file {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
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
    /// The file belongs to another user, or is not a plain file.
    #[error(
        "the token file {} is not a plain file of yours; name another, or delete it", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no token.
    #[error(
        "the token file {} must hold one line of {CHARS_MIN} or more printable characters without spaces; delete it, so that a new token is made", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for a token: {0}")]
    Random(String),
}

impl Token {
    /// A new token: 32 random bytes, as hex.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, TokenError> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
        Ok(Self(bytes.iter().map(|b| format!("{b:02x}")).collect()))
    }

    /// The token that a file holds. If there is no file, a new token is made and kept there,
    /// in a file that no other user can read at any time.
    ///
    /// # Errors
    /// When the file can be read by others, is not a token's, or cannot be read or made.
    pub fn read_or_create(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        loop {
            match Self::read(path) {
                Err(TokenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                read => return read,
            }
            match create(path)? {
                Some(token) => return Ok(token),
                // Another process was quicker.
                None => continue,
            }
        }
    }

    /// The token that a file holds.
    ///
    /// # Errors
    /// As [`Token::read_or_create`]; also when there is no file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        let failed = failed("read", path);
        let foreign = || TokenError::Foreign { path: path.into() };
        let file = file::open(path).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::IsADirectory => foreign(),
            _ => failed(error),
        })?;
        // Of the open file, which cannot be exchanged after the check.
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

/// Makes the file with a new token in it; returns `None` if another process has made it meanwhile.
/// The file gets its name once it is complete, so that no process reads half a token.
fn create(path: &Path) -> Result<Option<Token>, TokenError> {
    let failed = failed("make", path);
    let token = Token::generate()?;
    let mut suffix = Token::generate()?.0;
    suffix.truncate(16);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{suffix}"));
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    // Made with its final mode and only if it is new: at no time can others open it.
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
