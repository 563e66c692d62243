//! The end of a run, as its agent reports it. Ends such as a cancellation are missing here, since
//! only the host decides them.

use std::time::Duration;

use crate::bindings::turn;
use crate::model::Reply;
use crate::{Extra, FinishReason, Result};

/// The end of a run that the agent ended without an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    finish: FinishReason,
    output_json: Option<String>,
    extra: Extra,
}

impl Outcome {
    /// Creates the outcome of a complete answer.
    pub fn end_turn() -> Self {
        Self::finish(FinishReason::EndTurn)
    }

    /// Creates the outcome of a run that waits for a time or an answer, which starts a new run. Set
    /// them with [`wake_after`](Self::wake_after), [`ask`](Self::ask), or both; with both, the
    /// first one to come starts the new run. A run that another run started cannot wait, and fails
    /// if it tries to.
    pub fn waiting() -> Self {
        Self::finish(FinishReason::Waiting)
    }

    /// Creates an outcome with this reason.
    pub fn finish(reason: impl Into<FinishReason>) -> Self {
        Self {
            finish: reason.into(),
            output_json: None,
            extra: Vec::new(),
        }
    }

    /// Starts a new run when this time has passed, with the origin `wake`. A shorter time than one
    /// second counts as one second.
    ///
    /// A prompt to the session in between runs at once, and the new run starts all the same. Runs
    /// that times start one after the other, without a prompt or an answer in between, share the
    /// limits of one run: its deadline, its tokens, its tool calls, and how much it writes. The
    /// host bounds their number: the run that would wait once more fails with `limit(wakes)`.
    #[must_use]
    pub fn wake_after(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.extra("wake-after-ms", &millis.into())
    }

    /// Asks the users a question as the run ends. A new run starts once it is answered, with the
    /// origin `answer` and the answer as its prompt. Without choices any text is an answer.
    #[must_use]
    pub fn ask<S: Into<String>>(
        self,
        question: impl Into<String>,
        choices: impl IntoIterator<Item = S>,
    ) -> Self {
        let choices: Vec<String> = choices.into_iter().map(Into::into).collect();
        let question = serde_json::json!({ "text": question.into(), "choices": choices });
        self.extra("ask", &question)
    }

    /// Returns the reason that was given to [`finish`](Self::finish).
    pub fn reason(&self) -> &FinishReason {
        &self.finish
    }

    /// Returns the value for programs, as JSON.
    pub fn output_json(&self) -> Option<&str> {
        self.output_json.as_deref()
    }

    /// Returns the named value that was added with this name, as JSON.
    pub fn extra_json(&self, name: &str) -> Option<&str> {
        let named = self.extra.iter().find(|(own, _)| own == name);
        named.map(|(_, json)| json.as_str())
    }

    /// Sets a value for programs.
    ///
    /// # Errors
    ///
    /// `invalid` if the value cannot be written as JSON.
    pub fn output(mut self, value: &impl serde::Serialize) -> Result<Self> {
        self.output_json = Some(serde_json::to_string(value)?);
        Ok(self)
    }

    /// Adds a named JSON value for hosts that know the name.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        self.extra.push((name.into(), value.to_string()));
        self
    }
}

/// Creates the outcome of a run that ends for the same reason as its model's answer.
impl From<&Reply> for Outcome {
    fn from(reply: &Reply) -> Self {
        Self::finish(reply.reason())
    }
}

impl From<Outcome> for turn::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            finish: Some(outcome.finish.into()),
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

    #[test]
    fn what_a_run_waits_for_is_said_in_json() {
        let outcome = Outcome::waiting()
            .wake_after(Duration::from_secs(60))
            .ask("Ship \"it\"?", ["yes", "no"]);
        assert_eq!(*outcome.reason(), FinishReason::Waiting);
        assert_eq!(outcome.extra_json("wake-after-ms"), Some("60000"));
        let question: serde_json::Value =
            serde_json::from_str(outcome.extra_json("ask").unwrap()).unwrap();
        let expected = serde_json::json!({ "text": "Ship \"it\"?", "choices": ["yes", "no"] });
        assert_eq!(question, expected);
        let open = Outcome::waiting().ask("Which?", [""; 0]);
        assert!(open.extra_json("ask").unwrap().contains(r#""choices":[]"#));
    }
}
