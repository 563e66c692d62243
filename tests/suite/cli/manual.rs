//! Completions and manual pages: they know every command, and go where they are asked to.

use super::Shell;

/// The commands, as the help lists them.
fn commands(shell: &Shell) -> Vec<String> {
    let help = shell.lastword(&["--help"]).exits(0).out;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = lines.take_while(|line| !line.is_empty());
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    listed.filter_map(first).collect()
}

#[test]
fn shells_complete_every_command() {
    let shell = Shell::new();
    let commands = commands(&shell);
    assert!(commands.contains(&"follow".to_owned()), "{commands:?}");
    for name in ["bash", "zsh", "fish"] {
        let script = shell.lastword(&["completions", name]).exits(0).out;
        for command in &commands {
            assert!(script.contains(command), "{command} is missing for {name}");
        }
        assert!(script.contains("data-dir") && !script.contains('\x1b'));
    }
    shell.lastword(&["completions", "tcl"]).exits(2);
}

#[test]
fn each_command_has_its_manual_page() {
    let shell = Shell::new();
    let folder = shell.folder.path().join("share/man1");
    for _ in ["a new folder", "the same again"] {
        shell
            .lastword(&["man", "share/man1"])
            .exits(0)
            .tells(&["manual pages are in share/man1"]);
    }
    // `lastword help` prints what the pages say, and has none.
    for command in commands(&shell).iter().filter(|name| *name != "help") {
        let page = folder.join(format!("lastword-{command}.1"));
        let page = std::fs::read_to_string(&page).expect("there is a page");
        assert!(
            page.contains("--data") || page.contains("\\-\\-data"),
            "{page}"
        );
        assert!(!page.contains('\x1b'), "colours in the page of {command}");
        assert!(page.contains("LASTWORD_SERVER"), "{page}");
    }
    let first = std::fs::read_to_string(folder.join("lastword.1")).unwrap();
    assert!(first.contains("Exit codes"));
    shell.file("file", "");
    let none = shell.lastword(&["man", "file"]).exits(2);
    none.tells(&["file", "name a folder"]);
}
