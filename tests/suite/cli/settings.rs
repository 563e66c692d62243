//! The user's own settings, and those of the current directory or of a named file over them: which
//! of them counts, and where their paths are.

use super::{Shell, agent, probe, root};
use lastword::Receipt;

const CHILD: &str = r#"tool run_agent {"agent":"probe","prompt":"echo from the child"}"#;

/// The deadline of the newest run, in milliseconds.
fn deadline(shell: &Shell, options: &[&str]) -> Option<u64> {
    shell.probe("echo x", options).exits(0);
    let receipt: Receipt = shell.newest().0.remove(0).receipt.expect("it has ended");
    receipt.run_deadline_ms
}

#[test]
fn own_settings_count_and_the_folder_s_only_lower_their_limits() {
    let shell = Shell::new();
    shell.own_settings("[run]\ndeadline = '100s'\n");
    assert_eq!(deadline(&shell, &[]), Some(100_000));
    shell.file("lastword.toml", "[run]\ndeadline = '50s'\n");
    assert_eq!(deadline(&shell, &[]), Some(50_000));
    for longer in ["200s", "none"] {
        shell.file("lastword.toml", format!("[run]\ndeadline = '{longer}'\n"));
        assert_eq!(deadline(&shell, &[]), Some(100_000));
    }
    let named = shell.file("named.toml", "[run]\ndeadline = '300s'\n");
    let named = ["--config-file", &named];
    assert_eq!(deadline(&shell, &named), Some(300_000));
    let option = [&named[..], &["--deadline", "400s"]].concat();
    assert_eq!(deadline(&shell, &option), Some(400_000));
}

#[test]
fn own_settings_may_allow_and_what_they_deny_is_denied_under_every_file() {
    let shell = Shell::new();
    shell.own_settings("[permissions]\nallow = ['run-agents=probe']\n");
    assert_eq!(shell.probe(CHILD, &[]).exits(0).out, "from the child");
    shell.file(
        "lastword.toml",
        "[permissions]\ndeny = ['run-agents=probe']\n",
    );
    let denied = shell.probe(CHILD, &[]).exits(0);
    assert!(denied.out.contains("denies it"), "{denied:?}");

    shell.own_settings("[permissions]\ndeny = ['run-agents=probe']\n");
    let named = shell.file(
        "named.toml",
        "[permissions]\nallow = ['run-agents=probe']\n",
    );
    let denied = shell.probe(CHILD, &["--config-file", &named]).exits(0);
    assert!(denied.out.contains("denies it"), "{denied:?}");
}

#[test]
fn own_settings_that_are_broken_are_named() {
    let shell = Shell::new();
    shell.own_settings("[run]\nmodle = 'x'\n");
    let done = shell.lastword(&["sessions"]).exits(2);
    done.tells(&["lastword/config.toml", "line 2", "unknown field `modle`"]);
}

#[test]
fn the_settings_that_the_guide_shows_are_settings() {
    let shell = Shell::new();
    let guide = std::fs::read_to_string(root().join("host/cli/README.md")).unwrap();
    let (_, shown) = guide.split_once("```toml\n").expect("it shows settings");
    let (shown, _) = shown.split_once("```").expect("the block ends");
    for table in ["[run]", "[permissions]", "[commands]", "[secrets.", "[mcp."] {
        assert!(shown.contains(table), "{table}");
    }
    let named = shell.file("guide.toml", shown);
    shell
        .lastword(&["sessions", "--config-file", &named])
        .exits(0);
    let unknown = shell.file("typo.toml", shown.replace("max_cost", "max_costs"));
    let refused = shell.lastword(&["sessions", "--config-file", &unknown]);
    refused.exits(2).tells(&["unknown field `max_costs`"]);
}

#[test]
fn own_settings_are_found_in_the_home_directory_too() {
    let shell = Shell::new();
    let folder = shell.home.path().join(".config/lastword");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("config.toml"),
        "[run]\ndata_dir = '~/sessions'\n",
    )
    .unwrap();
    let mut command = shell.command(&["run", &probe(), "echo x"]);
    command
        .env_remove("LASTWORD_DATA_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", shell.home.path());
    super::Done::from(command.output().unwrap()).exits(0);
    assert!(shell.home.path().join("sessions/lastword.db").is_file());
}

#[test]
fn paths_are_relative_to_their_file() {
    let shell = Shell::new();
    let script = "[[reply]]\nsteps = [{ text = 'Hello.' }]\n";
    shell.own_settings("[run]\nmodel = 'scripted:script.toml'\n");
    let beside = shell.home.path().join("config/lastword/script.toml");
    std::fs::write(&beside, script).unwrap();
    let done = shell.lastword(&["run", &agent("assistant"), "Hello?"]);
    assert_eq!(done.exits(0).out, "Hello.");
}

#[test]
fn a_path_in_no_home_is_refused() {
    let shell = Shell::new();
    shell.own_settings("[serve]\ntoken_file = '~/token'\n");
    let mut command = shell.command(&["sessions"]);
    command.env_remove("HOME");
    let done = super::Done::from(command.output().unwrap()).exits(2);
    done.tells(&["~/token", "HOME"]);
}

#[test]
fn the_environment_names_the_server_and_the_data_directory() {
    let shell = Shell::new();
    let served = super::served::Served::start(&shell, &[]);
    let other = Shell::new()
        .variable("LASTWORD_SERVER", served.text("url"))
        .variable(
            "LASTWORD_TOKEN",
            std::fs::read_to_string(served.text("token_file")).unwrap(),
        );
    assert_eq!(other.probe("echo there", &[]).exits(0).out, "there");
    assert!(!other.data().exists());
    assert_eq!(shell.sessions().len(), 1);
    served.end();

    let data = shell.data();
    let third = Shell::new().variable("LASTWORD_DATA_DIR", data.to_str().unwrap());
    let shown = third.lastword(&["show"]).exits(0);
    assert!(shown.out.contains("there"), "{shown:?}");
    let help = third.lastword(&["run", "--help"]).exits(0).out;
    assert!(help.contains("LASTWORD_SERVER") && help.contains("LASTWORD_DATA_DIR"));
}
