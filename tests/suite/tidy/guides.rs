//! What the guides show is run, compiled and there: blocks of shell commands, programs, and the
//! names of files.

use super::source::{File, all};
use lastword_tests::guests::root;
use std::path::Path;

/// Blocks of shell commands that CI does not run: the page, the number of its block, and why.
const NOT_RUN: [(&str, usize, &str); 1] = [(
    "tests/tools/aimock/README.md",
    1,
    "the server is a package of npm",
)];

/// Endings of the repository's own files, which no user has.
const OWN_ENDINGS: [&str; 3] = [".rs", ".sh", ".wit"];

/// A fenced block of a page.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                blocks.push(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            None if inside => {
                let block = blocks.last_mut().expect("one was begun");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn pages(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".md"))
}

/// Blocks of shell commands that `.ci/run` does not name by their page and their number.
fn not_run(pages: &[&File], run: &str) -> Vec<String> {
    let run = run.replace('"', "").replace("$root/", "");
    let words: Vec<&str> = run.split_whitespace().collect();
    let is_run = |path: &str, number: usize| {
        let number = number.to_string();
        words.windows(2).any(|pair| *pair == [path, &*number])
    };

    let mut missing = Vec::new();
    for page in pages {
        let shell = blocks(&page.text).into_iter();
        let shell = shell.filter(|block| block.language == "sh").count();
        for number in 1..=shell {
            let excused = NOT_RUN
                .iter()
                .any(|(path, block, _)| (*path, *block) == (&*page.path, number));
            if is_run(&page.path, number) == excused {
                missing.push(format!("{} {number}", page.path));
            }
        }
    }
    missing
}

/// Programs of pages that no documentation test compiles: those of a crate's page are tests of the
/// crate if its `lib.rs` includes the page, and any other page has to show one of those.
fn not_compiled(files: &[File]) -> Vec<String> {
    let is_rust = |block: &Block| block.language.starts_with("rust");
    let is_included = |page: &File| {
        let folder = page.path.strip_suffix("README.md").unwrap_or_default();
        let root = format!("{folder}src/lib.rs");
        let root = files.iter().find(|file| file.path == root);
        root.is_some_and(|root| {
            root.text
                .contains("#[doc = include_str!(\"../README.md\")]")
        })
    };

    let programs = |page: &File| blocks(&page.text).into_iter().filter(is_rust);
    let compiled: Vec<Block> = pages(files)
        .filter(|page| is_included(page))
        .flat_map(programs)
        .filter(|block| !block.language.contains("ignore"))
        .collect();

    let wrong = pages(files).flat_map(|page| {
        let programs = programs(page).filter(|block| !compiled.contains(block));
        programs.map(|block| {
            let first = block.text.lines().next().unwrap_or_default();
            format!("{}: the program `{first}`", page.path)
        })
    });
    wrong.collect()
}

/// Files that a page names in backquotes or links to and that are not there. A path may begin
/// anywhere, and leaves out the folder `src`.
fn not_there(page: &File, paths: &[&str]) -> Vec<String> {
    let short = |path: &str| format!("/{path}").replace("/src/", "/");
    let known: Vec<String> = paths.iter().map(|path| short(path)).collect();
    let is_there = |name: &str| {
        let name = short(name);
        known.iter().any(|path| path.ends_with(&name))
    };

    let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
    let folder = root().join(folder);
    let quoted = page.text.split('`').skip(1).step_by(2);
    let named = quoted.filter(|word| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        word.chars().all(is_name) && OWN_ENDINGS.iter().any(|ending| word.ends_with(ending))
    });
    let named = named.filter(|name| !is_there(name) && !folder.join(name).exists());

    let links = page.text.split("](").skip(1);
    let links = links.filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !folder.join(link).exists());
    named.chain(links).map(str::to_owned).collect()
}

/// Commands of the probe that its page does not list.
fn unlisted(page: &str, module: &str) -> Vec<String> {
    let (_, body) = module.split_once("pub(crate) fn run(").unwrap_or_default();
    let body = body.split("\n}\n").next().unwrap_or_default();
    let commands = body.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("        \"")?.split_once('"')?;
        (rest.starts_with(" =>") || rest.starts_with(" if ")).then_some(name)
    });
    let is_listed = |name: &str| {
        let quoted = format!("`{name}");
        let mut found = page.match_indices(&quoted);
        found.any(|(at, _)| page[at + quoted.len()..].starts_with([' ', '`']))
    };
    let unlisted = commands.filter(|name| !is_listed(name));
    unlisted.map(str::to_owned).collect()
}

fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[test]
fn the_commands_of_every_guide_run_in_ci() {
    let files = all();
    let run = std::fs::read_to_string(root().join(".ci/run"));
    let run = run.expect("there is .ci/run");
    let guides: Vec<&File> = pages(&files).collect();
    assert_eq!(not_run(&guides, &run), [""; 0]);

    let page = file(
        "a/README.md",
        "```sh\none\n```\n  ```sh\n  two\n  ```\n```rust\n```\n",
    );
    let other = file("README.md", "```sh\nthree\n```\n");
    let run = "documented a/README.md 1\ndocumented \"$root/a/README.md\" 3";
    let missing = not_run(&[&page, &other], run);
    assert_eq!(missing, ["a/README.md 2", "README.md 1"]);
    let (excused, number, _) = NOT_RUN[0];
    let excused = file(excused, "```sh\n```\n");
    let run = format!("documented {} {number}", excused.path);
    assert_eq!(not_run(&[&excused], &run).len(), 1, "it is run, after all");
}

#[test]
fn the_programs_of_every_guide_are_compiled() {
    assert_eq!(not_compiled(&all()), [""; 0]);

    let program = "```rust\nfn a() {}\n```\n";
    let crate_root = file("a/src/lib.rs", "#[doc = include_str!(\"../README.md\")]\n");
    let shown = [
        crate_root,
        file(
            "a/README.md",
            &format!("{program}```rust,ignore\nfn b() {{}}\n```\n"),
        ),
        file(
            "README.md",
            &format!("{program}```rust\nfn c() {{}}\n```\n"),
        ),
    ];
    let expected = [
        "a/README.md: the program `fn b() {}`",
        "README.md: the program `fn c() {}`",
    ];
    assert_eq!(not_compiled(&shown), expected);
}

#[test]
fn the_files_that_a_guide_names_are_there() {
    let files = all();
    let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
    for page in pages(&files) {
        assert_eq!(not_there(page, &paths), [""; 0], "in {}", page.path);
    }

    let text = "`run/queue.rs`, `src/run/queue.rs`, `ueue.rs`, `lastword.toml` and [wit](nowhere/)";
    let page = file("a/README.md", text);
    assert_eq!(
        not_there(&page, &["host/core/src/run/queue.rs"]),
        ["ueue.rs", "nowhere/"]
    );
}

#[test]
fn the_probe_s_page_lists_its_commands() {
    let folder = root().join("tests/guests/probe");
    let page = std::fs::read_to_string(folder.join("README.md")).expect("it has a page");
    let mut modules = 0;
    for module in all() {
        if module.path.starts_with("tests/guests/probe/src/") {
            assert_eq!(unlisted(&page, &module.text), [""; 0], "in {}", module.path);
            modules += usize::from(module.text.contains("pub(crate) fn run("));
        }
    }
    assert!(modules > 5, "the modules of the probe were not found");

    let module =
        "pub(crate) fn run() {\n        \"echo\" => a(),\n        \"spin\" if b => c(),\n}\n";
    assert_eq!(unlisted("`echoes`, `spin [TEXT]`", module), ["echo"]);
}
