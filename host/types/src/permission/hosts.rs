//! The hosts in rules for `network`. They are converted to the spelling that requests have, or
//! refused, so that a rule never fails to match because of its spelling. Resolves no names.

use globset::escape;
use url::Host;

/// A pattern of hosts and their ports, as globs over `host:port`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    /// The glob for a rule that allows: without a port, the ports of `http` and `https`.
    pub(super) allowed: String,
    /// The glob for a rule that denies: without a port, all ports.
    pub(super) denied: String,
    /// Whether it names exactly one host and one port.
    pub(super) is_exact: bool,
}

impl Hosts {
    /// Parses a pattern.
    ///
    /// # Errors
    /// A text that says why the pattern names no host, and what to write instead.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        if pattern == "*" {
            let every = || "*".to_owned();
            return Ok(Self {
                allowed: every(),
                denied: every(),
                is_exact: false,
            });
        }
        let (host, port) = match pattern.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(self::port(port)?)),
            _ => (pattern, None),
        };
        let (host, is_one) = self::host(host)?;
        let at = |port: &str| format!("{host}:{port}");
        let is_number = |port: &String| port.bytes().all(|digit| digit.is_ascii_digit());
        Ok(Self {
            allowed: at(port.as_deref().unwrap_or("{80,443}")),
            denied: at(port.as_deref().unwrap_or("*")),
            is_exact: is_one && port.as_ref().is_some_and(is_number),
        })
    }
}

/// Returns a port as a glob.
fn port(port: &str) -> Result<String, String> {
    let unfit = || format!("`{port}` is no port; write a number from 1 to 65535, or `*` for all");
    if port.bytes().all(|digit| digit.is_ascii_digit()) {
        let number = port.parse::<u16>().ok().filter(|number| *number != 0);
        return number.map(|number| number.to_string()).ok_or_else(unfit);
    }
    let fits = |c: char| c.is_ascii_digit() || "*?{},".contains(c);
    if port.chars().all(fits) {
        Ok(port.to_owned())
    } else {
        Err(unfit())
    }
}

/// Returns a host as a glob, and whether it is exactly one host.
fn host(written: &str) -> Result<(String, bool), String> {
    // Addresses come first: their brackets do not enclose a class of characters.
    if written.starts_with('[')
        && let Ok(address @ Host::Ipv6(_)) = Host::parse(written)
    {
        return Ok((escape(&address.to_string()), true));
    }
    let name = written.strip_suffix('.').unwrap_or(written);
    if name.contains(':') {
        return Err("an IPv6 address stands in brackets: `[::1]:8080`".to_owned());
    }
    if name.split('.').any(str::is_empty) {
        return Err(
            "a part of the name between dots is empty; `*.` stands for any names".to_owned(),
        );
    }
    if !name.contains(is_wild) {
        return one(name).map(|host| (host, true));
    }
    let labels: Result<Vec<String>, String> = name.split('.').map(label).collect();
    Ok((labels?.join("."), false))
}

fn is_wild(c: char) -> bool {
    "*?[]{},!".contains(c)
}

/// Returns a name or an address in the spelling of requests.
fn one(name: &str) -> Result<String, String> {
    let host = Host::parse(name).map_err(|error| format!("`{name}` is no host: {error}"))?;
    Ok(escape(&host.to_string()))
}

/// Checks one label of a name that may contain wildcards.
fn label(label: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c) || is_wild(c);
    if label.chars().all(plain) {
        return Ok(label.to_ascii_lowercase());
    }
    match Host::parse(label) {
        Ok(Host::Domain(domain)) if !label.is_ascii() && !label.contains(is_wild) => Ok(domain),
        _ => Err(format!("`{label}` is no part of a host's name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_spelled_as_requests_spell_it() {
        for (written, allowed, is_exact) in [
            ("a.example", "a.example:{80,443}", false),
            ("A.Example.:0443", "a.example:443", true),
            ("bücher.example:1", "xn--bcher-kva.example:1", true),
            ("*.bücher.example:1", "*.xn--bcher-kva.example:1", false),
            ("*.Example.", "*.example:{80,443}", false),
            ("a.example:*", "a.example:*", false),
            ("127.1:80", "127.0.0.1:80", true),
            ("10.0.*:80", "10.0.*:80", false),
            ("[::0:1]:9", "[[]::1[]]:9", true),
            ("[::1]", "[[]::1[]]:{80,443}", false),
            ("*", "*", false),
        ] {
            let hosts = Hosts::parse(written).unwrap_or_else(|why| panic!("{written}: {why}"));
            assert_eq!((&*hosts.allowed, hosts.is_exact), (allowed, is_exact));
        }
    }

    #[test]
    fn what_can_be_no_host_is_refused() {
        for written in [
            "",
            ".",
            ":80",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:http",
            "a.example..",
            ".example",
            "::1",
            "::1:80",
            "[::1",
            "[fe80::1%eth0]",
            "a b",
            "a/b",
            "*.a/b",
            "u@a",
            "a\\b",
            "*.ü*.example",
            "256.1.1.1",
            "http://a.example",
        ] {
            assert!(Hosts::parse(written).is_err(), "{written:?}");
        }
    }
}
