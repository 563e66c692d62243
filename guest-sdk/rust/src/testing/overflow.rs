//! The window of a test's model: which requests are too long, and what the refusal says.

use super::reply::Asked;
use crate::bindings::types::Failure;
use crate::{Code, Error};

/// How a service refuses a request that is longer than its model's window.
#[derive(Clone, Debug)]
pub struct Overflow {
    bytes_max: usize,
    context_tokens: Option<u32>,
    in_answer: bool,
}

impl Overflow {
    /// Refuses requests with more than this number of bytes of text ([`Asked::bytes`]). The refusal
    /// comes before the answer begins, and does not contain the size of the window.
    pub fn above(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            context_tokens: None,
            in_answer: false,
        }
    }

    /// Adds the size of the window in tokens to the refusal.
    #[must_use]
    pub fn telling(mut self, context_tokens: u32) -> Self {
        self.context_tokens = Some(context_tokens);
        self
    }

    /// Makes the refusal the first event of the answer.
    #[must_use]
    pub fn in_answer(mut self) -> Self {
        self.in_answer = true;
        self
    }

    pub(super) fn refuses(&self, asked: &Asked) -> bool {
        asked.bytes() > self.bytes_max
    }

    pub(super) fn is_in_answer(&self) -> bool {
        self.in_answer
    }

    pub(super) fn refusal(&self) -> Error {
        let mut extra = vec![("reason".to_owned(), "\"context-overflow\"".to_owned())];
        if let Some(tokens) = self.context_tokens {
            extra.push(("context_tokens".to_owned(), tokens.to_string()));
        }
        let refusal = Error::new(Code::Limit, "the request is longer than the model's window");
        Error::from(Failure {
            extra,
            ..refusal.into()
        })
    }
}
