//! The plain model: what the registry, the claims and the queues are promised to do, said
//! without locks, tasks or a store. Time is a number.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use std::collections::{BTreeMap, BTreeSet};

const HOLD: u64 = 30_000;
const GRACE: u64 = 10_000;
pub(super) const CLIENTS: usize = 3;
pub(super) const SPACES: usize = 2;

/// A prompt, by the order of acceptance over all.
pub(super) type Ask = usize;

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Create(usize, usize),
    Attach(usize, usize),
    /// Loses one of the streams that were attached and not lost yet.
    Detach(usize),
    Release(usize, usize),
    Retire(usize),
    Advance(u64),
    Prompt(usize),
    Cancel(Ask),
    CancelSession(usize),
    Withdraw(Ask),
    /// Closes a workspace whatever claims it has.
    Close(usize),
    ResumeHeld(usize),
    /// Opens a workspace as an embedder.
    Open(usize),
    /// Drops one of the handles that an embedder opened and did not drop yet.
    Drop(usize),
    /// Closes one of them, which ends its claim and, if that was the last one, the workspace.
    End(usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) streams: u32,
    until: Option<u64>,
    /// Tells it from an earlier claim of the same client.
    number: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    pub(super) open: bool,
    incarnation: u32,
    numbers: u32,
    pub(super) claims: BTreeMap<usize, Claim>,
    /// The claims of embedders, by their numbers.
    pub(super) openers: BTreeSet<u32>,
    pub(super) running: Option<Ask>,
    pub(super) queue: Vec<Ask>,
    pub(super) held: Vec<Ask>,
}

