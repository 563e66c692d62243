//! A command on its way to the backend, and what is called once its fate is known. `writer`
//! takes jobs from its queue; `output` and `handle` hand them in.

use super::StoreError;
use super::command::{Command, CommandKind, Reply};
use lastword_types::clock::UnixMillis;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A command, and who is told what became of it.
pub(super) struct Job {
    pub(super) command: Command,
    then: Box<dyn Completion>,
}

/// What happens around a command.
pub(super) trait Completion: Send {
    /// Puts into the command what it shall write, when the writer comes to it; called again where
    /// it is tried again, and then has nothing to add.
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

    /// Tells of the outcome. What is called back is not the store's own: a panic there is told
    /// where panics are, and no other job suffers from it.
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
