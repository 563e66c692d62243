//! The binary `lastword`, driven as a shell drives it, with a data directory for each test.
//! Synchronised by what it prints, never by time; knows nothing of the binary's modules.

mod attached;
mod attachments;
mod bad_agents;
mod bad_input;
mod blocked;
mod compiling;
mod doctor;
mod ends;
mod files;
mod first;
mod folded;
mod follow;
mod interrupts;
mod kept;
mod later;
mod lists;
mod manual;
mod mcp;
mod models;
mod permissions;
mod questions;
mod reading;
mod resources;
mod served;
mod settings;
mod starts;
mod telemetry;
mod terminal;

use lastword::event::{Event, Seq};
use lastword::{Archive, OpenError, RunRow, SessionRow};
use lastword_tests::guests::{guest, root};
use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The binary, built once per process by cargo itself, in the profile of the tests, with the export
/// of traces that [`telemetry`] is about.
fn binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--bin", "lastword"]);
        cargo.args(["--features", "lastword-cli/otlp"]);
        cargo.arg("--message-format=json-render-diagnostics");
        let tests = std::env::current_exe().expect("a process knows its file");
        if tests.components().any(|part| part.as_os_str() == "release") {
            cargo.arg("--release");
        }
        // What cargo says of the tests would make build scripts that look at it run again.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        let built = cargo.current_dir(root()).stderr(Stdio::inherit());
        let built = built.output().expect("cargo runs");
        assert!(built.status.success(), "the command line does not build");
        let lines = String::from_utf8(built.stdout).expect("cargo writes UTF-8");
        let messages = lines.lines().map(serde_json::from_str::<serde_json::Value>);
        let mut executables = messages
            .map(|message| message.expect("cargo writes JSON"))
            .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        executables
            .rfind(|file| file.file_stem() == Some(OsStr::new("lastword")))
            .expect("cargo names the binary")
    };
    BUILT.get_or_init(build).clone()
}

/// A user's machine: a folder to stand in, a home with a data directory, and nothing else that is
/// known.
struct Shell {
    folder: TempDir,
    home: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What came of a command.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Shell {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for temporary files"),
            home: tempfile::tempdir().expect("a folder for temporary files"),
            variables: Vec::new(),
        }
    }

    /// With a variable of the environment.
    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Writes the user's own settings.
    fn own_settings(&self, content: &str) {
        let folder = self.home.path().join("config/lastword");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(folder.join("config.toml"), content).expect("a file can be written");
    }

    /// Writes a file into the folder and answers its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path.to_str().expect("a path of ours").to_owned()
    }

    fn prepare(&self, mut command: Command) -> Command {
        for name in ["OPENAI", "ANTHROPIC", "GEMINI", "OLLAMA"] {
            command.env_remove(format!("{name}_API_KEY"));
            command.env_remove(format!("{name}_BASE_URL"));
        }
        for (name, _) in std::env::vars() {
            if name.starts_with("OTEL_") || name.starts_with("LASTWORD_") {
                command.env_remove(name);
            }
        }
        command
            .env_remove("RUST_LOG")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("LASTWORD_DATA_DIR", self.data())
            .env(
                "LASTWORD_CACHE_DIR",
                root().join("target/lastword-test-cache"),
            )
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.prepare(Command::new(binary()));
        command.args(arguments);
        command
    }

    fn lastword(&self, arguments: &[&str]) -> Done {
        Done::from(self.command(arguments).output().expect("lastword starts"))
    }

    /// Runs the probe guest.
    fn probe(&self, prompt: &str, options: &[&str]) -> Done {
        self.lastword(&[&["run", &probe(), prompt], options].concat())
    }

    /// Runs the probe guest and stays with it.
    fn start(&self, prompt: &str, options: &[&str]) -> Started {
        self.spawn(&[&["run", &probe(), prompt], options].concat())
    }

    /// Starts a command and stays with it.
    fn spawn(&self, arguments: &[&str]) -> Started {
        Started::of(self.command(arguments))
    }

    /// What the data directory holds, newest first.
    fn sessions(&self) -> Vec<SessionRow> {
        match Archive::open(&self.data()) {
            Ok(archive) => archive.sessions(None, u32::MAX).expect("sessions are read"),
            Err(OpenError::Missing { .. }) => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    /// The runs of the newest session, and its log.
    fn newest(&self) -> (Vec<RunRow>, Vec<Event>) {
        let archive = Archive::open(&self.data()).expect("there is a database");
        let session = self.sessions().remove(0).record.id;
        let runs = archive.runs(session).expect("runs are read");
        let events = archive.events(session, Seq(0)).expect("events are read");
        (runs, events)
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let done = Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            err: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        };
        assert!(!done.err.contains("panicked at host"), "{done:?}");
        done
    }
}

impl Done {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Standard error holds each of these.
    #[track_caller]
    fn tells(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing: {self:?}");
        }
        self
    }
}

/// A command that is under way. It is killed if a test fails before its end.
struct Started {
    child: Option<Child>,
    out: Option<ChildStdout>,
    read: String,
}

impl Started {
    /// Starts a command and stays with it.
    fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        Self {
            out: child.stdout.take(),
            child: Some(child),
            read: String::new(),
        }
    }

    /// Reads standard output until it holds this.
    #[track_caller]
    fn until(&mut self, words: &str) {
        let out = self.out.as_mut().expect("stdout is open");
        let mut byte = [0];
        let mut bytes = std::mem::take(&mut self.read).into_bytes();
        while !bytes.ends_with(words.as_bytes()) {
            let read = out.read(&mut byte).expect("stdout is read");
            let so_far = String::from_utf8_lossy(&bytes);
            assert!(read > 0, "it ended after `{so_far}`, without `{words}`");
            bytes.push(byte[0]);
        }
        self.read = String::from_utf8(bytes).expect("UTF-8 on stdout");
    }

    /// Reads standard error until it holds this.
    #[track_caller]
    fn until_told(&mut self, words: &str) {
        self.until_told_into(words, &mut String::new());
    }

    /// The same, and answers what was read.
    #[track_caller]
    fn until_told_into(&mut self, words: &str, told: &mut String) {
        let err = self.child.as_mut().and_then(|child| child.stderr.as_mut());
        let err = err.expect("stderr is open");
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(words.as_bytes()) {
            let read = err.read(&mut byte).expect("stderr is read");
            let so_far = String::from_utf8_lossy(&bytes);
            assert!(read > 0, "it ended after `{so_far}`, without `{words}`");
            bytes.push(byte[0]);
        }
        told.push_str(&String::from_utf8_lossy(&bytes));
    }

    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill")
            .args([format!("-{name}"), child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Closes standard output as a reader that has seen enough.
    fn hang_up(&mut self) {
        self.out = None;
    }

    /// Waits for the end.
    fn end(mut self) -> Done {
        let mut child = self.child.take().expect("it runs");
        let mut rest = String::new();
        if let Some(mut out) = self.out.take() {
            out.read_to_string(&mut rest).expect("stdout is read");
        }
        child.stdout = None;
        let output = child.wait_with_output().expect("it ends");
        let mut done = Done::from(output);
        done.out = format!("{}{rest}", self.read);
        done
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ended_already = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn probe() -> String {
    agent("probe")
}

fn agent(package: &'static str) -> String {
    guest(package).to_str().expect("a path of ours").to_owned()
}
