//! Every function that a guest can call has a test that interrupts it there, and one that knows
//! whether it writes.

use lastword_tests::guests::root;
use std::path::Path;

/// The functions that a world imports, as `interface/function` or `interface/resource.method`.
fn imports(wit: &Path, world: &str) -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(wit.join(name)).expect(name);
    let worlds = read("world.wit");
    let begin = format!("world {world} {{");
    let body = worlds.split(&begin).nth(1).expect("the world is there");
    let body = body.split('}').next().expect("it ends");
    let interfaces = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("import "));
    let functions = interfaces.flat_map(|interface| {
        let interface = interface.trim_end_matches(';');
        let functions = functions(&read(&format!("{interface}.wit")));
        functions
            .into_iter()
            .map(move |function| format!("{interface}/{function}"))
    });
    functions.collect()
}

/// The functions of one interface; a method has its resource in front.
fn functions(wit: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut resource = None;
    for line in wit.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("resource ") {
            resource = name.strip_suffix(" {");
        } else if line == "}" {
            resource = None;
        } else if let Some((name, _)) = line.split_once(": func(") {
            found.push(match resource {
                Some(resource) => format!("{resource}.{name}"),
                None => name.to_owned(),
            });
        }
    }
    found
}

/// The functions that a test names in no list `IMPORTS`.
fn without_a_case(imports: &[String], test: &str) -> Vec<String> {
    let list = test.split("const IMPORTS").nth(1).unwrap_or_default();
    let list = list.split("];").next().unwrap_or_default();
    let missing = imports
        .iter()
        .filter(|import| !list.contains(&format!("\"{import}\"")));
    missing.cloned().collect()
}

#[test]
fn every_import_is_interrupted() {
    let imports = imports(&root().join("wit"), "agent");
    let test = root().join("tests/suite/interruption.rs");
    let test = std::fs::read_to_string(test).expect("there are interruption tests");
    assert_eq!(
        without_a_case(&imports, &test),
        [""; 0],
        "not interrupted by a test"
    );
}

#[test]
fn every_import_is_known_to_write_or_not() {
    let imports = imports(&root().join("wit"), "agent");
    let test = root().join("tests/suite/writes.rs");
    let test = std::fs::read_to_string(test).expect("there are tests of what is written");
    assert_eq!(
        without_a_case(&imports, &test),
        [""; 0],
        "neither listed as writing, with its bound, nor as not writing"
    );
}

#[test]
fn imports_are_found() {
    let imports = imports(&root().join("wit"), "agent");
    for known in [
        "transcript/append-text",
        "model/completion.to-transcript",
        "model/complete",
        "tools/call-all",
        "log/write",
    ] {
        assert!(imports.iter().any(|import| import == known), "{known}");
    }
    let cases = "const IMPORTS: [&str; 1] = [\"log/write\"];";
    assert!(!without_a_case(&imports, cases).contains(&"log/write".to_owned()));
    assert_eq!(without_a_case(&imports, cases).len(), imports.len() - 1);
}
