//! Paths in JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path of the server's machine. In JSON it is a text, or, if it is not UTF-8, a list of its
/// bytes. A server accepts such a list only from its own process, since its answers and its log
/// could not name that path to other clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WirePath(pub PathBuf);

impl WirePath {
    /// Returns the path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl<P: Into<PathBuf>> From<P> for WirePath {
    fn from(path: P) -> Self {
        Self(path.into())
    }
}

impl Serialize for WirePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => self.0.as_os_str().as_bytes().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for WirePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a path must be a text")]
        enum Written {
            Text(String),
            Bytes(Vec<u8>),
        }

        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => Self(text.into()),
            Written::Bytes(bytes) => Self(OsString::from_vec(bytes).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back_as_it_was() {
        for bytes in [&b"/a b/\xc3\xbc"[..], b"/a/\xff/b", b""] {
            let path = WirePath(OsString::from_vec(bytes.to_vec()).into());
            let json = serde_json::to_string(&path).unwrap();
            let read: WirePath = serde_json::from_str(&json).unwrap();
            assert_eq!(read, path, "{json}");
        }
        assert_eq!(
            serde_json::to_string(&WirePath::from("/a")).unwrap(),
            "\"/a\""
        );
        assert!(serde_json::from_str::<WirePath>("7").is_err());
    }
}
