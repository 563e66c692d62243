//! Orders the calls of one model response on one file.
//!
//! Such calls run at the same time, and each resolves its file only after it started. So each takes
//! a turn before any of them starts, names its file once it is resolved, and goes on when no
//! earlier call may concern the same file. Calls that only read do not wait for each other.

use std::collections::BTreeMap;
use tokio::sync::watch;

/// The calls of one run that have a turn, by number. A cloneable handle.
#[derive(Clone, Default)]
pub(super) struct CallOrder(watch::Sender<BTreeMap<u64, Call>>);

struct Call {
    changes: bool,
    /// `None` until it is resolved.
    path: Option<String>,
}

impl Call {
    fn precedes(&self, later: &Self) -> bool {
        let same = match (&self.path, &later.path) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        same && (self.changes || later.changes)
    }
}

/// A call's place among those of its run. Dropping it lets later calls go on.
pub struct Turn {
    order: CallOrder,
    number: u64,
}

impl CallOrder {
    /// Takes the next turn, for a call that changes its file or only reads it.
    pub(super) fn turn(&self, changes: bool) -> Turn {
        let mut number = 0;
        self.0.send_modify(|calls| {
            number = calls.last_key_value().map_or(0, |(last, _)| last + 1);
            calls.insert(
                number,
                Call {
                    changes,
                    path: None,
                },
            );
        });

        Turn {
            order: self.clone(),
            number,
        }
    }
}

impl Turn {
    fn is_next(&self, calls: &BTreeMap<u64, Call>) -> bool {
        let mine = calls.get(&self.number);
        let mut earlier = calls.range(..self.number).map(|(_, call)| call);
        mine.is_none_or(|mine| !earlier.any(|call| call.precedes(mine)))
    }

    /// Whether there is no earlier call to wait for, whatever the file.
    pub fn is_free(&self) -> bool {
        self.is_next(&self.order.0.borrow())
    }

    /// Names the file, by its path without links, and waits for the earlier calls on it.
    pub(super) async fn wait(&self, path: &str) {
        let calls = &self.order.0;
        calls.send_modify(|calls| {
            if let Some(mine) = calls.get_mut(&self.number) {
                mine.path = Some(path.to_owned());
            }
        });
        let mut calls = calls.subscribe();
        let _it_lives_as_long_as_this = calls.wait_for(|calls| self.is_next(calls)).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.order.0.send_modify(|calls| {
            calls.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_call_waits_for_the_earlier_ones_on_its_file() {
        let order = CallOrder::default();
        let [first, second, third] = [true; 3].map(|changes| order.turn(changes));
        let mut last = Box::pin(third.wait("a"));

        assert!(last.as_mut().now_or_never().is_none(), "both may be `a`");
        assert!(first.wait("a").now_or_never().is_some());
        assert!(second.wait("b").now_or_never().is_some());
        assert!(last.as_mut().now_or_never().is_none(), "the first is");
        drop(first);
        assert!(last.now_or_never().is_some());
    }

    #[test]
    fn a_dropped_call_delays_no_other_and_changes_no_order() {
        let order = CallOrder::default();
        let [first, second, third] = [true; 3].map(|changes| order.turn(changes));
        drop(second);
        assert!(third.wait("a").now_or_never().is_none());
        drop(first);
        assert!(third.wait("a").now_or_never().is_some());
        drop(third);
        assert!(order.0.borrow().is_empty());
    }

    #[test]
    fn reads_wait_only_for_changes() {
        let order = CallOrder::default();
        let [one, other] = [false; 2].map(|changes| order.turn(changes));
        assert!(one.is_free() && other.is_free());

        let change = order.turn(true);
        let read = order.turn(false);
        assert!(!read.is_free());
        assert!(one.wait("a").now_or_never().is_some());
        assert!(other.wait("a").now_or_never().is_some());
        assert!(change.wait("a").now_or_never().is_none());
        drop((one, other));
        assert!(change.wait("a").now_or_never().is_some());
        assert!(read.wait("b").now_or_never().is_some());
        assert!(read.wait("a").now_or_never().is_none());
    }
}
