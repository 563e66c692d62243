//! What began a run. The store keeps it with the prompt, and `run.queued` contains it.

crate::open_words! {
    /// What began a run. Its JSON is one word.
    pub enum Origin {
        /// A user's prompt.
        User = "user",
        /// A tool call of another run.
        Parent = "parent",
        /// A user resumed a run that ended early.
        Resume = "resume",
        /// The time came for which the session's last run waited.
        Wake = "wake",
        /// The answer came for which the session's last run waited.
        Answer = "answer",
        /// The session was copied from another one; this run holds the copied messages.
        Fork = "fork",
        ..
        /// A word that this version does not know.
        Other,
    }
}

impl Origin {
    /// Whether the run begins with a message of the user: its prompt contains text that is not in
    /// the session yet.
    #[must_use]
    pub fn brings_message(&self) -> bool {
        matches!(self, Self::User | Self::Parent | Self::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for word in Origin::WORDS.iter().chain(&["later", ""]) {
            let origin: Origin = word.parse().expect("every word is one");
            assert_eq!(origin.to_string(), *word);
            assert_eq!(origin, *word);
            assert_eq!(String::from(origin.clone()), *word);
            assert_eq!(Origin::from(String::from(*word)), origin);
            let json = serde_json::to_string(&origin).expect("a word is JSON");
            assert_eq!(json, format!("{word:?}"));
            assert_eq!(
                serde_json::from_str::<Origin>(&json).ok(),
                Some(origin.clone())
            );
            let known = !matches!(origin, Origin::Other(_));
            assert_eq!(known, Origin::WORDS.contains(word), "{word}");
        }
    }

    #[test]
    fn a_message_comes_with_words_that_are_new() {
        let with: Vec<_> = Origin::WORDS
            .iter()
            .filter(|word| Origin::from(**word).brings_message())
            .collect();
        assert_eq!(with, [&"user", &"parent", &"answer"]);
    }
}
