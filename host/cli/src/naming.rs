//! Finds what people name by an id or by a unique beginning of one: the same rules for sessions,
//! runs, questions and grants.

use crate::failure::Failure;
use crate::terminal::Stream;
use std::collections::HashSet;

/// The smallest number of characters of an id that can name anything.
const BEGINNING_MIN: usize = 4;
/// Characters of an id that hold its time of creation: the fewest that lists show.
const SHORT: usize = 13;
/// Characters of a whole id.
const WHOLE: usize = 36;
/// The largest number of candidates that an ambiguous word lists.
const CANDIDATES_MAX: usize = 10;

/// A kind of thing that has an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    noun: &'static str,
    /// Whether `latest` names one, too.
    has_latest: bool,
    /// The command that lists them.
    list: &'static str,
}

pub(crate) const SESSION: Kind = Kind {
    noun: "session",
    has_latest: true,
    list: "lastword sessions",
};
pub(crate) const RUN: Kind = Kind {
    noun: "run",
    has_latest: false,
    list: "lastword runs",
};
/// What `cancel`, `resume` and `follow` take.
pub(crate) const RUN_OR_SESSION: Kind = Kind {
    noun: "run or session",
    has_latest: true,
    list: "lastword runs",
};
pub(crate) const QUESTION: Kind = Kind {
    noun: "question",
    has_latest: true,
    list: "lastword questions",
};
pub(crate) const GRANT: Kind = Kind {
    noun: "grant",
    has_latest: false,
    list: "lastword grants",
};

/// The ids of a list: at a terminal, beginnings that name each of them; elsewhere, whole ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    chars: usize,
}

impl Ids {
    /// The list has these ids, and those of other things that a word could name instead.
    pub(crate) fn of<T: ToString>(ids: impl IntoIterator<Item = T>, out: &Stream) -> Self {
        if !out.terminal {
            return Self { chars: WHOLE };
        }

        let mut ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        ids.sort_unstable();
        ids.dedup();
        let differ = |chars: &usize| {
            let mut seen = HashSet::new();
            ids.iter().all(|id| seen.insert(id.get(..*chars)))
        };
        Self {
            chars: (SHORT..WHOLE).find(differ).unwrap_or(WHOLE),
        }
    }

    /// Returns the id as it is shown.
    pub(crate) fn show(self, id: &impl ToString) -> String {
        let mut shown = id.to_string();
        shown.truncate(self.chars);
        shown
    }
}

/// A thing that a word may name.
pub(crate) trait Candidate {
    /// Returns its whole id.
    fn id(&self) -> String;

    /// Returns a few words by which a person tells it from others. They must be clean.
    fn about(&self) -> String;
}

impl Kind {
    /// Returns the beginning of an id that a word is, in lower case.
    pub(crate) fn beginning(self, word: &str) -> Result<String, Failure> {
        let beginning = word.to_ascii_lowercase();
        let plausible = beginning.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if plausible && (BEGINNING_MIN..=WHOLE).contains(&beginning.len()) {
            return Ok(beginning);
        }

        let Self { noun, list, .. } = self;
        let latest = if self.has_latest { ", or `latest`" } else { "" };
        Err(Failure::usage(format!(
            "`{word}` is not a {noun} id; give an id like 01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55, or \
             the first {BEGINNING_MIN} or more characters of one{latest}; `{list}` lists those \
             that there are"
        )))
    }

    /// Returns the one candidate whose id begins with the word; `None` if there is none.
    pub(crate) fn pick<T: Candidate>(
        self,
        word: &str,
        all: impl IntoIterator<Item = T>,
    ) -> Result<Option<T>, Failure> {
        let beginning = self.beginning(word)?;
        let mut found: Vec<T> = all
            .into_iter()
            .filter(|candidate| candidate.id().starts_with(&beginning))
            .collect();
        if found.len() > 1 {
            return Err(self.ambiguous(word, &found));
        }

        Ok(found.pop())
    }

    /// The failure for a word that names nothing.
    pub(crate) fn unknown(self, word: &str) -> Failure {
        let Self { noun, list, .. } = self;
        Failure::usage(format!(
            "there is no {noun} {word}; `{list}` lists those that there are"
        ))
    }

    fn ambiguous<T: Candidate>(self, word: &str, found: &[T]) -> Failure {
        let shown = found.iter().take(CANDIDATES_MAX);
        let mut lines: String = shown
            .map(|candidate| format!("\n  {}  {}", candidate.id(), candidate.about()))
            .collect();
        if found.len() > CANDIDATES_MAX {
            lines.push_str(&format!("\n  … {} more", found.len() - CANDIDATES_MAX));
        }

        Failure::usage(format!(
            "more than one {} begins with `{word}`; give more of the id:{lines}",
            self.noun
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Candidate for Named {
        fn id(&self) -> String {
            self.0.to_owned()
        }

        fn about(&self) -> String {
            format!("about {}", self.0)
        }
    }

    fn pick(word: &str, all: &[&'static str]) -> Result<Option<String>, String> {
        let picked = RUN.pick(word, all.iter().map(|id| Named(id)));
        let picked = picked.map_err(|failure| failure.message)?;
        Ok(picked.map(|named| named.0.to_owned()))
    }

    #[test]
    fn a_unique_beginning_is_enough() {
        let all = ["abcd-1", "abcd-2", "dcba"];
        assert_eq!(pick("ABCD-2", &all), Ok(Some("abcd-2".to_owned())));
        assert_eq!(pick("dcba", &all), Ok(Some("dcba".to_owned())));
        assert_eq!(pick("ffff", &all), Ok(None));
    }

    #[test]
    fn an_ambiguous_word_lists_the_candidates() {
        let told = pick("abcd", &["abcd-1", "dcba", "abcd-2"]).unwrap_err();
        assert!(told.contains("more than one run begins with `abcd`"));
        assert!(told.ends_with("\n  abcd-1  about abcd-1\n  abcd-2  about abcd-2"));
        let many = pick("abcd", &["abcd"; CANDIDATES_MAX + 3]).unwrap_err();
        assert!(many.ends_with("\n  … 3 more"), "{many}");
    }

    #[test]
    fn a_terminal_is_shown_beginnings_that_differ() {
        let ids = [
            "01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55",
            "01990b6e-7c1d-7bb0-9f2e-0c5a4d1b7e55",
        ];
        let mut at_terminal = Stream::plain();
        at_terminal.terminal = true;
        // One that is named twice is still one.
        let shown = Ids::of([ids[0], ids[0]], &at_terminal).show(&ids[0]);
        assert_eq!(shown, "01990b6e-7c1d");
        let shown = ids.map(|id| Ids::of(ids, &at_terminal).show(&id));
        assert_eq!(shown, ["01990b6e-7c1d-7a", "01990b6e-7c1d-7b"]);
        let whole = ids.map(|id| Ids::of(ids, &Stream::plain()).show(&id));
        assert_eq!(whole, ids);
    }

    #[test]
    fn what_cannot_begin_an_id_is_refused() {
        let long = "a".repeat(WHOLE + 1);
        for word in ["", "abc", "wxyz", "ab\u{e9}d", &long] {
            let told = pick(word, &["abcd"]).unwrap_err();
            assert!(told.contains("is not a run id"), "{told}");
        }
    }
}
