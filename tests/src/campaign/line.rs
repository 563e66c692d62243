//! The output of a victim: one line for each thing that its host acknowledged. A line that was read
//! to its end counts as acknowledged; half a line does not.

use serde_json::Value;
use std::fmt;
use std::io::Write;

/// In front of each line, so that what else is printed is not taken for one.
const MARK: &str = "@";

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    /// The data directory is about to be opened, and recovered.
    Opening,
    /// The host stands: nothing an earlier one began is without its end.
    Recovered,
    /// The load begins.
    Ready,
    /// A session was answered.
    Session,
    /// A prompt was accepted.
    Accept,
    /// A subscriber saw an event.
    Event,
    /// A run is about to be cancelled.
    Cancelling,
    /// A receipt was answered.
    Receipt,
    /// The host is about to be shut down.
    Closing,
    /// It is.
    Closed,
    /// The host answered what it never should under this load.
    Trouble,
}

const WORDS: [(Word, &str); 11] = [
    (Word::Opening, "opening"),
    (Word::Recovered, "recovered"),
    (Word::Ready, "ready"),
    (Word::Session, "session"),
    (Word::Accept, "accept"),
    (Word::Event, "event"),
    (Word::Cancelling, "cancelling"),
    (Word::Receipt, "receipt"),
    (Word::Closing, "closing"),
    (Word::Closed, "closed"),
    (Word::Trouble, "trouble"),
];

impl Word {
    /// The first word of a line, if it is a victim's. What the command line prints is an event.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        if is_of_command_line(line) {
            return Some(Self::Event);
        }
        let word = line.strip_prefix(MARK)?.split(' ').next()?;
        WORDS
            .iter()
            .find(|(_, name)| *name == word)
            .map(|(word, _)| *word)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = WORDS.iter().find(|(word, _)| word == self);
        f.write_str(name.expect("every word has a name").1)
    }
}

/// Says a line on standard output, all of it before this returns.
pub fn say(word: Word, about: &Value) {
    let line = format!("{MARK}{word} {about}\n");
    let mut out = std::io::stdout().lock();
    let said = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    if said.is_err() {
        // Nobody listens any more.
        std::process::exit(1);
    }
}

/// A line as it was read.
///
/// # Panics
/// When it is marked as a victim's line and is none.
#[must_use]
pub fn parse(line: &str) -> Option<(Word, Value)> {
    let word = Word::of(line)?;
    let about = if is_of_command_line(line) {
        line
    } else {
        line.split_once(' ').expect("a line says about what").1
    };
    let about = serde_json::from_str(about).expect("a victim says JSON");
    Some((word, about))
}

/// Whether `lastword run --json` has printed this.
#[must_use]
pub fn is_of_command_line(line: &str) -> bool {
    line.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::{Word, parse};

    #[test]
    fn only_marked_lines_count() {
        assert_eq!(parse("running 1 test"), None);
        assert_eq!(
            parse("@session \"s\""),
            Some((Word::Session, serde_json::json!("s")))
        );
        assert_eq!(
            parse("{\"seq\":2}"),
            Some((Word::Event, serde_json::json!({ "seq": 2 })))
        );
    }
}
