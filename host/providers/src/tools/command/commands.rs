//! The commands that an operator allows, with their environment and limits. The host's own
//! environment is never used.

use std::path::PathBuf;
use std::time::Duration;

/// The `PATH` of commands by default.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The commands that may run, and their settings. If there are none, `run_command` is not offered.
///
/// ```
/// # extern crate lastword_providers as lastword;
/// use lastword::tools::Commands;
///
/// let commands = Commands::none()
///     .allow("cargo test")
///     .env("PATH", "/opt/rust/bin:/usr/bin")
///     .readable("/opt/rust");
/// assert!(commands.allows(&["cargo", "test", "--lib"]));
/// assert!(!commands.allows(&["cargo", "publish"]));
/// ```
#[derive(Clone, Debug)]
pub struct Commands {
    allowed: Vec<Vec<String>>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) readable: Vec<PathBuf>,
    pub(super) writable: Vec<PathBuf>,
    pub(super) network: bool,
    pub(super) timeout: Duration,
    pub(super) timeout_max: Duration,
    pub(super) limits: Limits,
}

/// Limits that the kernel enforces for each process of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) cpu_seconds: u64,
    pub(super) data_bytes: u64,
    pub(super) file_bytes: u64,
    pub(super) processes: u64,
    pub(super) files: u64,
}

impl Commands {
    /// Returns an empty list. The defaults for commands that are added: 120 s, at most 600 s if the
    /// model asks for it; an environment of `PATH`, `HOME` and `TMPDIR` (a directory of the
    /// command's own), `LANG` and `TERM`; 600 s of processor time, 4 GiB of data, 1 GiB for each
    /// file, 4,096 processes of the host's user, 1,024 open files; no network.
    #[must_use]
    pub fn none() -> Self {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            allowed: vec![],
            environment: vec![
                variable("PATH", PATH),
                variable("LANG", "C.UTF-8"),
                variable("TERM", "dumb"),
            ],
            readable: vec![],
            writable: vec![],
            network: false,
            timeout: Duration::from_secs(120),
            timeout_max: Duration::from_secs(600),
            limits: Limits {
                cpu_seconds: 600,
                data_bytes: 4 << 30,
                file_bytes: 1 << 30,
                processes: 4_096,
                files: 1_024,
            },
        }
    }

    /// Allows a program with these arguments, followed by any others: `cargo test` allows `cargo
    /// test --lib`, but neither `cargo` nor `cargo tests`. Words are separated by spaces; there is
    /// no quoting.
    #[must_use]
    pub fn allow(mut self, words: &str) -> Self {
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() {
            self.allowed.push(words);
        }
        self
    }

    /// Sets a variable of commands. Nothing is inherited from the host's own environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
        self
    }

    /// Lets commands read and execute files at a path, beside the system's directories.
    #[must_use]
    pub fn readable(mut self, path: impl Into<PathBuf>) -> Self {
        self.readable.push(path.into());
        self
    }

    /// Lets commands change files at a path, beside the workspace.
    #[must_use]
    pub fn writable(mut self, path: impl Into<PathBuf>) -> Self {
        self.writable.push(path.into());
        self
    }

    /// Gives commands access to the network, without any filter.
    #[must_use]
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// Sets how long a command may take: by default, and at most.
    #[must_use]
    pub fn timeout(mut self, default: Duration, max: Duration) -> Self {
        self.timeout = default.min(max);
        self.timeout_max = max;
        self
    }

    /// Sets the bytes of data that each process may have.
    #[must_use]
    pub fn data_bytes(mut self, bytes: u64) -> Self {
        self.limits.data_bytes = bytes;
        self
    }

    /// Sets how many processes and threads the host's user may have in all, including the host's
    /// own. The kernel does not apply it to root.
    #[must_use]
    pub fn processes(mut self, processes: u64) -> Self {
        self.limits.processes = processes;
        self
    }

    /// Whether there are no commands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// Whether a program with these arguments is allowed.
    #[must_use]
    pub fn allows<W: AsRef<str>>(&self, command: &[W]) -> bool {
        let begins = |rule: &Vec<String>| {
            let words = command.iter().map(AsRef::as_ref);
            command.len() >= rule.len() && words.zip(rule).all(|(word, rule)| word == rule)
        };
        self.allowed.iter().any(begins)
    }

    /// The commands, for people.
    pub(super) fn display(&self) -> String {
        let lines = self
            .allowed
            .iter()
            .map(|words| format!("`{}`", words.join(" ")));
        lines.collect::<Vec<_>>().join(", ")
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_begins_with_the_words_of_a_rule() {
        let commands = Commands::none()
            .allow("cargo  test")
            .allow("git status")
            .allow(" ");
        assert!(commands.allows(&["cargo", "test", "a b"]));

        for not in [
            &["cargo"][..],
            &["cargo", "test x"],
            &["cargo test"],
            &["git"],
            &[],
        ] {
            assert!(!commands.allows(not), "{not:?}");
        }

        assert_eq!(commands.display(), "`cargo test`, `git status`");
        assert!(Commands::none().is_empty() && !Commands::none().allows(&["ls"]));
    }

    #[test]
    fn a_variable_is_set_once() {
        let commands = Commands::none()
            .env("PATH", "/a")
            .env("A", "1")
            .env("A", "2");

        let named = |name| {
            let all = commands.environment.iter();
            let values = all.filter(|(known, _)| known == name);
            values.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(named("PATH"), ["/a"]);
        assert_eq!(named("A"), ["2"]);
    }
}
