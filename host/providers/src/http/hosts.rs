//! Patterns of hosts such as `api.example.com` and `*.example.com:8443`, as in the rules for
//! `network`.

use lastword_types::permission::{Capability, Rule};

/// The largest number of patterns in one list.
const PATTERNS_MAX: usize = 256;

/// A list of hosts and ports. A pattern without a port stands for the ports 80 and 443.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPatterns(Vec<Rule>);

/// A text that is not a host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{pattern}` names no host: {reason}; write something like api.example.com, \
     *.example.com:8443 or [::1]:8080"
)]
pub struct InvalidHostPattern {
    pattern: String,
    reason: String,
}

impl HostPatterns {
    /// Parses a list of patterns.
    ///
    /// # Errors
    ///
    /// [`InvalidHostPattern`] for the first invalid one.
    pub fn new<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, InvalidHostPattern> {
        let mut rules = Vec::new();

        for pattern in patterns {
            if rules.len() == PATTERNS_MAX {
                let reason = format!("a list has at most {PATTERNS_MAX} patterns");
                return Err(invalid(pattern.as_ref(), reason));
            }
            rules.push(rule(pattern.as_ref())?);
        }

        Ok(Self(rules))
    }

    /// Whether the list contains `host:port`.
    pub fn covers(&self, target: &str) -> bool {
        let mut rules = self.0.iter();
        rules.any(|rule| rule.covers(Capability::Network, target))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn rule(pattern: &str) -> Result<Rule, InvalidHostPattern> {
    let strange = |character: char| {
        character.is_whitespace() || character.is_control() || "/@?#\\".contains(character)
    };

    if pattern.contains("://") {
        return Err(invalid(pattern, "it has a scheme"));
    }

    if let Some(character) = pattern.chars().find(|character| strange(*character)) {
        return Err(invalid(pattern, format!("{character:?} is in no host")));
    }

    Rule::only(Capability::Network, pattern).map_err(|error| invalid(pattern, error.to_string()))
}

fn invalid(pattern: &str, reason: impl Into<String>) -> InvalidHostPattern {
    InvalidHostPattern {
        pattern: pattern.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_names() {
        let patterns = ["a.example", "*.b.example:8443", "[::1]:9", "10.0.0.1:80"];
        let list = HostPatterns::new(patterns).unwrap();

        for yes in [
            "a.example:443",
            "a.example:80",
            "x.b.example:8443",
            "[::1]:9",
            "10.0.0.1:80",
        ] {
            assert!(list.covers(yes), "{yes}");
        }

        for no in [
            "a.example:8443",
            "x.a.example:443",
            "b.example:8443",
            "::9",
            "::1:9",
            "[::1]:80",
            "10.0.0.11:80",
            "a.example",
        ] {
            assert!(!list.covers(no), "{no}");
        }

        assert!(!HostPatterns::default().covers("a.example:443"));
    }

    #[test]
    fn invalid_host_patterns_are_refused() {
        for bad in [
            "https://a.example",
            "a.example/path",
            "u@a",
            "",
            "a b",
            "a\\b",
        ] {
            assert!(HostPatterns::new([bad]).is_err(), "{bad:?}");
        }

        assert!(HostPatterns::new(vec!["a"; PATTERNS_MAX + 1]).is_err());
    }
}
