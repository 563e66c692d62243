//! `lastword serve`: when it is ready, whom it lets in, how it ends, and what it never forgets.

use super::{Done, Shell, Started, probe};
use lastword::{Archive, Cause, RunState};
use lastword_tests::check::violations;
use lastword_tests::locked::Locked;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

/// A server under way.
pub(super) struct Served {
    pub(super) started: Started,
    pub(super) ready: Value,
}

impl Served {
    /// Starts one on a free port, and waits until it is ready.
    pub(super) fn start(shell: &Shell, options: &[&str]) -> Self {
        Self::at(shell, "127.0.0.1:0", options)
    }

    /// The same at an address.
    pub(super) fn at(shell: &Shell, address: &str, options: &[&str]) -> Self {
        let serve = ["serve", "--json", "--listen", address];
        Self::ready(shell.spawn(&[&serve, options].concat()))
    }

    /// Waits until one that says it in JSON is ready.
    pub(super) fn ready(mut started: Started) -> Self {
        started.until("}\n");
        let ready: Value = serde_json::from_str(&started.read).expect("a JSON line");
        assert_eq!(ready["type"], "ready");
        Self { started, ready }
    }

    pub(super) fn text(&self, member: &str) -> &str {
        self.ready[member].as_str().expect("a text")
    }

    /// Ends it in order.
    pub(super) fn end(self) -> Done {
        self.started.signal("TERM");
        self.started.end().exits(0)
    }
}

#[test]
fn it_says_that_it_is_ready_serves_and_ends_in_order() {
    let shell = Shell::new();
    let served = Served::start(&shell, &["--agent", &format!("echo={}", probe())]);
    let token = std::fs::metadata(served.text("token_file")).unwrap();
    assert_eq!(token.permissions().mode() & 0o777, 0o600);

    // Through the socket in the data directory.
    let done = shell.probe("echo by socket", &[]).exits(0);
    assert_eq!(done.out, "by socket");
    done.tells(&["completed", "cause returned", "go on with --session"]);
    let again = shell.probe("history", &["--session", "latest"]).exits(0);
    assert!(again.out.starts_with("user: echo by socket\n"), "{again:?}");

    // From elsewhere, with the token.
    let other = Shell::new();
    let server = ["--server", served.text("url")];
    let options = [&server[..], &["--token-file", served.text("token_file")]].concat();
    let done = other.probe("echo by address", &options).exits(0);
    assert_eq!(done.out, "by address");
    assert!(!other.data().exists(), "a client made a data directory");
    let token = std::fs::read_to_string(served.text("token_file")).unwrap();
    let other = other.variable("LASTWORD_TOKEN", token);
    assert_eq!(other.probe("echo again", &server).exits(0).out, "again");

    let socket = served.text("socket").to_owned();
    served.end().tells(&[
        "listening on http://127.0.0.1:",
        "shutting down: nothing runs",
    ]);
    assert!(!std::path::Path::new(&socket).exists());
    assert_eq!(violations(&shell.data()), [""; 0]);
    assert_eq!(shell.probe("echo alone", &[]).exits(0).out, "alone");
}

#[test]
fn a_run_outlives_its_client_and_ends_with_the_host() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let run = shell.probe("spin before", &["--detach"]).exits(0);
    run.tells(&["goes on without this command", "lastword cancel"]);
    served.end().tells(&["stopping 1 run"]);
    let run = shell.newest().0.remove(0);
    assert_eq!(run.receipt.unwrap().cause, "shutdown");
    assert_eq!(violations(&shell.data()), [""; 0]);
}

