//! Finds the word that was meant, if an unknown one is close to it. Every message about an unknown
//! word asks with [`did_you_mean`].

/// The largest number of characters of a word that is compared.
const CHARS_MAX: usize = 64;
/// The smallest number of characters that count as the beginning of a longer word.
const PREFIX_CHARS_MIN: usize = 3;

/// Returns the known word that is most like `word`, without regard to upper and lower case. `None`
/// if none is: at most a third of the characters may differ, unless `word` is the beginning of the
/// known one.
#[must_use]
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > CHARS_MAX {
        return None;
    }

    let word = word.to_lowercase();
    let close = known.into_iter().filter_map(|known| {
        let lower = known.to_lowercase();
        if length >= PREFIX_CHARS_MIN && lower.starts_with(&word) {
            return Some((0, known));
        }

        // A difference in length alone can be too much, which costs no comparison.
        let characters = lower.chars().count();
        let longest = characters.max(length);
        if characters.abs_diff(length) * 3 > longest {
            return None;
        }

        let distance = strsim::damerau_levenshtein(&word, &lower);
        (distance * 3 <= longest).then_some((distance, known))
    });
    close
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Returns ` (did you mean ...?)` for a message about an unknown word; empty if no known one is
/// close to it.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, known)
        .map(|known| format!(" (did you mean `{known}`?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Capability;

    fn meant(word: &str) -> Option<&'static str> {
        closest(word, Capability::ALL.map(Capability::as_str))
    }

    #[test]
    fn a_slip_is_understood() {
        for (word, known) in [
            ("read-file", "read-files"),
            ("raed-files", "read-files"),
            ("Model", "model"),
            ("modle", "model"),
            ("network ", "network"),
            ("net", "network"),
            ("run_agents", "run-agents"),
        ] {
            assert_eq!(meant(word), Some(known), "{word}");
        }
    }

    #[test]
    fn another_word_is_not_guessed_at() {
        for word in ["", "x", "fly", "threads", &"read-files".repeat(1000)] {
            assert_eq!(meant(word), None, "{word}");
        }
        assert_eq!(closest("a", ["b"]), None);
        assert_eq!(did_you_mean("a", ["b"]), "");
    }

    #[test]
    fn the_closest_one_is_named() {
        let told = did_you_mean("clod-opus", ["claude-haiku", "claude-opus", "gpt"]);
        assert_eq!(told, " (did you mean `claude-opus`?)");
    }
}
