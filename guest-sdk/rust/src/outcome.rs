//! How a run ended, as its agent says.
//!
//! It does not know the ends that only a host decides: a guest never chooses a cause.

use crate::bindings::turn;
use crate::model::Reply;
use crate::{Extra, Result};

/// The end of a run that went as it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    finish: Option<String>,
    output_json: Option<String>,
    extra: Extra,
}

impl Outcome {
    /// The answer is complete.
    pub fn end_turn() -> Self {
        Self::finish("end_turn")
    }

    /// The run waits for something; what it waits for starts a new one.
    pub fn waiting() -> Self {
        Self::finish("waiting")
    }

    /// Ended for this reason: `end_turn`, `max_tokens`, `tool_use`, `content_filter`, `waiting`
    /// or `unknown`.
    pub fn finish(reason: impl Into<String>) -> Self {
        Self {
            finish: Some(reason.into()),
            output_json: None,
            extra: Vec::new(),
        }
    }

    /// The same with a value for programs.
    ///
    /// # Errors
    ///
    /// `invalid`, if the value cannot be written as JSON.
    pub fn output(mut self, value: &impl serde::Serialize) -> Result<Self> {
        self.output_json = Some(serde_json::to_string(value)?);
        Ok(self)
    }

    /// A named JSON value for hosts that know the name.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        self.extra.push((name.into(), value.to_string()));
        self
    }
}

/// A run that ends as its model's answer did.
impl From<&Reply> for Outcome {
    fn from(reply: &Reply) -> Self {
        Self::finish(reply.finish.as_str())
    }
}

impl From<Outcome> for turn::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            finish: outcome.finish,
            output_json: outcome.output_json,
            extra: outcome.extra,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_says_what_was_put_in() {
        let outcome = Outcome::finish("max_tokens").output(&[1, 2]).unwrap();
        let outcome = turn::Outcome::from(outcome);
        assert_eq!(outcome.finish.as_deref(), Some("max_tokens"));
        assert_eq!(outcome.output_json.as_deref(), Some("[1,2]"));
    }
}
