//! The module table of `ARCHITECTURE.md`, held against every `use` of the host library.

use super::source::{File, code, has_word, rust, without_tests};
use lastword_tests::guests::root;
use std::collections::HashMap;

const CORE: &str = "host/core/src/";
/// What a module without I/O never names.
const IMPURE: [&str; 9] = [
    "async fn",
    ".await",
    "tokio",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "rustix",
];

/// One row of the table.
#[derive(Debug, Default)]
struct Row {
    modules: Vec<String>,
    uses: Vec<String>,
    uses_all: bool,
    owns: Vec<String>,
    pure: bool,
}

fn table(page: &str) -> Vec<Row> {
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| module | may use |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        Row {
            modules: names(cells[1]),
            uses: names(cells[2]),
            uses_all: cells[2] == "everything",
            owns: names(cells[3]),
            pure: cells[3].contains("no async, no I/O"),
        }
    });
    rows.collect()
}

fn names(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The modules of the library, and where their names come from.
struct Library {
    /// The code of each module, by its path: `run/state`.
    modules: HashMap<String, String>,
    /// Where a module's name for something comes from: `run`, `Cause` → `run/cause`.
    exports: HashMap<(String, String), String>,
}

impl Library {
    fn new(files: &[File]) -> Self {
        let mut library = Self {
            modules: HashMap::new(),
            exports: HashMap::new(),
        };
        for file in files {
            let Some(path) = file.path.strip_prefix(CORE) else {
                continue;
            };
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
            let code = without_tests(&code(&file.text));
            for statement in code.split(';').map(str::trim) {
                let Some(exported) = statement.rfind("use ").map(|at| &statement[at + 4..]) else {
                    continue;
                };
                for path in expand(exported) {
                    if let [submodule, item] = &path[..] {
                        let from = format!("{module}/{submodule}");
                        let name = (module.to_owned(), item.clone());
                        library.exports.insert(name, from);
                    }
                }
            }
            library.modules.insert(module.to_owned(), code);
        }
        library
    }

    /// The module that a path from the crate's root ends in.
    fn module_of(&self, path: &[String]) -> String {
        let mut module = String::new();
        for segment in path {
            let inner = match module.is_empty() {
                true => segment.clone(),
                false => format!("{module}/{segment}"),
            };
            if self.modules.contains_key(&inner) {
                module = inner;
                continue;
            }
            let exported = self.exports.get(&(module.clone(), segment.clone()));
            return exported
                .filter(|from| self.modules.contains_key(*from))
                .cloned()
                .unwrap_or(module);
        }
        module
    }

    /// The modules that a module names.
    fn used_by(&self, module: &str) -> Vec<String> {
        let code = &self.modules[module];
        let mut used = Vec::new();
        for root in ["crate::", "super::"] {
            for (at, _) in code.match_indices(root) {
                let before = code[..at].chars().next_back();
                if before.is_some_and(|last| last.is_alphanumeric() || ":_".contains(last)) {
                    continue;
                }
                used.extend(expand(&code[at..]).iter().map(|path| {
                    let ups = path
                        .iter()
                        .take_while(|segment| *segment == "super")
                        .count();
                    let mut absolute: Vec<String> = match path[0].as_str() {
                        "super" => module.split('/').map(str::to_owned).collect(),
                        _ => vec![],
                    };
                    absolute.truncate(absolute.len().saturating_sub(ups));
                    absolute.extend_from_slice(&path[ups.max(1)..]);
                    self.module_of(&absolute)
                }));
            }
        }
        used.sort();
        used.dedup();
        used
    }
}

/// The paths of a `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut begin = 0;
        let mut paths = Vec::new();
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    paths.extend(expand(&group[begin..at]));
                    begin = at + 1;
                    if character == '}' {
                        return paths;
                    }
                }
                _ => {}
            }
        }
        return paths;
    }
    let part = |character: char| character.is_alphanumeric() || character == '_';
    let end = text
        .find(|character| !part(character))
        .unwrap_or(text.len());
    if end == 0 {
        return vec![];
    }
    let first = text[..end].to_owned();
    let rest = text[end..].trim_start().strip_prefix("::").map(expand);
    match rest {
        Some(rest) if !rest.is_empty() => rest
            .into_iter()
            .map(|path| [vec![first.clone()], path].concat())
            .collect(),
        _ => vec![vec![first]],
    }
}

