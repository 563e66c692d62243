//! The arguments of `lastword completions` and `lastword man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

const COMPLETIONS: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword completions bash > ~/.local/share/bash-completion/completions/lastword
  lastword completions zsh > ~/.zfunc/_lastword      with `fpath+=~/.zfunc` before `compinit`
  lastword completions fish > ~/.config/fish/completions/lastword.fish";

/// Print a script that completes commands and options in a shell.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Write the manual pages, one for each command, into a folder. Pages that are there are replaced.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder, such as ~/.local/share/man/man1; it is created if it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
