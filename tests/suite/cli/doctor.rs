//! `lastword doctor`, and what other commands say of what is damaged.

use super::Shell;
use super::served::Served;
use lastword_tests::check::open;
use serde_json::Value;

#[test]
fn nothing_is_damaged_where_nothing_is() {
    let shell = Shell::new();
    let done = shell.lastword(&["doctor"]).exits(0);
    done.tells(&["there is no database yet"]);
    assert!(!shell.data().exists(), "looking made a data directory");
    shell.probe("two-steps", &[]).exits(0);
    shell.probe("fail no luck", &[]).exits(1);
    let done = shell.lastword(&["doctor"]).exits(0);
    assert!(done.out.contains("nothing is damaged"), "{done:?}");
}

#[test]
fn damage_is_named_and_everything_else_goes_on() {
    let shell = Shell::new();
    shell.probe("echo first", &[]).exits(0);
    shell.probe("echo second", &[]).exits(0);
    let sessions = shell.sessions();
    let [second, first] = [0, 1].map(|at| sessions[at].record.id.to_string());
    let spoil = "UPDATE message SET parts = '[' WHERE session = 1 AND ordinal = 2;
        UPDATE session SET todo = '{' WHERE no = 2;";
    open(&shell.data()).execute_batch(spoil).unwrap();

    let found = shell.lastword(&["doctor"]).exits(1);
    for words in [
        "row 2 of the table `message`",
        "row 2 of the table `session`",
        &first,
        &second,
        "lost: what the message says",
        "lastword export SESSION",
    ] {
        assert!(found.out.contains(words), "{words}: {found:?}");
    }
    let listed = shell.lastword(&["sessions"]).exits(0);
    assert_eq!(listed.out.lines().count(), 2, "{listed:?}");
    listed.tells(&["row 2 of the table `session`", "lastword doctor"]);
    let shown = shell.lastword(&["show", &first]).exits(0);
    assert!(shown.out.contains("echo first"), "{shown:?}");
    assert!(shown.out.contains("[damaged]"), "{shown:?}");
    let refused = shell.lastword(&["show", &second]).exits(1);
    refused.tells(&["what is stored is damaged", "lastword doctor"]);
    shell.probe("echo third", &["--session", &first]).exits(0);

    // The same beside a host, and through it.
    let served = Served::start(&shell, &[]);
    let done = shell.lastword(&["doctor", "--json"]).exits(1);
    let json: Value = serde_json::from_str(&done.out).unwrap();
    let tables = json["damaged"].as_array().unwrap().iter();
    let tables: Vec<&Value> = tables.map(|damage| &damage["table"]).collect();
    assert_eq!(tables, ["session", "message"]);
    let url = served.text("url").to_owned();
    let listed = shell.lastword(&["sessions", "--server", &url]).exits(0);
    listed.tells(&["row 2 of the table `session`"]);
    let refused = shell
        .lastword(&["show", &second, "--server", &url])
        .exits(1);
    refused.tells(&["what is stored is damaged", "lastword doctor"]);
    served.end();
}

#[test]
fn what_was_written_last_and_is_gone_is_said() {
    let shell = Shell::new();
    shell.probe("echo first", &[]).exits(0);
    let at = |name: &str| shell.data().join(name);
    std::fs::copy(at("lastword.db"), at("earlier")).unwrap();
    shell.probe("echo second", &[]).exits(0);
    std::fs::rename(at("earlier"), at("lastword.db")).unwrap();
    for name in ["lastword.db-wal", "lastword.db-shm"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    let found = shell.lastword(&["doctor"]).exits(1);
    assert!(
        found.out.contains("missing  the database lacks"),
        "{found:?}"
    );
    let found = shell.lastword(&["doctor", "--json"]).exits(1);
    let json: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(json["clean"], false);
    assert!(json["missing"]["first"].as_u64() <= json["missing"]["last"].as_u64());
    // Whatever runs next says it, and goes on from there.
    let next = shell.probe("echo third", &[]).exits(0);
    next.tells(&["the database lacks"]);
    shell.lastword(&["doctor"]).exits(0);
}

#[test]
fn a_table_that_cannot_be_read_is_named_once() {
    let shell = Shell::new();
    shell.probe("two-steps", &[]).exits(0);
    let conn = open(&shell.data());
    let number = |sql: &str| {
        let found = conn.query_row(sql, [], |row| row.get::<_, u32>(0));
        found.unwrap() as usize
    };
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'message'");
    let size = number("PRAGMA page_size");
    drop(conn);
    let file = shell.data().join("lastword.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[(page - 1) * size..][..size].fill(0xff);
    std::fs::write(&file, bytes).unwrap();

    let found = shell.lastword(&["doctor"]).exits(1);
    let named = found.out.matches("the table `message` cannot be read");
    assert_eq!(named.count(), 1, "{found:?}");
    assert!(found.out.contains("what the message says"), "{found:?}");
}

#[test]
fn a_directory_is_examined_where_it_is() {
    let shell = Shell::new();
    let elsewhere = ["doctor", "--server", "http://127.0.0.1:1"];
    let refused = shell.lastword(&elsewhere).exits(2);
    refused.tells(&["where it is", "without `--server`"]);
}

#[test]
fn a_file_that_is_no_database_is_said_to_be_damaged() {
    let shell = Shell::new();
    shell.probe("echo first", &[]).exits(0);
    std::fs::write(shell.data().join("lastword.db"), [7; 8192]).unwrap();
    for name in ["lastword.db-wal", "lastword.db-shm"] {
        let _may_be_missing = std::fs::remove_file(shell.data().join(name));
    }
    let examined = shell.lastword(&["doctor"]).exits(1);
    examined.tells(&["is damaged", "lastword backup"]);
    for words in [&["show"][..], &["queue", "latest"]] {
        let done = shell.lastword(words);
        assert!(matches!(done.code, Some(1 | 2)), "{done:?}");
        done.tells(&["is damaged", "lastword doctor", "backup"]);
    }
}
