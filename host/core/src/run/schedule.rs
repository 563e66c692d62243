//! Whose turn it is: slots of the host, one run at a time per session, fair turns between
//! sessions. Pure; knows neither what a run is nor how one is started.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The queue of every session, and the slots that they share.
#[derive(Debug)]
pub(super) struct Schedule<S, R> {
    free: u32,
    lines: HashMap<S, Line<R>>,
    /// Sessions that have somebody waiting, in the order of their turns.
    turns: VecDeque<S>,
}

#[derive(Debug)]
struct Line<R> {
    /// A run of this session holds a slot or has not got its end yet.
    busy: bool,
    waiting: VecDeque<R>,
}

impl<S: Copy + Eq + Hash, R> Schedule<S, R> {
    /// An idle schedule with this many slots.
    #[must_use]
    pub(super) fn new(slots: u32) -> Self {
        Self {
            free: slots,
            lines: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Takes a slot at once, if one is free, the session is idle and nobody has waited
    /// longer. Whoever is refused waits its turn with [`Schedule::wait`].
    pub(super) fn admit(&mut self, session: S) -> bool {
        let idle = self
            .lines
            .get(&session)
            .is_none_or(|line| !line.busy && line.waiting.is_empty());
        let overtakes = self
            .turns
            .iter()
            .any(|s| self.lines.get(s).is_some_and(|l| !l.busy));
        if self.free == 0 || !idle || overtakes {
            return false;
        }
        self.free -= 1;
        self.line(session).busy = true;
        true
    }

    /// Waits behind everything that the session has waiting.
    pub(super) fn wait(&mut self, session: S, run: R) {
        let line = self.line(session);
        let first = line.waiting.is_empty();
        line.waiting.push_back(run);
        if first {
            self.turns.push_back(session);
        }
    }

    /// The next run whose session is idle, with a slot taken for it.
    pub(super) fn next(&mut self) -> Option<R> {
        if self.free == 0 {
            return None;
        }
        let ready = |s: &S| self.lines.get(s).is_some_and(|line| !line.busy);
        let at = self.turns.iter().position(ready)?;
        let session = self.turns.remove(at)?;
        let line = self.line(session);
        let run = line.waiting.pop_front()?;
        line.busy = true;
        if !line.waiting.is_empty() {
            self.turns.push_back(session);
        }
        self.free -= 1;
        Some(run)
    }

    /// A run's guest is gone: its slot is free.
    pub(super) fn release_slot(&mut self) {
        self.free += 1;
    }

    /// A run has its end: its session is idle.
    pub(super) fn release_session(&mut self, session: S) {
        if let Some(line) = self.lines.get_mut(&session) {
            line.busy = false;
            if line.waiting.is_empty() {
                self.lines.remove(&session);
            }
        }
    }

    /// Takes those out of a session's line whom `which` names, in their order.
    pub(super) fn remove(&mut self, session: S, mut which: impl FnMut(&R) -> bool) -> Vec<R> {
        let Some(line) = self.lines.get_mut(&session) else {
            return Vec::new();
        };
        let (removed, kept): (Vec<R>, Vec<R>) = std::mem::take(&mut line.waiting)
            .into_iter()
            .partition(|run| which(run));
        line.waiting = kept.into();
        if line.waiting.is_empty() {
            self.turns.retain(|s| *s != session);
            if !line.busy {
                self.lines.remove(&session);
            }
        }
        removed
    }

    fn line(&mut self, session: S) -> &mut Line<R> {
        self.lines.entry(session).or_insert_with(|| Line {
            busy: false,
            waiting: VecDeque::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_runs_one_at_a_time_in_order() {
        let mut schedule = Schedule::new(4);
        assert!(schedule.admit('a'));
        assert!(!schedule.admit('a'));
        schedule.wait('a', 1);
        schedule.wait('a', 2);
        assert_eq!(schedule.next(), None);
        schedule.release_slot();
        assert_eq!(schedule.next(), None, "a free slot is not an end");
        schedule.release_session('a');
        assert_eq!(schedule.next(), Some(1));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn sessions_take_turns() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('a'));
        for run in [1, 2, 3] {
            schedule.wait('a', run);
        }
        schedule.wait('b', 10);
        let mut order = Vec::new();
        let mut last = 'a';
        while order.len() < 4 {
            schedule.release_slot();
            schedule.release_session(last);
            let run = schedule.next().expect("a slot is free and somebody waits");
            last = if run == 10 { 'b' } else { 'a' };
            order.push(run);
        }
        assert_eq!(order, [1, 10, 2, 3]);
    }

    #[test]
    fn nobody_overtakes_whoever_waits_for_a_slot() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('a'));
        assert!(!schedule.admit('b'));
        schedule.wait('b', 1);
        schedule.release_slot();
        assert!(!schedule.admit('c'));
        assert_eq!(schedule.next(), Some(1));
    }

    #[test]
    fn whoever_is_removed_is_not_started() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('a'));
        schedule.wait('a', 1);
        schedule.wait('a', 2);
        assert_eq!(schedule.remove('a', |run| *run == 1), [1]);
        schedule.release_slot();
        schedule.release_session('a');
        assert_eq!(schedule.next(), Some(2));
    }
}
