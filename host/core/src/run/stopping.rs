//! Stopping runs: one, those of a session, of a client, of a workspace, or all of them. Knows
//! who is to be stopped; how a guest is stopped is the affair of the door in `live`.

use super::dispatcher::{Dispatcher, RunJob};
use super::live::{LiveRun, Phase};
use super::{Cause, Receipt, RunUsage};
use crate::host::WorkspaceInner;
use crate::workspace::Lifecycle;
use lastword_store::{Hold, StoreError, Withdraw};
use lastword_types::id::{ClientId, RunId, SessionId, WorkspaceId};
use std::sync::Arc;
use std::time::Duration;

impl Dispatcher {
    /// Stops one run, whether it waits or runs. Idempotent.
    pub(crate) fn stop(self: &Arc<Self>, live: &Arc<LiveRun>, cause: &Cause) {
        live.stop(cause.clone(), &self.guests);
        let waiting = self.take_waiting(live);
        self.withdraw(waiting);
    }

    /// The end of a run that was stopped, as [`LiveRun::ended_or_provisional`] tells it. The cause
    /// of one that is told before it is on disk is kept, should this process end first.
    pub(crate) async fn ended_or_provisional(&self, live: &LiveRun) -> Arc<Receipt> {
        let receipt = live.ended_or_provisional().await;
        if !receipt.persisted && !live.has_no_end() {
            let ending = live.ending(Duration::ZERO, RunUsage::default());
            self.store.keep_cause(live.id, &ending);
            // An end that came meanwhile has been settled, and will not take it back.
            if live.try_ended().is_some() || live.has_no_end() {
                self.store.forget_cause(live.id);
            }
        }

        receipt
    }

    /// Takes a run back that waits. Answers whether it did: one that has started, or whose
    /// start is on its way to the disk, is left alone.
    pub(crate) fn withdraw_waiting(self: &Arc<Self>, live: &Arc<LiveRun>) -> bool {
        let waiting = self.take_waiting(live);
        let waited = !waiting.is_empty();
        if waited {
            live.stop(Cause::User, &self.guests);
            self.withdraw(waiting);
        }
        waited
    }

    fn take_waiting(&self, live: &LiveRun) -> Vec<RunJob> {
        let is_it = |waiting: &RunJob| waiting.live.id == live.id;
        let schedule = &mut self.lock().schedule;
        schedule.remove(live.workspace, live.session, is_it)
    }

    /// Stops the run of a session and every prompt accepted before now, as far as they are
    /// meant. Returns those that were stopped.
    pub(crate) fn stop_session(
        self: &Arc<Self>,
        workspace: WorkspaceId,
        session: SessionId,
        meant: impl Fn(&LiveRun) -> bool,
    ) -> Vec<Arc<LiveRun>> {
        let mut inner = self.lock();
        // One that has its end may not be forgotten yet.
        let is_it = |live: &LiveRun| live.session == session && !live.is_over() && meant(live);
        let of_session = |live: &&Arc<LiveRun>| is_it(live);
        let mut live: Vec<_> = inner.live().filter(of_session).cloned().collect();
        live.sort_by_key(|live| live.id);
        for run in &live {
            run.stop(Cause::User, &self.guests);
        }

        let is_it = |waiting: &RunJob| meant(&waiting.live);
        let waiting = inner.schedule.remove(workspace, session, is_it);
        drop(inner);
        self.withdraw(waiting);
        live
    }

    /// The runs of a workspace that are bound to a client.
    pub(crate) fn bound(&self, workspace: WorkspaceId, client: ClientId) -> Vec<Arc<LiveRun>> {
        let inner = self.lock();
        let of =
            |live: &&Arc<LiveRun>| live.workspace == workspace && live.bound_to == Some(client);
        inner.live().filter(of).cloned().collect()
    }

    /// Ends runs that never started, all in one transaction.
    pub(super) fn withdraw(self: &Arc<Self>, waiting: Vec<RunJob>) {
        let Some(first) = waiting.first() else { return };
        let ending = first.live.ending(Duration::ZERO, RunUsage::default());
        let runs = waiting.iter().map(|w| w.live.id).collect();
        let this = Arc::clone(self);
        let withdrawn = self
            .store
            .submit(Withdraw { runs, ending }, move |outcome| {
                let receipts: Vec<Result<Receipt, StoreError>> = match outcome {
                    Ok(receipts) => receipts.into_iter().map(Ok).collect(),
                    Err(error) => waiting.iter().map(|_| Err(error.clone())).collect(),
                };
                for (waiting, receipt) in waiting.iter().zip(receipts) {
                    this.settle(&waiting.live, receipt);
                }
            });
        drop(withdrawn);
    }

