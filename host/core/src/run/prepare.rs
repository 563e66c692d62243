//! Prepares a run's guest for its call: the implementations of its imports, each with the run's
//! permissions, and its files. `execute` then calls the guest.

use super::dispatcher::{Dispatcher, RunJob};
use super::live::Times;
use super::{CarriedUsage, waiting};
use crate::guest::agents::GrantPrincipal;
use crate::guest::budget::Budget;
use crate::guest::control::ControlHost;
use crate::guest::decider::{CallPermits, RunPermits};
use crate::guest::failure::{denied, no_model};
use crate::guest::log::{Journal, Log};
use crate::guest::model::{Granted, Model};
use crate::guest::outgoing::GuestRequests;
use crate::guest::questions::Asker;
use crate::guest::secrets;
use crate::guest::state::{State, Values};
use crate::guest::tools::{RunBuiltins, Source, Toolbox, Tools};
use crate::guest::transcript::{Conversation, Transcript};
use crate::guest::{Capabilities, files};
use crate::host::{ProviderSupply, WorkspaceInner};
use lastword_providers::model::{CallContext, ModelProvider};
use lastword_providers::permits::{Allowed, PermissionChecker, PermissionPolicy};
use lastword_providers::secrets::Secrets;
use lastword_providers::tools::{Effects, FileTools};
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_sandbox::descriptors::GuestDescriptors;
use lastword_sandbox::{GuestLines, GuestState, Limiter, Limits, Outgoing};
use lastword_store::{RunOutputBuffer, StateOwner};
use lastword_types::clock::Clock;
use lastword_types::permission::{Access, Authority, Capability, Verdict};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The embedder's extensions that runs use.
#[derive(Clone, Default)]
pub(crate) struct Extensions {
    /// What supplies providers to single workspaces.
    pub(crate) supply: Option<Arc<ProviderSupply>>,
    pub(crate) model: Option<Arc<dyn ModelProvider>>,
    pub(crate) tools: Vec<Source>,
    pub(crate) policy: Option<Arc<dyn PermissionPolicy>>,
    pub(crate) secrets: Secrets,
}

impl Extensions {
    /// Whether closing a workspace closes something of the embedder's.
    pub(crate) fn closes_workspaces(&self) -> bool {
        self.supply.is_some() || !self.tools.is_empty()
    }
}

impl RunJob {
    /// Applies the workspace's current limits, which may have changed while the run waited.
    pub(super) fn renew(&mut self) {
        let carried = self.prompt.carried.unwrap_or_default();
        self.limits = waiting::left_of(self.workspace.limits(), &carried);
        let mut times = Times::of(&self.limits, self.prompt.deadline);
        let deadline = times.run_deadline;
        times.run_deadline = deadline.map(|time| waiting::time_left(time, &carried));
        self.live.set_times(times);
    }
}

impl Dispatcher {
    /// Returns the embedder's extensions; empty once [`Dispatcher::let_go`] was called.
    pub(crate) fn brought(&self) -> Extensions {
        self.bring().clone()
    }

    /// Returns the extensions for the runs of a workspace: its own model instead of the host's, and
    /// its own tools before the host's.
    fn brought_for(&self, workspace: &WorkspaceInner) -> Extensions {
        let host = self.brought();
        let own = workspace.providers();
        let mut tools = own.tools;
        tools.extend(host.tools);
        Extensions {
            model: own.model.or(host.model),
            tools,
            ..host
        }
    }

    /// Takes out the embedder's extensions. They may hold a handle to this host, and the cycle
    /// would keep it alive.
    pub(crate) fn let_go(&self) -> impl Send + 'static + use<> {
        (
            std::mem::take(&mut *self.bring()),
            self.http.take_resolver(),
        )
    }

    fn bring(&self) -> MutexGuard<'_, Extensions> {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one run may do and use, and for which user and session.
struct RunContext {
    brought: Extensions,
    permits: Arc<RunPermits>,
    budget: Arc<Budget>,
    conversation: Conversation,
    /// The number of bytes of files that the run may still write, by whatever means.
    written: Arc<AtomicU64>,
}

impl RunContext {
    fn of(dispatcher: &Dispatcher, job: &RunJob, output: &Arc<RunOutputBuffer>) -> Self {
        let live = &job.live;
        let wants = Arc::clone(&job.agent.wants);
        let (authority, above, holder) = match &job.lineage {
            Some(lineage) => (
                lineage.authority.child(wants),
                Some(Arc::clone(&lineage.budget)),
                lineage.holder.clone(),
            ),
            None => {
                let holder = GrantPrincipal {
                    agent: job.agent.id.clone(),
                    session: live.session,
                    workspace: live.workspace,
                };
                (Authority::new(wants, job.workspace.grants()), None, holder)
            }
        };

        let brought = dispatcher.brought_for(&job.workspace);
        let policy = brought.policy.clone();
        Self {
            brought,
            permits: permits(dispatcher, job, output, authority, holder, policy),
            budget: Budget::new(&live.control, &job.limits, above),
            conversation: Conversation {
                store: dispatcher.store.clone(),
                session: live.session,
                run: live.id,
                output: Arc::clone(output),
            },
            written: Arc::new(AtomicU64::new(job.limits.written_bytes)),
        }
    }

