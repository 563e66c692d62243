//! One line of what is allowed or denied: a capability, and to what it extends.
//!
//! ```text
//! write-files               everything in the workspace
//! write-files=src/**        paths, as globs relative to the workspace
//! network=api.example.com   a host, at the port of its scheme
//! network=*.example.com:8443
//! tools=github.*            names, with `*` for any characters
//! run-commands=cargo test   a program with just these arguments
//! run-commands=cargo test * the same with any further ones
//! ```

use super::{Access, Capability, UnknownCapability};
use globset::{GlobBuilder, GlobMatcher};
use std::fmt;
use std::str::FromStr;

/// A capability and the targets to which it extends.
#[derive(Clone, Debug)]
pub struct Rule {
    capability: Capability,
    /// As it was written; `None` for every target.
    pattern: Option<String>,
    matcher: Option<GlobMatcher>,
}

/// Words that are no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The word before `=` names no capability.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// What follows `=` is no pattern.
    #[error("`{pattern}` is no pattern for `{capability}`: {reason}")]
    Pattern {
        /// Of which capability.
        capability: Capability,
        /// As it was written.
        pattern: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
}

impl Rule {
    /// A capability with all its targets.
    #[must_use]
    pub fn any(capability: Capability) -> Self {
        Self {
            capability,
            pattern: None,
            matcher: None,
        }
    }

    /// A capability and the targets that match a pattern.
    ///
    /// # Errors
    /// [`InvalidRule::Pattern`].
    pub fn only(capability: Capability, pattern: impl Into<String>) -> Result<Self, InvalidRule> {
        let pattern = pattern.into();
        let matcher = match capability {
            Capability::RunCommands => None,
            _ => Some(matcher(capability, &pattern)?),
        };
        let empty = pattern.trim().is_empty();
        let kept = Self {
            capability,
            pattern: Some(pattern),
            matcher,
        };
        match (empty, kept.pattern) {
            (true, Some(pattern)) => Err(InvalidRule::Pattern {
                capability,
                pattern,
                reason: format!("it is empty; write `{capability}` alone for everything"),
            }),
            (_, pattern) => Ok(Self { pattern, ..kept }),
        }
    }

    /// The target itself and nothing else, whatever characters it has.
    #[must_use]
    pub fn exactly(access: &Access) -> Self {
        let pattern = match access.capability {
            Capability::RunCommands => access.target.clone(),
            _ => globset::escape(&access.target),
        };
        Self::only(access.capability, pattern).unwrap_or_else(|_| Self {
            capability: access.capability,
            pattern: Some(access.target.clone()),
            matcher: None,
        })
    }

    /// The capability.
    #[must_use]
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// The pattern of targets; `None` for every target.
    #[must_use]
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// Whether the rule, where it allows, says anything of this capability. Writing files
    /// includes reading them.
    #[must_use]
    pub fn is_about(&self, capability: Capability) -> bool {
        self.capability == capability
            || (self.capability == Capability::WriteFiles && capability == Capability::ReadFiles)
    }

    /// Whether the rule, where it allows, extends to this. Writing files includes reading them.
    #[must_use]
    pub fn covers(&self, capability: Capability, target: &str) -> bool {
        self.is_about(capability) && self.matches(target)
    }

    /// Whether the rule, where it denies, extends to this. What may not be read may not be
    /// written either.
    #[must_use]
    pub fn bars(&self, capability: Capability, target: &str) -> bool {
        let same = self.capability == capability
            || (self.capability == Capability::ReadFiles && capability == Capability::WriteFiles);
        same && self.matches(target)
    }

    fn matches(&self, target: &str) -> bool {
        match (&self.pattern, &self.matcher) {
            (None, _) => true,
            (Some(_), Some(matcher)) => matcher.is_match(target),
            (Some(pattern), None) => is_command(pattern, target),
        }
    }
}

/// Whether a command line is this one, or begins like this one if that ends in ` *`.
fn is_command(pattern: &str, target: &str) -> bool {
    match pattern.strip_suffix(" *") {
        None => pattern == target,
        Some(beginning) => target
            .strip_prefix(beginning)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
    }
}

