//! A unit of writing: what it does inside a transaction, and what happens once its fate is
//! known. Knows no particular noun.

use super::StoreError;
use super::tx::Tx;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that the writer thread does.
pub(super) trait Work: Send {
    /// Writes. May be called again after a rollback, and must then write the same.
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// Called once on the writer thread: after COMMIT with `Ok`, otherwise with the error.
    /// Must not block.
    fn settle(self: Box<Self>, outcome: Result<(), StoreError>);

    /// Whether the work is kept and tried again while the store cannot write.
    fn is_kept(&self) -> bool {
        false
    }

    /// Called when it is kept for another try, which this process may not live to make: what the
    /// next host has to know of it goes beside the database now. May be called again.
    fn wait(&self) {}

    /// The run that it writes for, if one's works must not overtake each other: behind one that
    /// is kept, the others are kept too.
    fn run(&self) -> Option<i64> {
        None
    }
}

/// Settles work. Whoever is called back is not the store's own: a panic there is told where
/// panics are, and nobody else's work suffers from it.
pub(super) fn settle(work: Box<dyn Work>, outcome: Result<(), StoreError>) {
    let _panicked = catch_unwind(AssertUnwindSafe(|| work.settle(outcome)));
}

/// Work whose result goes to a callback, which is called whether or not anybody waits.
pub(super) struct Then<T, A, C> {
    act: A,
    result: Option<T>,
    then: C,
    kept: bool,
}

impl<T, A, C> Then<T, A, C>
where
    T: Send + 'static,
    A: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    C: FnOnce(Result<T, StoreError>) + Send + 'static,
{
    /// Answered with an error while the store cannot write.
    pub(super) fn boxed(act: A, then: C) -> Box<dyn Work> {
        Self::build(act, then, false)
    }

    /// Kept and tried again while the store cannot write.
    pub(super) fn kept(act: A, then: C) -> Box<dyn Work> {
        Self::build(act, then, true)
    }

    fn build(act: A, then: C, kept: bool) -> Box<dyn Work> {
        Box::new(Self {
            act,
            result: None,
            then,
            kept,
        })
    }
}

impl<T, A, C> Work for Then<T, A, C>
where
    T: Send,
    A: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    C: FnOnce(Result<T, StoreError>) + Send,
{
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        self.result = Some((self.act)(tx)?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, then, .. } = *self;
        then(outcome.map(|()| result.expect("applied before it was committed")));
    }

    fn is_kept(&self) -> bool {
        self.kept
    }
}
