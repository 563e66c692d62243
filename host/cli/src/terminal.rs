//! Standard output and error: what is a terminal, what is coloured, and what of an agent's words
//! must not reach a terminal. Knows nothing of runs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// What is known of standard output and error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    pub(crate) out: Stream,
    pub(crate) err: Stream,
    /// Whether somebody may be typing on standard input.
    pub(crate) reads: bool,
}

/// What is known of one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) terminal: bool,
    colour: bool,
}

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const PLAIN_RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

impl Terminal {
    pub(crate) fn new(no_color: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = no_color || set("NO_COLOR") || dumb;
        let stream = |terminal: bool| Stream {
            terminal,
            colour: terminal && !plain,
        };
        Self {
            out: stream(io::stdout().is_terminal()),
            err: stream(io::stderr().is_terminal()),
            reads: io::stdin().is_terminal(),
        }
    }

    /// Clean lines as they are, on standard error.
    pub(crate) fn tell(&self, text: &str) {
        to_stderr(text.trim_end_matches('\n'));
    }

    /// One line that explains, on standard error.
    pub(crate) fn note(&self, line: &str) {
        to_stderr(&self.err.dim(line));
    }

    /// Whether a person can be asked here.
    pub(crate) fn is_attended(&self) -> bool {
        self.reads && self.err.terminal
    }

    /// One line that should be heeded, on standard error.
    pub(crate) fn warn(&self, line: &str) {
        let word = self.err.paint(YELLOW, "warning:");
        to_stderr(&format!("{word} {}", clean(line)));
    }

    /// Why a command failed, on standard error.
    pub(crate) fn error(&self, message: &str) {
        let word = self.err.paint(RED, "error:");
        to_stderr(&format!("{word} {}", clean(message)));
    }
}

impl Stream {
    pub(crate) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// What stands back. The text must be clean.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint(DIM, text)
    }

    /// What stands out. The text must be clean.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    /// What is added. The text must be clean.
    pub(crate) fn green(&self, text: &str) -> String {
        self.paint(GREEN, text)
    }

    /// What is taken away. The text must be clean.
    pub(crate) fn red(&self, text: &str) -> String {
        self.paint(PLAIN_RED, text)
    }

    /// No terminal, no colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self {
            terminal: false,
            colour: false,
        }
    }

    /// An agent's words: as they are for a program, harmless for a terminal.
    pub(crate) fn words<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal {
            clean(text)
        } else {
            Cow::Borrowed(text)
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

/// Writes a line to standard error; that it is closed is no reason to fail.
fn to_stderr(line: &str) {
    let _closed = writeln!(io::stderr().lock(), "{line}");
}

/// Writes to standard output at once.
pub(crate) fn to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Text without what a terminal obeys: control characters are shown, not sent, and marks that
/// reorder what is read are dropped. New lines and tabs stay.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().filter_map(|c| match c {
        c if !is_obeyed(c) => Some(c),
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)),
        '\x7f' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some('\u{fffd}'),
        _ => None,
    });
    Cow::Owned(shown.collect())
}

fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// One line of clean text with at most `chars` characters.
pub(crate) fn line(text: &str, chars: usize) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    let words = clean(&words);
    if words.chars().count() <= chars {
        return words.into_owned();
    }
    let mut short: String = words.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(clean("plain\n\ttext ünï"), "plain\n\ttext ünï");
        assert_eq!(clean("\x1b]0;title\x07"), "␛]0;title␇");
        assert_eq!(clean("a\rb\x7f\u{9b}31m"), "a␍b␡\u{fffd}31m");
        assert_eq!(clean("a\u{202e}b\u{2066}c"), "abc");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line(" a\n b\tc ", 9), "a b c");
        assert_eq!(line("abcdef", 4), "abc…");
    }
}
