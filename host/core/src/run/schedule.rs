//! Decides which run starts next: within the slots of the host and of each workspace, one run at
//! a time per session, with fair turns between workspaces and between the sessions of one. It only
//! keeps the order; the dispatcher starts the runs.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The queue of every session, and the slots that they share. `W` names a workspace, `S` a
/// session.
#[derive(Debug)]
pub(super) struct Schedule<W, S, R> {
    free: u32,
    lanes: HashMap<W, Lane<S, R>>,
    /// Workspaces that could start a run if a slot were free, in the order of their turns.
    turns: VecDeque<W>,
}

/// The slots and the queues of one workspace.
#[derive(Debug)]
struct Lane<S, R> {
    used: u32,
    limit: u32,
    lines: HashMap<S, Line<R>>,
    /// Idle sessions with a waiting run, in the order of their turns.
    ready: VecDeque<S>,
    /// Whether the workspace is in `turns`.
    in_turns: bool,
}

#[derive(Debug)]
struct Line<R> {
    /// Whether a run of this session holds a slot or has not ended yet.
    busy: bool,
    waiting: VecDeque<R>,
}

impl<S, R> Lane<S, R> {
    fn can_start(&self) -> bool {
        self.used < self.limit && !self.ready.is_empty()
    }

    fn load(&self) -> (u32, u32) {
        let waiting: usize = self.lines.values().map(|line| line.waiting.len()).sum();
        (self.used, u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    fn is_unused(&self) -> bool {
        self.used == 0 && self.lines.is_empty()
    }
}

impl<R> Line<R> {
    fn is_unused(&self) -> bool {
        !self.busy && self.waiting.is_empty()
    }
}

impl<W: Copy + Eq + Hash, S: Copy + Eq + Hash, R> Schedule<W, S, R> {
    /// Creates an idle schedule with this many slots.
    #[must_use]
    pub(super) fn new(slots: u32) -> Self {
        Self {
            free: slots,
            lanes: HashMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Takes a slot at once, if one is free in the host and within the workspace's limit, the
    /// session is idle and no run has waited longer. A run that gets no slot is queued with
    /// [`Schedule::wait`].
    pub(super) fn admit(&mut self, workspace: W, limit: u32, session: S) -> bool {
        let somebody_waits = self.free == 0 || !self.turns.is_empty();
        let lane = self.lane(workspace, limit);
        let idle = lane.lines.get(&session).is_none_or(Line::is_unused);
        if somebody_waits || lane.used >= lane.limit || !idle {
            self.tidy(workspace);
            return false;
        }

        lane.used += 1;
        lane.line(session).busy = true;
        self.free -= 1;
        true
    }

    /// Queues a run behind the other waiting runs of its session.
    pub(super) fn wait(&mut self, workspace: W, limit: u32, session: S, run: R) {
        let lane = self.lane(workspace, limit);
        let line = lane.line(session);
        line.waiting.push_back(run);
        if !line.busy && line.waiting.len() == 1 {
            lane.ready.push_back(session);
        }
        self.turn(workspace);
    }

    /// Returns the next run whose turn it is, and takes a slot for it.
    pub(super) fn next(&mut self) -> Option<R> {
        if self.free == 0 {
            return None;
        }

        let workspace = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&workspace)?;
        lane.in_turns = false;
        let session = lane.ready.pop_front()?;
        let line = lane.lines.get_mut(&session)?;
        let run = line.waiting.pop_front()?;
        line.busy = true;
        lane.used += 1;
        self.free -= 1;
        self.turn(workspace);
        Some(run)
    }

    /// Frees the slot of a run whose guest is gone.
    pub(super) fn release_slot(&mut self, workspace: W) {
        self.free += 1;
        if let Some(lane) = self.lanes.get_mut(&workspace) {
            lane.used = lane.used.saturating_sub(1);
            self.turn(workspace);
        }
        self.tidy(workspace);
    }

    /// Marks the session of a run that has ended as idle.
    pub(super) fn release_session(&mut self, workspace: W, session: S) {
        if let Some(lane) = self.lanes.get_mut(&workspace)
            && let Some(line) = lane.lines.get_mut(&session)
        {
            line.busy = false;
            if line.waiting.is_empty() {
                lane.lines.remove(&session);
            } else {
                lane.ready.push_back(session);
            }
            self.turn(workspace);
        }
        self.tidy(workspace);
    }

    /// Removes the runs that `which` selects from a session's queue, and returns them in order.
    pub(super) fn remove(
        &mut self,
        workspace: W,
        session: S,
        mut which: impl FnMut(&R) -> bool,
    ) -> Vec<R> {
        let Some(lane) = self.lanes.get_mut(&workspace) else {
            return Vec::new();
        };

        let Some(line) = lane.lines.get_mut(&session) else {
            return Vec::new();
        };

        let (removed, kept): (Vec<R>, Vec<R>) = std::mem::take(&mut line.waiting)
            .into_iter()
            .partition(|run| which(run));
        line.waiting = kept.into();
        if line.waiting.is_empty() {
            lane.ready.retain(|s| *s != session);
            if lane.lines.get(&session).is_some_and(Line::is_unused) {
                lane.lines.remove(&session);
            }
        }

        self.unturn(workspace);
        self.tidy(workspace);
        removed
    }

    /// Removes every waiting run of a workspace.
    pub(super) fn remove_all(&mut self, workspace: W) -> Vec<R> {
        let Some(lane) = self.lanes.get(&workspace) else {
            return Vec::new();
        };
        let sessions: Vec<S> = lane.lines.keys().copied().collect();
        let removed = sessions
            .into_iter()
            .flat_map(|session| self.remove(workspace, session, |_| true));
        removed.collect()
    }

    /// Changes how many runs of a workspace may execute; those that already do are not affected.
    pub(super) fn limit(&mut self, workspace: W, limit: u32) {
        let Some(lane) = self.lanes.get_mut(&workspace) else {
            return;
        };
        lane.limit = limit;
        self.unturn(workspace);
        self.turn(workspace);
    }

    /// Returns how many slots a workspace, or all, hold, and how many runs wait there.
    pub(super) fn load(&self, workspace: Option<W>) -> (u32, u32) {
        match workspace {
            Some(workspace) => self.lanes.get(&workspace).map_or((0, 0), Lane::load),
            None => self
                .lanes
                .values()
                .map(Lane::load)
                .fold((0, 0), |(used, waiting), (here, behind)| {
                    (used + here, waiting + behind)
                }),
        }
    }

    /// Adds a workspace to `turns`, if it can start a run and is not there yet.
    fn turn(&mut self, workspace: W) {
        if let Some(lane) = self.lanes.get_mut(&workspace)
            && lane.can_start()
            && !lane.in_turns
        {
            lane.in_turns = true;
            self.turns.push_back(workspace);
        }
    }

    /// Removes a workspace from `turns`, if it can no longer start a run.
    fn unturn(&mut self, workspace: W) {
        if let Some(lane) = self.lanes.get_mut(&workspace)
            && !lane.can_start()
            && lane.in_turns
        {
            lane.in_turns = false;
            self.turns.retain(|w| *w != workspace);
        }
    }

    fn tidy(&mut self, workspace: W) {
        if self.lanes.get(&workspace).is_some_and(Lane::is_unused) {
            self.lanes.remove(&workspace);
        }
    }

    fn lane(&mut self, workspace: W, limit: u32) -> &mut Lane<S, R> {
        let lane = self.lanes.entry(workspace).or_insert_with(|| Lane {
            used: 0,
            limit,
            lines: HashMap::new(),
            ready: VecDeque::new(),
            in_turns: false,
        });
        lane.limit = limit;
        lane
    }
}

impl<S: Copy + Eq + Hash, R> Lane<S, R> {
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

    const MANY: u32 = 100;

    #[test]
    fn a_session_runs_one_at_a_time() {
        let mut schedule = Schedule::new(4);
        assert!(schedule.admit('w', MANY, 'a'));
        assert!(!schedule.admit('w', MANY, 'a'));
        schedule.wait('w', MANY, 'a', 1);
        schedule.wait('w', MANY, 'a', 2);
        assert_eq!(schedule.next(), None);
        schedule.release_slot('w');
        assert_eq!(schedule.next(), None, "a free slot is not an end");
        schedule.release_session('w', 'a');
        assert_eq!(schedule.next(), Some(1));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_limit_that_changes_counts_for_those_who_wait() {
        let mut schedule = Schedule::new(4);
        assert!(schedule.admit('w', 1, 'a'));
        for (session, run) in [('b', 1), ('c', 2), ('d', 3)] {
            assert!(!schedule.admit('w', 1, session));
            schedule.wait('w', 1, session, run);
        }

        assert_eq!(schedule.next(), None);
        schedule.limit('w', 2);
        assert_eq!((schedule.next(), schedule.next()), (Some(1), None));
        schedule.limit('w', 3);
        schedule.limit('w', 1);
        assert_eq!(schedule.next(), None, "it is its turn no more");
        schedule.release_slot('w');
        assert_eq!(schedule.next(), None, "one still goes on");
        schedule.release_slot('w');
        assert_eq!(schedule.next(), Some(2));
    }

    #[test]
    fn sessions_take_turns() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('w', MANY, 'z'));
        for run in [1, 2, 3] {
            schedule.wait('w', MANY, 'a', run);
        }

        schedule.wait('w', MANY, 'b', 4);
        let mut order = Vec::new();
        let mut session = 'z';
        for _ in 0..4 {
            schedule.release_slot('w');
            schedule.release_session('w', session);
            let run = schedule.next().expect("somebody waits");
            session = if run == 4 { 'b' } else { 'a' };
            order.push(run);
        }

        assert_eq!(order, [1, 4, 2, 3]);
    }

    #[test]
    fn workspaces_take_turns_however_many_sessions_they_have() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('z', MANY, 'z'));
        for (session, run) in [('a', 1), ('b', 2), ('c', 3)] {
            schedule.wait('w', MANY, session, run);
        }

        schedule.wait('v', MANY, 'd', 4);
        schedule.release_slot('z');
        schedule.release_session('z', 'z');
        assert_eq!(schedule.next(), Some(1));
        schedule.release_slot('w');
        assert_eq!(schedule.next(), Some(4), "not the session that came second");
        schedule.release_slot('v');
        assert_eq!(schedule.next(), Some(2));
    }

