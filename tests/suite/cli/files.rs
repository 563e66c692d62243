//! Files that a command is pointed at and that are none: pipes, on which it would wait, and links to
//! devices without an end. Each is refused at once, by name, and what a crate's build sees of the
//! environment.

use super::{Shell, probe};

/// A pipe that nothing writes to, and a link to a device without an end.
fn hostile(shell: &Shell, name: &str) -> [(String, &'static str); 2] {
    let at = |kind: &str| shell.folder.path().join(format!("{kind}-{name}"));
    let (pipe, endless) = (at("pipe"), at("endless"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
    let text = |path: std::path::PathBuf| path.to_str().expect("a path of ours").to_owned();
    [(text(pipe), "a pipe"), (text(endless), "a device")]
}

#[test]
fn settings_that_are_no_plain_file_are_refused() {
    let shell = Shell::new();
    for (file, what) in hostile(&shell, "settings") {
        let here = shell.folder.path().join("lastword.toml");
        std::fs::rename(&file, &here).unwrap();
        for arguments in [&["run", &probe(), "echo x"][..], &["sessions"], &["serve"]] {
            let done = shell.lastword(arguments).exits(2);
            done.tells(&["lastword.toml", what, "plain files"]);
        }
        std::fs::remove_file(here).unwrap();
    }
    let null = ["--config-file", "/dev/null"];
    assert_eq!(shell.probe("echo x", &null).exits(0).out, "x");
}

#[test]
fn whatever_is_named_must_be_a_plain_file() {
    let shell = Shell::new();
    for (file, what) in hostile(&shell, "named") {
        let scripted = format!("scripted:{file}");
        let config = format!("@{file}");
        for options in [
            &["--config-file", &file][..],
            &["--config", &config],
            &["--attach", &file],
            &["--model", &scripted],
        ] {
            let done = shell.probe("echo x", options).exits(2);
            done.tells(&[&file, what]);
        }
        shell.lastword(&["check", &file]).exits(2).tells(&[what]);
        shell.lastword(&["run", &file]).exits(2).tells(&[what]);
        let key = format!("[models.openai]\napi_key_file = '{file}'\n");
        let secret = format!("[secrets.x]\nfile = '{file}'\nhosts = ['example.org']\n");
        for (table, options) in [(key, &["--model", "openai:x"][..]), (secret, &[])] {
            let settings = shell.file("settings.toml", table);
            let options = [&["--config-file", &settings], options].concat();
            shell.probe("echo x", &options).exits(2).tells(&[what]);
        }
        let token = ["serve", "--token-file", &file];
        shell.lastword(&token).exits(2).tells(&["not a plain file"]);
    }
    assert!(shell.sessions().is_empty());
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let shell = Shell::new();
    let large = shell.folder.path().join("large");
    let file = std::fs::File::create(&large).unwrap();
    file.set_len(65 << 20).unwrap();
    let large = large.to_str().unwrap();
    let too_large = ["holds more than"];
    let settings = ["sessions", "--config-file", large];
    shell.lastword(&settings).exits(2).tells(&too_large);
    shell.lastword(&["run", large]).exits(2).tells(&too_large);
    let attached = ["--attach", large];
    shell.probe("echo x", &attached).exits(2).tells(&too_large);
}

/// Built by whatever command names it: its build script runs, which is said, and sees no keys.
#[test]
fn a_crate_is_built_without_the_keys_of_the_environment() {
    let shell = Shell::new()
        .variable("OPENAI_API_KEY", "canary")
        .variable("LASTWORD_TOKEN", "canary")
        .variable("CARGO_REGISTRY_TOKEN", "canary")
        .variable("ANYTHING_ELSE", "canary");
    shell.file(
        "Cargo.toml",
        "[package]\nname = 'nosy'\nversion = '0.1.0'\nedition = '2024'\n\
         [lib]\ncrate-type = ['cdylib']\n[workspace]\n",
    );
    std::fs::create_dir(shell.folder.path().join("src")).unwrap();
    shell.file("src/lib.rs", "");
    shell.file(
        "build.rs",
        "fn main() { let seen: Vec<_> = std::env::vars().map(|(n, v)| format!(\"{n}={v}\\n\")).collect();
         std::fs::write(\"seen\", seen.concat()).unwrap(); }",
    );
    let seen = shell.folder.path().join("seen");
    for command in ["check", "run"] {
        let done = shell.lastword(&[command, "."]).exits(2);
        let said = done.err.contains("build scripts and macros");
        assert_eq!(said, command == "check", "{done:?}");
        let seen = std::fs::read_to_string(&seen).expect("the build script ran");
        assert!(seen.contains("PATH=") && !seen.contains("canary"), "{seen}");
    }
}
