//! The names under which a server's tools are shown: `server.tool`, short enough for every model.

use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// The largest number of bytes of a tool's name.
pub(super) const NAME_MAX: usize = 128;
/// The number of hexadecimal digits of a digest that are appended to a name to make it unique.
const DIGEST_CHARS: usize = 8;

/// Returns the shown name of each tool, in order. `None` for a repeated name, which would be
/// ambiguous.
pub(super) fn shown_names<'a>(
    server: &str,
    tools: impl IntoIterator<Item = &'a str> + Clone,
) -> Vec<Option<String>> {
    let mut originals = HashSet::new();
    let mut shared: HashMap<String, usize> = HashMap::new();

    for tool in tools.clone() {
        if originals.insert(tool) {
            *shared.entry(joined(server, tool)).or_default() += 1;
        }
    }

    // A name that needs no change is kept, in whatever order the server lists its tools.
    let name = |tool: &str| {
        let name = joined(server, tool);
        let changed = name[server.len() + 1..] != *tool;
        if name.len() > NAME_MAX || (changed && shared[&name] > 1) {
            with_digest(&name, tool)
        } else {
            name
        }
    };

    let mut taken = HashSet::new();
    let names = tools.into_iter().map(name);
    names
        .map(|name| taken.insert(name.clone()).then_some(name))
        .collect()
}

fn joined(server: &str, tool: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let tool = tool.chars().map(|c| if fits(c) { c } else { '_' });
    format!("{server}.{}", tool.collect::<String>())
}

/// Appends the digest of the original name, and shortens the result to the bound.
fn with_digest(name: &str, original: &str) -> String {
    let mut digest = format!("{:x}", Sha256::digest(original.as_bytes()));
    digest.truncate(DIGEST_CHARS);
    let room = NAME_MAX - digest.len() - 1;
    // The name is ASCII, so every cut is between characters.
    format!("{}-{digest}", &name[..name.len().min(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tools: &[&str]) -> Vec<Option<String>> {
        shown_names("s", tools.iter().copied())
    }

    #[test]
    fn names_are_those_of_the_server_after_its_own() {
        let names = names(&["read_file", "a.b-C9"]);
        assert_eq!(names[0].as_deref(), Some("s.read_file"));
        assert_eq!(names[1].as_deref(), Some("s.a.b-C9"));
    }

    #[test]
    fn what_does_not_fit_is_replaced_and_told_apart() {
        let all = names(&["a b", "a/b", "a_b", "é", ""]);
        let all: Vec<_> = all.into_iter().map(Option::unwrap).collect();

        // A name that needs no change is kept, though it comes last.
        assert_eq!(all[2], "s.a_b");
        assert!(all[0].starts_with("s.a_b-") && all[1].starts_with("s.a_b-"));
        assert_ne!(all[0], all[1]);
        assert_eq!(all[3], "s._");
        assert_eq!(all[4], "s.");

        // The result is the same in another order, or without it.
        for order in [&["a_b", "a/b", "a b"][..], &["a/b", "a b"]] {
            let again = names(order);
            let at = |tool: &str| order.iter().position(|other| *other == tool).unwrap();
            assert_eq!(again[at("a b")].as_ref(), Some(&all[0]));
            assert_eq!(again[at("a/b")].as_ref(), Some(&all[1]));
        }
    }

    #[test]
    fn long_names_are_cut_and_unique() {
        let (one, two) = ("x".repeat(400) + "1", "x".repeat(400) + "2");
        let names = names(&[&one, &two]);
        let (one, two) = (names[0].as_ref().unwrap(), names[1].as_ref().unwrap());
        assert_eq!((one.len(), two.len()), (NAME_MAX, NAME_MAX));
        assert_ne!(one, two);
    }

    #[test]
    fn a_name_that_is_there_twice_is_there_once() {
        assert_eq!(names(&["a", "a"]), [Some("s.a".to_owned()), None]);
    }
}
