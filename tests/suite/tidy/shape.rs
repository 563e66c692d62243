//! What every Rust file looks like: its head, its length, its functions, its lints.

use super::source::{File, catches, code, holds, rust};

const LINES_OF_FILE: usize = 500;
const LINES_OF_FUNCTION: usize = 70;

/// Sleeps that are not for synchronisation: a path, and why.
const SLEEPS: [(&str, &str); 0] = [];

fn head(file: &File) -> Vec<String> {
    match file.text.starts_with("//! ") {
        true => vec![],
        false => vec!["does not open with `//!` and what it is for".to_owned()],
    }
}

fn length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    match lines > LINES_OF_FILE {
        true => vec![format!("has {lines} lines, {LINES_OF_FILE} are allowed")],
        false => vec![],
    }
}

fn functions(file: &File) -> Vec<String> {
    let lengths = function_lengths(&code(&file.text)).into_iter();
    lengths
        .filter(|(_, lines)| *lines > LINES_OF_FUNCTION)
        .map(|(name, lines)| format!("`{name}` has {lines} lines"))
        .collect()
}

/// The functions of some code, each with its lines from `fn` to the closing brace.
fn function_lengths(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let begins = code[..at].chars().next_back();
        if begins.is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let name: String = code[at + 3..]
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect();
        let rest = &code[at..];
        let Some(open) = rest.find(['{', ';']) else {
            continue;
        };
        if name.is_empty() || rest[open..].starts_with(';') {
            continue;
        }
        let mut depth = 0_usize;
        let end = rest[open..].find(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let body = &rest[..open + end.unwrap_or_default()];
        found.push((name, body.lines().count()));
    }
    found
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
fn files_are_short() {
    holds(&rust(), length);
    catches(length, "a.rs", &"\n".repeat(LINES_OF_FILE + 1));
}

#[test]
fn functions_are_short() {
    holds(&rust(), functions);
    let long = format!("fn long() {{{}}}", "\n".repeat(LINES_OF_FUNCTION + 1));
    catches(functions, "a.rs", &long);
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
