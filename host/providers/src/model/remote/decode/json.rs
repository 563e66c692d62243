//! JSON as services send it. A character outside the basic plane may arrive as half a surrogate
//! pair in each of two deltas, which is valid JSON but not a valid string: such a half is kept as a
//! marker until its other half arrives. Pure.

use serde_json::Value;

/// Starts a marker: a noncharacter, which Unicode reserves for internal use and no text contains.
/// Three more, from [`DIGIT`] on, encode the half.
const MARK: char = '\u{fdef}';
/// The noncharacter that encodes the hex digit 0.
const DIGIT: u32 = 0xfdd0;
/// The first surrogate.
const SURROGATES: u32 = 0xd800;
/// The first low surrogate, which comes second in a pair.
const LOW_SURROGATES: u32 = 0xdc00;
/// Replaces a half that remains alone.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Parses a document. Halves of surrogate pairs become markers, for [`Halves`] to join.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match mark_halves(text) {
        Some(marked) => serde_json::from_str(&marked),
        None => Err(error),
    })
}

/// Replaces each escape of a lone half by a marker; `None` if there is none.
fn mark_halves(text: &str) -> Option<String> {
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;

    while let Some(at) = rest.find('\\') {
        marked.push_str(&rest[..at]);
        rest = &rest[at..];

        let taken = match (escaped_unit(rest), rest.get(6..).and_then(escaped_unit)) {
            (Some(high), Some(low)) if is_high(high) && is_low(low) => 12,
            (Some(unit), _) if is_high(unit) || is_low(unit) => {
                found = true;
                push_mark(&mut marked, unit);
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // The character after a backslash starts no escape of its own.
            (None, _) => rest.chars().take(2).map(char::len_utf8).sum(),
        };
        marked.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }

    marked.push_str(rest);
    found.then_some(marked)
}

/// The code unit of a `\uXXXX` at the beginning of a text.
fn escaped_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then(|| u32::from_str_radix(digits, 16).ok())?
}

fn is_high(unit: u32) -> bool {
    (SURROGATES..LOW_SURROGATES).contains(&unit)
}

fn is_low(unit: u32) -> bool {
    (LOW_SURROGATES..0xe000).contains(&unit)
}

fn push_mark(text: &mut String, unit: u32) {
    let place = unit - SURROGATES;
    text.push(MARK);
    for shift in [8, 4, 0] {
        text.extend(char::from_u32(DIGIT + (place >> shift & 0xf)));
    }
}

/// The half that a marker at the beginning of a text encodes, and the rest of the text.
fn marked_half(text: &str) -> Option<(u32, &str)> {
    let mut rest = text.strip_prefix(MARK)?.chars();
    let mut place = 0;
    for _ in 0..3 {
        let digit = u32::from(rest.next()?).checked_sub(DIGIT)?;
        place = place << 4 | (digit < 16).then_some(digit)?;
    }
    (place < 0x800).then(|| (SURROGATES + place, rest.as_str()))
}

/// Joins the halves of surrogate pairs over the pieces of one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Halves {
    high: Option<u32>,
}

impl Halves {
    /// Returns the next piece with the pair that it completes, and without the half at its end.
    pub(super) fn join(&mut self, piece: &str) -> String {
        if self.high.is_none() && !piece.contains(MARK) {
            return piece.to_owned();
        }

        let mut joined = String::with_capacity(piece.len());
        let mut rest = piece;
        while let Some(next) = rest.chars().next() {
            let Some((half, behind)) = marked_half(rest) else {
                joined.extend(self.flush());
                joined.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            };

            rest = behind;

            match self.high.take() {
                Some(high) if is_low(half) => {
                    let pair = 0x10000 + (high - SURROGATES) * 0x400 + (half - LOW_SURROGATES);
                    joined.push(char::from_u32(pair).unwrap_or(REPLACEMENT));
                }
                before => {
                    joined.extend(before.map(|_| REPLACEMENT));
                    if is_high(half) {
                        self.high = Some(half);
                    } else {
                        joined.push(REPLACEMENT);
                    }
                }
            }
        }

        joined
    }

    /// The replacement of a half whose other half never arrived.
    pub(super) fn flush(&mut self) -> Option<char> {
        self.high.take().map(|_| REPLACEMENT)
    }
}

/// Replaces the markers in a whole text.
pub(super) fn whole(text: &str) -> String {
    let mut halves = Halves::default();
    let mut joined = halves.join(text);
    joined.extend(halves.flush());
    joined
}

/// A string member of a document; `None` if it is missing, empty or not a string.
pub(super) fn text<'a>(document: &'a Value, key: &str) -> Option<&'a str> {
    let text = document.get(key)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// A numeric member of a document; 0 where it is missing or not a count.
pub(super) fn count(document: &Value, key: &str) -> u64 {
    document.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// Replaces the markers in a document.
pub(super) fn without_halves(document: &Value) -> Value {
    let text = document.to_string();
    if !text.contains(MARK) {
        return document.clone();
    }
    let text = whole(&text);
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(documents: &[&str]) -> String {
        let mut halves = Halves::default();
        let mut all = String::new();
        for document in documents {
            let piece = parse(document).unwrap();
            all.push_str(&halves.join(piece.as_str().unwrap()));
        }
        all.extend(halves.flush());
        all
    }

    #[test]
    fn halves_of_a_pair_are_joined_and_lone_ones_replaced() {
        for (documents, expected) in [
            (&[r#""a\ud83d""#, r#""\ude00b""#][..], "a😀b"),
            (&[r#""\uD83D\uDE00""#], "😀"),
            (&[r#""\ud83d""#, r#""""#, r#""\ude00""#], "😀"),
            (&[r#""\ud83dx""#], "\u{fffd}x"),
            (&[r#""\ude00\ud83d""#], "\u{fffd}\u{fffd}"),
            (&[r#""\ud83d\ud83d\ude00""#], "\u{fffd}😀"),
            (&[r#""\\ud83d \" \ud83d\n""#], "\\ud83d \" \u{fffd}\n"),
            (
                &["\"\u{fdef} \u{fdef}\u{fdd0}\""],
                "\u{fdef} \u{fdef}\u{fdd0}",
            ),
        ] {
            assert_eq!(joined(documents), expected, "{documents:?}");
        }
    }

    #[test]
    fn invalid_json_is_refused_with_and_without_halves() {
        for text in [
            "{",
            r#"{"a":"\ud83d"#,
            r#""\u12""#,
            r#""\ud8""#,
            r#""\x""#,
            "\\",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_document_loses_its_markers() {
        let document = parse(r#"{"a":["\ud83d"]}"#).unwrap();
        let expected = serde_json::json!({"a": ["\u{fffd}"]});
        assert_eq!(without_halves(&document), expected);
    }
}
