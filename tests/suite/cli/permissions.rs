//! Rules on the command line and in settings: a denial takes precedence, settings in another
//! person's directory grant nothing, and a run ends at its budget.

use super::served::Served;
use super::{Shell, agent, probe};

const CHILD: &str = r#"tool run_agent {"agent":"probe","prompt":"echo from the child"}"#;
const DENIES: &str = "`run-agents=probe` denies it";

#[test]
fn a_denial_stands_before_what_is_allowed() {
    let shell = Shell::new();
    let rules = ["--allow", "run-agents", "--deny", "run-agents=probe"];
    let denied = shell.probe(CHILD, &rules).exits(0);
    assert!(denied.out.contains(DENIES), "{denied:?}");
    let asked = shell.probe(CHILD, &[&rules[..], &["--ask"]].concat());
    assert!(asked.exits(0).out.contains(DENIES), "nobody is asked");
    let served = Served::start(&shell, &[]);
    let denied = shell.probe(CHILD, &rules).exits(0);
    assert!(denied.out.contains(DENIES), "{denied:?}");
    served.end();
    let census = agent("census");
    let all = ["run", &census, "--workspace", ".", "--deny", "read-files"];
    let words = ["nothing was run", "a rule of `--deny` or of the settings"];
    shell.lastword(&all).exits(3).tells(&words);
}

#[test]
fn what_the_manifest_lacks_is_its_authors_to_add() {
    let shell = Shell::new();
    let narrow = agent("narrow-probe");
    let run = ["run", &narrow, "state a", "--allow", "state"];
    let done = shell.lastword(&run).exits(1);
    let done = done.tells(&["does not ask for `state`", "`.wants(Capability::State, "]);
    for grant in ["--allow state", "--allow RULE"] {
        assert!(!done.err.contains(grant), "it has no effect: {done:?}");
    }
}

#[test]
fn the_folder_s_settings_may_only_deny() {
    let shell = Shell::new();
    for (line, word) in [
        ("allow = ['run-agents']", "`allow`"),
        ("ask = true", "`ask`"),
        ("ask = false", "`ask`"),
    ] {
        shell.file("lastword.toml", format!("[permissions]\n{line}\n"));
        let done = shell.probe("echo x", &[]).exits(2);
        done.tells(&[word, "[permissions]", "--config-file lastword.toml"]);
    }
    assert!(shell.sessions().is_empty());
    shell.file(
        "lastword.toml",
        "[permissions]\ndeny = ['run-agents=probe']\n",
    );
    let denied = shell.probe(CHILD, &["--allow", "run-agents"]).exits(0);
    assert!(denied.out.contains(DENIES), "{denied:?}");
}

#[test]
fn the_folder_s_settings_choose_no_place_and_no_program() {
    let shell = Shell::new();
    // Neither the option nor the variable hides what the file says.
    for (table, line) in [
        ("run", "data_dir = 'theirs'"),
        ("commands", "writable = ['/']"),
        ("commands", "readable = ['/']"),
        ("commands", "network = true"),
        ("commands", "allow = ['sh']"),
        ("mcp.x", "command = ['sh']"),
        ("secrets.x", "command = ['sh']"),
        ("network", "private = ['localhost']"),
    ] {
        let file = shell.file("lastword.toml", format!("[{table}]\n{line}\n"));
        let words = [
            table.split('.').next().unwrap(),
            "--config-file lastword.toml",
        ];
        shell.probe("echo x", &[]).exits(2).tells(&words);
        if table == "run" {
            let named = shell.probe("echo x", &["--config-file", &file]);
            assert_eq!(named.exits(0).out, "x");
        }
    }
    assert!(!shell.folder.path().join("theirs").exists());
}

#[test]
fn settings_that_are_named_may_allow() {
    let shell = Shell::new();
    let rules = "[permissions]\nallow = ['run-agents=probe', 'write-files']\n";
    let file = shell.file("mine.toml", rules);
    let named = ["--config-file", &file];
    let done = shell.probe(CHILD, &named).exits(0);
    assert_eq!(done.out, "from the child");
    let file = shell.file("other.toml", "[permissions]\ndeny = ['fly']\n");
    let done = shell.probe("echo x", &["--config-file", &file]).exits(2);
    done.tells(&["line 2", "no capability `fly`"]);
}

#[test]
fn what_a_server_s_settings_deny_no_client_grants() {
    let shell = Shell::new();
    let file = shell.file("mine.toml", "[permissions]\ndeny = ['run-agents=probe']\n");
    let served = Served::start(&shell, &["--config-file", &file]);
    let denied = shell.probe(CHILD, &["--allow", "run-agents"]).exits(0);
    assert!(denied.out.contains(DENIES), "{denied:?}");
    served.end();
}

#[test]
fn what_the_owner_s_settings_deny_holds_for_who_comes_through_it() {
    let shell = Shell::new();
    let file = shell.file("mine.toml", "[permissions]\ndeny = ['run-agents=probe']\n");
    let mut owner = shell.start("spin before", &["--config-file", &file]);
    owner.until("before");
    let options = ["--name", "other", "--allow", "run-agents"];
    let denied = shell.probe(CHILD, &options).exits(0);
    assert!(denied.out.contains(DENIES), "{denied:?}");
    owner.signal("INT");
    owner.end().exits(130);
}

#[test]
fn a_run_ends_at_its_budget() {
    let shell = Shell::new();
    let many = r#"tool-times 5 todo {"todo":[]}"#;
    shell
        .probe(many, &["--max-tool-calls", "2"])
        .exits(1)
        .tells(&["limit(tool-calls)"]);
    shell.file(
        "lastword.toml",
        "[run]\nmax_tool_calls = 2\nmax_cost = 0.5\n",
    );
    shell
        .probe(many, &[])
        .exits(1)
        .tells(&["limit(tool-calls)"]);
    assert_eq!(
        shell.probe(many, &["--max-tool-calls", "9"]).exits(0).out,
        "5"
    );
    for (option, value) in [
        ("--max-cost", "cheap"),
        ("--max-cost", "-1"),
        ("--max-tokens", "many"),
        ("--deny", "everything"),
    ] {
        let option = format!("{option}={value}");
        shell.probe("echo x", &[&option]).exits(2).tells(&[value]);
    }
    let both = shell.probe("echo x", &["--ask", "--no-ask"]).exits(2);
    both.tells(&["--no-ask"]);
    let served = Served::start(&shell, &[]);
    for option in [
        "--max-tokens",
        "--max-cost",
        "--max-tool-calls",
        "--max-wakes",
    ] {
        let done = shell.probe("echo x", &[option, "1"]).exits(2);
        done.tells(&["to decide", option]);
    }
    served.end();
}

#[test]
fn check_says_what_to_write() {
    let shell = Shell::new();
    let done = shell.lastword(&["check", &probe()]).exits(0);
    for words in [
        "granted by `--allow run-agents`",
        "granted by `--workspace DIRECTORY`",
        "granted by `--model PROVIDER:NAME`",
    ] {
        assert!(done.out.contains(words), "`{words}`: {done:?}");
    }
    let done = shell.lastword(&["check", &probe(), "--json"]).exits(0);
    let about: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let wants = about["wants"].as_array().unwrap();
    assert!(wants.iter().any(|want| want["rules"][0] == "run-agents"));
}
