//! Parses the JSON that an embedder sets into the settings of an agent.

use serde::de::DeserializeOwned;

use crate::{Code, Error, Result};

/// Settings of an agent. Implemented by every type that is `DeserializeOwned` and `Default`.
pub trait Config: DeserializeOwned + Default {}

impl<T: DeserializeOwned + Default> Config for T {}

/// Returns the default settings for an empty text, `null` and an empty object, which all mean that
/// the embedder has set nothing.
pub(crate) fn parse<C: Config>(json: &str) -> Result<C> {
    if matches!(json.trim(), "" | "{}" | "null") {
        return Ok(C::default());
    }
    serde_json::from_str(json).map_err(|error| {
        Error::new(
            Code::Invalid,
            format!("the configuration does not fit this agent: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Tone {
        polite: bool,
    }

    impl Default for Tone {
        fn default() -> Self {
            Self { polite: true }
        }
    }

    #[test]
    fn nothing_is_the_default() {
        for json in ["", " ", "{}", "null", " null\n"] {
            assert_eq!(parse::<Tone>(json).unwrap(), Tone { polite: true });
            parse::<()>(json).unwrap();
        }
    }

    #[test]
    fn settings_are_read() {
        assert!(!parse::<Tone>(r#"{"polite": false}"#).unwrap().polite);
    }

    #[test]
    fn what_does_not_fit_is_invalid_and_says_why() {
        for error in [
            parse::<Tone>(r#"{"polite": 3}"#).unwrap_err(),
            parse::<Tone>("{").unwrap_err(),
            parse::<()>(r#"{"polite": true}"#).unwrap_err(),
        ] {
            assert_eq!(error.code(), "invalid");
            assert!(
                error
                    .message()
                    .starts_with("the configuration does not fit")
            );
        }
    }
}
