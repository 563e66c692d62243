//! Every public async function of the library says what dropping its future leaves, and is dropped
//! by a test.

use super::source::{File, catches, code, has_word, holds, rust};

const TESTS: &str = "tests/suite/embedder/dropped.rs";
/// Not documented: only the benchmarks use it.
const HIDDEN: &str = "host/core/src/host/measure.rs";

/// The public async functions of a file: the name of each, and its documentation.
fn futures(file: &File) -> Vec<(String, String)> {
    let code = code(&file.text);
    let mut documented = String::new();
    let mut found = Vec::new();
    for (line, code) in file.text.lines().zip(code.lines()) {
        if let Some(doc) = line.trim_start().strip_prefix("///") {
            documented.push_str(doc);
        } else if let Some((_, rest)) = code.split_once("pub async fn ") {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let name = rest.split(|c| !is_part(c)).next().unwrap_or_default();
            found.push((name.to_owned(), std::mem::take(&mut documented)));
        } else if !line.trim_start().starts_with("#[") {
            documented.clear();
        }
    }
    found
}

fn undocumented(file: &File) -> Vec<String> {
    let says = |doc: &str| doc.contains("ropping the future") || doc.contains("uture is dropped");
    let futures = futures(file).into_iter();
    let silent = futures.filter(|(_, doc)| !says(doc));
    silent
        .map(|(name, _)| format!("`{name}` does not say what dropping its future leaves"))
        .collect()
}

fn of_the_library(files: &[File]) -> Vec<&File> {
    let own = |file: &&File| file.path.starts_with("host/core/src/") && file.path != HIDDEN;
    files.iter().filter(own).collect()
}

#[test]
fn every_public_future_says_what_dropping_it_leaves() {
    let files = rust();
    let library = of_the_library(&files);
    assert!(library.iter().flat_map(|file| futures(file)).count() > 60);
    holds(library, undocumented);
    for bad in [
        "/// Reads it.\npub async fn read() {}",
        "/// Dropping the future is fine.\nfn other() {}\npub async fn read() {}",
    ] {
        catches(undocumented, "host/core/src/a.rs", bad);
    }
}

#[test]
fn every_public_future_is_dropped_by_a_test() {
    let files = rust();
    let tests = files.iter().find(|file| file.path == TESTS);
    let tests = code(&tests.expect("the tests of dropped futures").text);
    let undropped = |file: &File| {
        let futures = futures(file).into_iter();
        let missing = futures.filter(|(name, _)| !has_word(&tests, name));
        missing
            .map(|(name, _)| format!("`{name}` is not in {TESTS}"))
            .collect::<Vec<_>>()
    };
    holds(of_the_library(&files), undropped);
    catches(undropped, "host/core/src/a.rs", "pub async fn unheard() {}");
}
