//! A bearer token in a file that is read again when it changes, so that a new token needs no
//! restart.

use super::{
    Action, Arrival, Authorizer, BearerToken, Principal, Token, TokenError, Unauthenticated,
};
use axum::http::HeaderMap;
use lastword::WorkspaceKey;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Lets in clients that send the token in a file, as [`BearerToken`] does. A request after the file
/// changed is held to its new token. If that cannot be read, the token before it stays valid, and
/// the log says why.
pub struct TokenFile {
    path: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    stamp: Option<Stamp>,
    bearer: BearerToken,
}

/// What tells one content of the file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// The time of the last change, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of a file; `None` if there is none that can be examined.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl TokenFile {
    /// Reads the token in a file. If the file does not exist, generates a new token and stores it
    /// there, as [`Token::read_or_create`] does.
    ///
    /// # Errors
    /// As for [`Token::read_or_create`].
    pub fn read_or_create(path: impl Into<PathBuf>) -> Result<Self, TokenError> {
        let path = path.into();
        let token = Token::read_or_create(&path)?;
        let known = Known {
            // The first request looks at the file again, and so notices a change since now.
            stamp: None,
            bearer: BearerToken::new(&token),
        };
        Ok(Self {
            path,
            known: Mutex::new(known),
        })
    }

    /// Returns the token that counts now.
    fn current(&self) -> BearerToken {
        let stamp = Stamp::of(&self.path);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.stamp == stamp {
            return known.bearer.clone();
        }

        let first = known.stamp.is_none();
        known.stamp = stamp;
        match Token::read(&self.path) {
            Ok(token) => {
                known.bearer = BearerToken::new(&token);
                if !first {
                    tracing::info!(file = %self.path.display(), "the token file was read again");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the token before it stays valid");
            }
        }

        known.bearer.clone()
    }
}

#[async_trait::async_trait]
impl Authorizer for TokenFile {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        self.current().authenticate(headers, arrival).await
    }

    async fn allows(&self, _: &Principal, _: Action<'_>, _: Option<&WorkspaceKey>) -> bool {
        true
    }
}
