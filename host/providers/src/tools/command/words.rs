//! A command line as one text for people and rules. Words with special characters are quoted, so
//! that two different commands never have the same text. Pure.
//!
//! Rules compare words between spaces. A space within an argument is always inside open quotes,
//! while a rule's quotes are closed; so a rule ends where an argument ends: `cargo test` does not
//! cover `cargo 'test x'`.

use lastword_types::text;

/// The words of a command, separated by spaces.
pub(super) fn quoted(command: &[String]) -> String {
    let words = command.iter().map(|word| text::shell(word));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::permission::{Access, Capability, Rule};
    use std::collections::HashMap;

    fn command(words: &[&str]) -> String {
        quoted(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn an_argument_with_spaces_is_not_covered_as_several() {
        let covers = |rule: &str, words: &[&str]| {
            let rule = Rule::only(Capability::RunCommands, rule).expect("a rule");
            rule.covers(Capability::RunCommands, &command(words))
        };
        assert!(covers("cargo test *", &["cargo", "test", "x y"]));
        assert!(!covers("cargo test *", &["cargo", "test x"]));
        assert!(!covers("cargo test *", &["cargo test"]));
        assert!(!covers("cargo test x *", &["cargo", "test", "x y"]));

        // A grant with quotes ends where its last argument ends.
        for (granted, asked) in [
            (&["a", "b c"][..], &["a", "b c d"][..]),
            (&["a", "b c"], &["a", "b c'"]),
            (&["a", "b c"], &["a", "b c' d"]),
            (&["a", "b"], &["a", "b\nc"]),
            (&["a", ""], &["a", " b"]),
        ] {
            let access = Access::new(Capability::RunCommands, command(granted), "");
            let rule = Rule::exactly(&access).expect("a rule");
            let asked = command(asked);
            assert!(
                !rule.covers(Capability::RunCommands, &asked),
                "{rule} {asked}"
            );
        }
    }

    #[test]
    fn different_commands_are_different_texts() {
        let pieces = ["a", "b", " ", "'", "\\", "\n", "$", "\"", ""];
        let mut seen = HashMap::new();

        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let commands = [
                        vec![format!("{one}{two}{three}")],
                        vec![format!("{one}{two}"), three.to_owned()],
                        vec![one.to_owned(), format!("{two}{three}")],
                        vec![one.to_owned(), two.to_owned(), three.to_owned()],
                    ];

                    for command in commands {
                        let text = quoted(&command);
                        let before = seen.insert(text.clone(), command.clone());
                        assert!(before.is_none_or(|before| before == command), "{text}");
                    }
                }
            }
        }
    }
}
