//! A person at a real terminal: a run of the workbench asks, shows what it would change, and
//! goes on or ends as is typed. Synchronised by what the terminal shows.

use super::served::Served;
use super::{Shell, probe};
use lastword::Archive;
use lastword::event::Seq;
use lastword_tests::check::violations;
use lastword_tests::guests::guest;
use lastword_tests::wat::{Core, costly};
use pty_process::blocking::{self, Pty};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command};

/// What a terminal sends for Ctrl-C.
const INTERRUPT: &[u8] = b"\x03";
/// What the model says: it reads, edits, and explains.
const SCRIPT: &str = r#"
[[reply]]
steps = [{ tool_call = { name = "read_file", arguments = { path = "limit.rs" } } }]

[[reply]]
steps = [{ tool_call = { name = "edit_file", arguments = { path = "limit.rs", old_string = "6 *", new_string = "8 *" } } }]

[[reply]]
steps = [{ text = "I raised it." }]
"#;
const BEFORE: &str = "const TOTAL_MAX: usize = 6 * 1024;\n";

/// A command at a terminal of its own.
struct Seat {
    terminal: Pty,
    child: Child,
    shown: String,
    /// How much of it was waited for.
    seen: usize,
}

impl Seat {
    /// The workbench with a scripted model, where the script finds its file.
    fn take(shell: &Shell) -> Self {
        let model = shell.file("model.toml", SCRIPT);
        let model = format!("scripted:{model}");
        let workbench = guest("workbench");
        let workbench = workbench.to_str().expect("a path of ours");
        let options = ["--model", &model, "--allow", "tools"];
        Self::of(
            shell,
            &[&["run", workbench, "Show the model 8 KiB."], &options[..]].concat(),
        )
    }

    /// A run in the folder of files.
    fn of(shell: &Shell, arguments: &[&str]) -> Self {
        let mut command = shell.command(arguments);
        command.arg("--workspace").arg(files(shell));
        Self::at(160, command)
    }

    /// A command at a window with so many columns.
    fn at(columns: u16, command: Command) -> Self {
        let (terminal, side) = blocking::open().expect("a terminal");
        let size = pty_process::Size::new(50, columns);
        terminal.resize(size).expect("it has a size");
        let child = blocking::Command::from(command).spawn(side);
        let child = child.expect("it starts");
        Self {
            terminal,
            child,
            shown: String::new(),
            seen: 0,
        }
    }

    /// Reads until the terminal shows this, after what was waited for before.
    fn until(&mut self, words: &str) {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.shown[self.seen..].find(words) {
                self.seen += at + words.len();
                return;
            }
            match self.terminal.read(&mut buffer) {
                Ok(read @ 1..) => {
                    let text = String::from_utf8_lossy(&buffer[..read]);
                    self.shown.push_str(&text);
                }
                end => panic!("it ended ({end:?}) without `{words}`:\n{}", self.shown),
            }
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.terminal.write_all(keys).expect("it takes keys");
    }

    /// Reads to the end: what all of it was, and how the command ended.
    fn end(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        // A terminal that no process has open any more ends with an error.
        let _nobody_holds_it = self.terminal.read_to_end(&mut rest);
        self.shown.push_str(&String::from_utf8_lossy(&rest));
        let status = self.child.wait().expect("it ends");
        (self.shown, status.code())
    }
}

fn files(shell: &Shell) -> PathBuf {
    shell.folder.path().join("files")
}

/// The file that the script reads and changes.
fn place(shell: &Shell) {
    std::fs::create_dir(files(shell)).expect("a folder");
    std::fs::write(files(shell).join("limit.rs"), BEFORE).expect("a file");
}

fn code(shell: &Shell) -> String {
    std::fs::read_to_string(files(shell).join("limit.rs")).expect("it is there")
}

#[test]
fn a_change_is_shown_and_made_once_somebody_types_yes() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    place(&shell);
    let mut seat = Seat::take(&shell);
    seat.until("-const TOTAL_MAX: usize = 6");
    seat.until("+const TOTAL_MAX: usize = 8");
    seat.until("[n]o");
    assert_eq!(code(&shell), BEFORE, "not before it is allowed");
    seat.types(b"y\n");
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains("I raised it."), "{shown}");
    assert_eq!(code(&shell), BEFORE.replace('6', "8"));
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn ctrl_c_at_a_question_cancels_the_run() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    place(&shell);
    let mut seat = Seat::take(&shell);
    seat.until("+const TOTAL_MAX: usize = 8");
    seat.until("[n]o");
    seat.types(INTERRUPT);
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(130), "{shown}");
    assert!(shown.contains("cancelled"), "{shown}");
    assert_eq!(code(&shell), BEFORE);
    let open = shell.lastword(&["questions"]).exits(0);
    open.tells(&["no question is open"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn nothing_is_printed_over_an_open_question() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    place(&shell);
    let child = r#"run_agent {"agent":"probe","prompt":"sleep 500"}"#;
    let calls = format!("tools-all ask_user {{\"question\":\"Which?\"}}\n{child}");
    let options = ["--allow", "run-agents", "--deadline", "60s"];
    let mut seat = Seat::of(&shell, &[&["run", &probe(), &calls], &options[..]].concat());
    seat.until("type your answer");
    let archive = Archive::open(&shell.data()).expect("there is a database");
    let has_result = || {
        let sessions = shell.sessions().into_iter();
        let mut logs = sessions.map(|session| archive.events(session.record.id, Seq(0)));
        logs.any(|log| {
            let log = log.expect("events are read");
            log.iter().any(|event| event.body.kind() == "tool.result")
        })
    };
    while !has_result() {}
    seat.types(b"this one\n");
    seat.until("answered: “this one”");
    seat.until("← run_agent");
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(0), "{shown}");
    assert_eq!(shown.matches("answered: “this one”").count(), 1, "{shown}");
}