fn row_of<'a>(rows: &'a [Row], module: &str) -> Option<(usize, &'a str)> {
    let rows = rows.iter().enumerate();
    let names = rows.flat_map(|(at, row)| row.modules.iter().map(move |name| (at, &**name)));
    names
        .filter(|(_, name)| is_within(module, name))
        .max_by_key(|(_, name)| name.len())
}

fn is_within(module: &str, name: &str) -> bool {
    module == name
        || module
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// What breaks the table.
fn broken(page: &str, files: &[File]) -> Vec<String> {
    let rows = table(page);
    let library = Library::new(files);
    let mut wrong = Vec::new();
    for (module, code) in &library.modules {
        if module == "lib" {
            continue;
        }
        let Some((at, _)) = row_of(&rows, module) else {
            wrong.push(format!("{module} is in no row"));
            continue;
        };
        for used in library.used_by(module) {
            let Some((target, name)) = row_of(&rows, &used) else {
                wrong.push(format!("{module} uses `{used}` of the crate's root"));
                continue;
            };
            let allowed =
                rows[at].uses_all || rows[at].uses.iter().any(|uses| is_within(name, uses));
            if target != at && !allowed {
                wrong.push(format!("{module} uses {used}"));
            }
        }
        let owned = rows.iter().enumerate().filter(|(other, _)| *other != at);
        let owned = owned.flat_map(|(_, row)| &row.owns);
        let foreign = owned.filter(|name| has_word(code, name));
        wrong.extend(foreign.map(|name| format!("{module} names the crate {name}")));
        let impure = IMPURE
            .iter()
            .filter(|word| rows[at].pure && code.contains(**word));
        wrong.extend(impure.map(|word| format!("{module} is pure and has `{word}`")));
    }
    wrong.sort();
    wrong
}

fn page() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is ARCHITECTURE.md")
}

#[test]
fn modules_use_what_the_table_allows() {
    let broken = broken(&page(), &rust());
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_row_is_of_a_module() {
    let library = Library::new(&rust());
    for row in table(&page()) {
        for module in row.modules.iter().chain(&row.uses) {
            assert!(library.modules.contains_key(module), "no module {module}");
        }
    }
}

#[test]
fn what_breaks_the_table_is_caught() {
    let cases = [
        (
            "store/run.rs",
            "use crate::sandbox::Engine;",
            "store/run uses sandbox",
        ),
        (
            "store/run.rs",
            "use crate::{id::RunId, host::Host};",
            "store/run uses host",
        ),
        (
            "store/run.rs",
            "fn f() { crate::capability::f(); }",
            "store/run uses capability",
        ),
        (
            "run/state.rs",
            "use super::live::LiveRun;",
            "run/state uses run/live",
        ),
        (
            "run/state.rs",
            "use super::LiveRun;",
            "run/state uses run/live",
        ),
        (
            "run/state.rs",
            "async fn f() {}",
            "run/state is pure and has `async fn`",
        ),
        (
            "host/mod.rs",
            "fn f(e: wasmtime::Error) {}",
            "host names the crate wasmtime",
        ),
        (
            "capability/log/mod.rs",
            "use sse_core::SseDecoder;",
            "capability/log names the crate sse_core",
        ),
        ("new.rs", "", "new is in no row"),
        (
            "session/mod.rs",
            "use crate::Host;",
            "session uses `` of the crate's root",
        ),
    ];
    for (path, bad, expected) in cases {
        let mut files = rust();
        files.retain(|file| file.path != format!("{CORE}{path}"));
        files.push(File {
            path: format!("{CORE}{path}"),
            text: bad.to_owned(),
        });
        if bad == "use super::LiveRun;" {
            let run = files
                .iter_mut()
                .find(|file| file.path.ends_with("src/run/mod.rs"));
            run.expect("it is there").text = "pub use live::LiveRun;".to_owned();
        }
        let broken = broken(&page(), &files);
        let caught = broken.iter().any(|broken| broken.starts_with(expected));
        assert!(caught, "`{bad}`: {broken:?}");
    }
}

#[test]
fn paths_are_expanded() {
    let paths = expand("crate::run::{Cause, live::{Birth as B, LiveRun}, state::*};");
    let paths: Vec<_> = paths.iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::run::Cause",
        "crate::run::live::Birth",
        "crate::run::live::LiveRun",
        "crate::run::state",
    ];
    assert_eq!(paths, expected);
}
