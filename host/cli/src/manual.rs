//! `lastword completions` and `lastword man`: what shells and `man` know of the commands, made of
//! the same grammar as `--help`.

use crate::arguments::{Arguments, Completions, Man};
use crate::failure::{Exit, Failure};
use crate::terminal::{Terminal, to_stdout};
use clap::CommandFactory;

/// Prints a script for a shell.
pub(crate) fn completions(arguments: &Completions) -> Exit {
    let mut script = Vec::new();
    let mut grammar = Arguments::command();
    clap_complete::generate(arguments.shell, &mut grammar, "lastword", &mut script);
    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&String::from_utf8_lossy(&script));
    Exit::Completed
}

/// Writes the manual pages, into a folder that is made if it is not there.
pub(crate) fn man(arguments: &Man, terminal: &Terminal) -> Result<Exit, Failure> {
    let folder = &arguments.folder;
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    written.map_err(|error| {
        Failure::usage(format!(
            "cannot write the manual pages into {}: {error}; name a folder that you can write to",
            folder.display()
        ))
    })?;
    terminal.note(&format!(
        "the manual pages are in {}; `man lastword` finds them if the folder is `man1` of a manual path",
        folder.display()
    ));
    Ok(Exit::Completed)
}
