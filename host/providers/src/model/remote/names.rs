//! Tool names on the wire. The host's may be long and of the form `server.tool`; services accept
//! fewer characters, so names are changed in requests and restored in responses.

use crate::model::provider::ModelRequest;
use lastword_types::session::{Part, PartBody};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The longest name that every service accepts.
const NAME_MAX: usize = 64;
/// How many hex digits of a digest make a changed name unique.
const DIGEST_CHARS: usize = 8;
/// The names of one request, in both directions. They depend only on the set of names, so that the
/// same tools have the same names in every request.
#[derive(Debug, Default)]
pub(super) struct Names {
    wire: BTreeMap<String, String>,
    original: HashMap<String, String>,
}

impl Names {
    /// The names of the tools, and of the calls and results in the history.
    pub(super) fn of(request: &ModelRequest) -> Self {
        let tools = request.tools.iter().map(|tool| tool.name.as_str());
        let parts = request.messages.iter().flat_map(|message| &message.parts);
        Self::new(tools.chain(parts.filter_map(named)))
    }

    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
        let mut shared: HashMap<String, usize> = HashMap::new();

        for name in &names {
            *shared.entry(sanitized(name)).or_default() += 1;
        }

        let (unchanged, changed): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| fits(name));
        let mut all = Self::default();

        // A name that needs no change is kept.
        for name in unchanged {
            all.insert(name, name.to_owned());
        }

        for name in changed {
            let plain = sanitized(name);
            let mut wire = plain.clone();

            if shared[&plain] > 1 || !fits(&plain) {
                wire = with_digest(&plain, name, DIGEST_CHARS);
            }

            // Only reached if a tool is deliberately named like another's changed name.
            let mut more = DIGEST_CHARS;
            while all.original.contains_key(&wire) && more < NAME_MAX {
                more += 1;
                wire = with_digest(&plain, name, more);
            }

            all.insert(name, wire);
        }

        all
    }

    fn insert(&mut self, name: &str, wire: String) {
        self.original.insert(wire.clone(), name.to_owned());
        self.wire.insert(name.to_owned(), wire);
    }

    /// The wire name of a tool.
    pub(super) fn wire(&self, name: String) -> String {
        self.wire.get(&name).cloned().unwrap_or(name)
    }

    /// The tool of a wire name. A name that was not sent is the model's invention, and is kept.
    pub(super) fn original(&self, wire: String) -> String {
        self.original.get(&wire).cloned().unwrap_or(wire)
    }
}

fn named(part: &Part) -> Option<&str> {
    match &part.body {
        PartBody::ToolCall(call) => Some(&call.name),
        PartBody::ToolResult(result) => Some(&result.name),
        _ => None,
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn fits(name: &str) -> bool {
    // Gemini's names begin with a letter.
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && name.len() <= NAME_MAX && name.chars().all(is_letter)
}

/// Replaces characters that services do not accept; the result may still be too long.
fn sanitized(name: &str) -> String {
    let mut plain = String::with_capacity(name.len() + 2);

    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        plain.push('_');
    }

    for c in name.chars() {
        match c {
            '.' => plain.push_str("__"),
            c if is_letter(c) => plain.push(c),
            _ => plain.push('_'),
        }
    }

    plain
}

/// Appends the digest of the original name, and shortens the result to the bound.
fn with_digest(plain: &str, original: &str, chars: usize) -> String {
    let digest = format!("{:x}", Sha256::digest(original.as_bytes()));
    // The name is ASCII, so every cut is between characters; it begins with a letter.
    let chars = chars.min(NAME_MAX - 2);
    let room = NAME_MAX - chars - 1;
    format!("{}_{}", &plain[..plain.len().min(room)], &digest[..chars])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(names: &[&str]) -> Vec<String> {
        let all = Names::new(names.iter().copied());
        let wire: Vec<String> = names
            .iter()
            .map(|name| all.wire((*name).to_owned()))
            .collect();

        for (name, wire) in names.iter().zip(&wire) {
            assert!(fits(wire), "{wire}");
            assert_eq!(all.original(wire.clone()), *name);
        }

        let different: BTreeSet<&String> = wire.iter().collect();
        assert_eq!(different.len(), wire.len(), "{wire:?}");
        wire
    }

    #[test]
    fn valid_names_stay_and_dots_become_two_underscores() {
        let wire = both(&["look", "mcp.read-file", "7up", "é"]);
        assert_eq!(wire, ["look", "mcp__read-file", "_7up", "__"]);
    }

    #[test]
    fn colliding_names_are_made_unique_in_any_order() {
        let wire = both(&["a.b", "a__b", "a b", "a/b"]);
        assert_eq!(wire[1], "a__b", "who needs no change keeps its name");
        assert!(wire[0].starts_with("a__b_"), "{wire:?}");
        assert!(wire[2].starts_with("a_b_") && wire[3].starts_with("a_b_"));

        let again = both(&["a/b", "a b", "a__b", "a.b"]);
        let turned: Vec<String> = again.into_iter().rev().collect();
        assert_eq!(turned[..2], [wire[0].clone(), wire[1].clone()]);
        assert_eq!(turned[2..], [wire[2].clone(), wire[3].clone()]);

        // Even one that is named like another's changed name.
        both(&["a.b", "a__b", &wire[0]]);
    }

    #[test]
    fn long_names_are_cut_and_unique() {
        let (one, two) = ("s.".to_owned() + &"x".repeat(125), "x".repeat(128));
        let three = "x".repeat(127) + "y";
        let wire = both(&[&one, &two, &three, &"é".repeat(64)]);
        assert_eq!([wire[0].len(), wire[1].len(), wire[2].len()], [NAME_MAX; 3]);
    }

    #[test]
    fn unknown_wire_names_are_unchanged() {
        let names = Names::new(["a.b"].into_iter());
        assert_eq!(names.original("a__b".to_owned()), "a.b");
        assert_eq!(names.original("made_up".to_owned()), "made_up");
        assert_eq!(names.wire(String::new()), "");
    }
}