    #[test]
    fn nobody_overtakes_whoever_waits_for_a_slot() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('w', MANY, 'a'));
        assert!(!schedule.admit('w', MANY, 'b'));
        schedule.wait('w', MANY, 'b', 1);
        schedule.release_slot('w');
        assert!(!schedule.admit('v', MANY, 'c'));
        assert_eq!(schedule.next(), Some(1));
    }

    #[test]
    fn a_workspace_keeps_to_its_limit_and_holds_nobody_else_up() {
        let mut schedule = Schedule::new(4);
        assert!(schedule.admit('w', 1, 'a'));
        assert!(!schedule.admit('w', 1, 'b'));
        schedule.wait('w', 1, 'b', 1);
        assert_eq!(schedule.next(), None);
        assert!(schedule.admit('v', 1, 'c'), "another workspace goes on");
        schedule.release_slot('w');
        assert_eq!(schedule.next(), Some(1));
    }

    #[test]
    fn whoever_is_removed_is_not_started() {
        let mut schedule = Schedule::new(1);
        assert!(schedule.admit('w', MANY, 'a'));
        schedule.wait('w', MANY, 'a', 1);
        schedule.wait('w', MANY, 'a', 2);
        schedule.wait('w', MANY, 'b', 3);
        assert_eq!(schedule.remove('w', 'a', |run| *run == 1), [1]);
        assert_eq!(schedule.remove_all('w').len(), 2);
        schedule.release_slot('w');
        schedule.release_session('w', 'a');
        assert_eq!(schedule.next(), None);
        assert!(schedule.lanes.is_empty(), "nothing is left behind");
    }

    /// Compares the schedule with a plain statement of its rules, over random steps: no slot is
    /// lost or given twice, one run at a time per session, and no run waits that could start.
    #[test]
    fn random_steps_keep_the_rules() {
        for seed in 0..200_u64 {
            let mut schedule = Schedule::new(3);
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut pick = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let limit = |workspace: u64| u32::try_from(workspace).unwrap_or(0) + 1;
            let (mut running, mut waiting) = (Vec::<(u64, u64)>::new(), Vec::<(u64, u64)>::new());
            for _ in 0..300 {
                if pick(2) == 0 {
                    let workspace = pick(3);
                    let session = workspace * 10 + pick(3);
                    if schedule.admit(workspace, limit(workspace), session) {
                        running.push((workspace, session));
                    } else {
                        schedule.wait(workspace, limit(workspace), session, (workspace, session));
                        waiting.push((workspace, session));
                    }
                } else if !running.is_empty() {
                    let at = usize::try_from(pick(running.len() as u64)).unwrap_or(0);
                    let (workspace, session) = running.swap_remove(at);
                    schedule.release_slot(workspace);
                    schedule.release_session(workspace, session);
                }
                while let Some(started) = schedule.next() {
                    let at = waiting.iter().position(|run| *run == started);
                    waiting.remove(at.expect("it waited"));
                    running.push(started);
                }
                let used = |w: u64| running.iter().filter(|run| run.0 == w).count();
                assert!(running.len() <= 3, "seed {seed}");
                for (at, run) in running.iter().enumerate() {
                    assert!(!running[..at].contains(run), "seed {seed}: {run:?} twice");
                    assert!(used(run.0) <= limit(run.0) as usize, "seed {seed}");
                }
                let stuck = waiting.iter().find(|run| {
                    running.len() < 3
                        && used(run.0) < limit(run.0) as usize
                        && !running.contains(run)
                });
                assert_eq!(stuck, None, "seed {seed}: it could run");
            }
        }
    }
}