#[test]
fn an_answer_from_elsewhere_ends_the_question_here() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    place(&shell);
    let mut seat = Seat::of(
        &shell,
        &["run", &probe(), "tool ask_user {\"question\":\"Which?\"}"],
    );
    seat.until("type your answer");
    shell
        .lastword(&["answer", "latest", "text", "that one"])
        .exits(0);
    seat.until("answered elsewhere: “that one”");
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(0), "{shown}");
    assert_eq!(shown.matches("answered").count(), 1, "{shown}");
}

#[test]
fn what_a_question_shows_is_what_is_asked_and_stored() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    place(&shell);
    let name = "a\u{202e}b\u{3164}\r ";
    let content = "one\r\ntwo\rthree\u{202e}\u{34f}\n";
    let call = serde_json::json!({ "path": name, "content": content });
    let mut seat = Seat::of(
        &shell,
        &["run", &probe(), &format!("tool write_file {call}")],
    );
    let escaped = r"a\u{202e}b\u{3164}\u{d}\u{20}";
    seat.until(&format!("wants to: create {escaped}"));
    seat.until(&format!("write-files {escaped}"));
    seat.until(r"+one\u{d}");
    seat.until(r"+two\u{d}three\u{202e}\u{34f}");
    let rule = format!("write-files={escaped}");
    seat.until(&format!("1) {rule}"));
    let whole = shell.lastword(&["questions", "latest"]).exits(0).out;
    assert!(whole.contains(&format!("--rule '{rule}'")), "{whole}");
    shell
        .lastword(&["answer", "latest", "workspace", "--rule", &rule])
        .exits(0)
        .tells(&[&format!("granted {rule}")]);
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(0), "{shown}");
    assert_eq!(
        std::fs::read_to_string(files(&shell).join(name)).unwrap(),
        content
    );
    let grants = shell.lastword(&["grants"]).exits(0).out;
    assert!(grants.contains(&rule), "{grants}");
}

/// What a command prints at a window with so many columns.
fn printed(shell: &Shell, columns: u16, arguments: &[&str]) -> String {
    let (shown, exit) = Seat::at(columns, shell.command(arguments)).end();
    assert_eq!(exit, Some(0), "{shown}");
    shown.replace("\r\n", "\n")
}

#[test]
fn a_list_fits_the_window_and_its_ids_name_what_they_stand_for() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    let title = "日本語の題 ".repeat(10);
    shell.probe(&format!("echo {title}"), &[]).exits(0);
    shell.probe("fail no luck", &[]).exits(1);
    for (command, columns, reader) in [
        ("sessions", 40, "show"),
        ("sessions", 100, "show"),
        ("runs", 40, "follow"),
        ("runs", 80, "follow"),
    ] {
        let shown = printed(&shell, columns, &[command]);
        assert_eq!(shown.lines().count(), 3, "{shown}");
        for line in shown.lines() {
            let wide = line.chars().filter(|c| *c > '\u{2e80}').count();
            let width = line.chars().count() + wide;
            assert!(width <= columns.into(), "{width} of {columns}: {line}");
        }
        let first = shown.lines().nth(1).and_then(|line| line.split(' ').next());
        let first = first.expect("an id");
        assert!(!first.contains('…'), "{shown}");
        let named = shell.lastword(&[reader, first]);
        let told = [named.out, named.err].concat();
        assert!(told.contains("no luck"), "{reader} {first}: {told}");
    }

    assert!(printed(&shell, 40, &["sessions"]).contains("…"));
    let whole = shell.lastword(&["sessions"]).exits(0).out;
    assert!(whole.contains(title.trim()), "{whole}");
    let id = shell.sessions()[0].record.id.to_string();
    assert!(whole.contains(&id), "{whole}");
}

/// Takes a compiler seconds: one function, so that many processors do not help.
#[test]
fn what_is_compiled_is_told_with_its_time() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    let fields = costly(1_500, 4_000);
    let core = Core {
        fields: &fields,
        ..Core::default()
    };
    let file = shell.file("slow.wasm", core.component());
    let cache = shell.home.path().join("cache");
    let check = ["check", &file, "--cache-dir", cache.to_str().unwrap()];
    let mut seat = Seat::at(160, shell.command(&check));
    seat.until("compiling slow …");
    seat.until("compiled slow in ");
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(0), "{shown}");
    let again = printed(&shell, 160, &check);
    assert!(!again.contains("compiling"), "{again}");
}

#[test]
fn a_second_ctrl_c_says_that_it_leaves_the_run() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    place(&shell);
    let mut seat = Seat::of(&shell, &["run", &probe(), "spin before", "--grace", "60s"]);
    seat.until("before");
    seat.types(INTERRUPT);
    seat.until("Ctrl-C again leaves at once");
    seat.types(INTERRUPT);
    seat.until("a second signal: leaving at once");
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(130), "{shown}");
}

#[test]
fn a_run_that_no_host_goes_on_with_says_how_to_go_on() {
    let shell = Shell::new().variable("NO_COLOR", "1");
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    let waits = ["--detach", "--session", "latest"];
    let waits = shell.probe("echo waited", &waits).exits(0);
    served.end();
    let follow = shell.command(&["follow", waits.out.trim()]);
    let mut seat = Seat::at(160, follow);
    seat.until("is held");
    seat.until("lastword resume");
    let (shown, exit) = seat.end();
    assert_eq!(exit, Some(1), "{shown}");
}
