//! The arguments of `lastword completions` and `lastword man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

const COMPLETIONS: &str = "\
\x1b[1;32mExamples:\x1b[0m
  lastword completions bash > ~/.local/share/bash-completion/completions/lastword
  lastword completions zsh > ~/.zfunc/_lastword      with `fpath+=~/.zfunc` before `compinit`
  lastword completions fish > ~/.config/fish/completions/lastword.fish";

/// The arguments of `lastword completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

const MAN: &str = "\
Writes one page for each command, and replaces pages that are there.

\x1b[1;32mExamples:\x1b[0m
  lastword man ~/.local/share/man/man1
  man lastword-run";

/// The arguments of `lastword man`.
#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub(crate) struct Man {
    /// The folder to write into, such as ~/.local/share/man/man1; it is created if it is missing
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
