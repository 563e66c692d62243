//! Files that are no agents of this host: each is refused with what is wrong and what to do, and
//! nothing is stored.

use super::Shell;
use lastword_tests::guests::guest;
use lastword_tests::wat::{Core, DESCRIBE_DATA, manifest};
use std::path::PathBuf;

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
    let words = ["not an agent", "wasi:cli/run@0.2.0", "`export!`"];
    component(&Shell::new(), other, &words);
}

#[test]
fn a_crate_that_exports_no_agent() {
    let words = [
        "it exports nothing",
        "lastword:agent/turn@0.1.0",
        "`export!`",
    ];
    component(&Shell::new(), "(component)", &words);
}

/// A component with this manifest.
fn described(name: &str, want: Option<(&str, bool)>, schema: Option<&str>) -> Vec<u8> {
    let core = Core {
        describe: DESCRIBE_DATA,
        fields: &manifest(name, want, schema),
        ..Core::default()
    };
    core.component()
}

#[test]
fn an_agent_that_requires_what_the_host_does_not_know() {
    let shell = Shell::new();
    let requires = described("a", Some(("fly", true)), None);
    let words = [
        "there is no capability `fly`",
        "it requires",
        "version 0.1.0",
    ];
    refused(&shell, "agent.wasm", requires, &words);

    let nearly = described("a", Some(("read-file", true)), None);
    refused(
        &shell,
        "agent.wasm",
        nearly,
        &["did you mean `read-files`?"],
    );

    let optional = shell.file("agent.wasm", described("a", Some(("fly", false)), None));
    let done = shell.lastword(&["run", &optional, "x"]).exits(0);
    done.tells(&["wants `fly`, which this lastword does not know"]);
}

#[test]
fn an_agent_without_a_name() {
    for name in ["", " \t"] {
        let nameless = described(name, None, None);
        refused(&Shell::new(), "agent.wasm", nameless, &["`name` is empty"]);
    }
}

#[test]
fn a_schema_that_is_none() {
    for (schema, why) in [
        ("{", "it is not JSON"),
        ("[]", "an array, and not an object"),
        (r#"{"type": "string"}"#, "a configuration is an `object`"),
    ] {
        let agent = described("a", None, Some(schema));
        let words = ["`config-schema-json`", why, "change the manifest"];
        refused(&Shell::new(), "agent.wasm", agent, &words);
    }
}

#[test]
fn a_configuration_that_does_not_fit() {
    let shell = Shell::new();
    let schema = r#"{"required": ["repo"], "properties": {"depth": {"type": "integer"}}}"#;
    let agent = shell.file("agent.wasm", described("a", None, Some(schema)));
    let run = |config: &str| shell.lastword(&["run", &agent, "x", "--config", config]);
    run(r#"{"depth": 1}"#)
        .exits(2)
        .tells(&["`repo` is missing"]);
    let wrong = run(r#"{"repo": "a", "depth": "1"}"#).exits(2);
    wrong.tells(&["`depth` is a string; it has to be integer"]);
    run(r#"{"repo": "a", "depth": 1}"#).exits(0);
    run("{}").exits(0);
}

#[test]
fn an_agent_that_cannot_describe_itself() {
    let traps = Core {
        describe: "unreachable",
        ..Core::default()
    };
    let words = ["its `describe` failed", "it trapped (unreachable)"];
    refused(&Shell::new(), "agent.wasm", traps.component(), &words);
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
        &["version 0.1.0 of `lastword:agent`", "SDK of version"],
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
    let is_compiled = |file: &PathBuf| file.extension().is_some_and(|e| e == "cwasm");
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

#[test]
fn an_agent_describes_itself_once() {
    let shell = Shell::new();
    let cache = shell.folder.path().join("cache");
    let options = ["--cache-dir", cache.to_str().unwrap()];
    let manifests = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(&cache).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|e| e == "manifest"))
            .collect()
    };
    let name = |agent: &str| {
        let file = guest(agent).display().to_string();
        let done = shell.lastword(&[&["check", &file], &options[..]].concat());
        let done = done.exits(0);
        let mut words = done.out.split_whitespace();
        words
            .find(|word| ["probe", "hog"].contains(word))
            .map(str::to_owned)
    };

    assert_eq!(name("hog").as_deref(), Some("hog"));
    let [of_hog] = &manifests()[..] else {
        panic!("one agent was described");
    };
    assert_eq!(name("probe").as_deref(), Some("probe"));
    let of_probe = manifests().into_iter().find(|file| file != of_hog);
    let of_probe = of_probe.expect("the second agent was described");

    // What is kept is taken as it is.
    std::fs::copy(of_hog, &of_probe).unwrap();
    assert_eq!(name("probe").as_deref(), Some("hog"));

    // What is damaged is not, and the agent is asked again.
    let text = std::fs::read_to_string(&of_probe).unwrap();
    // It is JSON as before: only its checksum tells.
    std::fs::write(&of_probe, text.replace("hog", "hof")).unwrap();
    assert_eq!(name("probe").as_deref(), Some("probe"));
}
