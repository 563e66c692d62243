//! Which workspaces are open, opening or closing, and who claims them: one entry per key.
//! Pure and without a clock; the host puts it behind a lock and does what it answers.

use super::OnLastClient;
use super::WorkspaceKey;
use super::claims::{Claims, LeaseState, Stream, Timer};
use lastword_types::id::{ClientId, WorkspaceId};
use std::collections::{HashMap, HashSet, VecDeque};

/// Retired clients that are remembered; the oldest are forgotten first.
const RETIRED_MAX: usize = 1 << 16;

/// The workspaces of one host; `W` is what an open one is.
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
    /// Opened by the embedder itself, until it is closed.
    pinned: bool,
    /// How often the host itself keeps it open for a moment.
    kept: u32,
    /// Whether a client ever claimed it: until then there is no last one to leave.
    had_client: bool,
    claims: Claims,
}

#[derive(Debug)]
enum Stage<W> {
    Opening,
    Open(W),
    Closing(W),
}

/// Who asks for a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// The embedder, for as long as it likes.
    Embedder,
    /// The host itself, until [`Registry::let_go`].
    Host,
    /// A client, which has to keep its claim up.
    Client(ClientId),
}

/// Why a workspace is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    HostClosing,
    WorkspaceClosing,
    UnknownWorkspace,
    ClientRetired,
    NotAttached,
}

/// What whoever wants a workspace has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask<W> {
    /// It is open, and claimed.
    Ready(W, LeaseState),
    /// Nobody has it: open it, and answer with [`Registry::opened`] or [`Registry::failed`].
    Open,
    /// Somebody is opening it: wait, and ask again.
    Wait,
}

impl<W> Entry<W> {
    /// The workspace, whether it closes, and who claims it; nothing before it is open.
    fn seen(&self) -> Option<(&W, bool, &Claims)> {
        match &self.stage {
            Stage::Opening => None,
            Stage::Open(open) => Some((open, false, &self.claims)),
            Stage::Closing(open) => Some((open, true, &self.claims)),
        }
    }