    fn authority(&self) -> &Authority {
        &self.permits.authority
    }

    /// Returns the permissions of the guest's own requests, as opposed to tool calls.
    fn own_permits(&self) -> PermissionChecker {
        PermissionChecker::new(Arc::new(CallPermits {
            run: Arc::clone(&self.permits),
            call: None,
            effects: Effects::None,
        }))
    }
}

fn permits(
    dispatcher: &Dispatcher,
    job: &RunJob,
    output: &Arc<RunOutputBuffer>,
    authority: Authority,
    holder: GrantPrincipal,
    policy: Option<Arc<dyn PermissionPolicy>>,
) -> Arc<RunPermits> {
    let live = &job.live;
    let (agent, key) = (job.agent.id.clone(), Arc::clone(&job.workspace.key));
    let mut context = CallContext::new(job.workspace.id, key, live.session, live.id, agent);
    context.labels = Arc::new(job.prompt.labels.clone());
    Arc::new(RunPermits {
        authority,
        context,
        asker: Asker {
            session: live.session,
            run: live.id,
            agent: job.agent.id.clone(),
            holder: holder.clone(),
            output: Arc::clone(output),
        },
        holder,
        policy,
        foreign: dispatcher.foreign.clone(),
        asks: job.workspace.asks(),
        questions: Arc::clone(&dispatcher.questions),
        store: dispatcher.store.clone(),
        clock: Arc::clone(&dispatcher.clock),
    })
}

/// Measures how much of its limits a run has used.
pub(super) struct Meter {
    clock: Arc<dyn Clock>,
    began: Duration,
    limits: Limits,
    budget: Arc<Budget>,
    written: Arc<AtomicU64>,
    output: Arc<RunOutputBuffer>,
}

impl Meter {
    pub(super) fn used(&self) -> CarriedUsage {
        let (tokens, cost_micros, tool_calls) = self.budget.used();
        let ran = self.clock.elapsed().saturating_sub(self.began);
        let left = self.output.left();
        let files = self.written.load(Ordering::Acquire);
        let limits = &self.limits;
        CarriedUsage {
            wakes: 0,
            tokens,
            cost_micros,
            tool_calls,
            run_ms: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
            output_bytes: limits.output_bytes.saturating_sub(left.bytes),
            log_entries: limits.log_entries.saturating_sub(left.entries),
            written_bytes: limits.written_bytes.saturating_sub(files.min(left.data)),
        }
    }
}

/// What the end of a run is concluded from, beside its guest's result.
pub(super) struct Prepared {
    /// The meter of its use from now on.
    pub(super) meter: Meter,
    permits: Arc<RunPermits>,
}

impl Prepared {
    /// Returns why the guest does not see the workspace's directory, if it does not.
    pub(super) fn unseen(&self, job: &RunJob) -> Option<String> {
        files::unseen(job.workspace.directory().as_ref(), &self.permits.authority)
    }
}

/// Returns a run's guest, ready for its call.
pub(super) fn prepare(
    dispatcher: &Dispatcher,
    job: &RunJob,
    output: &Arc<RunOutputBuffer>,
    journal: &Arc<Journal>,
) -> (GuestState<Capabilities>, Prepared) {
    let live = &job.live;
    let control = &live.control;
    let means = RunContext::of(dispatcher, job, output);
    let tmp = dispatcher.tmp.join(live.id.to_string());
    let directory = job.workspace.directory();
    let written = Arc::clone(&means.written);
    let held = GuestDescriptors::new(Arc::clone(&dispatcher.descriptors), job.limits.descriptors);
    if tracing::enabled!(target: "lastword::agent", tracing::Level::DEBUG)
        && let Some(why) = files::unseen(directory.as_ref(), means.authority())
    {
        tracing::debug!(target: "lastword::agent", run = %live.id, "no `/workspace`: {why}");
    }

    let files = files::of_run(directory.as_ref(), means.authority(), tmp, written, held);
    let capabilities = Capabilities {
        transcript: Transcript {
            control: Arc::clone(control),
            conversation: Some(means.conversation.clone()),
        },
        model: Model::new(control, model(dispatcher, &means)),
        state: State {
            control: Arc::clone(control),
            values: values(dispatcher, job, means.authority()),
        },
        tools: Tools {
            control: Arc::clone(control),
            granted: toolbox(dispatcher, job, &means),
        },
        control: ControlHost(Arc::clone(control)),
        log: Log {
            control: Arc::clone(control),
            journal: Arc::clone(journal),
        },
        secrets: secrets::SecretsHost {
            control: Arc::clone(control),
            granted: means
                .authority()
                .has(Capability::Secrets)
                .then(|| secrets::Access {
                    secrets: means.brought.secrets.clone(),
                    authority: means.authority().clone(),
                })
                .ok_or_else(|| denied(means.authority(), Capability::Secrets)),
        },
    };

    let lines: Arc<dyn GuestLines> = Arc::clone(journal) as _;
    let state = GuestState::new(capabilities, Limiter::new(&job.limits), files, &lines);
    let meter = Meter {
        clock: Arc::clone(&dispatcher.clock),
        began: dispatcher.clock.elapsed(),
        limits: job.limits,
        budget: Arc::clone(&means.budget),
        written: Arc::clone(&means.written),
        output: Arc::clone(output),
    };

    let state = state.outgoing(network(dispatcher, job, &means, journal));
    let permits = Arc::clone(&means.permits);
    (state, Prepared { meter, permits })
}

