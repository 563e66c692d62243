//! The optional export that adds closing words after an agent was interrupted.

use crate::bindings::epilogue;
use crate::{Agent, Part, panic};

pub use crate::bindings::epilogue::Interruption;

/// An agent with closing words, exported with
/// [`export_with_epilogue!`](crate::export_with_epilogue).
pub trait Epilogue: Agent {
    /// Returns parts to add after an interruption, below the parts that the run had already written
    /// (`said`).
    ///
    /// It is called in a fresh instance that knows nothing of the run except these arguments. It
    /// has a few hundred milliseconds, no model and no tools. If it fails, the parts in `said` are
    /// kept all the same.
    fn close(interruption: &Interruption, said: &[Part]) -> Vec<Part>;
}

impl<A: Epilogue> epilogue::Guest for A {
    fn close(interruption: Interruption, said: Vec<Part>) -> Vec<Part> {
        panic::report_to_host();
        <A as Epilogue>::close(&interruption, &said)
    }
}
