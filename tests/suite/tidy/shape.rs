//! What every Rust file looks like: its head, its lints, and that it is finished.

use super::source::{File, catches, code, holds, rust};

/// Sleeps that are not for synchronisation: a path, and why.
const SLEEPS: [(&str, &str); 0] = [];

fn head(file: &File) -> Vec<String> {
    match file.text.starts_with("//! ") {
        true => vec![],
        false => vec!["does not open with `//!` and what it is for".to_owned()],
    }
}

fn allows(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let bare = ["#[allow", "#![allow"]
        .iter()
        .filter(|bare| code.contains(**bare));
    bare.map(|bare| format!("has `{bare}`: write `expect` with a reason"))
        .collect()
}

/// A mark counts where a comment begins with it; an agent may well look for the word.
fn unfinished(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let comments = file.text.lines().zip(code.lines());
    let comments = comments.filter_map(|(line, code)| {
        let rest = line.get(code.trim_end().len()..)?;
        let comment = rest.trim_start().strip_prefix("//")?;
        Some(comment.trim_start_matches(['/', '!', ' ']))
    });
    let marks = ["TODO", "FIXME", "XXX"];
    let marked = comments.filter(|comment| marks.iter().any(|mark| comment.starts_with(mark)));
    let calls = ["todo!", "unimplemented!", "dbg!"];
    let calls = calls.into_iter().filter(|call| code.contains(call));
    calls
        .chain(marked)
        .map(|what| format!("has `{what}`"))
        .collect()
}

fn sleeps(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let allowed = SLEEPS.iter().any(|(path, _)| *path == file.path);
    let sleeps = ["thread::sleep", "time::sleep", "sleep_until"].iter();
    let found: Vec<_> = sleeps.filter(|sleep| code.contains(**sleep)).collect();
    match found.is_empty() {
        true if allowed => vec!["sleeps no more: take it off the list SLEEPS".to_owned()],
        false if !allowed => vec![format!("waits with {found:?}: wait for what is to happen")],
        _ => vec![],
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    holds(&rust(), head);
    catches(head, "a.rs", "use std::fmt;");
}

#[test]
fn lints_are_not_silenced_without_a_reason() {
    holds(&rust(), allows);
    catches(allows, "a.rs", "#[allow(dead_code)]\nfn f() {}");
}

#[test]
fn nothing_is_unfinished() {
    holds(&rust(), unfinished);
    for bad in [
        "f(); // TODO: this",
        "/// FIXME",
        "fn f() { todo!() }",
        "dbg!(1);",
    ] {
        catches(unfinished, "a.rs", bad);
    }
}

#[test]
fn no_test_of_the_suite_waits_by_sleeping() {
    let suite = rust();
    let suite = suite
        .iter()
        .filter(|file| file.path.starts_with("tests/suite/"));
    holds(suite, sleeps);
    catches(
        sleeps,
        "tests/suite/a.rs",
        "tokio::time::sleep(second).await;",
    );
}
