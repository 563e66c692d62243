//! Commands that are sent to the process that owns the data directory: a run that is shown by
//! another process, one that is stopped from another terminal, and the message if there is no way
//! to reach the owner.

use super::served::Served;
use super::{Shell, probe};
use lastword_tests::check::violations;
use std::net::TcpListener;

#[test]
fn ctrl_c_stops_a_run_elsewhere_and_tells_the_receipt() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let mut run = shell.start("spin before", &["-v"]);
    run.until("before");
    run.signal("INT");
    let done = run.end().exits(130);
    assert_eq!(done.out, "before");
    done.tells(&["cancelled", "cause user", "stopped in", "6 bytes of text"]);
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_reader_that_goes_away_ends_a_run_elsewhere() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let mut run = shell.start("spin before", &["--json"]);
    run.until("\"text\":\"before\"");
    run.hang_up();
    run.end().exits(130);
    assert!(shell.newest().0[0].receipt.is_some());
    served.end();
}

#[test]
fn json_is_the_log_from_afar_too() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let done = shell.probe("two-steps", &["--json"]).exits(0);
    let (runs, events) = shell.newest();
    let events = events.iter().filter(|event| event.run == Some(runs[0].id));
    let lines: Vec<String> = events
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    assert_eq!(done.out.lines().collect::<Vec<_>>(), lines);
    served.end();
}

