//! What lies where, and that nothing lies there unused.

use super::source::{File, all};
use lastword_tests::guests::root;
use std::collections::BTreeMap;
use std::path::Path;

const FOLDERS: [&str; 5] = ["examples", "guest-sdk", "host", "tests", "wit"];
const LINES_OF_README: usize = 80;

/// Folders that do not belong here, and those that are missing.
fn top_level(names: &[String]) -> Vec<String> {
    let written = |name: &&String| !name.starts_with('.') && *name != "target";
    let strange = names.iter().filter(written);
    let strange = strange.filter(|name| !FOLDERS.contains(&&***name));
    let missing = FOLDERS
        .iter()
        .filter(|name| !names.contains(&(**name).to_owned()));
    strange
        .map(|name| format!("{name} does not belong at the top"))
        .chain(missing.map(|name| format!("{name} is missing")))
        .collect()
}

fn folders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder is read");
    let entries = entries.map(|entry| entry.expect("a folder is read").path());
    let folders = entries.filter(|entry| entry.is_dir());
    let names = folders.map(|path| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    });
    names.collect()
}

/// Those names that occur nowhere in the texts.
fn unnamed(names: &[String], texts: &[&str]) -> Vec<String> {
    let unnamed = names
        .iter()
        .filter(|name| !texts.iter().any(|text| super::source::has_word(text, name)));
    unnamed.cloned().collect()
}

/// The interfaces of a folder, by name.
fn interfaces<'a>(files: &'a [File], folder: &str) -> BTreeMap<&'a str, &'a str> {
    let wit = files.iter().filter_map(|file| {
        let name = file.path.strip_prefix(folder)?.strip_prefix('/')?;
        name.ends_with(".wit").then_some((name, &*file.text))
    });
    wit.collect()
}

#[test]
fn the_top_level_has_its_folders_and_no_others() {
    assert_eq!(top_level(&folders(root())), [""; 0]);
    let with = |name: &str| {
        let names = FOLDERS.iter().copied().chain([name]);
        top_level(&names.map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(with("docs"), ["docs does not belong at the top"]);
    assert_eq!(top_level(&[]).len(), FOLDERS.len());
}

#[test]
fn the_readme_is_short() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let lines = readme.lines().count();
    assert!(lines <= LINES_OF_README, "the README has {lines} lines");
}

#[test]
fn every_example_runs_in_ci() {
    let run = std::fs::read_to_string(root().join(".ci/run")).expect("there is .ci/run");
    let examples = folders(&root().join("examples"));
    assert_eq!(unnamed(&examples, &[&run]), [""; 0], "not in .ci/run");
    assert_eq!(unnamed(&["hog".to_owned()], &["hogs run"]), ["hog"]);
}

#[test]
fn every_guest_is_used_by_a_test() {
    let files = all();
    let tests = files.iter().filter(|file| {
        let harness =
            file.path == "tests/src/fixture.rs" || file.path.starts_with("tests/src/campaign/");
        (file.path.starts_with("tests/suite/") || harness) && file.path.ends_with(".rs")
    });
    // A guest is asked for by its name in quotes.
    let asked: Vec<_> = tests.map(|file| &*file.text).collect();
    let quoted = |name: String| format!("\"{name}\"");
    let guests = folders(&root().join("tests/guests"))
        .into_iter()
        .map(quoted);
    let unused: Vec<_> = guests
        .filter(|name| !asked.iter().any(|text| text.contains(name.as_str())))
        .collect();
    assert_eq!(unused, [""; 0], "no test asks for these guests");
}

#[test]
fn the_sdk_has_the_interfaces_as_they_are() {
    let files = all();
    let ours = interfaces(&files, "wit");
    assert!(ours.contains_key("world.wit"));
    let copies = files
        .iter()
        .filter(|file| file.path.starts_with("guest-sdk/"))
        .filter_map(|file| file.path.strip_suffix("/world.wit"));
    let copies: Vec<_> = copies.collect();
    assert!(copies.contains(&"guest-sdk/rust/wit"));
    for copy in copies {
        assert_eq!(
            interfaces(&files, copy),
            ours,
            "{copy} is not a copy of wit/"
        );
    }
    let other = [File {
        path: "copy/world.wit".to_owned(),
        text: "world agent {}".to_owned(),
    }];
    assert_ne!(interfaces(&other, "copy"), ours);
}
