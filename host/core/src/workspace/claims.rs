//! The claims that keep a workspace open: those of clients, with their holds, streams, and the grace
//! period after a stream was lost; and owned ones, which last until their owner ends them. This is
//! pure state: `host/registry.rs` runs the timers and reports their end.

use lastword_types::id::ClientId;
use std::collections::{HashMap, HashSet};

/// A timer of a client's claim. Only the last one that was started for the claim counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) client: ClientId,
    pub(crate) lasts: LeasePhase,
    generation: u64,
    incarnation: u64,
}

/// A stream that was attached. It counts only for the claim that it was attached to: if it
/// outlives its claim or its workspace, it does not count for a later claim of the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    client: ClientId,
    claim: u64,
    incarnation: u64,
}

impl Stream {
    pub(crate) fn client(&self) -> ClientId {
        self.client
    }
}

/// A claim without a timer, which lasts until its owner ends it. If it outlives its workspace, it
/// does not count for a later opening of the same workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owned {
    pub(crate) owner: Owner,
    number: u64,
    incarnation: u64,
}

/// The kind of owner of an owned claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A caller of `Host::open_workspace`.
    Opener,
    /// The host itself, for one operation.
    Host,
}

/// How long a timer lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeasePhase {
    /// From the creation of a claim to the opening of the client's stream.
    Hold,
    /// From the loss of the last stream to the opening of another.
    Grace,
}

/// The state of a client's claim after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// It is kept without a timer.
    Stands,
    /// It is kept until this timer ends.
    Until(Timer),
    /// It has ended.
    Gone,
}

/// The claims on one workspace, from its opening to its end.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    clients: HashMap<ClientId, Claim>,
    owned: HashSet<Owned>,
    generations: u64,
    incarnation: u64,
}

#[derive(Debug)]
struct Claim {
    /// Distinguishes it from an earlier claim of the same client.
    number: u64,
    streams: u32,
    /// The timer after which the claim ends if there is no stream.
    timer: Option<u64>,
}

