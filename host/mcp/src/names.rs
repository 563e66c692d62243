//! The names under which a server's tools are shown: `server.tool`, of few enough characters
//! for every model. Knows no server.

use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// The longest name of a tool.
pub(super) const NAME_MAX: usize = 128;
/// How much of a name's digest tells it from another.
const DIGEST_BYTES: usize = 4;

/// What each tool is shown as, in their order. `None` for a name that came before: nobody
/// could tell which is meant.
pub(super) fn shown<'a>(
    server: &str,
    tools: impl IntoIterator<Item = &'a str> + Clone,
) -> Vec<Option<String>> {
    let mut originals = HashSet::new();
    let mut shared: HashMap<String, usize> = HashMap::new();

    for tool in tools.clone() {
        if originals.insert(tool) {
            *shared.entry(plain(server, tool)).or_default() += 1;
        }
    }

    // Whoever needs no change keeps its name, whatever order the server lists them in.
    let name = |tool: &str| {
        let name = plain(server, tool);
        let changed = name[server.len() + 1..] != *tool;
        if name.len() > NAME_MAX || (changed && shared[&name] > 1) {
            marked(&name, tool)
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

fn plain(server: &str, tool: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let tool = tool.chars().map(|c| if fits(c) { c } else { '_' });
    format!("{server}.{}", tool.collect::<String>())
}

/// The name with its original's digest, and short enough for it.
fn marked(name: &str, original: &str) -> String {
    let digest = Sha256::digest(original.as_bytes());
    let digest: String = digest[..DIGEST_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let room = NAME_MAX - digest.len() - 1;
    // Of ASCII alone, so that every cut is between characters.
    format!("{}-{digest}", &name[..name.len().min(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tools: &[&str]) -> Vec<Option<String>> {
        shown("s", tools.iter().copied())
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

        // The one that needed no change keeps its name, though it comes last.
        assert_eq!(all[2], "s.a_b");
        assert!(all[0].starts_with("s.a_b-") && all[1].starts_with("s.a_b-"));
        assert_ne!(all[0], all[1]);
        assert_eq!(all[3], "s._");
        assert_eq!(all[4], "s.");

        // And the same again in another order, or without it.
        for order in [&["a_b", "a/b", "a b"][..], &["a/b", "a b"]] {
            let again = names(order);
            let at = |tool: &str| order.iter().position(|other| *other == tool).unwrap();
            assert_eq!(again[at("a b")].as_ref(), Some(&all[0]));
            assert_eq!(again[at("a/b")].as_ref(), Some(&all[1]));
        }
    }

    #[test]
    fn long_names_are_cut_and_told_apart() {
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
