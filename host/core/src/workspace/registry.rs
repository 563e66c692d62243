//! The registry of open, opening and closing workspaces and their claims, with one entry per key.
//! It is pure state without a clock; `host/registry.rs` holds its lock and carries out its results.

use super::OnLastClient;
use super::WorkspaceKey;
use super::claims::{Claims, LeaseState, Owned, Owner, Stream, Timer};
use lastword_types::id::{ClientId, WorkspaceId};
use std::collections::{HashMap, HashSet, VecDeque};

/// The number of retired clients that are remembered; the oldest are dropped first.
const RETIRED_MAX: usize = 1 << 16;

/// The workspaces of one host; `W` is the type of an open one.
#[derive(Debug)]
pub(crate) struct Registry<W> {
    entries: HashMap<WorkspaceKey, Entry<W>>,
    keys: HashMap<WorkspaceId, WorkspaceKey>,
    retired: HashSet<ClientId>,
    retired_order: VecDeque<ClientId>,
    on_last_client: OnLastClient,
    incarnations: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry<W> {
    stage: Stage<W>,
    /// Whether a client claimed it after the last opener had left: only then can a last client
    /// leave.
    had_client: bool,
    claims: Claims,
}

#[derive(Debug)]
enum Stage<W> {
    Opening,
    Open(W),
    Closing(W),
}

/// The kind of caller that claims a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// An opener or the host itself, until [`Registry::end`].
    Owner(Owner),
    /// A client, as long as it renews its claim.
    Client(ClientId),
}

/// A claim that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Until its owner ends it.
    Owned(Owned),
    /// Of this client, in this state.
    Client(ClientId, LeaseState),
}

/// Why a workspace cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    HostClosing,
    WorkspaceClosing,
    UnknownWorkspace,
    ClientRetired,
    NotAttached,
}

/// What a caller that asks for a workspace has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask<W> {
    /// It is open, and claimed.
    Ready(W, Claimed),
    /// It is not open: open it, then call [`Registry::opened`] or [`Registry::failed`].
    Open,
    /// Another caller is opening it: wait, and ask again.
    Wait,
}

impl<W> Entry<W> {
    /// Returns the workspace, whether it is closing, and its claims; `None` before it is open.
    fn seen(&self) -> Option<(&W, bool, &Claims)> {
        match &self.stage {
            Stage::Opening => None,
            Stage::Open(open) => Some((open, false, &self.claims)),
            Stage::Closing(open) => Some((open, true, &self.claims)),
        }
    }

    fn claim(&mut self, who: Claimant) -> Claimed {
        match who {
            Claimant::Owner(owner) => Claimed::Owned(self.claims.own(owner)),
            Claimant::Client(client) => {
                self.had_client = true;
                Claimed::Client(client, self.claims.create(client))
            }
        }
    }
}

impl<W: Clone> Registry<W> {
    pub(crate) fn new(on_last_client: OnLastClient) -> Self {
        Self {
            entries: HashMap::new(),
            keys: HashMap::new(),
            retired: HashSet::new(),
            retired_order: VecDeque::new(),
            on_last_client,
            incarnations: 0,
            closed: false,
        }
    }

    /// Handles a request for a workspace.
    pub(crate) fn ask(&mut self, key: &WorkspaceKey, who: Claimant) -> Result<Ask<W>, Refused> {
        self.admit(who)?;
        let Some(entry) = self.entries.get_mut(key) else {
            self.incarnations += 1;
            let entry = Entry {
                stage: Stage::Opening,
                had_client: false,
                claims: Claims::new(self.incarnations),
            };
            self.entries.insert(key.clone(), entry);
            return Ok(Ask::Open);
        };

        match &entry.stage {
            Stage::Opening => Ok(Ask::Wait),
            Stage::Closing(_) => Err(Refused::WorkspaceClosing),
            Stage::Open(open) => Ok(Ask::Ready(open.clone(), entry.claim(who))),
        }
    }

