//! Enums for the fixed words of the interface. Each has a variant for unknown words, since a later
//! host may have more.

/// Defines an enum of words, with `as_str`, `Display`, a `FromStr` that never fails, conversions
/// from and into texts, and comparison with texts.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $word:literal,)+
            ..
            $(#[$other_doc:meta])* $other:ident,
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            $(#[$other_doc])* $other(String),
        }

        impl $name {
            /// Returns the word in the interface.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::$other(word) => word,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::$other(other.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)+
                    _ => Self::$other(word),
                }
            }
        }

        impl From<$name> for String {
            fn from(own: $name) -> Self {
                match own {
                    $name::$other(word) => word,
                    known => known.as_str().to_owned(),
                }
            }
        }

        /// Never fails: an unknown word becomes the variant for other words.
        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Ok(word.into())
            }
        }

        /// Compares the words.
        impl PartialEq<str> for $name {
            fn eq(&self, word: &str) -> bool {
                self.as_str() == word
            }
        }

        /// Compares the words.
        impl PartialEq<&str> for $name {
            fn eq(&self, word: &&str) -> bool {
                self.as_str() == *word
            }
        }
    )+};
}

words! {
    /// The kind of failure that an [`Error`](crate::Error) reports.
    pub enum Code {
        /// The run is being stopped. The agent should then return and not try again.
        Cancelled = "cancelled",
        /// A capability was not granted.
        Denied = "denied",
        /// The thing that was named does not exist.
        NotFound = "not-found",
        /// The request or its arguments are not valid.
        Invalid = "invalid",
        /// The request conflicts with the present state: a name is taken, a value has changed.
        Conflict = "conflict",
        /// A limit was reached.
        Limit = "limit",
        /// The operation took too long.
        Timeout = "timeout",
        /// Something that the operation needs is not available now.
        Unavailable = "unavailable",
        /// The host failed, or an agent failed without a code.
        Internal = "internal",
        ..
        /// Another code: one of the agent's own, or one of a later host.
        Other,
    }

    /// Why a run or a model's answer ended.
    pub enum FinishReason {
        /// The answer is complete.
        EndTurn = "end_turn",
        /// The model's output limit was reached.
        MaxTokens = "max_tokens",
        /// The answer ends in tool calls that have to be carried out.
        ToolUse = "tool_use",
        /// The model's service withheld the rest.
        ContentFilter = "content_filter",
        /// The run waits for a time or an answer, which starts a new run.
        Waiting = "waiting",
        /// No reason was given, or it is unknown.
        Unknown = "unknown",
        ..
        /// Another word, for example one of a service. If an agent ends its run with such a word,
        /// the host records `unknown`. If it uses a word that is reserved for the host, the run
        /// fails.
        Other,
    }

    /// Whether a model should call tools.
    pub enum ToolChoice {
        /// The model decides.
        Auto = "auto",
        /// The model may call no tool.
        None = "none",
        /// The model has to call at least one tool.
        Required = "required",
        ..
        /// The model has to call the tool of this name.
        Tool,
    }

    /// What began a run.
    pub enum Origin {
        /// A user's prompt.
        User = "user",
        /// A tool call of another run.
        Parent = "parent",
        /// A user resumed a run that ended early.
        Resume = "resume",
        /// The time came for which the session's last run [waited](crate::Outcome::wake_after).
        Wake = "wake",
        /// The answer came for which the session's last run [waited](crate::Outcome::ask). It is
        /// the prompt of this run.
        Answer = "answer",
        ..
        /// An unknown word, of a later host.
        Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! check {
        ($name:ident: $($word:literal)+) => {
            for word in [$($word),+] {
                let known = $name::from(word);
                assert!(!matches!(&known, $name::Other(_)), "{word}");
                check!($name, known, word);
            }
            check!($name, $name::Other("later".to_owned()), "later");
        };
        ($name:ident, $own:expr, $word:expr) => {
            let own: $name = $own;
            assert_eq!($word.parse(), Ok(own.clone()));
            assert_eq!($name::from($word.to_owned()), own);
            assert_eq!(own.to_string(), $word);
            assert_eq!(own, $word);
            assert_eq!(String::from(own), $word);
        };
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        check!(Code: "cancelled" "denied" "not-found" "invalid" "conflict" "limit" "timeout"
            "unavailable" "internal");
        check!(FinishReason: "end_turn" "max_tokens" "tool_use" "content_filter" "waiting"
            "unknown");
        check!(Origin: "user" "parent" "resume" "wake" "answer");
        let choices = [ToolChoice::Auto, ToolChoice::None, ToolChoice::Required];
        assert_eq!(choices, ["auto", "none", "required"].map(ToolChoice::from));
        let named = ToolChoice::from("look");
        assert_eq!(named, ToolChoice::Tool("look".to_owned()));
        assert_eq!(String::from(named), "look");
    }
}
