//! The address of a server, in text form.

use crate::ClientError;
use reqwest::Url;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The address of a server: `http://127.0.0.1:8020`, `https://example.org/lastword`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    written: String,
    is_loopback: bool,
}

impl Address {
    /// Whether the address is one of this machine. A client may send a token that the server keeps
    /// in a file of this machine only to such an address, since any other server would learn it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Returns the address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Returns the prefix of the paths of requests.
    pub(crate) fn base(&self) -> String {
        format!("{}/v1", self.written.trim_end_matches('/'))
    }
}

impl FromStr for Address {
    type Err = ClientError;

    fn from_str(written: &str) -> Result<Self, ClientError> {
        let wrong = |reason: &str| ClientError::InvalidAddress {
            address: written.to_owned(),
            reason: reason.to_owned(),
        };

        const BEGINNING: &str = "it must begin with http:// or https:// and name a host";
        let url = Url::parse(written).map_err(|error| {
            if written.contains("://") {
                wrong(&error.to_string())
            } else {
                wrong(BEGINNING)
            }
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(BEGINNING));
        }

        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let ip = host.parse::<IpAddr>();
        Ok(Self {
            written: written.to_owned(),
            is_loopback: host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback()),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for (written, expected) in [
            ("http://127.0.0.1:8020", true),
            ("http://[::1]:8020/", true),
            ("http://localhost:1", true),
            ("https://example.org", false),
            ("http://127.0.0.1.example.org", false),
        ] {
            let address: Address = written.parse().unwrap();
            assert_eq!(address.is_loopback(), expected, "{written}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for written in [
            "",
            "127.0.0.1:8020",
            "ftp://127.0.0.1",
            "http://",
            "unix:/tmp/s",
        ] {
            assert!(written.parse::<Address>().is_err(), "{written}");
        }

        let bare = "127.0.0.1:8020".parse::<Address>().unwrap_err().to_string();
        assert!(bare.contains("begin with http://"), "{bare}");
    }
}
