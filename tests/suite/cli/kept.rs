//! The data directory as commands see it: backups, exports where nothing can be written, other
//! users, and a directory that is taken away under a server.

use super::served::Served;
use super::{Done, Shell, probe};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn mode(path: &Path) -> u32 {
    let found = std::fs::metadata(path).expect("there it is");
    found.permissions().mode() & 0o777
}

#[test]
fn a_backup_is_made_beside_a_server_and_after_it() {
    let shell = Shell::new();
    shell
        .lastword(&["backup", "none"])
        .exits(2)
        .tells(&["no lastword database"]);
    let served = Served::start(&shell, &[]);
    shell.probe("echo first", &[]).exits(0);
    let done = shell.lastword(&["backup", "live"]).exits(0);
    done.tells(&["1 session in live", "checked", "lastword.db"]);
    shell
        .lastword(&["backup", "live"])
        .exits(2)
        .tells(&["live is there already"]);
    shell
        .lastword(&["backup", "far", "--server", served.text("url")])
        .exits(2)
        .tells(&["where the data directory is"]);
    served.end();
    shell.lastword(&["backup", "still"]).exits(0);
    let listed = shell.lastword(&["sessions", "--json"]).exits(0).out;
    for name in ["live", "still"] {
        let file = shell.folder.path().join(name);
        assert_eq!(mode(&file), 0o600);
        let restored = Shell::new();
        std::fs::create_dir(restored.data()).unwrap();
        std::fs::copy(file, restored.data().join("lastword.db")).unwrap();
        let found = restored.lastword(&["sessions", "--json"]).exits(0);
        assert_eq!(found.out, listed);
        let options = ["--session", "latest"];
        let went_on = restored.probe("history", &options).exits(0);
        assert!(went_on.out.contains("user: echo first"), "{went_on:?}");
        assert!(!went_on.err.contains("lacks"), "{went_on:?}");
    }
}

#[test]
fn what_others_may_read_is_said_and_closed() {
    let shell = Shell::new();
    std::fs::create_dir(shell.data()).unwrap();
    std::fs::set_permissions(shell.data(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = shell.prepare(Command::new("sh"));
    let run = ["-c", "umask 0; exec \"$@\"", "sh"];
    command.args(run).arg(super::binary());
    command.args(["run", &probe(), "echo words"]);
    let done = Done::from(command.output().unwrap()).exits(0);
    let done = done.tells(&[
        "warning: other users can look into the data directory",
        "chmod 700",
    ]);
    let told = done.err.matches("other users can look into").count();
    assert_eq!(told, 1, "it is said once: {done:?}");
    let mut seen = 0;
    for entry in std::fs::read_dir(shell.data()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 5, "the database and what is beside it");
}

#[test]
fn a_session_is_read_where_nothing_can_be_written() {
    let shell = Shell::new();
    shell.probe("echo words", &[]).exits(0);
    for name in ["lastword.db-wal", "lastword.db-shm"] {
        std::fs::remove_file(shell.data().join(name)).unwrap();
    }
    let list = || {
        let entries = std::fs::read_dir(shell.data()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // A user who may write everywhere sees no difference.
    std::fs::set_permissions(shell.data(), PermissionsExt::from_mode(0o500)).unwrap();
    let before = std::fs::metadata(shell.data().join("owner.lock")).unwrap();
    for command in [&["export"][..], &["export", "--format", "json"], &["show"]] {
        let done = shell.lastword(command).exits(0);
        assert!(done.out.contains("words"), "{done:?}");
    }
    let after = std::fs::metadata(shell.data().join("owner.lock")).unwrap();
    assert_eq!(
        before.modified().unwrap(),
        after.modified().unwrap(),
        "an export owns nothing"
    );
    assert!(list().contains(&"lastword.db".into()));
    std::fs::set_permissions(shell.data(), PermissionsExt::from_mode(0o700)).unwrap();
}

/// What a run had said when its host was killed is exported before any other host has ended it.
#[test]
fn an_export_has_what_a_killed_host_left() {
    let shell = Shell::new();
    let mut run = shell.start("spin before", &[]);
    run.until("before");
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    let done = shell.lastword(&["export"]).exits(0);
    assert!(done.out.contains("## Assistant\n\nbefore"), "{done:?}");
    assert!(done.out.contains("**running**"), "{done:?}");
}

/// It finds out by itself, without a request.
#[test]
fn a_server_whose_directory_is_taken_away_ends_and_says_why() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    std::fs::remove_dir_all(shell.data()).unwrap();
    let done = served.started.end().exits(1);
    done.tells(&[
        "this server cannot write to",
        "lastword.db was removed or moved",
        "start it again",
    ]);
    assert!(!shell.data().exists(), "it is not made anew");
}
