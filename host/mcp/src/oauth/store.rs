//! The storage of tokens between two runs of a host: files of the user's own, or an embedder's
//! store.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The largest number of bytes of one server's text.
const TOKENS_MAX: u64 = 256 << 10;

/// The folder of tokens in a data directory.
const FOLDER: &str = "mcp-tokens";

/// A store of secrets, one text for each server. Its methods may block. Errors must not contain the
/// text.
pub trait TokenStore: Send + Sync + 'static {
    /// Loads the text of this server, if there is one.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn load(&self, server: &str) -> io::Result<Option<String>>;

    /// Stores the text, replacing an earlier one.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    fn save(&self, server: &str, tokens: &str) -> io::Result<()>;

    /// Removes the text. A missing text is not an error.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    fn clear(&self, server: &str) -> io::Result<()>;
}

/// Files `SERVER.json` of one folder, which only this user can read.
#[derive(Clone, Debug)]
pub struct TokenFiles {
    folder: PathBuf,
}

impl TokenFiles {
    /// Uses the files of this folder, which is created when the first token is stored.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder in a data directory where a host stores tokens by default.
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
        // Anyone else who can write the file could make this user's requests carry their own token.
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} is not a file that only you can read; remove it, and log in again",
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

        // Written by renaming, so that it is never read half written, and created readable for this
        // user only.
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

/// Keeps tokens in memory, until the process ends.
#[derive(Default)]
pub(crate) struct InMemoryTokenStore(Mutex<HashMap<String, String>>);

impl TokenStore for InMemoryTokenStore {
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