fn matcher(capability: Capability, pattern: &str) -> Result<GlobMatcher, InvalidRule> {
    let is_path = matches!(capability, Capability::ReadFiles | Capability::WriteFiles);
    let glob = GlobBuilder::new(&with_port(capability, pattern))
        .literal_separator(is_path)
        .backslash_escape(true)
        .case_insensitive(capability == Capability::Network)
        .build();
    let glob = glob.map_err(|error| InvalidRule::Pattern {
        capability,
        pattern: pattern.to_owned(),
        reason: error.kind().to_string(),
    })?;
    Ok(glob.compile_matcher())
}

/// A host without a port stands for the ports of `http` and `https`.
fn with_port(capability: Capability, pattern: &str) -> String {
    let has_port = pattern
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
    match capability == Capability::Network && !has_port && pattern != "*" {
        true => format!("{pattern}:{{80,443}}"),
        false => pattern.to_owned(),
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.capability == other.capability && self.pattern == other.pattern
    }
}

impl Eq for Rule {}

impl From<Capability> for Rule {
    fn from(capability: Capability) -> Self {
        Self::any(capability)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            None => self.capability.fmt(f),
            Some(pattern) => write!(f, "{}={pattern}", self.capability),
        }
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(words: &str) -> Result<Self, InvalidRule> {
        match words.split_once('=') {
            None => Ok(Self::any(words.parse()?)),
            Some((capability, pattern)) => Self::only(capability.parse()?, pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, capability: Capability, yes: &[&str], no: &[&str]) {
        let parsed: Rule = rule.parse().expect("a rule");
        assert_eq!(parsed.to_string(), rule);
        for target in yes {
            assert!(parsed.covers(capability, target), "{rule} covers {target}");
        }
        for target in no {
            assert!(!parsed.covers(capability, target), "{rule} not {target}");
        }
    }

    #[test]
    fn a_rule_covers_what_it_names() {
        use Capability::{Network, ReadFiles, RunCommands, Tools, WriteFiles};
        check("write-files", WriteFiles, &["a", "a/b"], &[]);
        check(
            "write-files=src/*",
            WriteFiles,
            &["src/a"],
            &["src/a/b", "a", "xsrc/a"],
        );
        check(
            "write-files=src/**",
            WriteFiles,
            &["src/a/b"],
            &["src", "tests/a"],
        );
        check("write-files=src/**", ReadFiles, &["src/a"], &["b"]);
        check("read-files=**", WriteFiles, &[], &["a"]);
        check(
            "network=a.example",
            Network,
            &["a.example:443", "A.example:80"],
            &["a.example:8443", "b.a.example:443"],
        );
        check(
            "network=*.example:8443",
            Network,
            &["b.a.example:8443"],
            &["example:8443", "a.example:443"],
        );
        check("network=[::1]:9", Network, &[], &["a:9"]);
        check(
            "tools=git.*",
            Tools,
            &["git.clone"],
            &["github.clone", "git"],
        );
        check(
            "run-commands=cargo test",
            RunCommands,
            &["cargo test"],
            &["cargo", "cargo test -p x"],
        );
        check(
            "run-commands=cargo test *",
            RunCommands,
            &["cargo test", "cargo test -p x"],
            &["cargo", "cargo tests", "cargo build test"],
        );
    }

    #[test]
    fn an_exact_rule_covers_its_target_alone() {
        let access = Access::new(Capability::WriteFiles, "a[1]*.rs", "");
        let rule = Rule::exactly(&access);
        assert!(rule.covers(Capability::WriteFiles, "a[1]*.rs"));
        assert!(!rule.covers(Capability::WriteFiles, "a1x.rs"));
        let again: Rule = rule.to_string().parse().expect("a rule again");
        assert_eq!(again, rule);
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_reason() {
        let refused = |words: &str| words.parse::<Rule>().expect_err("no rule").to_string();
        assert!(refused("fly").contains("there is no capability `fly`"));
        assert!(refused("write-files=").contains("write `write-files` alone"));
        assert!(refused("write-files=a[").contains("is no pattern for `write-files`"));
    }
}
