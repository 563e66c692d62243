//! What a person can get wrong on the command line and around it: exit code 2, what to do about
//! it, and nothing half in the store.

use super::{Done, Shell, probe};
use lastword_tests::fixture;
use lastword_tests::locked::Locked;
use std::process::Command;

/// Runs the probe with options that are refused, once with an untouched data directory.
#[track_caller]
fn refused(shell: &Shell, options: &[&str], words: &[&str]) {
    let before = shell.sessions().len();
    let done = shell.probe("echo x", options).exits(2).tells(words);
    assert!(done.tells(&["error: "]).out.is_empty());
    assert_eq!(shell.sessions().len(), before, "a session was begun");
}

#[test]
fn options_that_say_nothing() {
    let shell = Shell::new();
    for (options, words) in [
        (
            ["--deadline", "soon"],
            &["`soon` is no deadline", "30s"][..],
        ),
        (["--deadline", "0s"], &["no deadline"]),
        (["--deadline", "30"], &["no deadline"]),
        (["--grace", "a while"], &["no length of time", "500ms"]),
        (["--memory", "much"], &["no amount of memory", "64MiB"]),
        (["--memory", "1GiB"], &["64KiB to 128MiB"]),
        (
            ["--allow", "everything"],
            &["no capability `everything`", "read-files, write-files"],
        ),
        (
            ["--allow", "raed-files"],
            &["no capability `raed-files` (did you mean `read-files`?)"],
        ),
        (
            ["--allow", "write-files"],
            &["without a workspace", "--workspace"],
        ),
        (
            ["--config", "{depth: 2}"],
            &["--config", "not JSON", "@FILE"],
        ),
        (["--config", "@none.json"], &["none.json"]),
        (["--name", ""], &["1 to 128 bytes"]),
        (["--key", "k"], &["--session"]),
        (["--what", "x"], &["--what", "--help"]),
        (
            ["--workspace", "nowhere"],
            &["nowhere", "as the workspace", "that you can read"],
        ),
        (
            ["--config-file", "none.toml"],
            &["none.toml", "--config-file"],
        ),
    ] {
        refused(&shell, &options, words);
    }
}

#[test]
fn a_setting_that_is_not_known_names_the_one_that_was_meant() {
    let shell = Shell::new();
    for (text, meant) in [
        ("[run]\nmodle = 'ollama:x'\n", "(did you mean `model`?)"),
        ("[permisions]\ndeny = []\n", "(did you mean `permissions`?)"),
        (
            "[serve]\non_last_client = 'cancle'\n",
            "(did you mean `cancel`?)",
        ),
    ] {
        shell.file("lastword.toml", text);
        refused(&shell, &[], &[meant]);
    }
    shell.file("lastword.toml", "[run]\nxyzzy = 1\n");
    let done = shell.probe("echo x", &[]).exits(2);
    assert!(!done.err.contains("did you mean"), "{done:?}");
}

#[test]
fn a_file_is_no_workspace() {
    let shell = Shell::new();
    let file = shell.file("file.txt", "x");
    refused(
        &shell,
        &["--workspace", &file],
        &["file.txt", "Not a directory"],
    );
}

#[test]
fn a_workspace_that_holds_the_sessions() {
    let shell = Shell::new();
    let home = shell.home.path().to_str().unwrap();
    let words = ["agents could read and change them", "--data-dir"];
    refused(&shell, &["--workspace", home], &words);
    let served = super::served::Served::start(&shell, &["--root", home]);
    refused(&shell, &["--workspace", home], &words[..1]);
    served.end();
    // Where people stand, sessions are elsewhere.
    let mut usual = shell.command(&["run", &probe(), "echo here", "--workspace", "."]);
    let done = usual
        .env_remove("LASTWORD_DATA_DIR")
        .env_remove("XDG_DATA_HOME")
        .env("HOME", shell.home.path())
        .output();
    let done = Done::from(done.unwrap()).exits(0);
    assert_eq!(done.out, "here");
}

#[test]
fn a_workspace_that_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let shell = Shell::new();
    let closed = shell.folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).unwrap();
    // Root reads everything.
    if std::fs::read_dir(&closed).is_err() {
        refused(
            &shell,
            &["--workspace", "closed"],
            &["closed", "Permission denied"],
        );
    }
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn sessions_that_are_not_there() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    let unknown = "01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55";
    for (word, words) in [
        (
            unknown,
            &["there is no session 01990b6e", "lastword sessions"][..],
        ),
        ("01990b6e", &["there is no session", "lastword sessions"]),
        ("not an id", &["is not a session id", "latest"]),
        ("", &["is not a session id"]),
        ("012", &["is not a session id"]),
    ] {
        refused(&shell, &["--session", word], words);
        shell.lastword(&["show", word]).exits(2).tells(words);
    }

    let (runs, _) = shell.newest();
    let (run, session) = (runs[0].id.to_string(), shell.sessions()[0].record.id);
    let told = shell.lastword(&["show", &run]).exits(2);
    told.tells(&[
        &format!("is a run of the session {session}"),
        "lastword follow",
    ]);
    let told = shell.lastword(&["answer", unknown, "yes"]).exits(2);
    told.tells(&["there is no question", "`lastword questions`"]);
}

