//! A command on its way to the backend, with the code that is called once its outcome is known.
//! `output` and `handle` hand in jobs; `writer` takes them from its queue.

use super::StoreError;
use super::command::{Command, CommandKind, Reply};
use lastword_types::clock::UnixMillis;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A command, and the [`Completion`] that gets its outcome.
pub(super) struct Job {
    pub(super) command: Command,
    then: Box<dyn Completion>,
}

/// What happens around a command.
pub(super) trait Completion: Send {
    /// Fills in the command when the writer takes it. Called again for each retry, and adds
    /// nothing then.
    fn fill(&mut self, command: &mut Command, now: UnixMillis) {
        let _all_there = (command, now);
    }

    /// Called once on the writer thread: after the commit with the reply, otherwise with the
    /// error. Must not block.
    fn complete(self: Box<Self>, outcome: Result<Reply, StoreError>);
}

impl Job {
    pub(super) fn new(command: impl Into<Command>, then: impl Completion + 'static) -> Self {
        Self {
            command: command.into(),
            then: Box::new(then),
        }
    }

    /// A job whose reply goes to a callback, which is called whether or not anyone waits.
    pub(super) fn callback<C: CommandKind>(
        command: C,
        then: impl FnOnce(Result<C::Reply, StoreError>) + Send + 'static,
    ) -> Self {
        Self::new(command, CallbackJob::<C, _>(then, PhantomData))
    }

    pub(super) fn fill(&mut self, now: UnixMillis) {
        self.then.fill(&mut self.command, now);
    }

    /// Reports the outcome. The callback is not the store's own code: a panic in it is caught, so
    /// that it affects no other job.
    pub(super) fn complete(self, outcome: Result<Reply, StoreError>) {
        let _panicked = catch_unwind(AssertUnwindSafe(|| self.then.complete(outcome)));
    }
}

struct CallbackJob<C, F>(F, PhantomData<fn() -> C>);

impl<C, F> Completion for CallbackJob<C, F>
where
    C: CommandKind,
    F: FnOnce(Result<C::Reply, StoreError>) + Send,
{
    fn complete(self: Box<Self>, outcome: Result<Reply, StoreError>) {
        (self.0)(outcome.and_then(C::reply));
    }
}
