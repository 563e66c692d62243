//! One rule: a capability, and the targets that it is allowed or denied for.
//!
//! ```text
//! write-files               everything in the workspace
//! write-files=src/**        paths, as globs relative to the workspace
//! network=api.example.com   a host, at the ports of http and https; all of them if denied
//! network=*.example.com:8443
//! tools=github.*            names, with `*` for any characters
//! run-commands=cargo test   a program with just these arguments
//! run-commands=cargo test * the same with any further ones
//! write-files=a\u{202e}b    in paths and names: a character by its number
//! ```

use super::hosts::Hosts;
use super::{Access, Capability};
use crate::text;
use crate::words::UnknownWord;
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A capability and the targets that it applies to. Its JSON is the line: `"network=a.example"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    capability: Capability,
    /// The pattern as it was written; `None` for every target.
    pattern: Option<String>,
    matcher: Option<GlobMatcher>,
    /// The targets of the rule if it denies, if they are more than those of a rule that allows.
    barrier: Option<GlobMatcher>,
}

/// A text that is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The word before `=` does not name a capability.
    #[error(transparent)]
    Capability(#[from] UnknownWord),
    /// The text after `=` is not a valid pattern.
    #[error("`{pattern}` is no pattern for `{capability}`: {reason}")]
    Pattern {
        /// The capability before `=`.
        capability: Capability,
        /// The pattern as it was written.
        pattern: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
}

impl Rule {
    /// Returns the rule for all targets of a capability.
    #[must_use]
    pub fn any(capability: Capability) -> Self {
        Self {
            capability,
            pattern: None,
            matcher: None,
            barrier: None,
        }
    }

    /// Returns the rule for the targets of a capability that match a pattern.
    ///
    /// # Errors
    /// [`InvalidRule::Pattern`] if the pattern is not valid.
    pub fn only(capability: Capability, pattern: impl Into<String>) -> Result<Self, InvalidRule> {
        let pattern = pattern.into();
        if pattern.trim().is_empty() {
            let reason = format!("it is empty; write `{capability}` alone for everything");
            return Err(unfit(capability, &pattern, reason));
        }
        let built = |glob: &str| matcher(capability, &pattern, glob);
        let (matcher, barrier) = match capability {
            Capability::RunCommands => (None, None),
            Capability::Network => {
                let hosts = Hosts::parse(&pattern);
                let hosts = hosts.map_err(|reason| unfit(capability, &pattern, reason))?;
                (Some(built(&hosts.allowed)?), Some(built(&hosts.denied)?))
            }
            _ => (Some(built(&spelled(&pattern))?), None),
        };
        Ok(Self {
            capability,
            pattern: Some(pattern),
            matcher,
            barrier,
        })
    }

    /// Returns the rule for exactly this target, whatever characters it has; invisible characters
    /// are written by their numbers. For a directory, which ends in a slash, the rule covers
    /// everything below it. `None` if no pattern can express it.
    #[must_use]
    pub fn exactly(access: &Access) -> Option<Self> {
        use Capability::{Network, ReadFiles, RunCommands, WriteFiles};
        let (capability, target) = (access.capability, access.target.as_str());
        let pattern = match capability {
            ReadFiles | WriteFiles if target == "." => return Some(Self::any(capability)),
            ReadFiles | WriteFiles if target.ends_with('/') => format!("{}**", escape(target)),
            RunCommands if target.ends_with(" *") => return None,
            Network if !Hosts::parse(target).is_ok_and(|hosts| hosts.is_exact) => return None,
            RunCommands | Network => target.to_owned(),
            _ => escape(target),
        };
        let rule = Self::only(capability, pattern).ok()?;
        rule.covers(capability, target).then_some(rule)
    }

    /// Returns the capability.
    #[must_use]
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// Returns the pattern of targets; `None` for every target.
    #[must_use]
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// Whether the rule, if it allows, concerns some targets of this capability. Writing files
    /// includes reading them.
    #[must_use]
    pub fn is_about(&self, capability: Capability) -> bool {
        self.capability == capability
            || (self.capability == Capability::WriteFiles && capability == Capability::ReadFiles)
    }

    /// Whether the rule, if it allows, applies to this access. Writing files includes reading them.
    #[must_use]
    pub fn covers(&self, capability: Capability, target: &str) -> bool {
        self.is_about(capability) && self.matches(self.matcher.as_ref(), target)
    }

    /// Whether the rule, if it denies, applies to this access. A file that may not be read may not
    /// be written either, and a host without a port is denied at every port.
    #[must_use]
    pub fn denies(&self, capability: Capability, target: &str) -> bool {
        let same = self.capability == capability
            || (self.capability == Capability::ReadFiles && capability == Capability::WriteFiles);
        let barrier = self.barrier.as_ref().or(self.matcher.as_ref());
        same && self.matches(barrier, target)
    }

    fn matches(&self, matcher: Option<&GlobMatcher>, target: &str) -> bool {
        match (&self.pattern, matcher) {
            (None, _) => true,
            (Some(_), Some(matcher)) => matcher.is_match(target),
            (Some(pattern), None) => is_command(pattern, target),
        }
    }
}

/// Whether a command line equals the pattern or, if the pattern ends in ` *`, begins like it.
fn is_command(pattern: &str, target: &str) -> bool {
    match pattern.strip_suffix(" *") {
        None => pattern == target,
        Some(beginning) => target
            .strip_prefix(beginning)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
    }
}

/// Returns a pattern that matches exactly this text, which has no invisible characters. The glob
/// library's own function does not escape backslashes, which are escapes in these patterns.
pub(super) fn escape(text: &str) -> String {
    let pattern = globset::escape(text).replace('\\', r"\\");
    text::line(&pattern).into_owned()
}

/// Replaces each `\u{202e}` in a pattern by the character itself, none of which is a wildcard.
fn spelled(pattern: &str) -> String {
    let mut glob = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        glob.push_str(before);
        match numbered(escape) {
            Some((c, after)) => {
                let c = globset::escape(c.encode_utf8(&mut [0; 4]));
                glob.push_str(&c.replace('\\', r"\\"));
                rest = after;
            }
            None => {
                // Copies the backslash and the character that it escapes.
                let pair = escape.chars().take(2).map(char::len_utf8).sum();
                glob.push_str(&escape[..pair]);
                rest = &escape[pair..];
            }
        }
    }
    glob + rest
}

/// Returns the character of a `\u{…}` at the beginning of the text, and the rest of the text.
fn numbered(escape: &str) -> Option<(char, &str)> {
    let (number, after) = escape.strip_prefix("\\u{")?.split_once('}')?;
    let number = u32::from_str_radix(number, 16).ok()?;
    Some((char::from_u32(number)?, after))
}

fn unfit(capability: Capability, pattern: &str, reason: String) -> InvalidRule {
    InvalidRule::Pattern {
        capability,
        pattern: pattern.to_owned(),
        reason,
    }
}

fn matcher(capability: Capability, pattern: &str, glob: &str) -> Result<GlobMatcher, InvalidRule> {
    let is_path = matches!(capability, Capability::ReadFiles | Capability::WriteFiles);
    let glob = GlobBuilder::new(glob)
        .literal_separator(is_path)
        .backslash_escape(true)
        .case_insensitive(capability == Capability::Network)
        .build();
    let glob = glob.map_err(|error| unfit(capability, pattern, error.kind().to_string()))?;
    Ok(glob.compile_matcher())
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

impl TryFrom<String> for Rule {
    type Error = InvalidRule;

    fn try_from(words: String) -> Result<Self, InvalidRule> {
        words.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
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
        check(
            "network=[::0:1]:9",
            Network,
            &["[::1]:9"],
            &["a:9", "::9", "[::1]:80"],
        );
        check(
            "network=BÜCHER.example.",
            Network,
            &["xn--bcher-kva.example:443"],
            &["xn--bcher-kva.example:8443"],
        );
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
    fn a_denial_without_a_port_bars_all_of_them() {
        let denies = |rule: &str, target: &str| {
            let rule: Rule = rule.parse().expect("a rule");
            rule.denies(Capability::Network, target)
        };
        for (rule, target) in [
            ("network=evil.example", "evil.example:443"),
            ("network=evil.example", "evil.example:8443"),
            ("network=Evil.example.", "evil.example:22"),
            ("network=*.evil.example", "a.evil.example:8443"),
            ("network=[::1]", "[::1]:8080"),
            ("network=b\u{fc}cher.example", "xn--bcher-kva.example:1"),
        ] {
            assert!(denies(rule, target), "{rule} bars {target}");
        }
        assert!(!denies("network=evil.example:443", "evil.example:8443"));
        assert!(!denies("network=evil.example", "good.example:443"));
    }

    #[test]
    fn an_exact_rule_covers_its_target_alone() {
        use Capability::{Network, ReadFiles, RunCommands, Tools, WriteFiles};
        for (capability, target, others) in [
            (WriteFiles, "a[1]*.rs", &["a1x.rs", "a1.rs"][..]),
            (WriteFiles, r"Cargo\.toml", &["Cargo.toml"]),
            (WriteFiles, r"a\*", &["a*", r"a\b", "ab"]),
            (WriteFiles, r"a\", &["a", r"a\\"]),
            (ReadFiles, "a{b,c}?", &["ab?", "acx"]),
            (
                WriteFiles,
                "a\u{202e}b\n",
                &["ab", "a\u{202e}b", r"a\u{202e}b\u{a}"],
            ),
            (WriteFiles, r"a\u{202e}b", &["a\u{202e}b"]),
            (WriteFiles, " a ", &["a", " a"]),
            (Tools, "a\u{3164}.\u{34f}", &["a.", "a\u{3164}."]),
            (ReadFiles, r"a\b/", &["ab/x", "ab/"]),
            (Tools, "a.*", &["a.b"]),
            (Network, "a.example:443", &["a.example:80"]),
            (Network, "[::1]:443", &["[::1]:80", ":443"]),
        ] {
            let rule = Rule::exactly(&Access::new(capability, target, "")).expect(target);
            assert!(!rule.to_string().chars().any(text::is_unseen), "{rule}");
            let again: Rule = rule.to_string().parse().expect("a rule again");
            assert_eq!(again, rule);
            assert!(again.covers(capability, target), "{rule} covers {target}");
            for other in others {
                assert!(!again.covers(capability, other), "{rule} not {other}");
            }
        }
        for (capability, target) in [
            (WriteFiles, ""),
            (RunCommands, "ls *"),
            (Network, "*.example:443"),
            (Network, "a.example"),
            (Network, "[ab].example:443"),
        ] {
            let rule = Rule::exactly(&Access::new(capability, target, ""));
            assert_eq!(rule, None, "{target}");
        }
        let walk = Rule::exactly(&Access::new(ReadFiles, "src/", "")).expect("a rule");
        assert_eq!(walk.to_string(), "read-files=src/**");
        let whole = Rule::exactly(&Access::new(ReadFiles, ".", "")).expect("a rule");
        assert_eq!(whole, Rule::any(ReadFiles));
    }

    #[test]
    fn characters_by_their_numbers_are_those_characters() {
        use Capability::{RunCommands, WriteFiles};
        let covers = |rule: &str, capability, target| {
            let rule: Rule = rule.parse().expect("a rule");
            rule.covers(capability, target)
        };
        assert!(covers(r"write-files=a\u{2a}", WriteFiles, "a*"));
        assert!(!covers(r"write-files=a\u{2a}", WriteFiles, "ab"));
        assert!(covers(r"write-files=\u{5c}*", WriteFiles, r"\a"));
        assert!(covers(r"write-files=\\u{41}", WriteFiles, r"\u41"));
        assert!(covers(r"write-files=\u{zz}", WriteFiles, "uzz"));
        assert!(covers(
            "run-commands=a '\\u{41}'",
            RunCommands,
            r"a '\u{41}'"
        ));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_reason() {
        let refused = |words: &str| words.parse::<Rule>().expect_err("no rule").to_string();
        assert!(refused("fly").contains("there is no capability `fly`"));
        assert!(refused("write-files=").contains("write `write-files` alone"));
        assert!(refused("write-files=a[").contains("is no pattern for `write-files`"));
        assert!(refused("network=::1").contains("stands in brackets"));
        assert!(refused("network=a.example:http").contains("is no port"));
    }
}
