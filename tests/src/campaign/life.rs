//! One life of a victim: the lines that it wrote, when they came, and the moment at which it is to
//! be killed.

use super::chain::Phase;
use super::line::Word;
use std::io::BufRead;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// A victim that says nothing for so long hangs, which is a failure.
const SILENCE: Duration = Duration::from_secs(30);
/// The line after which a victim dies, and how long after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    pub(super) phase: Phase,
    /// `None` counts lines of every kind, and from the start of the process if `nth` is 0.
    pub(super) word: Option<Word>,
    pub(super) nth: u64,
    pub(super) delay: Duration,
}

/// Hands on every whole line with the time of its arrival.
pub(super) fn listen(mut out: impl BufRead, lines: &Sender<(Instant, String)>) {
    loop {
        let mut line = Vec::new();
        let read = out.read_until(b'\n', &mut line).expect("a pipe is read");
        let whole = line.pop() == Some(b'\n');
        if read == 0 || !whole {
            return;
        }
        let line = String::from_utf8(line).expect("victims say UTF-8");
        if lines.send((Instant::now(), line)).is_err() {
            return;
        }
    }
}

/// Why nothing more is listened to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Moment,
    Over,
    Silence,
}

/// What was heard of one life.
pub(super) struct Life {
    born: Instant,
    moment: Option<Moment>,
    counted: u64,
    /// When the host was last about to be opened or closed.
    about_to: Instant,
    pub(super) opened: Option<Duration>,
    pub(super) ready: Option<Duration>,
    pub(super) closing: Option<Duration>,
    pub(super) lines: Vec<String>,
}

impl Life {
    pub(super) fn new(born: Instant, moment: Option<Moment>) -> Self {
        Self {
            born,
            moment,
            counted: 0,
            about_to: born,
            opened: None,
            ready: None,
            closing: None,
            lines: Vec::new(),
        }
    }

    pub(super) fn until_the_moment(&mut self, heard: &Receiver<(Instant, String)>) -> End {
        while self.moment.is_none_or(|moment| self.counted < moment.nth) {
            match heard.recv_timeout(SILENCE) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Timeout) => return End::Silence,
                Err(RecvTimeoutError::Disconnected) => return End::Over,
            }
        }
        End::Moment
    }

    pub(super) fn hear(&mut self, (at, line): (Instant, String)) {
        let Some(word) = Word::of(&line) else {
            return;
        };
        match word {
            Word::Opening | Word::Closing => self.about_to = at,
            Word::Recovered => self.opened = Some(at - self.about_to),
            Word::Ready => self.ready = Some(at - self.born),
            Word::Closed => self.closing = Some(at - self.about_to),
            _ => {}
        }
        let counts = |moment: Moment| moment.word.is_none_or(|wanted| wanted == word);
        self.counted += u64::from(self.moment.is_some_and(counts));
        self.lines.push(line);
    }
}