#[test]
fn a_run_ends_with_its_host_and_says_so() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    served.end();
    run.end().exits(1).tells(&["interrupted", "cause shutdown"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_key_starts_a_run_once_from_afar_too() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    shell.probe("echo begin", &[]).exits(0);
    let again = ["--session", "latest", "--key", "k1", "--json"];
    let first = shell.probe("echo once", &again).exits(0);
    let second = shell.probe("echo once", &again).exits(0);
    assert_eq!(first.out, second.out);
    shell
        .probe("echo twice", &again)
        .exits(2)
        .tells(&["idempotency key"]);
    let other = [&again[..2], &["--name", "somebody"]].concat();
    shell
        .probe("echo x", &other)
        .exits(2)
        .tells(&["belongs to"]);
    assert_eq!(shell.newest().0.len(), 2);
    served.end();
}

#[test]
fn the_command_that_owns_the_directory_is_found() {
    let shell = Shell::new();
    let mut owner = shell.start("spin before", &[]);
    owner.until("before");
    let first = shell.sessions()[0].record.id.to_string();
    assert_eq!(shell.probe("echo beside", &[]).exits(0).out, "beside");
    let done = shell.lastword(&["cancel", &first]).exits(0);
    assert!(done.out.contains("cancelled · cause user"), "{done:?}");
    owner.end().exits(130).tells(&["cause user"]);
    let idle = shell.lastword(&["cancel", &first]).exits(0);
    idle.tells(&["nothing runs there"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn the_owner_waits_for_runs_of_others() {
    let shell = Shell::new();
    let mut owner = shell.start("spin mine", &[]);
    owner.until("mine");
    let mut other = shell.start("spin theirs", &[]);
    other.until("theirs");
    owner.signal("INT");
    owner.until_told("waiting for 1 run of another client");
    owner.signal("INT");
    owner.end().exits(130);
    other.end().exits(1).tells(&["cause shutdown"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_long_path_to_the_socket_is_no_hindrance() {
    let shell = Shell::new();
    let long = shell
        .folder
        .path()
        .join("d".repeat(120))
        .join("e".repeat(120));
    let shell = shell.variable("LASTWORD_DATA_DIR", long.to_str().unwrap());
    let served = Served::start(&shell, &[]);
    assert_eq!(shell.probe("echo x", &[]).exits(0).out, "x");
    served.end();
}

#[test]
fn what_the_owner_decides_is_refused() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    for (options, word) in [
        (["--model", "ollama:x"], "--allow model"),
        (["--memory", "1MiB"], "--memory"),
        (["--grace", "1s"], "--grace"),
        (["--deadline", "none"], "--deadline 2h"),
    ] {
        let done = shell.probe("echo x", &options).exits(2);
        done.tells(&["to decide", word]);
    }
    assert!(shell.sessions().is_empty());
    served.end();
    shell
        .probe("echo x", &["--detach"])
        .exits(2)
        .tells(&["lastword serve"]);
    assert!(shell.sessions().is_empty());
}

#[test]
fn required_capabilities_are_asked_for_from_afar_too() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let census = super::agent("census");
    let done = shell.lastword(&["run", &census]).exits(3);
    done.tells(&["read-files", "--workspace DIRECTORY", "nothing was run"]);
    // The model is the server's own, so that naming one is refused.
    let researcher = super::agent("researcher");
    let done = shell.lastword(&["run", &researcher, "x"]).exits(3);
    let done = done.tells(&["model (", "grant it with `--allow model`"]);
    assert!(!done.err.contains("--model"), "{done:?}");
    assert!(shell.sessions().is_empty());
    shell.file("one.txt", "a\nb\n");
    let done = shell
        .lastword(&["run", &census, "--workspace", "."])
        .exits(0);
    assert!(done.out.contains("Census"), "{done:?}");
    served.end();
}

#[test]
fn there_is_no_way() {
    let shell = Shell::new();
    for (address, word) in [
        ("127.0.0.1:8020", "--server http://127.0.0.1:8020"),
        ("http://", "no address of a lastword server"),
        ("ftp://localhost", "must begin with http://"),
    ] {
        let done = shell.probe("echo x", &["--server", address]).exits(2);
        done.tells(&[word]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for command in [
        &["run", &probe(), "echo x"][..],
        &["sessions"],
        &["cancel", "latest"],
    ] {
        let done = shell
            .lastword(&[command, &["--server", &gone]].concat())
            .exits(2);
        done.tells(&["cannot reach a lastword server", &gone, "lastword serve"]);
    }
    assert!(shell.sessions().is_empty());
}

#[test]
fn what_answers_may_be_something_else() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let _asked = stream.read(&mut head);
            let page = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
            let _hung_up = stream.write_all(page.as_bytes());
        }
    });
    let shell = Shell::new();
    let sessions = |address: &str| shell.lastword(&["sessions", "--server", address]).exits(2);
    sessions(&address).tells(&["is no lastword server", "check the address"]);
    let secure = address.replace("http:", "https:");
    sessions(&secure).tells(&["does not speak TLS", &secure, "write `http:`"]);
}

#[test]
fn an_address_that_is_not_the_servers_is_told_as_such() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let url = served.text("url");
    let beside = format!("{url}/elsewhere");
    let asked = |address: &str| shell.lastword(&["sessions", "--server", address]).exits(2);
    asked(&beside).tells(&["has no such request", "check the address"]);
    asked(url.trim_start_matches("http://")).tells(&["begin with http://", "`--server http://"]);
    let none = ["sessions", "--server", url, "--token-file", "nowhere"];
    let none = shell.lastword(&none).exits(2);
    none.tells(&["nowhere", "`--token-file`", "LASTWORD_TOKEN"]);
    served.end();
}

#[test]
fn sigterm_to_the_owner_tells_those_who_follow() {
    let shell = Shell::new();
    let mut owner = shell.start("spin mine", &[]);
    owner.until("mine");
    let mut other = shell.start("spin theirs", &[]);
    other.until("theirs");
    owner.signal("TERM");
    owner.end().exits(130).tells(&["cause shutdown"]);
    other.end().exits(1).tells(&["cause shutdown"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_follower_outlives_its_host() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let address = served.text("url").to_owned();
    let mut run = shell.start("spin before", &["--server", &address]);
    run.until("before");
    served.started.signal("KILL");
    drop(served);
    let address = address.trim_start_matches("http://");
    let served = Served::at(&shell, address, &[]);
    let done = run.end().exits(1);
    assert_eq!(done.out, "before");
    done.tells(&["interrupted", "cause host-crash"])
        .tells(&[&format!(
            "the connection to http://{address} is lost; trying again"
        )]);
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn a_run_that_lost_its_host_says_where_to_look() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    let mut follower = shell.spawn(&["follow"]);
    follower.until("before");
    served.started.signal("KILL");
    drop(served);
    for attached in [run, follower] {
        attached.end().exits(1).tells(&[
            "is lost; trying again",
            "is out of sight",
            "lastword show",
        ]);
    }
    shell
        .probe("echo x", &[])
        .exits(0)
        .tells(&["recovered 1 run"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}