    /// Whether a run of a workspace is without its end, and may still get it.
    pub(crate) fn has_runs(&self, workspace: WorkspaceId) -> bool {
        self.lock().has_runs(workspace)
    }

    /// Whether a run of a workspace is without its end that a time began.
    pub(crate) fn has_woken(&self, workspace: WorkspaceId) -> bool {
        let inner = self.lock();
        let mut live = inner.live();
        live.any(|live| live.workspace == workspace && live.woken)
    }

    /// Whether a run of a workspace has an end that only the next host can write.
    pub(crate) fn has_lost(&self, workspace: WorkspaceId) -> bool {
        self.lock().lost().any(|(of, _)| *of == workspace)
    }

    /// Bars a workspace: it takes no more prompts. With `only_idle`, only if no run of it is
    /// without its end. Answers whether it is barred.
    pub(crate) fn bar(&self, workspace: &WorkspaceInner, only_idle: bool) -> bool {
        let inner = self.lock();
        if only_idle && inner.has_runs(workspace.id) {
            return false;
        }
        workspace.bar();
        true
    }

    /// Takes the queued prompts of a barred workspace out of the queue; with `hold`, they are
    /// noted as held, otherwise the next host's recovery does that.
    pub(crate) fn hold_waiting(self: &Arc<Self>, workspace: WorkspaceId, hold: bool) {
        let waiting = self.lock().schedule.remove_all(workspace);
        self.hold(waiting, hold);
    }

    pub(super) fn hold(self: &Arc<Self>, waiting: Vec<RunJob>, hold: bool) {
        if waiting.is_empty() {
            return;
        }

        let runs = waiting.iter().map(|w| w.live.id).collect();
        let this = Arc::clone(self);
        let held = move |outcome: Result<(), StoreError>| {
            if let Err(error) = outcome {
                tracing::warn!(%error, "queued prompts are left to the next host");
            }
            for waiting in &waiting {
                waiting.live.set_phase(Phase::Held);
                this.gone(&waiting.live);
            }
        };

        match hold {
            true => drop(self.store.submit(Hold { runs }, held)),
            false => held(Ok(())),
        }
    }

    /// Stops what runs in a workspace, because it closes.
    pub(crate) fn stop_workspace(self: &Arc<Self>, workspace: WorkspaceId) {
        let running: Vec<_> = {
            let inner = self.lock();
            let of = |live: &&Arc<LiveRun>| live.workspace == workspace;
            inner.live().filter(of).cloned().collect()
        };

        for live in running {
            self.tell(Lifecycle::Stopping {
                workspace,
                run: live.id,
            });
            live.stop(Cause::Shutdown, &self.guests);
        }
    }

    /// Takes no more prompts and starts nothing more.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
    }

    /// The same, unless a run is without its end. Returns whether nothing more is taken.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut inner = self.lock();
        inner.closing |= inner.is_idle();
        inner.closing
    }

    /// The same as soon as none is.
    pub(crate) async fn close_when_idle(&self) {
        self.until(|| self.close_if_idle()).await;
    }

    /// Waits until something holds that the end of a run may bring about.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if holds() {
                return;
            }
            drained.await;
        }
    }

    /// Waits until no run of a workspace, or of all, is without its end, at most as long as
    /// `patience`. Answers the runs that still are; those that cannot get one in this process
    /// are not waited for.
    pub(crate) async fn drained(
        &self,
        workspace: Option<WorkspaceId>,
        patience: Duration,
    ) -> Vec<RunId> {
        let of = |id: WorkspaceId| workspace.is_none_or(|wanted| wanted == id);
        let all_ended = self.until(|| !self.lock().live().any(|live| of(live.workspace)));
        tokio::select! {
            biased;
            () = all_ended => {}
            () = self.clock.sleep(patience) => {}
        }
        let inner = self.lock();
        let live = inner.live().map(|live| (live.workspace, live.id));
        let left = live.chain(inner.lost().copied());
        left.filter(|(id, _)| of(*id)).map(|(_, run)| run).collect()
    }
}