impl Space {
    fn claim(&mut self, client: usize) -> &mut Claim {
        self.claims.entry(client).or_insert_with(|| {
            self.numbers += 1;
            Claim {
                number: self.numbers,
                ..Claim::default()
            }
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    client: usize,
    space: usize,
    incarnation: u32,
    claim: u32,
}

/// A handle that an embedder opened.
#[derive(Clone, Copy, Debug)]
struct Handle {
    space: usize,
    claim: u32,
}

/// What is broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    StreamsOutlastARelease,
    HoldIsNotRearmed,
    StreamsOfOldCount,
    CancelLeavesTheQueue,
    AnOpenersEndIsEveryones,
    ADropIsNotNoticed,
}

/// Everything, and what the last step answered: an error's name, or nothing.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) flaw: Flaw,
    now: u64,
    retired: BTreeSet<usize>,
    streams: Vec<Stream>,
    handles: Vec<Handle>,
    pub(super) spaces: [Space; SPACES],
    /// Where each prompt was accepted.
    pub(super) asks: Vec<usize>,
    pub(super) answer: &'static str,
}

impl Plain {
    pub(super) fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            now: 0,
            retired: BTreeSet::new(),
            streams: Vec::new(),
            handles: Vec::new(),
            spaces: Default::default(),
            asks: Vec::new(),
            answer: "",
        }
    }

    fn step(&mut self, step: Step) -> &'static str {
        match step {
            Step::Create(client, space) => self.create(client, space),
            Step::Attach(client, space) => self.attach(client, space),
            Step::Detach(nth) => self.detach(nth),
            Step::Release(client, space) => self.release(client, space),
            Step::Retire(client) => {
                self.retired.insert(client);
                for space in 0..SPACES {
                    self.spaces[space].claims.remove(&client);
                    self.settle(space);
                }
                ""
            }
            Step::Advance(by) => self.advance(by),
            Step::Prompt(space) => self.prompt(space),
            Step::Cancel(ask) => {
                self.take(ask);
                ""
            }
            Step::CancelSession(space) => {
                let flawed = self.flaw == Flaw::CancelLeavesTheQueue;
                let here = &mut self.spaces[space];
                here.held.clear();
                here.running = None;
                if !flawed {
                    here.queue.clear();
                }
                self.settle(space);
                ""
            }
            Step::Withdraw(ask) => {
                let here = &self.spaces[self.asks[ask]];
                if !here.queue.contains(&ask) && !here.held.contains(&ask) {
                    return "run-started";
                }
                self.take(ask);
                ""
            }
            Step::Close(space) => {
                self.close(space);
                ""
            }
            Step::Open(space) => {
                self.open(space);
                ""
            }
            Step::Drop(nth) => {
                let handle = self.handles.remove(nth);
                if self.flaw != Flaw::ADropIsNotNoticed {
                    self.end(handle);
                }
                ""
            }
            Step::End(nth) => {
                let handle = self.handles[nth];
                self.end(handle);
                let here = &self.spaces[handle.space];
                if here.claims.is_empty() && here.openers.is_empty() {
                    self.close(handle.space);
                }
                ""
            }
            Step::ResumeHeld(space) => {
                let here = &mut self.spaces[space];
                if !here.open {
                    return "unknown-workspace";
                }
                let mut held = std::mem::take(&mut here.held);
                held.sort_unstable();
                here.queue.append(&mut held);
                self.settle(space);
                ""
            }
        }
    }

    fn close(&mut self, space: usize) {
        let here = &mut self.spaces[space];
        if here.open {
            here.running = None;
            here.held.append(&mut here.queue);
            here.claims.clear();
            here.openers.clear();
            self.settle(space);
        }
    }

    fn open(&mut self, space: usize) {
        let here = &mut self.spaces[space];
        here.open = true;
        here.numbers += 1;
        here.openers.insert(here.numbers);
        let claim = here.numbers;
        self.handles.push(Handle { space, claim });
    }

    /// Ends the claim of a handle, if it has not ended before.
    fn end(&mut self, handle: Handle) {
        let all = self.flaw == Flaw::AnOpenersEndIsEveryones;
        let here = &mut self.spaces[handle.space];
        if here.openers.remove(&handle.claim) && all {
            here.openers.clear();
        }
        self.settle(handle.space);
    }

    fn create(&mut self, client: usize, space: usize) -> &'static str {
        if self.retired.contains(&client) {
            return "client-retired";
        }
        let (until, keeps) = (self.now + HOLD, self.flaw == Flaw::HoldIsNotRearmed);
        let here = &mut self.spaces[space];
        here.open = true;
        let claim = here.claim(client);
        if claim.streams == 0 && !(keeps && claim.until.is_some()) {
            claim.until = Some(until);
        }
        ""
    }

    fn attach(&mut self, client: usize, space: usize) -> &'static str {
        let here = &mut self.spaces[space];
        if !here.open {
            return "unknown-workspace";
        }
        if self.retired.contains(&client) {
            return "client-retired";
        }
        let claim = here.claim(client);
        claim.streams += 1;
        claim.until = None;
        let claim = claim.number;
        self.streams.push(Stream {
            client,
            space,
            incarnation: here.incarnation,
            claim,
        });
        ""
    }

    fn detach(&mut self, nth: usize) -> &'static str {
        let Stream {
            client,
            space,
            incarnation,
            claim: number,
        } = self.streams.remove(nth);
        let until = self.now + GRACE;
        let old_count = self.flaw == Flaw::StreamsOfOldCount;
        let here = &mut self.spaces[space];
        if here.incarnation == incarnation || old_count {
            let claim = here.claims.get_mut(&client);
            let Some(claim) = claim.filter(|claim| claim.number == number || old_count) else {
                return "";
            };
            claim.streams = claim.streams.saturating_sub(1);
            if claim.streams == 0 {
                claim.until = Some(until);
            }
        }
        self.settle(space);
        ""
    }

    fn release(&mut self, client: usize, space: usize) -> &'static str {
        let outlast = self.flaw == Flaw::StreamsOutlastARelease;
        let here = &mut self.spaces[space];
        if !here.open {
            return "unknown-workspace";
        }
        let Some(claim) = here.claims.get(&client) else {
            return "client-not-attached";
        };
        if claim.streams == 0 || !outlast {
            here.claims.remove(&client);
        }
        self.settle(space);
        ""
    }

    fn advance(&mut self, by: u64) -> &'static str {
        self.now += by;
        let now = self.now;
        for space in 0..SPACES {
            let stands = |claim: &Claim| claim.until.is_none_or(|until| until > now);
            self.spaces[space].claims.retain(|_, claim| stands(claim));
            self.settle(space);
        }
        ""
    }

    fn prompt(&mut self, space: usize) -> &'static str {
        if !self.spaces[space].open {
            return "unknown-workspace";
        }
        let ask = self.asks.len();
        self.asks.push(space);
        self.spaces[space].queue.push(ask);
        self.settle(space);
        ""
    }

    fn take(&mut self, ask: Ask) {
        let space = self.asks[ask];
        let here = &mut self.spaces[space];
        if here.running == Some(ask) {
            here.running = None;
        }
        here.queue.retain(|other| *other != ask);
        here.held.retain(|other| *other != ask);
        self.settle(space);
    }

    /// Starts the next run, and closes a workspace without claims and runs.
    fn settle(&mut self, space: usize) {
        let here = &mut self.spaces[space];
        if here.running.is_none() && !here.queue.is_empty() {
            here.running = Some(here.queue.remove(0));
        }
        let claimed = !here.claims.is_empty() || !here.openers.is_empty();
        if here.open && !claimed && here.running.is_none() {
            here.open = false;
            here.incarnation += 1;
        }
    }
}

