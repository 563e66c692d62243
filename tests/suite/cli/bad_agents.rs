//! Files that are no agents of this host: each is refused with what is wrong and what to do, and
//! nothing is stored.

use super::Shell;
use lastword_tests::guests::guest;

const TURN: &str = r#"(instance $turn) (export "lastword:agent/turn@0.1.0" (instance $turn))"#;

#[track_caller]
fn refused(shell: &Shell, name: &str, content: impl AsRef<[u8]>, words: &[&str]) {
    let file = shell.file(name, content);
    for command in ["run", "check"] {
        let mut arguments = vec![command, &file];
        arguments.extend((command == "run").then_some("a prompt"));
        let done = shell.lastword(&arguments).exits(2).tells(words);
        assert!(done.tells(&["error: ", name]).out.is_empty());
    }
    assert!(shell.sessions().is_empty(), "{name} left a session");
}

#[track_caller]
fn component(shell: &Shell, text: &str, words: &[&str]) {
    let bytes = wat::parse_str(text).expect("the test's own text is right");
    refused(shell, "agent.wasm", bytes, words);
}

#[test]
fn no_webassembly() {
    let shell = Shell::new();
    refused(
        &shell,
        "notes.txt",
        "just text",
        &[
            "not a WebAssembly file",
            "cargo build --release --target wasm32-wasip2",
        ],
    );
    refused(&shell, "empty.wasm", "", &["not a WebAssembly file"]);
}

#[test]
fn a_core_module() {
    let words = ["core WebAssembly module", "wasm32-wasip2"];
    component(&Shell::new(), "(module)", &words);
}

#[test]
fn another_world() {
    let other = r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    let words = ["not an agent", "wasi:cli/run@0.2.0", "SDK"];
    component(&Shell::new(), other, &words);
}

#[test]
fn a_newer_version_of_the_interface() {
    let exported = r#"(component (instance $i)
        (export "lastword:agent/turn@0.2.0" (instance $i)))"#;
    let words = [
        "another version",
        "turn@0.2.0",
        "this host speaks 0.1.0",
        "use another lastword",
    ];
    component(&Shell::new(), exported, &words);
    let imported =
        format!(r#"(component (import "lastword:agent/model@0.2.0" (instance)) {TURN})"#);
    let words = ["another version", "model@0.2.0"];
    component(&Shell::new(), &imported, &words);
}

#[test]
fn an_import_that_the_host_lacks() {
    let text = format!(r#"(component (import "acme:rockets/launch@1.0.0" (instance)) {TURN})"#);
    let words = ["acme:rockets/launch@1.0.0", "build the agent without it"];
    component(&Shell::new(), &text, &words);
}

#[test]
fn an_interface_of_another_type() {
    component(
        &Shell::new(),
        &format!("(component {TURN})"),
        &["SDK of version"],
    );
}

#[test]
fn a_damaged_component() {
    let bytes = std::fs::read(guest("probe")).unwrap();
    let half = &bytes[..bytes.len() / 2];
    refused(
        &Shell::new(),
        "half.wasm",
        half,
        &["damaged or invalid", "build it again"],
    );
}

#[test]
fn nothing_there_or_no_crate() {
    let shell = Shell::new();
    let done = shell.lastword(&["run", "missing.wasm", "x"]).exits(2);
    done.tells(&[
        "there is no file or folder missing.wasm",
        "name a .wasm file",
    ]);
    let done = shell.lastword(&["run", ".", "x"]).exits(2);
    done.tells(&["without a Cargo.toml"]);
    assert!(shell.sessions().is_empty());
}

/// A crate that is no agent, by its manifest.
#[track_caller]
fn refused_crate(manifest: &str, words: &[&str]) {
    let shell = Shell::new();
    shell.file("Cargo.toml", manifest);
    std::fs::create_dir(shell.folder.path().join("src")).unwrap();
    shell.file("src/lib.rs", "fn broken( {}\n");
    shell.lastword(&["run", ".", "x"]).exits(2).tells(words);
    assert!(shell.sessions().is_empty());
}

#[test]
fn a_crate_that_is_no_agent() {
    const PACKAGE: &str = "[package]\nname = 'lib'\nversion = '0.1.0'\nedition = '2024'\n";
    refused_crate(
        PACKAGE,
        &["`lib` is not an agent", "crate-type = [\"cdylib\""],
    );
    refused_crate("[workspace]\n", &["is a workspace, not a package"]);
    refused_crate("[package\n", &["cargo cannot read", "cargo check"]);
    let cdylib = format!("{PACKAGE}[lib]\ncrate-type = ['cdylib']\n[workspace]\n");
    refused_crate(&cdylib, &["fn broken(", "`lib` does not build"]);
}

#[test]
fn a_damaged_cache_costs_a_compilation() {
    let shell = Shell::new();
    let cache = shell.folder.path().join("cache");
    let options = ["--cache-dir", cache.to_str().unwrap()];
    shell.probe("echo one", &options).exits(0);
    let is_compiled = |file: &std::path::PathBuf| file.extension().is_some_and(|e| e == "cwasm");
    let files = std::fs::read_dir(&cache).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let file = files.filter(is_compiled).last().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xff);
    std::fs::write(&file, bytes).unwrap();

    let done = shell.probe("echo two", &options).exits(0);
    assert_eq!(done.out, "two");
    done.tells(&["corrupt", "compiled again"]);
    let done = shell.probe("echo three", &options).exits(0);
    assert!(!done.err.contains("corrupt"), "{done:?}");
}