#[test]
fn a_session_of_another_agent_or_place() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    let latest = ["--session", "latest"];
    let other = [&latest[..], &["--name", "somebody"]].concat();
    refused(
        &shell,
        &[&other[..], &["--workspace", "."]].concat(),
        &["belongs to"],
    );
    let elsewhere = [&latest[..], &["--workspace", "."]].concat();
    refused(&shell, &elsewhere, &["belongs to", "without `--workspace`"]);
    let done = shell.probe("echo x", &other).exits(2);
    let done = done.tells(&["belongs to the agent `probe`", "`--name probe`"]);
    assert!(!done.err.contains("--workspace"), "{done:?}");
}

#[test]
fn nothing_to_ask() {
    let shell = Shell::new();
    for prompt in [&["run"][..], &["run", "  \n"]] {
        let probe = probe();
        let mut arguments = vec![prompt[0], &probe];
        arguments.extend(prompt.get(1));
        let done = shell.lastword(&arguments).exits(2);
        done.tells(&["the prompt is empty", "lastword run AGENT"]);
    }
    assert!(shell.sessions().is_empty());
}

#[tokio::test]
async fn a_data_directory_that_is_in_use() {
    let shell = Shell::new();
    let host = fixture::builder(shell.home.path()).build().await.unwrap();
    let pid = std::process::id().to_string();
    refused(&shell, &[], &["in use by another host", &pid, "--data-dir"]);
    shell.lastword(&["sessions"]).exits(0);
    host.shutdown().await;
    shell.probe("echo x", &[]).exits(0);
}

#[test]
fn a_newer_database() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    let database = rusqlite::Connection::open(shell.data().join("lastword.db")).unwrap();
    let format = database.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    database.pragma_update(None, "user_version", 99).unwrap();
    for arguments in [&["run", &probe(), "echo x"][..], &["sessions"], &["show"]] {
        let done = shell.lastword(arguments).exits(2);
        done.tells(&["format 99", "upgrade lastword"]);
    }
    let format = format.unwrap();
    database
        .pragma_update(None, "user_version", format)
        .unwrap();
    assert_eq!(shell.sessions().len(), 1);
}

#[test]
fn a_database_that_is_none() {
    let shell = Shell::new();
    std::fs::create_dir(shell.data()).unwrap();
    std::fs::write(shell.data().join("lastword.db"), [b'x'; 8192]).unwrap();
    for arguments in [&["run", &probe(), "echo x"][..], &["sessions"], &["show"]] {
        let done = shell.lastword(arguments).exits(2);
        done.tells(&["lastword.db", "not a database", "--data-dir"]);
    }
}

#[test]
fn what_is_no_data_directory_is_not_read_as_an_empty_one() {
    let shell = Shell::new();
    let file = shell.file("file.txt", "x");
    let folder = shell.folder.path().to_str().unwrap();
    for place in [&file[..], folder] {
        for command in ["sessions", "runs", "questions", "grants", "doctor"] {
            let done = shell.lastword(&[command, "--data-dir", place]).exits(2);
            done.tells(&["is no data directory of lastword", "--data-dir"]);
        }
    }

    std::fs::create_dir(shell.data()).unwrap();
    for (command, told) in [
        ("sessions", "no sessions yet"),
        ("runs", "no runs yet"),
        ("questions", "no question is open"),
        ("grants", "no answer has granted"),
    ] {
        let done = shell.lastword(&[command]).exits(0);
        assert!(done.tells(&[told]).out.is_empty());
    }
    assert_eq!(std::fs::read_dir(shell.data()).unwrap().count(), 0);
}

#[test]
fn a_data_directory_that_cannot_be() {
    let shell = Shell::new();
    std::fs::write(shell.data(), "a file").unwrap();
    let done = shell.probe("echo x", &[]).exits(2);
    done.tells(&["data directory", "File exists", "--data-dir"]);
}

#[test]
fn a_database_that_another_program_has_locked() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    let locked = Locked::hold(&shell.data());
    let done = shell.probe("echo x", &[]).exits(2);
    done.tells(&["cannot be written now", "locked", "it can once"]);
    locked.release();
    shell.probe("echo x", &[]).exits(0);
}

#[test]
fn a_database_that_the_system_does_not_open() {
    let shell = Shell::new();
    shell.probe("echo x", &[]).exits(0);
    let few = "ulimit -n 5; exec \"$0\" doctor";
    let mut command = shell.prepare(Command::new("sh"));
    command.args(["-c", few]).arg(super::binary());
    let done = Done::from(command.output().unwrap()).exits(2);
    done.tells(&[
        "cannot open the database",
        "Too many open files",
        "ulimit -n",
    ]);
}

