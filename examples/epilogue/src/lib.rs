//! An agent that works in small steps for a long time, and has closing words for when it is
//! interrupted: the host calls them in a fresh instance, after the run is gone.
//!
//! It does not know why anyone would stop it before it is told.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use lastword_guest::prelude::*;

/// Enough that a person stops it long before its end: about an hour and a half.
const STEPS: u32 = 20_000;

/// Between two steps.
const PAUSE: Duration = Duration::from_millis(250);

/// How many bytes of a file one step looks at, at most.
const BYTES_MAX: u64 = 64 * 1024;

struct Walker;

impl Agent for Walker {
    type Config = ();

    fn manifest() -> Manifest {
        Manifest::new("epilogue", env!("CARGO_PKG_VERSION"))
            .describe("Reads a little, rests, goes on; says how far it came when it is stopped")
            .wants(Capability::ReadFiles, "to have something to read")
            .default_prompt("Read through the workspace, slowly.")
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        let names = file_names();
        for step in 1..=STEPS {
            match names.get(step as usize % names.len().max(1)) {
                Some(name) => turn.say(&format!("Step {step}: {}.\n", look_at(name)))?,
                None => turn.say(&format!("Step {step}: nothing to read here.\n"))?,
            }
            sleep(PAUSE);
        }
        Ok(Outcome::end_turn())
    }
}

impl Epilogue for Walker {
    fn close(interruption: &Interruption, said: &[Part]) -> Vec<Part> {
        let texts = said.iter().filter_map(Part::as_text);
        let words: usize = texts.map(|text| text.split_whitespace().count()).sum();
        vec![Part::text(format!(
            "\nI was stopped ({}) after {words} words. Ask me again and I start over.\n",
            interruption.cause
        ))]
    }
}

/// The files directly in the workspace, sorted; none if they may not be read.
fn file_names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(WORKSPACE) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What one file begins with, in one phrase.
fn look_at(name: &str) -> String {
    use std::io::Read;

    let mut bytes = Vec::new();
    let read = fs::File::open(format!("{WORKSPACE}/{name}"))
        .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => {
            let words = String::from_utf8_lossy(&bytes).split_whitespace().count();
            format!("`{name}` begins with {words} words")
        }
        Err(error) => format!("`{name}` cannot be read ({error})"),
    }
}

lastword_guest::export_with_epilogue!(Walker);
