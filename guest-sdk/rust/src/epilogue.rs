//! Closing words: the optional export of an agent that was interrupted.

use crate::bindings::epilogue;
use crate::{Agent, Part, panic};

pub use crate::bindings::epilogue::Interruption;

/// An agent with closing words, exported with [`export_with_epilogue!`](crate::export_with_epilogue).
pub trait Epilogue: Agent {
    /// Parts to add after an interruption, below what the run had `said`.
    ///
    /// It runs in a fresh instance that knows nothing of the run but these arguments, within a
    /// few hundred milliseconds, without a model and without tools. Whatever happens here, what
    /// was said stands.
    fn close(interruption: &Interruption, said: &[Part]) -> Vec<Part>;
}

impl<A: Epilogue> epilogue::Guest for A {
    fn close(interruption: Interruption, said: Vec<Part>) -> Vec<Part> {
        panic::report_to_host();
        <A as Epilogue>::close(&interruption, &said)
    }
}