    fn claim(&mut self, who: Claimant) -> LeaseState {
        match who {
            Claimant::Embedder => {
                self.pinned = true;
                LeaseState::Stands
            }
            Claimant::Host => {
                self.kept += 1;
                LeaseState::Stands
            }
            Claimant::Client(client) => {
                self.had_client = true;
                self.claims.create(client)
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

    /// Somebody wants a workspace.
    pub(crate) fn ask(&mut self, key: &WorkspaceKey, who: Claimant) -> Result<Ask<W>, Refused> {
        self.admit(who)?;
        let Some(entry) = self.entries.get_mut(key) else {
            self.incarnations += 1;
            let entry = Entry {
                stage: Stage::Opening,
                pinned: false,
                kept: 0,
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

    /// The workspace that this caller was to open is open. Its claim stands, unless the
    /// client was retired or the host closed meanwhile: then nobody claims it yet.
    pub(crate) fn opened(
        &mut self,
        key: &WorkspaceKey,
        id: WorkspaceId,
        open: W,
        who: Claimant,
    ) -> Result<LeaseState, Refused> {
        let admitted = self.admit(who);
        let Some(entry) = self.entries.get_mut(key) else {
            return Err(Refused::UnknownWorkspace);
        };
        entry.stage = Stage::Open(open);
        self.keys.insert(id, key.clone());
        admitted.map(|()| entry.claim(who))
    }

    /// It could not be opened; the next one who waits tries.
    pub(crate) fn failed(&mut self, key: &WorkspaceKey) {
        self.entries.remove(key);
    }

    /// A client's stream opens.
    pub(crate) fn attach(&mut self, id: WorkspaceId, client: ClientId) -> Result<Stream, Refused> {
        self.admit(Claimant::Client(client))?;
        let entry = self.open_entry(id)?;
        entry.had_client = true;
        Ok(entry.claims.attach(client))
    }

    /// A client's stream is lost. `None` if it counted for nothing any more.
    pub(crate) fn detach(&mut self, id: WorkspaceId, stream: Stream) -> Option<LeaseState> {
        self.entry(id)?.claims.detach(stream)
    }

    /// A client is done with a workspace.
    pub(crate) fn release(&mut self, id: WorkspaceId, client: ClientId) -> Result<(), Refused> {
        let had = self.open_entry(id)?.claims.release(client);
        had.then_some(()).ok_or(Refused::NotAttached)
    }

    /// A client is gone for good. Answers the workspaces that it had claimed.
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

    /// A timer ended. Answers whether a claim went with it.
    pub(crate) fn expire(&mut self, id: WorkspaceId, timer: Timer) -> bool {
        self.entry(id)
            .is_some_and(|entry| entry.claims.expire(timer))
    }

    /// The host itself no longer keeps it open.
    pub(crate) fn let_go(&mut self, id: WorkspaceId) {
        if let Some(entry) = self.entry(id) {
            entry.kept = entry.kept.saturating_sub(1);
        }
    }

    /// An open workspace that nobody keeps open any more, if it is one. With runs it closes
    /// only if the policy says so, and only after clients: what the host itself opened goes on.
    pub(crate) fn is_to_close(&mut self, id: WorkspaceId, has_runs: bool) -> bool {
        let on_last_client = self.on_last_client;
        let Ok(entry) = self.open_entry(id) else {
            return false;
        };
        let keeps = on_last_client == OnLastClient::KeepRunning || !entry.had_client;
        let unclaimed = entry.claims.is_empty() && !entry.pinned && entry.kept == 0;
        unclaimed && !(has_runs && keeps)
    }

    /// An open workspace closes. Answers it, or `None` if it is not open.
    pub(crate) fn close(&mut self, id: WorkspaceId) -> Option<W> {
        let entry = self.entry(id)?;
        let Stage::Open(open) = &entry.stage else {
            return None;
        };
        let open = open.clone();
        entry.stage = Stage::Closing(open.clone());
        entry.pinned = false;
        Some(open)
    }

    /// A workspace that is closing.
    pub(crate) fn closing(&self, id: WorkspaceId) -> Option<W> {
        let entry = self.entries.get(self.keys.get(&id)?)?;
        match &entry.stage {
            Stage::Closing(closing) => Some(closing.clone()),
            _ => None,
        }
    }

    /// A closing workspace is closed: its key is free. Answers whether it was closing.
    pub(crate) fn closed(&mut self, id: WorkspaceId) -> bool {
        let closing = self
            .entry(id)
            .is_some_and(|entry| matches!(entry.stage, Stage::Closing(_)));
        if closing && let Some(key) = self.keys.remove(&id) {
            self.entries.remove(&key);
        }
        closing
    }

    /// The host closes: nothing is opened any more. Answers what is open.
    pub(crate) fn close_all(&mut self) -> Vec<WorkspaceId> {
        self.closed = true;
        let open = self.keys.iter().filter(|(_, key)| {
            let stage = self.entries.get(*key).map(|entry| &entry.stage);
            matches!(stage, Some(Stage::Open(_)))
        });
        open.map(|(id, _)| *id).collect()
    }

    /// An open workspace.
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

    /// Every workspace that is open or closing, with its claims.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&W, bool, &Claims)> {
        self.entries.values().filter_map(Entry::seen)
    }

    /// One of them.
    pub(crate) fn find(&self, id: WorkspaceId) -> Option<(&W, bool, &Claims)> {
        self.entries.get(self.keys.get(&id)?)?.seen()
    }

    /// Whether there is nothing at all.
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

    fn open(bench: &mut Bench, who: Claimant) {
        assert_eq!(bench.registry.ask(&bench.key, who), Ok(Ask::Open));
        let opened = bench.registry.opened(&bench.key, bench.id, "W", who);
        assert!(opened.is_ok());
    }

    #[test]
    fn one_opens_and_the_others_wait() {
        let mut b = bench();
        let who = Claimant::Client(ClientId::generate());
        assert_eq!(b.registry.ask(&b.key, who), Ok(Ask::Open));
        assert_eq!(b.registry.ask(&b.key, Claimant::Embedder), Ok(Ask::Wait));
        assert!(b.registry.opened(&b.key, b.id, "W", who).is_ok());
        assert_eq!(
            b.registry.ask(&b.key, Claimant::Embedder),
            Ok(Ask::Ready("W", LeaseState::Stands))
        );
    }

    #[test]
    fn whoever_waited_opens_what_another_could_not() {
        let mut b = bench();
        assert_eq!(b.registry.ask(&b.key, Claimant::Embedder), Ok(Ask::Open));
        b.registry.failed(&b.key);
        assert_eq!(b.registry.ask(&b.key, Claimant::Embedder), Ok(Ask::Open));
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
        open(&mut b, Claimant::Embedder);
        assert_eq!(b.registry.close(b.id), Some("W"));
        assert_eq!(b.registry.close(b.id), None);
        let again = b.registry.ask(&b.key, Claimant::Embedder);
        assert_eq!(again, Err(Refused::WorkspaceClosing));
        assert!(b.registry.closed(b.id));
        assert_eq!(b.registry.ask(&b.key, Claimant::Embedder), Ok(Ask::Open));
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
        open(&mut b, Claimant::Host);
        b.registry.let_go(b.id);
        assert!(!b.registry.is_to_close(b.id, true));
        let client = ClientId::generate();
        assert!(b.registry.attach(b.id, client).is_ok());
        b.registry.retire(client);
        assert!(b.registry.is_to_close(b.id, true));
    }

    #[test]
    fn nothing_opens_while_the_host_closes() {
        let mut b = bench();
        open(&mut b, Claimant::Embedder);
        assert_eq!(b.registry.close_all(), [b.id]);
        let other = WorkspaceKey::name("two");
        let refused = b.registry.ask(&other, Claimant::Embedder);
        assert_eq!(refused, Err(Refused::HostClosing));
    }
}
