//! Moves a run's output from the buffer into the log: the completion of the command that appends
//! it.

use super::{Backlog, RunOutputBuffer};
use crate::StoreError;
use crate::command::{Command, Reply};
use crate::work::Completion;
use lastword_types::clock::UnixMillis;
use std::sync::Arc;

/// Takes the pending output when the writer takes the job. At most one flush is queued for each
/// run, so that everything that is appended during a sync is written together in the next one.
pub(super) struct Flush {
    output: Arc<RunOutputBuffer>,
    taken: Option<Taken>,
}

struct Taken {
    backlog: Backlog,
    /// The number of the last append in this flush.
    through: u64,
}

impl Flush {
    pub(super) fn new(output: Arc<RunOutputBuffer>) -> Self {
        Self {
            output,
            taken: None,
        }
    }
}

impl Completion for Flush {
    fn fill(&mut self, command: &mut Command, _now: UnixMillis) {
        let (None, Command::Append(append)) = (&self.taken, command) else {
            return;
        };
        let mut inner = self.output.lock();
        inner.queued = false;
        if inner.transcript.is_some() {
            inner.flushed = inner.taken;
        }
        append.entries = std::mem::take(&mut inner.pending);
        self.taken = Some(Taken {
            backlog: inner.backlog,
            through: inner.flushed,
        });
    }

    fn complete(self: Box<Self>, outcome: Result<Reply, StoreError>) {
        let Self { output, taken } = *self;
        let mut inner = output.lock();
        match (&outcome, &taken) {
            (Ok(_), Some(taken)) => {
                let (backlog, done) = (&mut inner.backlog, taken.backlog);
                backlog.deltas = backlog.deltas.saturating_sub(done.deltas);
                backlog.bytes = backlog.bytes.saturating_sub(done.bytes);
            }
            _ => {
                // No more output is accepted, so that no append waits for room.
                inner.rejected = true;
                inner.backlog = Backlog::default();
            }
        }
        drop(inner);

        match outcome {
            Ok(_) => output
                .durable
                .reached(taken.map_or(0, |taken| taken.through)),
            Err(error) => {
                tracing::error!(%error, "a run's output was rejected; its end keeps the text");
                output.durable.failed(&error);
            }
        }
        output.room.notify_waiters();
    }
}