/// The model with a flaw, or without.
pub(super) struct Reference<const FLAW: usize>;

pub(super) const FLAWS: [Flaw; 7] = [
    Flaw::None,
    Flaw::StreamsOutlastARelease,
    Flaw::HoldIsNotRearmed,
    Flaw::StreamsOfOldCount,
    Flaw::CancelLeavesTheQueue,
    Flaw::AnOpenersEndIsEveryones,
    Flaw::ADropIsNotNoticed,
];

impl<const FLAW: usize> ReferenceStateMachine for Reference<FLAW> {
    type State = Plain;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Plain> {
        Just(Plain::new(FLAWS[FLAW])).boxed()
    }

    fn transitions(state: &Plain) -> BoxedStrategy<Step> {
        let (client, space) = (0..CLIENTS, 0..SPACES);
        let mut steps = vec![
            (
                6,
                (client.clone(), space.clone())
                    .prop_map(|(c, s)| Step::Create(c, s))
                    .boxed(),
            ),
            (
                5,
                (client.clone(), space.clone())
                    .prop_map(|(c, s)| Step::Attach(c, s))
                    .boxed(),
            ),
            (
                3,
                (client.clone(), space.clone())
                    .prop_map(|(c, s)| Step::Release(c, s))
                    .boxed(),
            ),
            (1, client.prop_map(Step::Retire).boxed()),
            (
                4,
                prop_oneof![Just(4_000_u64), Just(6_000), Just(15_000)]
                    .prop_map(Step::Advance)
                    .boxed(),
            ),
            (6, space.clone().prop_map(Step::Prompt).boxed()),
            (2, space.clone().prop_map(Step::CancelSession).boxed()),
            (1, space.clone().prop_map(Step::Close).boxed()),
            (2, space.clone().prop_map(Step::ResumeHeld).boxed()),
            (3, space.prop_map(Step::Open).boxed()),
        ];
        if !state.handles.is_empty() {
            steps.push((4, (0..state.handles.len()).prop_map(Step::Drop).boxed()));
            steps.push((2, (0..state.handles.len()).prop_map(Step::End).boxed()));
        }
        if !state.streams.is_empty() {
            steps.push((4, (0..state.streams.len()).prop_map(Step::Detach).boxed()));
        }
        if !state.asks.is_empty() {
            steps.push((4, (0..state.asks.len()).prop_map(Step::Cancel).boxed()));
            steps.push((2, (0..state.asks.len()).prop_map(Step::Withdraw).boxed()));
        }
        proptest::strategy::Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Plain, step: &Step) -> bool {
        match step {
            Step::Detach(nth) => *nth < state.streams.len(),
            Step::Drop(nth) | Step::End(nth) => *nth < state.handles.len(),
            Step::Cancel(ask) | Step::Withdraw(ask) => *ask < state.asks.len(),
            // One client stays, so that there is something to see.
            Step::Retire(client) => *client > 0,
            _ => true,
        }
    }

    fn apply(mut state: Plain, step: &Step) -> Plain {
        state.answer = state.step(*step);
        state
    }
}
