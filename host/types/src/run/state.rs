//! The run's state machine: `state × event → state`, and nothing else.
//!
//! ```text
//!           Start              Finish              End
//! Queued ──────────▶ Running ─────────▶ Finishing ─────▶ Completed | Cancelled | Failed | Interrupted
//!   │ ▲                 └──────────────────End──────────────▲
//!   │ └─Resume── Held ◀─Hold── Queued                       │
//!   └──────────────────────Withdraw────────────────▶ Cancelled
//! ```
//! Knows nothing of time, the store or the guest.

use crate::words::closed_words;

closed_words! {
    /// The state of a run.
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    pub enum RunState ("state of a run", "states") {
        /// Accepted, and waits for its session and a slot.
        Queued = "queued",
        /// Was queued when its workspace closed or its host ended, and waits to be resumed.
        Held = "held",
        /// The agent has been called.
        Running = "running",
        /// The agent has returned or is being stopped, and the finishing transaction is under way.
        Finishing = "finishing",
        /// The agent returned.
        Completed = "completed",
        /// A user, a client, a parent or a deadline stopped it.
        Cancelled = "cancelled",
        /// The agent or its sandbox failed.
        Failed = "failed",
        /// The host stopped or died.
        Interrupted = "interrupted",
    }
}

/// An event in the life of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEvent {
    /// A slot is free and the session's previous run has ended.
    Start,
    /// Its workspace closes, or the host that had queued it is gone.
    Hold,
    /// A held run is put back into the queue.
    Resume,
    /// It was cancelled before it started.
    Withdraw,
    /// Its first cause was latched.
    Finish,
    /// Its finishing transaction committed with this terminal state.
    End(RunState),
}

/// An event that the state does not allow. Always a defect of the host, never of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run cannot go through {event:?} while it is {state}")]
pub struct IllegalTransition {
    /// The state of the run.
    pub state: RunState,
    /// The event that was refused.
    pub event: RunEvent,
}

impl RunState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] for every pair of state and event that is not in the diagram.
    pub fn next(self, event: RunEvent) -> Result<Self, IllegalTransition> {
        Ok(match (self, event) {
            (Self::Queued, RunEvent::Start) => Self::Running,
            (Self::Queued, RunEvent::Hold) => Self::Held,
            (Self::Held, RunEvent::Resume) => Self::Queued,
            (Self::Queued | Self::Held, RunEvent::Withdraw) => Self::Cancelled,
            (Self::Running, RunEvent::Finish) => Self::Finishing,
            (Self::Running | Self::Finishing, RunEvent::End(end)) if end.is_terminal() => end,
            (state, event) => return Err(IllegalTransition { state, event }),
        })
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Cancelled | Self::Failed | Self::Interrupted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table. A pair that is not in it must be refused.
    fn allowed() -> Vec<(RunState, RunEvent, RunState)> {
        use RunState::*;
        let mut table = vec![
            (Queued, RunEvent::Start, Running),
            (Queued, RunEvent::Hold, Held),
            (Held, RunEvent::Resume, Queued),
            (Queued, RunEvent::Withdraw, Cancelled),
            (Held, RunEvent::Withdraw, Cancelled),
            (Running, RunEvent::Finish, Finishing),
        ];
        for end in [Completed, Cancelled, Failed, Interrupted] {
            table.push((Running, RunEvent::End(end), end));
            table.push((Finishing, RunEvent::End(end), end));
        }
        table
    }

    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        let mut events = vec![
            RunEvent::Start,
            RunEvent::Hold,
            RunEvent::Resume,
            RunEvent::Withdraw,
            RunEvent::Finish,
        ];
        events.extend(RunState::ALL.map(RunEvent::End));
        let table = allowed();
        for state in RunState::ALL {
            for &event in &events {
                let expected = table
                    .iter()
                    .find(|row| row.0 == state && row.1 == event)
                    .map(|row| row.2);
                assert_eq!(state.next(event).ok(), expected, "{state} × {event:?}");
            }
        }
    }

    #[test]
    fn nothing_leaves_a_terminal_state() {
        for (from, event, _) in allowed() {
            assert!(!from.is_terminal(), "{from} × {event:?}");
        }
    }
}