/// Returns the implementation of the guest's own network requests. It asks for each of them, also
/// where none is allowed, so that the log says why.
fn network(
    dispatcher: &Dispatcher,
    job: &RunJob,
    means: &RunContext,
    journal: &Arc<Journal>,
) -> Arc<dyn Outgoing> {
    Arc::new(GuestRequests {
        client: dispatcher.http.clone(),
        run: job.live.id,
        journal: Arc::clone(journal),
        permits: means.own_permits(),
        runtime: dispatcher.embedder.clone(),
    })
}

/// Returns the run's models, or the refusal of those if it may ask none.
fn model(dispatcher: &Dispatcher, means: &RunContext) -> Result<Granted, Failure> {
    if !means.authority().has(Capability::Model) {
        return Err(denied(means.authority(), Capability::Model));
    }

    let provider = means.brought.model.clone();
    Ok(Granted {
        provider: provider.ok_or_else(no_model)?,
        foreign: dispatcher.foreign.clone(),
        runtime: dispatcher.embedder.clone(),
        authority: means.authority().clone(),
        budget: Arc::clone(&means.budget),
        context: means.permits.context.clone(),
        conversation: means.conversation.clone(),
    })
}

/// Returns the agent's values, or the refusal of those if it may keep none.
fn values(dispatcher: &Dispatcher, job: &RunJob, authority: &Authority) -> Result<Values, Failure> {
    if !authority.has(Capability::State) {
        return Err(denied(authority, Capability::State));
    }

    Ok(Values {
        store: dispatcher.store.clone(),
        owner: StateOwner {
            session: job.live.session,
            agent: job.agent.id.clone(),
        },
        bytes_max: job.limits.state_bytes,
    })
}

/// Returns the run's tools, or the refusal of those if it can have none.
fn toolbox(
    dispatcher: &Dispatcher,
    job: &RunJob,
    means: &RunContext,
) -> Result<Arc<Toolbox>, Failure> {
    let refused = || denied(means.authority(), Capability::Tools);
    if !means.authority().could_have(Capability::Tools) {
        return Err(refused());
    }

    let starts = dispatcher.starts.get().ok_or_else(refused)?;
    Ok(Arc::new(Toolbox {
        own: RunBuiltins {
            shared: Arc::clone(&dispatcher.own_tools),
            directory: directory(dispatcher, job, means),
            starts: Arc::clone(starts),
            child_depth: job.limits.child_depth,
        },
        sources: means.brought.tools.clone(),
        foreign: dispatcher.foreign.clone(),
        secrets: means.brought.secrets.clone(),
        permits: Arc::clone(&means.permits),
        conversation: means.conversation.clone(),
        budget: Arc::clone(&means.budget),
        calls: dispatcher.counters.tool_calls(),
        runtime: dispatcher.embedder.clone(),
        listed: Mutex::default(),
    }))
}

/// Returns the workspace's directory and its file tools, if it has one.
fn directory(
    dispatcher: &Dispatcher,
    job: &RunJob,
    means: &RunContext,
) -> Option<(Arc<File>, FileTools)> {
    let file = job.workspace.directory()?;
    let authority = means.authority().clone();
    // A walk over a directory asks once. An answer allows all of it except what a rule denies; a
    // rule that covers a directory need not cover its contents.
    let readable = move |path: &str, allowed: &Allowed| {
        let access = Access::new(Capability::ReadFiles, path, "");
        match allowed {
            Allowed::ByRules(more) => authority.evaluate(&access, more) == Verdict::Allowed,
            Allowed::Once => !matches!(authority.evaluate(&access, &[]), Verdict::Denied(_)),
        }
    };

    let written = Arc::clone(&means.written);
    let locks = Arc::clone(&dispatcher.own_tools.file_locks);
    let files = FileTools::new(Arc::clone(&file), written, Arc::new(readable), locks);
    Some((file, files))
}
