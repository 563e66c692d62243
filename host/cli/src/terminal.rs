//! Standard output and error: what is a terminal, what is coloured, and what of an agent's words
//! must not reach a terminal. What people decide by (names, commands, rules, diffs) goes through
//! [`lastword::text`]; [`clean`] is for prose.

use crate::printer::{Descriptor, printer};
use lastword::text;
use rustix::termios::tcgetwinsize;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// The properties of the standard streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    pub(crate) out: Stream,
    pub(crate) err: Stream,
    /// Whether a person may be typing on standard input.
    pub(crate) reads: bool,
    /// Whether every figure is wanted.
    pub(crate) verbose: bool,
}

/// The properties of one output stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) terminal: bool,
    /// The columns of the terminal's window, where there is one.
    pub(crate) window: Option<usize>,
    colour: bool,
    raw: bool,
}

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const PLAIN_RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

impl Terminal {
    pub(crate) fn new(no_color: bool, verbose: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = no_color || set("NO_COLOR") || dumb;

        Self {
            out: Stream::of(&io::stdout(), plain),
            err: Stream::of(&io::stderr(), plain),
            reads: io::stdin().is_terminal(),
            verbose,
        }
    }

    /// The same, with an agent's words on standard output as they are if `raw` is set.
    pub(crate) fn raw(self, raw: bool) -> Self {
        let out = Stream { raw, ..self.out };
        Self { out, ..self }
    }

    /// Clean lines as they are, on standard error.
    pub(crate) fn tell(&self, text: &str) {
        to_stderr(text.trim_end_matches('\n'));
    }

    /// One line that explains, on standard error.
    pub(crate) fn note(&self, line: &str) {
        to_stderr(&self.err.dim(&clean(line)));
    }

    /// Whether a person can be asked.
    pub(crate) fn is_attended(&self) -> bool {
        self.reads && self.err.terminal
    }

    /// Prints a warning of one line to standard error.
    pub(crate) fn warn(&self, line: &str) {
        let word = self.err.paint(YELLOW, "warning:");
        to_stderr(&format!("{word} {}", text::seen(line)));
    }

    /// Prints why a command failed to standard error.
    pub(crate) fn error(&self, message: &str) {
        let word = self.err.paint(RED, "error:");
        to_stderr(&format!("{word} {}", text::seen(message)));
    }
}

impl Stream {
    fn of(stream: &(impl AsFd + IsTerminal), plain: bool) -> Self {
        let terminal = stream.is_terminal();
        // A terminal that was never given a size says 0.
        let window = tcgetwinsize(stream).ok().map(|size| size.ws_col.into());
        Self {
            terminal,
            window: window.filter(|columns| terminal && *columns > 0),
            colour: terminal && !plain,
            raw: false,
        }
    }

    pub(crate) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Dimmed text. The text must be clean.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint(DIM, text)
    }

    /// Bold text. The text must be clean.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    /// Green text, for additions. The text must be clean.
    pub(crate) fn green(&self, text: &str) -> String {
        self.paint(GREEN, text)
    }

    /// Red text, for removals. The text must be clean.
    pub(crate) fn red(&self, text: &str) -> String {
        self.paint(PLAIN_RED, text)
    }

    /// No terminal, no colours.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self {
            terminal: false,
            window: None,
            colour: false,
            raw: false,
        }
    }

    /// An agent's words, harmless for a terminal: what a pipe or a file takes may be shown at one
    /// later. As they are if that was asked for.
    pub(crate) fn words<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.raw {
            Cow::Borrowed(text)
        } else {
            clean(text)
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

/// Writes a line to standard error; does not fail if that is closed.
fn to_stderr(line: &str) {
    let _closed = printer().err().push(Descriptor::Err, &format!("{line}\n"));
}

/// Queues text for standard output, which a thread of `printer.rs` writes.
///
/// # Errors
/// Why an earlier text could not be written.
pub(crate) fn to_stdout(text: &str) -> io::Result<()> {
    printer().out().push(Descriptor::Out, text)
}

/// Log lines on standard error, which never block a thread.
pub(crate) struct LogLines {
    pub(crate) terminal: bool,
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        // The colours are the formatter's own; it escapes those of agents.
        let shown = if self.terminal {
            text::escaped(&text, |c| c != '\x1b' && is_obeyed(c))
        } else {
            Cow::Borrowed(&*text)
        };

        printer().err().log(shown.as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes, as `\u{1b}`, what a terminal would act on: control characters and marks that reorder
/// text. New lines, tabs, and the parts of letters and emoji stay.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    text::escaped(text, is_obeyed)
}

fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// One line of prose.
pub(crate) fn prose(text: &str) -> String {
    clean(&words(text)).into_owned()
}

/// One line of prose with at most `chars` characters.
pub(crate) fn line(text: &str, chars: usize) -> String {
    cut(&prose(text), chars)
}

/// One line of what people may decide by, shortened to at most `chars` characters: everything in it
/// shows.
pub(crate) fn brief(text: &str, chars: usize) -> String {
    cut(&text::seen(&words(text)), chars)
}

/// The words of a text, a blank between them.
fn words(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ")
}

/// The line, shortened to at most `chars` characters.
pub(crate) fn cut(line: &str, chars: usize) -> String {
    if line.chars().count() <= chars {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(clean("plain\n\ttext ünï"), "plain\n\ttext ünï");
        assert_eq!(clean("\x1b]0;title\x07"), r"\u{1b}]0;title\u{7}");
        assert_eq!(clean("a\rb\x7f\u{9b}31m"), r"a\u{d}b\u{7f}\u{9b}31m");
        assert_eq!(clean("a\u{202e}b\u{2066}c"), r"a\u{202e}b\u{2066}c");
        let prose = "שלום مرحبا ❤\u{fe0f} 👩\u{200d}🚀 می\u{200c}خواهم";
        assert_eq!(clean(prose), prose);
    }

    #[test]
    fn words_are_clean_unless_they_are_asked_for_as_they_are() {
        let mut stream = Stream::plain();
        assert_eq!(stream.words("a\x1b[2J"), r"a\u{1b}[2J");
        stream.raw = true;
        assert_eq!(stream.words("a\x1b[2J"), "a\x1b[2J");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line(" a\n b\tc ", 9), "a b c");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(brief(" a\n b\u{3164}", 20), r"a b\u{3164}");
    }
}
