//! Redacts values from text and from streams of bytes, in any form and wherever a stream is cut.

use super::encode::forms;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use std::borrow::Cow;
use std::sync::Arc;

/// Every form of every value, prepared for the search.
pub(super) struct Needles {
    needles: Vec<Needle>,
    /// Indices of the needles that begin with a byte.
    by_first: Vec<Vec<u16>>,
    /// Bytes of the longest needle.
    longest: usize,
}

struct Needle {
    form: SecretBox<[u8]>,
    /// The replacement.
    mark: String,
}

impl Needles {
    pub(super) fn new<'a>(values: impl Iterator<Item = (&'a str, &'a SecretString)>) -> Self {
        let mut needles = Vec::new();
        let mut by_first = vec![Vec::new(); 256];
        let mut longest = 0;

        for (name, value) in values {
            for form in forms(value.expose_secret()) {
                let (Some(first), Ok(at)) = (form.first(), u16::try_from(needles.len())) else {
                    continue;
                };
                by_first[usize::from(*first)].push(at);
                longest = longest.max(form.len());
                needles.push(Needle {
                    form: SecretBox::new(form.into_boxed_slice()),
                    mark: format!("[secret {name}]"),
                });
            }
        }

        Self {
            needles,
            by_first,
            longest,
        }
    }

    /// The longest needle at the start of the bytes.
    fn at(&self, bytes: &[u8]) -> Option<&Needle> {
        let first = bytes.first()?;
        let candidates = self.by_first[usize::from(*first)].iter();
        candidates
            .map(|at| &self.needles[usize::from(*at)])
            .filter(|needle| bytes.starts_with(needle.form.expose_secret()))
            .max_by_key(|needle| needle.form.expose_secret().len())
    }

    /// Redacts a text.
    pub(super) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        if !(0..bytes.len()).any(|at| self.at(&bytes[at..]).is_some()) {
            return Cow::Borrowed(text);
        }
        let redacted = self.redact_bytes(bytes);
        // Values and marks consist of whole characters, so the rest does as well.
        Cow::Owned(String::from_utf8_lossy(&redacted).into_owned())
    }

    pub(super) fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut held = bytes.to_vec();
        let mut covered = 0;
        self.pass(&mut held, &mut covered, bytes.len())
    }

    /// Removes the first `end` bytes from `held` and returns them redacted; the first `covered` of
    /// them belong to a value that began earlier.
    fn pass(&self, held: &mut Vec<u8>, covered: &mut usize, end: usize) -> Vec<u8> {
        let mut seen = Vec::with_capacity(end);

        for at in 0..end {
            // Values may overlap: all bytes of all of them are removed.
            if let Some(needle) = self.at(&held[at..]) {
                if *covered == 0 {
                    seen.extend_from_slice(needle.mark.as_bytes());
                }
                *covered = (*covered).max(needle.form.expose_secret().len());
            }

            match *covered {
                0 => seen.push(held[at]),
                _ => *covered -= 1,
            }
        }

        held.drain(..end);
        seen
    }
}

/// Redacts a stream. Bytes that could be the start of a value are held back until that is decided,
/// at most one less than the longest form of a value.
pub struct RedactedStream {
    needles: Arc<Needles>,
    held: Vec<u8>,
    covered: usize,
}

impl RedactedStream {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self {
            needles,
            held: Vec::new(),
            covered: 0,
        }
    }

    /// Takes the next bytes, and returns those that can be shown.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let known = (self.held.len() + 1).saturating_sub(self.needles.longest.max(1));
        self.needles.pass(&mut self.held, &mut self.covered, known)
    }

    /// Returns the bytes that were held back, at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = self.held.len();
        self.needles.pass(&mut self.held, &mut self.covered, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(values: &[(&str, &str)]) -> Arc<Needles> {
        let values: Vec<(&str, SecretString)> = values
            .iter()
            .map(|(name, value)| (*name, SecretString::from(*value)))
            .collect();
        Arc::new(Needles::new(
            values.iter().map(|(name, value)| (*name, value)),
        ))
    }

    #[test]
    fn every_form_is_found_in_text() {
        let needles = needles(&[("a", "p\"ss/word"), ("b", "hunter2-long")]);

        for (text, left) in [
            ("nothing here", "nothing here"),
            ("x hunter2-long y", "x [secret b] y"),
            ("hunter2-longhunter2-long", "[secret b][secret b]"),
            ("{\"k\":\"p\\\"ss/word\"}", "{\"k\":\"[secret a]\"}"),
            ("?k=p%22ss%2Fword&x", "?k=[secret a]&x"),
            ("?k=p%22ss%2fword&x", "?k=[secret a]&x"),
            ("dTpodW50ZXIyLWxvbmc=", "dTp[secret b]c="),
            ("ünter hunter2-long ü", "ünter [secret b] ü"),
            ("hunter2-lon", "hunter2-lon"),
        ] {
            assert_eq!(needles.redact(text), left, "{text}");
        }

        assert!(matches!(needles.redact("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn overlapping_values_are_redacted_whole() {
        let needles = needles(&[("a", "abcdefgh"), ("b", "efghijkl"), ("c", "abcdef")]);
        assert_eq!(needles.redact("-abcdefghijkl-"), "-[secret a]-");
        assert_eq!(needles.redact("-abcdefg-"), "-[secret c]g-");
    }

    /// Pseudo-random numbers, the same in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) as usize % bound
        }
    }

    #[test]
    fn a_stream_is_redacted_as_the_whole_wherever_it_is_cut() {
        let mut chance = Random(7);
        // A small alphabet and values with common prefixes, so that they nearly match everywhere.
        let values = [("a", "abaabab"), ("b", "abaaba"), ("c", "bbbbab\"a")];
        let needles = needles(&values);

        for _ in 0..2000 {
            let mut whole = Vec::new();
            while whole.len() < 60 {
                match chance.below(4) {
                    0 => whole.extend_from_slice(values[chance.below(3)].1.as_bytes()),
                    _ => whole.push(b"ab\\\""[chance.below(4)]),
                }
            }

            let mut stream = RedactedStream::new(Arc::clone(&needles));
            let (mut seen, mut rest) = (Vec::new(), &whole[..]);

            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + chance.below(rest.len().min(9)));
                seen.extend(stream.push(chunk));
                assert!(
                    stream.held.len() < needles.longest,
                    "it holds back too much"
                );

                for (_, value) in values {
                    let found = seen.windows(value.len()).any(|w| w == value.as_bytes());
                    assert!(!found, "a value got through");
                }

                rest = after;
            }

            seen.extend(stream.finish());
            assert_eq!(seen, needles.redact_bytes(&whole));
        }
    }

    #[test]
    fn without_values_nothing_is_held_back() {
        let mut stream = RedactedStream::new(needles(&[]));
        assert_eq!(stream.push(b"abc"), b"abc");
        assert_eq!(stream.finish(), b"");
    }
}
