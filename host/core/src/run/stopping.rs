//! Stops runs: one, those of a session, of a client or of a workspace, or all of them. This module
//! selects the runs; [`LiveRun::stop`] stops the guest.

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

    /// Returns the receipt of a run that was stopped, as [`LiveRun::ended_or_provisional`] does.
    /// If the receipt is provisional, the cause is kept in case this process ends first.
    pub(crate) async fn ended_or_provisional(&self, live: &LiveRun) -> Arc<Receipt> {
        let receipt = live.ended_or_provisional().await;
        if !receipt.persisted && !live.has_no_end() {
            let ending = live.ending(Duration::ZERO, RunUsage::default());
            self.store.keep_cause(live.id, &ending);
            // If the end was settled in the meantime, it no longer removes the kept cause.
            if live.try_ended().is_some() || live.has_no_end() {
                self.store.forget_cause(live.id);
            }
        }

        receipt
    }

    /// Withdraws a waiting run. Returns whether it did: a run that has started, or whose start is
    /// being written, is left alone.
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

    /// Stops those runs of a session, executing or queued, that `meant` selects. Returns the
    /// stopped runs.
    pub(crate) fn stop_session(
        self: &Arc<Self>,
        workspace: WorkspaceId,
        session: SessionId,
        meant: impl Fn(&LiveRun) -> bool,
    ) -> Vec<Arc<LiveRun>> {
        let mut inner = self.lock();
        // A run that has ended may not be removed yet.
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

    /// Returns the runs of a workspace that are bound to a client.
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

    /// Whether a run of a workspace has no end yet, and can still get one in this process.
    pub(crate) fn has_runs(&self, workspace: WorkspaceId) -> bool {
        self.lock().has_runs(workspace)
    }

    /// Whether a run of a workspace that was started by a time has no end yet.
    pub(crate) fn has_woken(&self, workspace: WorkspaceId) -> bool {
        let inner = self.lock();
        let mut live = inner.live();
        live.any(|live| live.workspace == workspace && live.woken)
    }

    /// Whether a run of a workspace has an end that only the next host can write.
    pub(crate) fn has_lost(&self, workspace: WorkspaceId) -> bool {
        self.lock().lost().any(|(of, _)| *of == workspace)
    }

    /// Bars a workspace: it takes no more prompts. With `only_idle`, only if all its runs have
    /// ended. Returns whether it is barred.
    pub(crate) fn bar(&self, workspace: &WorkspaceInner, only_idle: bool) -> bool {
        let inner = self.lock();
        if only_idle && inner.has_runs(workspace.id) {
            return false;
        }
        workspace.bar();
        true
    }

    /// Takes the queued prompts of a barred workspace out of the queue. With `hold`, they are
    /// stored as held; otherwise the next host's recovery does that.
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

        if hold {
            drop(self.store.submit(Hold { runs }, held));
        } else {
            held(Ok(()));
        }
    }

    /// Stops the runs of a workspace, because it closes.
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

    /// Accepts no more prompts, and starts no more runs.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
    }

    /// As [`Dispatcher::close`], but only if every run has ended. Returns whether the host is
    /// closing.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut inner = self.lock();
        inner.closing |= inner.is_idle();
        inner.closing
    }

    /// As [`Dispatcher::close`], once every run has ended.
    pub(crate) async fn close_when_idle(&self) {
        self.until(|| self.close_if_idle()).await;
    }

    /// Waits until `holds` returns true. It is checked again whenever a run ends.
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

    /// Waits until every run of a workspace, or of all, has ended, at most as long as `patience`.
    /// Returns the runs that have not ended. Runs that cannot end in this process are included,
    /// but not waited for.
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