#[test]
fn settings_that_are_broken() {
    let shell = Shell::new();
    for (text, words) in [
        (
            "[run]\nmodle = 'x'\n",
            &["lastword.toml", "line 2", "unknown field `modle`"][..],
        ),
        ("[run]\ndeadline = 'soon'\n", &["line 2", "no deadline"]),
        ("[run]\n\nmemory = '1TB'\n", &["line 3", "memory"]),
        ("[run\n", &["line 1"]),
        (
            "[models.openai]\nurl = 'x'\n",
            &["line 2", "unknown field `url`"],
        ),
        ("[grants]\n", &["line 1", "unknown field `grants`"]),
        (
            "[models.openai]\nbase_url = 'http://127.0.0.1:9/v1'\n",
            &["[models.openai]", "keys", "--config-file lastword.toml"],
        ),
    ] {
        shell.file("lastword.toml", text);
        refused(&shell, &[], words);
    }
}

/// A limit on the size of files replaces a full disk: writes fail with an error and with a signal
/// that kills processes that do not handle it. At any size, the host ends by itself, says what is
/// wrong, and leaves a database that the next start can use.
#[test]
fn a_full_disk() {
    for blocks in [1, 64, 224, 288] {
        let shell = Shell::new();
        let mut command = shell.prepare(Command::new("sh"));
        let limited = format!("ulimit -f {blocks}; exec \"$@\"");
        command.args(["-c", &limited, "sh"]).arg(super::binary());
        let words = "x".repeat(200 << 10);
        let prompt = shell.file("prompt", format!("echo {words}"));
        command.args(["run", &probe(), "-"]);
        command.stdin(std::fs::File::open(prompt).unwrap());
        let done = Done::from(command.output().unwrap()).exits(2);
        assert!(done.out.is_empty(), "{blocks}: {done:?}");
        let done = done.tells(&["error: ", "I/O error"]);
        assert!(done.err.contains("disk"), "{blocks}: {done:?}");

        let listed = shell.lastword(&["sessions"]).exits(0);
        assert!(listed.out.is_empty(), "{blocks}: {listed:?}");
        assert_eq!(shell.probe("echo room", &[]).exits(0).out, "room");
    }
}

/// Otherwise they show as failures of the agent or of the database, each in its own way.
#[test]
fn a_limit_of_the_process_is_named() {
    for (limit, words) in [
        ("-n 8", &["open files is 8", "`ulimit -n 1024`"]),
        (
            "-v 400000",
            &["address space is 390 MiB", "`ulimit -v unlimited`"],
        ),
        (
            "-v 2000000",
            &["4 GiB of address space", "`ulimit -v unlimited`"],
        ),
    ] {
        let shell = Shell::new();
        let mut command = shell.prepare(Command::new("sh"));
        let limited = format!("ulimit {limit}; exec \"$@\"");
        command.args(["-c", &limited, "sh"]).arg(super::binary());
        command.args(["run", &probe(), "echo x"]);
        let done = Done::from(command.output().unwrap()).exits(2);
        assert!(!done.err.contains("describe"), "{limit}: {done:?}");
        done.tells(words);
    }
}

#[test]
fn a_data_directory_that_cannot_be_made_says_how_to_name_another() {
    let shell = Shell::new().variable("LASTWORD_DATA_DIR", "/proc/none/lastword");
    for command in [&["run", &probe(), "echo x"][..], &["serve"]] {
        let done = shell.lastword(command).exits(2);
        done.tells(&[
            "create the data directory /proc/none",
            "`--data-dir`",
            "LASTWORD_DATA_DIR",
        ]);
    }
}

/// The library that reads the files names types of Rust.
#[test]
fn settings_are_corrected_in_the_words_of_their_format() {
    for (text, words) in [
        ("run = 5", &["expected a table"][..]),
        ("[permissions]\ndeny = 5", &["expected an array"]),
        (
            "[permissions]\nask = 'yes'",
            &["expected `true` or `false`"],
        ),
        ("[run]\nmodel = 5", &["expected a text in quotes"]),
        ("[run]\nmax_tokens = -1", &["expected a whole number"]),
        ("[run]\ndeadline = 5", &["`5` is no deadline", "`30s`"]),
        (
            "[run]\nmax_cost = true",
            &["expected a text in quotes, or a number"],
        ),
        ("[serve]\nconcurrent_runs = 0", &["a whole number above 0"]),
        ("[models.prices]\nx = 5", &["expected a table"]),
    ] {
        let shell = Shell::new();
        let file = shell.file("mine.toml", text);
        let done = shell
            .lastword(&["sessions", "--config-file", &file])
            .exits(2);
        assert!(
            !done.err.contains("struct") && !done.err.contains("u64"),
            "{done:?}"
        );
        done.tells(words)
            .tells(&["mine.toml", "line ", "correct the file"]);
    }
}
