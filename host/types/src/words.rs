//! Enums that are stored and sent as one word each, and that keep an unknown word of a later
//! version unchanged. `run::Origin` is one; the providers' crate has others.

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
