//! A run's output on its way from the buffer into the log: the writer's work.

use super::{Backlog, Output};
use crate::transcript::Entry;
use crate::tx::Tx;
use crate::work::Work;
use crate::{StoreError, entry};
use std::sync::Arc;

/// Writes what is pending when the writer comes to it. One is queued at a time, so that what
/// is appended during a sync goes into the next one together.
pub(super) struct Flush {
    output: Arc<Output>,
    taken: Option<Taken>,
}

struct Taken {
    entries: Vec<Entry>,
    backlog: Backlog,
    /// Up to which number these go.
    through: u64,
}

impl Flush {
    pub(super) fn new(output: Arc<Output>) -> Self {
        Self {
            output,
            taken: None,
        }
    }
}

impl Work for Flush {
    fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let output = &self.output;
        let taken = self.taken.get_or_insert_with(|| {
            let mut inner = output.lock();
            inner.queued = false;
            if inner.transcript.is_some() {
                inner.flushed = inner.taken;
            }
            Taken {
                entries: std::mem::take(&mut inner.pending),
                backlog: inner.backlog,
                through: inner.flushed,
            }
        });
        entry::write(tx, output.run, &taken.entries)
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { output, taken } = *self;
        let mut inner = output.lock();
        match (&outcome, &taken) {
            (Ok(()), Some(taken)) => {
                let (backlog, done) = (&mut inner.backlog, taken.backlog);
                backlog.deltas = backlog.deltas.saturating_sub(done.deltas);
                backlog.bytes = backlog.bytes.saturating_sub(done.bytes);
            }
            _ => {
                // Nothing more is taken, so that no append waits for room.
                inner.rejected = true;
                inner.backlog = Backlog::default();
            }
        }
        drop(inner);
        match (outcome, taken) {
            (Ok(()), taken) => output
                .durable
                .reached(taken.map_or(0, |taken| taken.through)),
            (Err(error), _) => {
                tracing::error!(%error, "a run's output was rejected; its end keeps the text");
                output.durable.failed(&error);
            }
        }
        output.room.notify_waiters();
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn run(&self) -> Option<i64> {
        Some(self.output.run.run)
    }
}
