//! An agent that counts what a workspace holds, without a model: files and lines by language,
//! the largest files, unfinished work, duplicates. It says what it knows as soon as it knows it,
//! so that a census that is stopped half way is half a report.
//!
//! It does not know which files matter to the user; the prompt may name a folder.

mod count;
mod duplicates;
mod language;
mod reading;
mod report;
#[cfg(test)]
mod scratch;
mod walk;

use std::path::Path;

use lastword_guest::prelude::*;

const DEFAULT_PROMPT: &str = "Take a census of the workspace.";

/// How many files of one group of duplicates are named.
const PATHS_MAX: usize = 8;

struct Census;

impl Agent for Census {
    type Config = ();

    fn manifest() -> Manifest {
        Manifest::new("census", env!("CARGO_PKG_VERSION"))
            .describe("Counts files and lines, and finds what is large, unfinished or double")
            .needs(Capability::ReadFiles, "to count what is in them")
            .default_prompt(DEFAULT_PROMPT)
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        let workspace = Path::new(WORKSPACE);
        let folder = folder_in(turn.prompt(), workspace);
        take(&workspace.join(&folder), &folder, |text| turn.say(text))?;
        Ok(Outcome::end_turn())
    }
}

/// Takes the census of `root`, which is called `folder`, and says it piece by piece.
fn take(root: &Path, folder: &str, mut say: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let readable = std::fs::read_dir(root).map(drop);
    readable.map_err(|error| Error::from(error).context("the workspace could not be read"))?;
    say(&report::opening(folder))?;
    let count = walk::walk(root, |progress| say(&report::progress(&progress)))?;
    for section in report::sections(&count) {
        say(&section)?;
    }
    say(&report::duplicates_opening())?;
    let duplicates = duplicates::find(root, &count, |bytes, paths| {
        let shown = &paths[..paths.len().min(PATHS_MAX)];
        let more = paths.len() - shown.len();
        say(&report::duplicate_group(bytes, shown, more))
    })?;
    say(&report::duplicates_closing(&duplicates, &count))
}

/// The folder that a prompt names: its first word that is one. Nothing means everything.
fn folder_in(prompt: &str, workspace: &Path) -> String {
    if prompt.trim() == DEFAULT_PROMPT {
        return String::new();
    }
    let is_mark = |c: char| c.is_ascii_punctuation() && !matches!(c, '.' | '/' | '_' | '-');
    let words = prompt.split_whitespace().map(|word| {
        let word = word.trim_matches(is_mark).trim_end_matches(['.', '/']);
        word.strip_prefix("./").unwrap_or(word)
    });
    words
        .filter(|word| !word.is_empty() && !word.starts_with('/'))
        .filter(|word| !word.split('/').any(|step| step == ".."))
        .find(|word| workspace.join(word).is_dir())
        .unwrap_or_default()
        .to_owned()
}

lastword_guest::export!(Census);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_prompt_may_name_a_folder() {
        let scratch = Scratch::new();
        scratch.write("src/deep/lib.rs", "");
        scratch.write("census/lib.rs", "");
        for (prompt, folder) in [
            ("src", "src"),
            ("What is in `src/deep/`?", "src/deep"),
            ("./src please", "src"),
            ("count all", ""),
            ("../census", ""),
            ("/etc", ""),
            (DEFAULT_PROMPT, ""),
        ] {
            assert_eq!(folder_in(prompt, scratch.root()), folder, "{prompt}");
        }
    }

    #[test]
    fn a_census_is_said_piece_by_piece() {
        let scratch = Scratch::new();
        scratch.write("src/a.rs", "fn a() {}\n// FIXME: b\n");
        scratch.write("docs/a.md", "# A\n");
        scratch.write("docs/b.md", "# A\n");
        let mut said = Vec::new();
        take(scratch.root(), "", |text| {
            said.push(text.to_owned());
            Ok(())
        })
        .unwrap();
        assert!(said.len() >= 9, "{said:?}");
        let report = said.concat();
        for line in [
            "# Census of the workspace",
            "- `docs/`: 2 files, 2 lines, 8 B",
            "In all 3 files, 4 lines, 30 B.",
            "| Markdown | 2 | 2 | 8 B |",
            "- `src/a.rs:2`: `FIXME: b`",
            "- 4 B each: `docs/a.md` `docs/b.md`",
        ] {
            assert!(
                report.lines().any(|found| found == line),
                "{line} in\n{report}"
            );
        }
    }

    #[test]
    fn a_workspace_that_cannot_be_read_is_an_error_with_its_code() {
        let scratch = Scratch::new();
        let error = take(&scratch.path("nowhere"), "", |_| Ok(())).unwrap_err();
        assert_eq!(error.code(), "not-found");
    }
}