impl Claims {
    /// Returns an empty set of claims. The number distinguishes them from the claims of an earlier
    /// opening of the same workspace.
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            ..Self::default()
        }
    }

    /// Adds a client's claim, which lasts for the hold time until its stream opens. Another call
    /// restarts that time. If the client has a stream, no timer is needed.
    pub(crate) fn create(&mut self, client: ClientId) -> LeaseState {
        match self.claim(client).streams {
            0 => LeaseState::Until(self.arm(client, LeasePhase::Hold)),
            _ => LeaseState::Stands,
        }
    }

    /// Adds a stream to the client's claim.
    pub(crate) fn attach(&mut self, client: ClientId) -> Stream {
        let incarnation = self.incarnation;
        let claim = self.claim(client);
        claim.streams += 1;
        claim.timer = None;
        Stream {
            client,
            claim: claim.number,
            incarnation,
        }
    }

    /// Whether a stream belongs to its client's current claim.
    fn counts(&self, stream: Stream) -> bool {
        let claim = self.clients.get(&stream.client);
        stream.incarnation == self.incarnation
            && claim.is_some_and(|claim| claim.number == stream.claim)
    }

    /// Removes a stream that was lost. Returns `None` if its claim was already gone.
    pub(crate) fn detach(&mut self, stream: Stream) -> Option<LeaseState> {
        let client = stream.client;
        if !self.counts(stream) {
            return None;
        }

        let claim = self.clients.get_mut(&client)?;
        claim.streams = claim.streams.saturating_sub(1);
        if claim.streams > 0 {
            return Some(LeaseState::Stands);
        }

        Some(LeaseState::Until(self.arm(client, LeasePhase::Grace)))
    }

    /// Removes a client's claim at once, without a grace period; its open streams no longer count.
    /// Returns whether it had a claim.
    pub(crate) fn release(&mut self, client: ClientId) -> bool {
        self.clients.remove(&client).is_some()
    }

    /// Adds an owned claim.
    pub(crate) fn own(&mut self, owner: Owner) -> Owned {
        self.generations += 1;
        let owned = Owned {
            owner,
            number: self.generations,
            incarnation: self.incarnation,
        };
        self.owned.insert(owned);
        owned
    }

    /// Ends an owned claim. Returns whether it counted until now.
    pub(crate) fn end(&mut self, owned: Owned) -> bool {
        self.owned.remove(&owned)
    }

    /// Handles the end of a timer. Returns whether that ended the claim; a timer that was replaced
    /// has no effect.
    pub(crate) fn expire(&mut self, timer: Timer) -> bool {
        let decides = self
            .clients
            .get(&timer.client)
            .is_some_and(|claim| claim.timer == Some(timer.generation))
            && timer.incarnation == self.incarnation;
        if decides {
            self.clients.remove(&timer.client);
        }

        decides
    }

    /// Whether there are no claims.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.owned.is_empty()
    }

    /// Whether a client or an opener has a claim; those of the host itself do not count.
    pub(crate) fn has_users(&self) -> bool {
        !self.clients.is_empty() || self.openers() > 0
    }

    /// Returns the number of claims of openers.
    pub(crate) fn openers(&self) -> u32 {
        let openers = self.owned.iter().filter(|o| o.owner == Owner::Opener);
        u32::try_from(openers.count()).unwrap_or(u32::MAX)
    }

    /// Returns the clients with a claim.
    pub(crate) fn clients(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.clients.keys().copied()
    }

    /// Returns the number of open streams of all clients.
    pub(crate) fn streams(&self) -> u32 {
        self.clients.values().map(|claim| claim.streams).sum()
    }

    fn claim(&mut self, client: ClientId) -> &mut Claim {
        self.clients.entry(client).or_insert_with(|| {
            self.generations += 1;
            Claim {
                number: self.generations,
                streams: 0,
                timer: None,
            }
        })
    }

    fn arm(&mut self, client: ClientId, lasts: LeasePhase) -> Timer {
        self.generations += 1;
        let generation = self.generations;
        self.claim(client).timer = Some(generation);
        Timer {
            client,
            lasts,
            generation,
            incarnation: self.incarnation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(claimed: LeaseState) -> Timer {
        match claimed {
            LeaseState::Until(timer) => timer,
            other => panic!("no timer was begun: {other:?}"),
        }
    }

    #[test]
    fn a_hold_ends_unless_a_stream_comes() {
        let client = ClientId::generate();
        let mut claims = Claims::default();
        let hold = timer(claims.create(client));
        assert_eq!(hold.lasts, LeasePhase::Hold);
        assert!(claims.expire(hold));
        assert!(claims.is_empty());

        let hold = timer(claims.create(client));
        claims.attach(client);
        assert!(!claims.expire(hold));
        assert!(!claims.is_empty());
    }

    #[test]
    fn creating_again_re_arms_the_hold() {
        let client = ClientId::generate();
        let mut claims = Claims::default();
        let old = timer(claims.create(client));
        let new = timer(claims.create(client));
        assert!(!claims.expire(old));
        assert!(claims.expire(new));
    }

    #[test]
    fn the_last_stream_leaves_a_grace() {
        let client = ClientId::generate();
        let mut claims = Claims::default();
        let (first, second) = (claims.attach(client), claims.attach(client));
        assert_eq!(claims.detach(first), Some(LeaseState::Stands));
        let grace = timer(claims.detach(second).unwrap());
        assert_eq!(grace.lasts, LeasePhase::Grace);
        let back = claims.attach(client);
        assert!(!claims.expire(grace), "it came back in time");
        let grace = timer(claims.detach(back).unwrap());
        assert!(claims.expire(grace));
    }

    #[test]
    fn a_release_ends_the_claim_whatever_streams_are_open() {
        let client = ClientId::generate();
        let mut claims = Claims::default();
        assert!(!claims.release(client));
        let (first, second) = (claims.attach(client), claims.attach(client));
        assert!(claims.counts(first) && claims.counts(second));
        assert!(claims.release(client));
        assert!(claims.is_empty());
        assert!(!claims.counts(first) && !claims.counts(second));
        assert_eq!(claims.detach(first), None);
    }

    #[test]
    fn a_stream_that_outlives_its_claim_means_nothing_to_the_next() {
        let client = ClientId::generate();
        let mut claims = Claims::default();
        let before = claims.attach(client);
        assert!(claims.release(client));
        let hold = timer(claims.create(client));
        assert_eq!(claims.detach(before), None, "the hold goes on");
        assert!(claims.expire(hold));

        let after = claims.attach(client);
        assert_eq!(claims.detach(before), None);
        assert!(claims.counts(after) && !claims.counts(before));
        assert_eq!(claims.streams(), 1);
    }

    #[test]
    fn each_owned_claim_ends_once_and_alone() {
        let mut claims = Claims::default();
        let (first, second) = (claims.own(Owner::Opener), claims.own(Owner::Opener));
        let host = claims.own(Owner::Host);
        assert_eq!(claims.openers(), 2);
        assert!(claims.end(first));
        assert!(!claims.end(first), "it has ended");
        assert_eq!(claims.openers(), 1);
        assert!(claims.end(second));
        assert!(!claims.has_users() && !claims.is_empty());
        assert!(claims.end(host));
        assert!(claims.is_empty());
    }

    #[test]
    fn what_is_left_of_a_closed_workspace_means_nothing_to_the_next() {
        let client = ClientId::generate();
        let mut before = Claims::new(1);
        let owned = before.own(Owner::Opener);
        let mut next = Claims::new(2);
        let opener = next.own(Owner::Opener);
        assert!(!next.end(owned));
        assert!(next.end(opener));

        let mut before = Claims::new(1);
        let (hold, stream) = (timer(before.create(client)), before.attach(client));
        let mut after = Claims::new(2);
        let again = timer(after.create(client));
        assert!(!after.expire(hold));
        after.attach(client);
        assert_eq!(after.detach(stream), None);
        assert_eq!(after.streams(), 1);
        assert!(!after.expire(again));
    }
}