    fn admit(&self, who: Claimant) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::HostClosing);
        }

        match who {
            Claimant::Client(client) if self.retired.contains(&client) => {
                Err(Refused::ClientRetired)
            }
            _ => Ok(()),
        }
    }

    /// Enters the workspace that the caller has opened. The caller's claim is added, unless the
    /// client was retired or the host closed in the meantime: then it has no claim yet.
    pub(crate) fn opened(
        &mut self,
        key: &WorkspaceKey,
        id: WorkspaceId,
        open: W,
        who: Claimant,
    ) -> Result<Claimed, Refused> {
        let admitted = self.admit(who);
        let Some(entry) = self.entries.get_mut(key) else {
            return Err(Refused::UnknownWorkspace);
        };
        entry.stage = Stage::Open(open);
        self.keys.insert(id, key.clone());
        admitted.map(|()| entry.claim(who))
    }

    /// Removes the entry of a workspace that could not be opened; the next waiting caller tries.
    pub(crate) fn failed(&mut self, key: &WorkspaceKey) {
        self.entries.remove(key);
    }

    /// Attaches a stream of a client.
    pub(crate) fn attach(&mut self, id: WorkspaceId, client: ClientId) -> Result<Stream, Refused> {
        self.admit(Claimant::Client(client))?;
        let entry = self.open_entry(id)?;
        entry.had_client = true;
        Ok(entry.claims.attach(client))
    }

    /// Detaches a stream that was lost. Returns `None` if its claim was already gone.
    pub(crate) fn detach(&mut self, id: WorkspaceId, stream: Stream) -> Option<LeaseState> {
        self.entry(id)?.claims.detach(stream)
    }

    /// Removes a client's claim on a workspace.
    pub(crate) fn release(&mut self, id: WorkspaceId, client: ClientId) -> Result<(), Refused> {
        let had = self.open_entry(id)?.claims.release(client);
        had.then_some(()).ok_or(Refused::NotAttached)
    }

    /// Retires a client for good. Returns the workspaces that it had claimed.
    pub(crate) fn retire(&mut self, client: ClientId) -> Vec<WorkspaceId> {
        if self.retired.insert(client) {
            self.retired_order.push_back(client);
            if self.retired_order.len() > RETIRED_MAX
                && let Some(oldest) = self.retired_order.pop_front()
            {
                self.retired.remove(&oldest);
            }
        }

        let keys = self.keys.iter();
        let had = keys.filter_map(|(id, key)| {
            let entry = self.entries.get_mut(key)?;
            entry.claims.release(client).then_some(*id)
        });
        had.collect()
    }

    /// Handles the end of a timer. Returns whether that ended a claim.
    pub(crate) fn expire(&mut self, id: WorkspaceId, timer: Timer) -> bool {
        self.entry(id)
            .is_some_and(|entry| entry.claims.expire(timer))
    }

    /// Ends an owned claim. Has no effect if it ended before, or with its workspace.
    pub(crate) fn end(&mut self, id: WorkspaceId, owned: Owned) {
        let Some(entry) = self.entry(id) else {
            return;
        };

        let ended = entry.claims.end(owned);
        // An opener that leaves last leaves the runs: only a client's departure may stop them.
        if ended && owned.owner == Owner::Opener && !entry.claims.has_users() {
            entry.had_client = false;
        }
    }

    /// Whether a client or an opener claims a workspace.
    pub(crate) fn has_users(&self, id: WorkspaceId) -> bool {
        self.find(id)
            .is_some_and(|(_, closing, claims)| !closing && claims.has_users())
    }

    /// Whether an open workspace has to close because nothing keeps it open. With runs it closes
    /// only if the policy says so and the last claim was a client's: runs in a workspace that the
    /// host itself opened continue, and so do those that an opener leaves behind.
    pub(crate) fn is_to_close(&mut self, id: WorkspaceId, has_runs: bool) -> bool {
        let on_last_client = self.on_last_client;
        let Ok(entry) = self.open_entry(id) else {
            return false;
        };
        let keeps = on_last_client == OnLastClient::KeepRunning || !entry.had_client;
        entry.claims.is_empty() && !(has_runs && keeps)
    }

    /// Marks an open workspace as closing. Returns it, or `None` if it is not open.
    pub(crate) fn close(&mut self, id: WorkspaceId) -> Option<W> {
        let entry = self.entry(id)?;
        let Stage::Open(open) = &entry.stage else {
            return None;
        };
        let open = open.clone();
        entry.stage = Stage::Closing(open.clone());
        Some(open)
    }

    /// Returns a workspace that is closing.
    pub(crate) fn closing(&self, id: WorkspaceId) -> Option<W> {
        let entry = self.entries.get(self.keys.get(&id)?)?;
        match &entry.stage {
            Stage::Closing(closing) => Some(closing.clone()),
            _ => None,
        }
    }

    /// Removes a workspace that is closed, which frees its key. Returns whether it was closing.
    pub(crate) fn closed(&mut self, id: WorkspaceId) -> bool {
        let closing = self
            .entry(id)
            .is_some_and(|entry| matches!(entry.stage, Stage::Closing(_)));
        if closing && let Some(key) = self.keys.remove(&id) {
            self.entries.remove(&key);
        }
        closing
    }

    /// Refuses to open workspaces from now on, because the host closes. Returns the open ones.
    pub(crate) fn close_all(&mut self) -> Vec<WorkspaceId> {
        self.closed = true;
        let open = self.keys.iter().filter(|(_, key)| {
            let stage = self.entries.get(*key).map(|entry| &entry.stage);
            matches!(stage, Some(Stage::Open(_)))
        });
        open.map(|(id, _)| *id).collect()
    }

    /// Returns an open workspace.
    pub(crate) fn open(&self, id: WorkspaceId) -> Result<W, Refused> {
        let entry = self.keys.get(&id).and_then(|key| self.entries.get(key));
        match entry.map(|entry| &entry.stage) {
            Some(Stage::Open(open)) => Ok(open.clone()),
            Some(Stage::Closing(_)) => Err(Refused::WorkspaceClosing),
            Some(Stage::Opening) | None => Err(Refused::UnknownWorkspace),
        }
    }

    /// Whether the workspace of this key is being opened.
    pub(crate) fn is_opening(&self, key: &WorkspaceKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| matches!(entry.stage, Stage::Opening))
    }

    /// Returns every open or closing workspace, with its claims.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&W, bool, &Claims)> {
        self.entries.values().filter_map(Entry::seen)
    }

    /// Returns one open or closing workspace, with its claims.
    pub(crate) fn find(&self, id: WorkspaceId) -> Option<(&W, bool, &Claims)> {
        self.entries.get(self.keys.get(&id)?)?.seen()
    }

    /// Whether there are no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&mut self, id: WorkspaceId) -> Option<&mut Entry<W>> {
        self.entries.get_mut(self.keys.get(&id)?)
    }

    fn open_entry(&mut self, id: WorkspaceId) -> Result<&mut Entry<W>, Refused> {
        let entry = self.entry(id).ok_or(Refused::UnknownWorkspace)?;
        match &entry.stage {
            Stage::Open(_) => Ok(entry),
            Stage::Closing(_) => Err(Refused::WorkspaceClosing),
            Stage::Opening => Err(Refused::UnknownWorkspace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENER: Claimant = Claimant::Owner(Owner::Opener);

    struct Bench {
        registry: Registry<&'static str>,
        key: WorkspaceKey,
        id: WorkspaceId,
    }

    fn bench() -> Bench {
        Bench {
            registry: Registry::new(OnLastClient::default()),
            key: WorkspaceKey::name("one"),
            id: WorkspaceId::generate(),
        }
    }

    fn open(bench: &mut Bench, who: Claimant) -> Claimed {
        assert_eq!(bench.registry.ask(&bench.key, who), Ok(Ask::Open));
        let opened = bench.registry.opened(&bench.key, bench.id, "W", who);
        opened.expect("it opens")
    }

    fn owned(claimed: Claimed) -> Owned {
        match claimed {
            Claimed::Owned(owned) => owned,
            other => panic!("it is a client's: {other:?}"),
        }
    }

    /// Claims an open workspace once more.
    fn again(bench: &mut Bench, who: Claimant) -> Claimed {
        match bench.registry.ask(&bench.key, who) {
            Ok(Ask::Ready(_, claimed)) => claimed,
            other => panic!("it is not open: {other:?}"),
        }
    }

    #[test]
    fn one_opens_and_the_others_wait() {
        let mut b = bench();
        let who = Claimant::Client(ClientId::generate());
        assert_eq!(b.registry.ask(&b.key, who), Ok(Ask::Open));
        assert_eq!(b.registry.ask(&b.key, OPENER), Ok(Ask::Wait));
        assert!(b.registry.opened(&b.key, b.id, "W", who).is_ok());
        owned(again(&mut b, OPENER));
    }

    #[test]
    fn whoever_waited_opens_what_another_could_not() {
        let mut b = bench();
        assert_eq!(b.registry.ask(&b.key, OPENER), Ok(Ask::Open));
        b.registry.failed(&b.key);
        assert_eq!(b.registry.ask(&b.key, OPENER), Ok(Ask::Open));
    }

    #[test]
    fn retiring_refuses_creates_that_are_under_way() {
        let mut b = bench();
        let client = ClientId::generate();
        let who = Claimant::Client(client);
        assert_eq!(b.registry.ask(&b.key, who), Ok(Ask::Open));
        assert!(b.registry.retire(client).is_empty());
        let opened = b.registry.opened(&b.key, b.id, "W", who);
        assert_eq!(opened, Err(Refused::ClientRetired));
        assert_eq!(b.registry.ask(&b.key, who), Err(Refused::ClientRetired));
        assert!(b.registry.is_to_close(b.id, false));
    }

    #[test]
    fn a_closing_workspace_cannot_be_opened_until_it_is_closed() {
        let mut b = bench();
        open(&mut b, OPENER);
        assert_eq!(b.registry.close(b.id), Some("W"));
        assert_eq!(b.registry.close(b.id), None);
        let again = b.registry.ask(&b.key, OPENER);
        assert_eq!(again, Err(Refused::WorkspaceClosing));
        assert!(b.registry.closed(b.id));
        assert_eq!(b.registry.ask(&b.key, OPENER), Ok(Ask::Open));
    }

    #[test]
    fn runs_keep_an_unclaimed_workspace_open_unless_told_otherwise() {
        for (policy, closes) in [
            (OnLastClient::KeepRunning, false),
            (OnLastClient::Cancel, true),
        ] {
            let mut b = bench();
            b.registry = Registry::new(policy);
            let client = ClientId::generate();
            open(&mut b, Claimant::Client(client));
            b.registry.retire(client);
            assert_eq!(b.registry.is_to_close(b.id, true), closes);
            assert!(b.registry.is_to_close(b.id, false));
        }
    }

    #[test]
    fn runs_of_what_the_host_opened_go_on_until_clients_come_and_leave() {
        let mut b = bench();
        b.registry = Registry::new(OnLastClient::Cancel);
        let kept = owned(open(&mut b, Claimant::Owner(Owner::Host)));
        b.registry.end(b.id, kept);
        assert!(!b.registry.is_to_close(b.id, true));
        let client = ClientId::generate();
        assert!(b.registry.attach(b.id, client).is_ok());
        b.registry.retire(client);
        assert!(b.registry.is_to_close(b.id, true));
    }

    #[test]
    fn each_opener_ends_its_own_claim() {
        let mut b = bench();
        let first = owned(open(&mut b, OPENER));
        let second = owned(again(&mut b, OPENER));
        b.registry.end(b.id, first);
        b.registry.end(b.id, first);
        assert!(!b.registry.is_to_close(b.id, false));
        assert!(b.registry.has_users(b.id));
        b.registry.end(b.id, second);
        assert!(b.registry.is_to_close(b.id, false));
        assert!(!b.registry.has_users(b.id));
    }

    #[test]
    fn a_claim_of_an_earlier_opening_does_not_count() {
        let mut b = bench();
        let before = owned(open(&mut b, OPENER));
        assert_eq!(b.registry.close(b.id), Some("W"));
        assert!(b.registry.closed(b.id));
        open(&mut b, OPENER);
        b.registry.end(b.id, before);
        assert!(!b.registry.is_to_close(b.id, false));
    }

    #[test]
    fn what_the_host_does_in_a_workspace_is_no_users_claim() {
        let mut b = bench();
        let opener = owned(open(&mut b, OPENER));
        again(&mut b, Claimant::Owner(Owner::Host));
        b.registry.end(b.id, opener);
        assert!(!b.registry.has_users(b.id));
        assert!(!b.registry.is_to_close(b.id, false), "it is used");
    }

    #[test]
    fn an_opener_that_leaves_last_leaves_the_runs() {
        let mut b = bench();
        b.registry = Registry::new(OnLastClient::Cancel);
        let opener = owned(open(&mut b, OPENER));
        let client = ClientId::generate();
        again(&mut b, Claimant::Client(client));
        b.registry.retire(client);
        assert!(!b.registry.is_to_close(b.id, true));
        b.registry.end(b.id, opener);
        assert!(!b.registry.is_to_close(b.id, true));
        assert!(b.registry.is_to_close(b.id, false));
    }

    #[test]
    fn a_client_that_leaves_last_takes_the_runs_where_openers_came_and_left() {
        let mut b = bench();
        b.registry = Registry::new(OnLastClient::Cancel);
        let opener = owned(open(&mut b, OPENER));
        let client = ClientId::generate();
        again(&mut b, Claimant::Client(client));
        b.registry.end(b.id, opener);
        assert!(!b.registry.is_to_close(b.id, true));
        b.registry.retire(client);
        assert!(b.registry.is_to_close(b.id, true));
    }

    #[test]
    fn nothing_opens_while_the_host_closes() {
        let mut b = bench();
        open(&mut b, OPENER);
        assert_eq!(b.registry.close_all(), [b.id]);
        let other = WorkspaceKey::name("two");
        let refused = b.registry.ask(&other, OPENER);
        assert_eq!(refused, Err(Refused::HostClosing));
    }
}
