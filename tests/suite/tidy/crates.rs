//! The graph of the crates under `host/`, and which of them alone names a foreign crate. What a
//! crate uses the compiler checks against its manifest; this checks the manifests.

use lastword_tests::guests::root;
use std::collections::{BTreeMap, BTreeSet};

/// Each crate of the library with those of the project that it is built on.
const EDGES: [(&str, &[&str]); 7] = [
    ("types", &[]),
    ("os", &["types"]),
    ("sandbox", &["os", "types"]),
    ("store", &["os", "types"]),
    ("providers", &["os", "types"]),
    ("mcp", &["os", "providers", "types"]),
    (
        "core",
        &["mcp", "os", "providers", "sandbox", "store", "types"],
    ),
];

/// Foreign crates that one crate alone may name: the others work through it.
const OWNED: [(&str, &str); 10] = [
    ("wasmtime", "sandbox"),
    ("wasmtime-wasi", "sandbox"),
    ("wasmtime-wasi-http", "sandbox"),
    ("wasmparser", "sandbox"),
    ("rusqlite", "store"),
    ("landlock", "providers"),
    ("seccompiler", "providers"),
    ("secrecy", "providers"),
    ("cap-std", "providers"),
    ("rmcp", "mcp"),
];

/// What a manifest names under `[dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let lines = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]");
    let lines = lines.skip(1).take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The manifests of all crates under `host/`, by their folders.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let folders = std::fs::read_dir(root().join("host")).expect("there is host/");
    let manifests = folders.map(|folder| {
        let folder = folder.expect("a folder is read");
        let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml")).expect("a crate");
        let name = folder.file_name().to_string_lossy().into_owned();
        (name, dependencies(&manifest))
    });
    manifests.collect()
}

/// The project's own crates among dependencies, by their folders.
fn own(dependencies: &BTreeSet<String>) -> BTreeSet<&str> {
    let own = dependencies.iter();
    own.filter_map(|name| name.strip_prefix("lastword-"))
        .collect()
}

/// Crates that name what another one owns.
fn trespassers(manifests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let named = manifests.iter().flat_map(|(folder, dependencies)| {
        let of_others = OWNED.iter().filter(move |(_, owner)| owner != folder);
        let named = of_others.filter(|(name, _)| dependencies.contains(*name));
        named.map(move |(name, owner)| format!("{folder} names {name}, which is {owner}'s"))
    });
    named.collect()
}

#[test]
fn the_crates_of_the_library_are_built_on_each_other_as_listed() {
    let manifests = manifests();
    for (folder, expected) in EDGES {
        let found = own(&manifests[folder]);
        assert_eq!(
            found,
            expected.iter().copied().collect(),
            "of host/{folder}"
        );
    }
}

#[test]
fn foreign_crates_have_one_owner() {
    let mut manifests = manifests();
    assert_eq!(trespassers(&manifests), [""; 0]);
    let core = manifests.get_mut("core").expect("there is host/core");
    core.insert("rusqlite".to_owned());
    assert_eq!(
        trespassers(&manifests),
        ["core names rusqlite, which is store's"]
    );
}
