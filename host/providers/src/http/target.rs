//! The target of a request in its normal form, by which permissions are decided.

use super::error::{HttpError, HttpErrorKind};
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest number of bytes of an address.
const URL_BYTES_MAX: usize = 8 << 10;
/// The largest number of bytes of an address in a question to a person.
const SHOWN_BYTES_MAX: usize = 200;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `host:port`, as in rules and messages.
    pub(super) text: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// The address, if the host is an IP address and not a name.
    pub(super) address: Option<IpAddr>,
    /// Whether the scheme is `https`.
    pub(super) secure: bool,
}

impl Target {
    /// Returns the target of an address and normalises it: numeric forms become IP addresses,
    /// letters lower case, and a trailing dot is removed.
    pub(super) fn of(url: &mut Url) -> Result<Self, HttpError> {
        let unfit = |reason: &str| HttpError::new(HttpErrorKind::Url, reason);

        if url.as_str().len() > URL_BYTES_MAX {
            return Err(unfit("the address is longer than 8 KiB"));
        }

        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(unfit("only `http` and `https` addresses can be asked")),
        };

        if !url.username().is_empty() || url.password().is_some() {
            return Err(unfit(
                "the address holds a user's name; send an `authorization` header instead",
            ));
        }

        let no_host = || unfit("the address has no host");

        if let Some(name) = url.host_str().and_then(|host| host.strip_suffix('.')) {
            let name = name.to_owned();
            url.set_host(Some(&name)).map_err(|_| no_host())?;
        }

        url.set_fragment(None);
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(no_host)?.to_owned();

        if host.ends_with('.') {
            return Err(no_host());
        }

        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or_else(|| unfit("the address has no port"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');

        let address = if host.starts_with('[') {
            bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        } else {
            bare.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        };

        Ok(Self {
            text: format!("{host}:{port}"),
            host,
            port,
            address,
            secure,
        })
    }

    /// Whether requests to both may carry the same headers.
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.text == other.text && self.secure == other.secure
    }
}

/// Returns one line for people: the method, and the address without parts that may contain a key.
pub(super) fn title(method: &http::Method, url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    let mut title = format!("{method} {shown}");
    if title.len() > SHOWN_BYTES_MAX {
        title.truncate(title.floor_char_boundary(SHOWN_BYTES_MAX));
        title.push('…');
    }
    title
}

/// Whether an address is on this machine: `localhost` or a loopback address.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, HttpError> {
        let mut url =
            Url::parse(text).map_err(|e| HttpError::new(HttpErrorKind::Url, e.to_string()))?;
        Target::of(&mut url)
    }

    #[test]
    fn each_host_has_one_spelling() {
        for (text, expected) in [
            ("https://Example.COM", "example.com:443"),
            ("http://example.com./x", "example.com:80"),
            ("http://example.com:080", "example.com:80"),
            ("http:\\\\example.com\\x", "example.com:80"),
            ("http://bücher.example", "xn--bcher-kva.example:80"),
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("http://127.1", "127.0.0.1:80"),
            ("http://127.0.0.1.", "127.0.0.1:80"),
            ("http://2130706433", "127.0.0.1:80"),
            ("http://0x7f000001", "127.0.0.1:80"),
            ("http://0x7f.1", "127.0.0.1:80"),
            ("http://0177.0.0.1", "127.0.0.1:80"),
            ("http://①②⑦.0.0.1", "127.0.0.1:80"),
            ("http://%31%32%37.0.0.1", "127.0.0.1:80"),
            ("http://127。0。0。1", "127.0.0.1:80"),
            ("http://[0:0:0:0:0:0:0:1]:8080", "[::1]:8080"),
            ("http://[::ffff:127.0.0.1]", "[::ffff:7f00:1]:80"),
            ("http://[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]:80"),
        ] {
            let target = target(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(target.text, expected, "{text}");
            let numbers = expected.starts_with("127.") || expected.starts_with('[');
            assert_eq!(target.address.is_some(), numbers, "{text}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for text in [
            "ftp://a.example",
            "file:///etc/passwd",
            "data:text/plain,x",
            "http://user@a.example",
            "http://:pass@a.example",
            "http://a.example@127.0.0.1",
            "http://a.example:0",
            "http://a.example..",
            "http://256.1.1.1",
            "http://1.2.3.4.5",
            "http://0x100000000",
            "http://a b.example",
            "http://a%00.example",
            "http://[fe80::1%25eth0]",
        ] {
            assert!(target(text).is_err(), "{text}: {:?}", target(text));
        }

        assert!(target(&format!("http://a.example/{}", "x".repeat(9000))).is_err());
    }

    #[test]
    fn titles_have_no_query_and_are_bounded() {
        let url = Url::parse("https://a.example/search?key=value").unwrap();
        assert_eq!(
            title(&http::Method::GET, &url),
            "GET https://a.example/search"
        );
        let long = Url::parse(&format!("https://a.example/{}", "x".repeat(9000))).unwrap();
        assert!(title(&http::Method::GET, &long).len() < SHOWN_BYTES_MAX + 5);
    }
}