/// Runs that compute, that wait in a host call, and that have not begun: each gets one end, or
/// stays queued, and nothing that was said is lost.
#[test]
fn a_signal_under_load_cuts_nothing_off() {
    const ACTIVE: usize = 8;
    let shell = Shell::new();
    let served = Served::start(&shell, &["--concurrent-runs", "8"]);
    for n in 0..ACTIVE {
        let prompt = if n % 4 == 0 {
            "spin before"
        } else {
            "sleep 3600000"
        };
        shell.probe(prompt, &["--detach"]).exits(0);
        let behind = ["--detach", "--session", "latest"];
        shell.probe("echo waits", &behind).exits(0);
    }
    served.end().tells(&["stopping 8 runs"]);
    let archive = Archive::open(&shell.data()).unwrap();
    let (mut interrupted, mut queued) = (0, 0);
    for session in shell.sessions() {
        for run in archive.runs(session.record.id).unwrap() {
            match run.state {
                RunState::Interrupted => interrupted += 1,
                RunState::Queued => queued += 1,
                other => panic!("{other}: {run:?}"),
            }
            let cause = run.receipt.as_ref().map(|receipt| &receipt.cause);
            assert!(
                cause.is_none_or(|cause| *cause == Cause::Shutdown),
                "{run:?}"
            );
        }
    }
    assert_eq!((interrupted, queued), (ACTIVE, ACTIVE));
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_second_signal_leaves_at_once() {
    let shell = Shell::new();
    let mut served = Served::start(&shell, &["--drain", "1h"]);
    shell.probe("spin before", &["--detach"]).exits(0);
    served.started.signal("TERM");
    served.started.until_told("a second signal leaves at once");
    served.started.signal("TERM");
    let left = served.started.end().exits(130);
    left.tells(&["a second signal: leaving at once"]);
    shell
        .probe("echo x", &[])
        .exits(0)
        .tells(&["recovered 1 run"]);
}

#[test]
fn what_was_accepted_is_never_forgotten() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    let next = shell
        .probe("echo waited", &["--detach", "--session", "latest"])
        .exits(0);
    let next = next.out.trim().to_owned();
    served.started.signal("KILL");
    drop(served);

    let mut served = Served::start(&shell, &[]);
    served.started.until_told("going on with 1 prompt");
    // The same session waits its turn: whatever goes on there is over then.
    let latest = ["--session", "latest"];
    shell.probe("echo after", &latest).exits(0);
    served.end();
    let runs = shell.newest().0;
    assert_eq!(runs[0].receipt.as_ref().unwrap().cause, "host-crash");
    assert_eq!(
        (runs[1].id.to_string(), runs[1].state),
        (next, RunState::Completed)
    );
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn what_is_held_goes_on_once_its_workspace_is_open() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("spin before", &["--detach"]).exits(0);
    let latest = ["--session", "latest"];
    let detached = [&latest[..], &["--detach"]].concat();
    shell.probe("echo waited", &detached).exits(0);
    served.end();

    let served = Served::start(&shell, &[]);
    shell.probe("echo opens it", &latest).exits(0);
    // Whatever goes on there is over before the queue is empty.
    while !shell.lastword(&["queue"]).exits(0).out.is_empty() {}
    let history = shell.probe("history", &latest).exits(0).out;
    assert!(history.contains("assistant: waited\n"), "{history}");
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn it_ends_when_nobody_is_there() {
    let shell = Shell::new();
    let idle = ["serve", "--listen", "none", "--exit-when-idle=0s"];
    shell.lastword(&idle).exits(0).tells(&["nobody is here"]);
    // Whoever asks in time is waited for.
    let mut served = shell.spawn(&["serve", "--listen", "none", "--exit-when-idle=4s"]);
    served.until_told("socket ");
    assert_eq!(shell.probe("echo x", &[]).exits(0).out, "x");
    served.end().exits(0);
}

#[test]
fn a_server_lets_in_nobody_by_mistake() {
    let shell = Shell::new();
    let open = ["serve", "--no-token", "--listen", "0.0.0.0:0"];
    shell
        .lastword(&open)
        .exits(2)
        .tells(&["other machines", "--no-token"]);
    let token = shell.file("token", "0123456789012345678901234567890123456789\n");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    let wide = ["serve", "--listen", "127.0.0.1:0", "--token-file", &token];
    shell
        .lastword(&wide)
        .exits(2)
        .tells(&["can be read by others", "chmod 600"]);

    let served = Served::start(&shell, &[]);
    let server = ["--server", served.text("url")];
    let stranger = Shell::new();
    let none = stranger.probe("echo x", &server).exits(2);
    none.tells(&["does not let you in", "--token-file", "LASTWORD_TOKEN"]);
    let stranger = stranger.variable("LASTWORD_TOKEN", "not-the-token-of-this-server-at-all");
    let wrong = stranger.probe("echo x", &server).exits(2);
    wrong.tells(&["this is not the server's token"]);
    served.end();
}

#[test]
fn without_a_token_this_machine_is_let_in() {
    let shell = Shell::new();
    let others = "--on-last-client=cancel --concurrent-runs=2 --streams=8 --retention=30d \
                  --allow-host=x.test";
    let others: Vec<&str> = others.split(' ').chain(["--no-token"]).collect();
    let served = Served::start(&shell, &others);
    assert!(served.ready["token_file"].is_null());
    let other = Shell::new();
    let done = other.probe("echo x", &["--server", served.text("url")]);
    assert_eq!(done.exits(0).out, "x");
    served.end();
}

#[test]
fn over_tcp_only_roots_become_workspaces() {
    let shell = Shell::new();
    for folder in ["inside", "outside"] {
        std::fs::create_dir(shell.folder.path().join(folder)).unwrap();
    }
    shell.file("inside/file", "found");
    let served = Served::start(&shell, &["--root", "inside"]);
    let server = ["--server", served.text("url")];
    let read = |folder: &str| {
        let options = [&server[..], &["--workspace", folder]].concat();
        shell.probe("read /workspace/file", &options)
    };
    assert_eq!(read("inside").exits(0).out, "found");
    read("outside").exits(2).tells(&["outside", "--root"]);
    served.end();
}

#[test]
fn what_is_taken_is_said() {
    let shell = Shell::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let done = shell.lastword(&["serve", "--listen", &taken]).exits(2);
    done.tells(&[&taken, "in use", "--listen"]);
    let served = Served::start(&shell, &[]);
    let again = shell.lastword(&["serve", "--listen", "none"]).exits(2);
    again.tells(&["has an owner already", "--data-dir"]);
    served.end();
    let nowhere = shell.lastword(&["serve", "--listen", "here"]).exits(2);
    nowhere.tells(&["`here` is no address", "127.0.0.1:8020"]);
    let no_root = shell.lastword(&["serve", "--root", "nowhere"]).exits(2);
    no_root.tells(&["nowhere", "as a root"]);
}

#[test]
fn settings_of_the_folder_let_nobody_in() {
    let shell = Shell::new();
    for line in [
        "listen = '0.0.0.0:8020'",
        "token_file = 'token'",
        "no_token = true",
        "root = ['/']",
        "allow_host = ['example.org']",
        "agents = { x = 'x.wasm' }",
        "retention = '1s'",
    ] {
        shell.file("lastword.toml", format!("[serve]\n{line}\n"));
        let done = shell.lastword(&["serve"]).exits(2);
        let word = line.split(' ').next().unwrap();
        done.tells(&[word, "--config-file lastword.toml"]);
    }
    let agents = format!("agents = {{ echo = '{}' }}", probe());
    let text = format!("[serve]\nlisten = 'none'\nexit_when_idle = '0s'\n{agents}\n");
    let file = shell.file("serve.toml", text);
    std::fs::remove_file(shell.folder.path().join("lastword.toml")).unwrap();
    shell.lastword(&["serve", "--config-file", &file]).exits(0);
}

/// A service manager: the socket at which it is told, in the environment of what it starts.
struct Manager(UnixDatagram);

impl Manager {
    fn starts(shell: Shell) -> (Self, Shell) {
        let path = shell.folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let shell = shell.variable("NOTIFY_SOCKET", path.to_str().expect("a path of ours"));
        (Self(socket), shell)
    }

    /// The next message; waits for it.
    fn told(&self) -> String {
        let mut message = [0; 256];
        let length = self.0.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// The messages that have arrived by now.
    fn told_by_now(&self) -> Vec<String> {
        let mut arrived = Vec::new();
        let mut message = [0; 256];
        self.0.set_nonblocking(true).expect("a socket");
        while let Ok(length) = self.0.recv(&mut message) {
            arrived.push(String::from_utf8_lossy(&message[..length]).into_owned());
        }
        self.0.set_nonblocking(false).expect("a socket");
        arrived
    }
}

#[test]
fn the_service_manager_is_told() {
    let (manager, shell) = Manager::starts(Shell::new());
    let served = Served::start(&shell, &[]);
    assert_eq!(manager.told(), "READY=1\n");
    served.end();
    assert_eq!(manager.told(), "STOPPING=1\n");
}

/// What `/v1/health` says at a server.
fn health(served: &Served) -> String {
    let address = served.text("url").trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it is accepted");
    let request = b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    answer
}

#[test]
fn the_watchdog_is_told_as_long_as_the_host_answers() {
    let (manager, shell) = Manager::starts(Shell::new());
    let shell = shell.variable("WATCHDOG_USEC", "1000000");
    let served = Served::start(&shell, &[]);
    assert_eq!(manager.told(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1\n");
    }

    let locked = Locked::hold(&shell.data());
    let answer = health(&served);
    assert!(answer.contains("cannot-write"), "{answer}");
    // A host that cannot write answers: it is not to be ended for that.
    let _sent_before_it_was_locked = manager.told_by_now();
    assert_eq!(manager.told(), "WATCHDOG=1\n");
    locked.release();
    assert_eq!(manager.told(), "WATCHDOG=1\n");
    served.end();
    while manager.told() != "STOPPING=1\n" {}
}

#[test]
fn the_watchdog_of_another_process_is_not_told() {
    let (manager, shell) = Manager::starts(Shell::new());
    for (usec, pid) in [("1000", "1"), ("0", ""), ("soon", "")] {
        let shell = Shell::new()
            .variable("NOTIFY_SOCKET", shell.variables[0].1.clone())
            .variable("WATCHDOG_USEC", usec)
            .variable("WATCHDOG_PID", pid);
        let served = Served::start(&shell, &[]);
        shell.probe("echo x", &[]).exits(0);
        served.end();
        let told = manager.told_by_now();
        assert_eq!(told, ["READY=1\n", "STOPPING=1\n"], "{usec} {pid}");
    }
}
