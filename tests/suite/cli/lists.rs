//! `lastword runs` and `lastword agents`: what there is, for people and for programs, and a run of an
//! agent by the name that a host has it under.

use super::served::Served;
use super::{Shell, probe};
use serde_json::Value;

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

#[test]
fn runs_are_listed_newest_first() {
    let shell = Shell::new();
    let none = shell.lastword(&["runs"]).exits(0);
    assert!(none.out.is_empty());
    none.tells(&["no runs yet"]);
    shell.probe("echo first", &[]).exits(0);
    shell
        .probe("fail no luck", &["--session", "latest"])
        .exits(1);
    shell.probe("echo other", &[]).exits(0);
    let ids = |options: &[&str]| -> Vec<String> {
        let listed = shell.lastword(&[&["runs", "--json"], options].concat());
        let listed = lines(&listed.exits(0).out);
        let id = |run: &Value| run["run"].as_str().expect("an id").to_owned();
        listed.iter().map(id).collect()
    };
    let all = ids(&[]);
    assert_eq!(all.len(), 3);
    assert_eq!(ids(&["--limit", "1"]), all[..1]);
    assert_eq!(ids(&["--session", "latest"]), all[..1]);

    let listed = shell.lastword(&["runs"]).exits(0).out;
    let rows: Vec<&str> = listed.lines().collect();
    assert!(rows[0].starts_with("RUN "), "{listed}");
    assert!(rows[1].starts_with(&all[0]) && rows[1].contains("completed"));
    assert!(rows[2].starts_with(&all[1]) && rows[2].contains("agent-error"));

    let served = Served::start(&shell, &[]);
    assert_eq!(ids(&["--server", served.text("url")]), all);
    served.end();
}

#[test]
fn agents_are_listed_and_run_by_their_names() {
    let shell = Shell::new();
    let none = shell.lastword(&["agents"]).exits(2);
    none.tells(&["no host runs", "lastword serve", "--server"]);
    let served = Served::start(&shell, &["--agent", &format!("echo={}", probe())]);
    let listed = shell.lastword(&["agents"]).exits(0).out;
    let rows: Vec<&str> = listed.lines().collect();
    assert!(rows[0].starts_with("AGENT "), "{listed}");
    assert!(rows[1].starts_with("echo "), "{listed}");
    let server = ["--server", served.text("url")];
    let listed = shell.lastword(&[&["agents", "--json"], &server[..]].concat());
    assert_eq!(lines(&listed.exits(0).out)[0]["name"], "echo");

    for options in [&server[..], &[]] {
        let run = [&["run", "echo", "echo by name"], options].concat();
        assert_eq!(shell.lastword(&run).exits(0).out, "by name");
    }
    assert_eq!(shell.sessions()[0].record.agent.as_str(), "echo");
    let none = shell.lastword(&["run", "other", "echo x"]).exits(2);
    none.tells(&["no file or folder other", "lastword agents"]);
    let renamed = ["run", "echo", "echo x", "--name", "other"];
    shell
        .lastword(&renamed)
        .exits(2)
        .tells(&["leave out `--name`"]);
    assert_eq!(shell.sessions().len(), 2);
    served.end();
    let gone = shell.lastword(&["run", "echo", "echo x"]).exits(2);
    gone.tells(&["no file or folder echo"]);
}
