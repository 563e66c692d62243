//! Where tokens are between one host and the next: files of the user's own, or an embedder's
//! store. Knows not what is in them.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes of one server's tokens at the most.
const TOKENS_MAX: u64 = 256 << 10;

/// The folder of tokens in a data directory.
const FOLDER: &str = "mcp-tokens";

/// A store of secrets, one text for each server. Its methods may block. Errors must not hold
/// the text.
pub trait TokenStore: Send + Sync + 'static {
    /// The text of this server, if there is one.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&self, server: &str) -> io::Result<Option<String>>;

    /// Keeps the text in the place of an earlier one.
    ///
    /// # Errors
    /// The store cannot be written.
    fn save(&self, server: &str, tokens: &str) -> io::Result<()>;

    /// Forgets it; it is no error if there is none.
    ///
    /// # Errors
    /// The store cannot be written.
    fn clear(&self, server: &str) -> io::Result<()>;
}

/// Files `SERVER.json` of one folder, which only this user can read.
#[derive(Clone, Debug)]
pub struct TokenFiles {
    folder: PathBuf,
}

impl TokenFiles {
    /// The files of this folder, which is made when the first token is kept.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder of a data directory where a host keeps tokens unless it is told otherwise.
    #[must_use]
    pub fn of_data_dir(data_dir: &Path) -> Self {
        Self::new(data_dir.join(FOLDER))
    }

    fn path(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.json"))
    }
}

impl TokenStore for TokenFiles {
    fn load(&self, server: &str) -> io::Result<Option<String>> {
        let file = match lastword_os::file::open(self.path(server)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        // Whoever else may write it could send this user's requests with a token of theirs.
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} is no file that only you can read; remove it, and log in again",
                self.path(server).display()
            )));
        }

        let mut text = String::new();
        file.take(TOKENS_MAX).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    fn save(&self, server: &str, tokens: &str) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;

        // Nobody reads half of it, and nobody else reads it at any time.
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder)?;
        draft.write_all(tokens.as_bytes())?;
        draft.as_file().sync_all()?;
        draft.persist(self.path(server))?;

        Ok(())
    }

    fn clear(&self, server: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(server)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Tokens that end with the process.
#[derive(Default)]
pub(crate) struct Forgetful(Mutex<HashMap<String, String>>);

impl TokenStore for Forgetful {
    fn load(&self, server: &str) -> io::Result<Option<String>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(tokens.get(server).cloned())
    }

    fn save(&self, server: &str, tokens: &str) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(server.to_owned(), tokens.to_owned());
        Ok(())
    }

    fn clear(&self, server: &str) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(server);
        Ok(())
    }
}
