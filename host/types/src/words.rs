//! Enums that are one word each where they are stored and sent: those that keep a word of a later
//! version as it is (`run::Origin`; the providers' crate has its own), and those whose words are
//! all known (`run::RunState`).

use crate::similar::did_you_mean;

/// Defines such an enum: its variants with their words, and [`Other`] for every other word. It has
/// `as_str`, `Display`, a `FromStr` that never fails, conversions from and into texts, comparison
/// with texts, and serde as one word.
///
/// [`Other`]: crate::run::Origin::Other
#[doc(hidden)]
#[macro_export]
macro_rules! open_words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $word:literal,)+
            ..
            $(#[$other_doc:meta])* $other:ident,
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            $(#[$other_doc])* $other(String),
        }

        impl $name {
            /// Every word that this version knows, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Returns the word that is stored and shown.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::$other(word) => word,
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
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
        impl ::std::str::FromStr for $name {
            type Err = ::std::convert::Infallible;

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
    };
}

/// A word that an enum does not have. Its message lists the words that the enum has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no {kind} `{word}`{}; the {kinds} are {}",
    did_you_mean(word, words.iter().copied()),
    words.join(", ")
)]
pub struct UnknownWord {
    kind: &'static str,
    kinds: &'static str,
    words: &'static [&'static str],
    word: String,
}

impl UnknownWord {
    /// Returns the word that is not known.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }

    pub(crate) fn new(
        (kind, kinds): (&'static str, &'static str),
        words: &'static [&'static str],
        word: &str,
    ) -> Self {
        Self {
            kind,
            kinds,
            words,
            word: word.to_owned(),
        }
    }
}

/// Defines an enum whose words are all known: its variants with their words, and how messages
/// call one and several of them. It gets `ALL`, `as_str`, `Display`, `FromStr` that fails with
/// [`UnknownWord`], and serde as one word.
///
/// Words are taken as token trees: utoipa does not see a renaming whose word is a `literal`.
macro_rules! closed_words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident ($kind:literal, $kinds:literal) {
            $($(#[$doc:meta])* $variant:ident = $word:tt,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every variant, in the order of their declaration.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The word that is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        /// Reads what `Display` and serde write.
        impl ::std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => {
                        let kind = ($kind, $kinds);
                        Err($crate::words::UnknownWord::new(kind, &[$($word),+], word))
                    }
                }
            }
        }
    };
}

pub(crate) use closed_words;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Capability;
    use crate::run::RunState;
    use crate::session::{FinishReason, Role};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    /// Holds every variant to its one word, however it is written and read.
    fn are_read_back<T>(all: &[T], first: &str)
    where
        T: Copy + Debug + PartialEq + Display + Serialize + DeserializeOwned,
        T: FromStr<Err = UnknownWord>,
    {
        for own in all {
            let word = own.to_string();
            assert_eq!(word.parse(), Ok(*own));
            let json = serde_json::to_string(own).expect("a word is JSON");
            assert_eq!(json, format!("{word:?}"));
            assert_eq!(serde_json::from_str::<T>(&json).ok(), Some(*own));
        }

        let upper = first.to_uppercase();
        for odd in ["", "ended", " ", upper.as_str()] {
            let error = odd.parse::<T>().expect_err("no word of it");
            assert_eq!(error.word(), odd);
            let told = error.to_string();
            assert!(told.contains(&format!("`{odd}`")), "{told}");
            assert!(told.contains(first), "it lists the words: {told}");
            assert!(serde_json::from_str::<T>(&format!("{odd:?}")).is_err());
        }
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        are_read_back(&RunState::ALL, "queued");
        are_read_back(&FinishReason::ALL, "end_turn");
        are_read_back(&Role::ALL, "assistant");
        are_read_back(&Capability::ALL, "read-files");
    }

    #[test]
    fn an_unknown_word_is_named_beside_those_that_there_are() {
        let error = "gone".parse::<Role>().expect_err("there is no such role");
        assert_eq!(
            error.to_string(),
            "there is no role `gone`; the roles are user, assistant, tool, system"
        );
        let error = "asistant"
            .parse::<Role>()
            .expect_err("there is no such role");
        assert_eq!(
            error.to_string(),
            "there is no role `asistant` (did you mean `assistant`?); the roles are user, \
             assistant, tool, system"
        );
    }
}
