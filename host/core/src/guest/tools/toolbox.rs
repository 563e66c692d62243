//! The tools of one run: the built-in ones, the embedder's, and those of MCP servers. Every call,
//! regardless of the tool's source, goes through the same steps here: its record, its arguments,
//! its permission, its bounds, its result. The guest's WIT types stay in `tools::host`.

use super::builtin::RunBuiltins;
use super::listed::ToolEntry;
use super::result::{recorded, redacted};
use crate::guest::budget::Budget;
use crate::guest::decider::{CallPermits, RunPermits};
use crate::guest::failure::{lacking, refusal};
use crate::guest::transcript::Conversation;
use futures_util::future::join_all;
use lastword_providers::foreign::{Foreign, ForeignError};
use lastword_providers::model::CallContext;
use lastword_providers::permits::PermissionChecker;
use lastword_providers::secrets::Secrets;
use lastword_providers::tools::{
    Effects, HostContext, Invocation, Tool, ToolError, ToolErrorKind, ToolOutput, ToolProvider,
    Turn,
};
use lastword_types::clock::Clock;
use lastword_types::permission::{Access, Capability, Rule, Verdict};
use lastword_types::session::{ToolCall, ToolResult};
use lastword_types::similar::did_you_mean;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// The largest number of bytes of the arguments of one call.
pub(crate) const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// The largest number of tools that one run sees.
const TOOLS_MAX: usize = 1024;
/// The largest number of bytes of a tool's name.
const NAME_BYTES_MAX: usize = 128;

/// For how long a source is not asked again after it timed out.
const REST: Duration = Duration::from_secs(60);

/// A source of tools that are not built in. A cloneable handle.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) provider: Arc<dyn ToolProvider>,
    /// The longest time that listing may take; `None` for a provider that bounds it itself.
    most: Option<Duration>,
    /// The time, on the clock's scale, until which the source is not asked.
    rests: Arc<Mutex<Duration>>,
}

impl Source {
    /// Attaches a provider to this host.
    pub(crate) fn attached(provider: Arc<dyn ToolProvider>, host: &HostContext) -> Self {
        let provider = provider.attach(host).unwrap_or(provider);
        Self {
            most: provider.listing_timeout(),
            provider,
            rests: Arc::default(),
        }
    }

    /// Lists the source's tools for a run. If the source fails, the list is empty, so that the
    /// tools of other sources stay available.
    async fn tools(&self, foreign: &Foreign, clock: &dyn Clock, of: &CallContext) -> Vec<Tool> {
        if clock.elapsed() < *self.rests.lock().unwrap_or_else(PoisonError::into_inner) {
            return Vec::new();
        }

        let (provider, of) = (Arc::clone(&self.provider), of.clone());
        let listed = foreign.call(self.most, move || provider.tools(&of)).await;
        match listed {
            Ok(Ok(tools)) => return tools,
            Ok(Err(error)) => tracing::warn!(%error, "a source of tools has none now"),
            Err(error) => {
                tracing::warn!(%error, "a source of tools does not list them");
                if let ForeignError::TimedOut(_) = error {
                    let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
                    *rests = clock.elapsed().saturating_add(REST);
                }
            }
        }

        Vec::new()
    }
}

/// One run's tools.
pub(crate) struct Toolbox {
    pub(crate) own: RunBuiltins,
    pub(crate) sources: Vec<Source>,
    pub(crate) foreign: Foreign,
    /// The secrets whose values are removed from every result.
    pub(crate) secrets: Secrets,
    pub(crate) permits: Arc<RunPermits>,
    pub(crate) conversation: Conversation,
    pub(crate) budget: Arc<Budget>,
    /// The host's counter of tool calls.
    pub(crate) calls: Arc<AtomicU64>,
    /// The embedder's runtime, since tools never run on a guest's stack.
    pub(crate) runtime: Handle,
    /// The tools of the last listing.
    pub(crate) listed: Mutex<Option<Arc<Vec<Arc<ToolEntry>>>>>,
}

/// Why a call has no result from its tool.
#[derive(Debug)]
pub(crate) enum NoResult {
    /// It was refused or failed, and that is recorded in the transcript.
    Failed(ToolError),
    /// The result could not be recorded.
    Unrecorded(lastword_store::OutputError),
    /// The run has exceeded its budget, and is about to be stopped.
    Beyond,
}

impl Toolbox {
    /// Lists the tools that the run may call or may ask permission for.
    pub(crate) async fn available(self: &Arc<Self>) -> Result<Arc<Vec<Arc<ToolEntry>>>, ToolError> {
        let this = Arc::clone(self);
        let listed = self.apart(async move { this.list().await }).await?;
        *self.lock() = Some(Arc::clone(&listed));
        Ok(listed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Vec<Arc<ToolEntry>>>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list(&self) -> Result<Arc<Vec<Arc<ToolEntry>>>, ToolError> {
        let remembered = self.permits.remembered().await?;
        let mut listed = self.own.tools();
        listed.retain(|listed| self.is_of_use(&listed.tool, &remembered));
        let mut names: HashSet<String> = listed.iter().map(|l| l.tool.name.clone()).collect();
        let permits = &self.permits;
        let listing = self
            .sources
            .iter()
            .map(|source| source.tools(&self.foreign, &*permits.clock, &permits.context));
        let all = join_all(listing).await;
        for (source, tools) in self.sources.iter().zip(all) {
            for tool in tools {
                let fits = is_name(&tool.name) && names.len() < TOOLS_MAX;
                if !fits || !names.insert(tool.name.clone()) {
                    tracing::warn!(tool = %tool.name, "left out: taken, no name, or too many");
                } else {
                    let shown = self.may_call(&tool.name, &remembered);
                    listed.push(Arc::new(ToolEntry::of(
                        tool,
                        Arc::clone(&source.provider),
                        shown,
                    )));
                }
            }
        }

        Ok(Arc::new(listed))
    }

    /// Whether a built-in tool is listed for a run: it can be called, and the capability that it
    /// needs is granted, was granted by an answer, or can be asked for.
    fn is_of_use(&self, tool: &Tool, remembered: &[Rule]) -> bool {
        let had = |capability| {
            let by_answer = remembered.iter().any(|rule| rule.is_about(capability));
            by_answer || self.permits.is_to_be_had(capability)
        };
        self.is_open(tool) && RunBuiltins::needs(&tool.name).is_none_or(had)
    }

    /// Whether a built-in tool can be called: the manifest asks for it and for the capability that
    /// it needs, and no rule denies either completely. The tool itself checks each access.
    fn is_open(&self, tool: &Tool) -> bool {
        let authority = &self.permits.authority;
        let wanted = !matches!(
            authority.evaluate(&named(&tool.name), &[]),
            Verdict::Denied(_)
        );
        let could_have = |capability| authority.could_have(capability);
        wanted
            && !self.own.lacks_directory(&tool.name)
            && RunBuiltins::needs(&tool.name).is_none_or(could_have)
    }

    fn may_call(&self, name: &str, remembered: &[Rule]) -> bool {
        match self.permits.authority.evaluate(&named(name), remembered) {
            Verdict::Allowed => true,
            Verdict::Denied(_) => false,
            Verdict::Undecided => self.permits.asks || self.permits.policy.is_some(),
        }
    }

    async fn find(self: &Arc<Self>, name: &str) -> Result<Arc<ToolEntry>, ToolError> {
        if let Some(own) = self.own.tool(name) {
            return if self.is_open(&own.tool) {
                Ok(Arc::clone(own))
            } else {
                Err(self.closed(&own.tool))
            };
        }

        let among = |listed: &[Arc<ToolEntry>]| {
            let found = listed.iter().find(|listed| listed.tool.name == name);
            found.cloned()
        };

        let known = self.lock().clone();
        if let Some(found) = known.and_then(|listed| among(&listed)) {
            return Ok(found);
        }

        let listed = self.available().await?;
        among(&listed).ok_or_else(|| {
            let shown = listed.iter().filter(|listed| listed.shown);
            let meant = did_you_mean(name, shown.map(|listed| listed.tool.name.as_str()));
            let why = format!(
                "there is no tool `{name}`{meant}; `tools.available` lists those that there are"
            );
            ToolError::new(ToolErrorKind::UnknownTool, why)
        })
    }

    /// Returns the reason why a built-in tool cannot be called.
    fn closed(&self, tool: &Tool) -> ToolError {
        let (name, authority) = (&tool.name, &self.permits.authority);
        let needs = RunBuiltins::needs(name);
        let why = match authority.evaluate(&named(name), &[]) {
            _ if self.own.lacks_directory(name) => {
                "it needs a directory, and this workspace is a name without one".to_owned()
            }
            Verdict::Denied(why) => refusal(Capability::Tools, Some(name), &why),
            Verdict::Allowed | Verdict::Undecided => needs.map_or_else(
                || lacking(authority, Capability::Tools),
                |capability| lacking(authority, capability),
            ),
        };

        let why = format!("the tool `{name}` cannot be called: {why}");
        ToolError::new(ToolErrorKind::Denied, why)
    }

    /// Carries out a call, from the record of the call to that of its result. `turn` is its place
    /// among the calls that are made together with it, if any.
    pub(crate) async fn call(
        self: &Arc<Self>,
        call: ToolCall,
        turn: Option<Turn>,
    ) -> Result<ToolResult, NoResult> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.budget.call() {
            return Err(NoResult::Beyond);
        }

        let output = &self.conversation.output;
        // Waits before the call and not after it, so that the result is written while the agent
        // already works with it.
        output.room().await;
        output.call(&call).map_err(NoResult::Unrecorded)?;
        let (id, name) = (call.id.clone(), call.name.clone());
        let made = match self.at_hand(&call, turn.as_ref()) {
            Some(answer) => Ok(answer),
            None => {
                let this = Arc::clone(self);
                self.apart(async move { this.carry_out(call, turn).await })
                    .await
            }
        };

        let made = redacted(&self.secrets, made);
        let (result, blobs, failed) = recorded(&id, name, made);
        output
            .result(result.clone(), blobs)
            .map_err(NoResult::Unrecorded)?;
        match failed {
            None => Ok(result),
            Some(error) => Err(NoResult::Failed(error)),
        }
    }

    /// Serves a call of a built-in tool directly if the result is cached and the access is
    /// granted: switching threads would cost more than the call.
    fn at_hand(&self, call: &ToolCall, turn: Option<&Turn>) -> Option<ToolOutput> {
        let (_, files) = self.own.directory.as_ref()?;
        if turn.is_some_and(|turn| !turn.is_free()) {
            return None;
        }

        let own = self.own.tool(&call.name)?;
        let granted =
            |access: &Access| self.permits.authority.evaluate(access, &[]) == Verdict::Allowed;
        self.is_open(&own.tool)
            .then(|| files.cached_read(&call.name, &call.input, granted))?
    }

    async fn carry_out(
        self: &Arc<Self>,
        call: ToolCall,
        turn: Option<Turn>,
    ) -> Result<ToolOutput, ToolError> {
        let listed = self.find(&call.name).await?;
        let arguments: Value = serde_json::from_str(&call.input)
            .map_err(|error| ToolError::invalid(format!("the arguments are not JSON: {error}")))?;
        let permits = |effects| {
            PermissionChecker::new(Arc::new(CallPermits {
                run: Arc::clone(&self.permits),
                call: Some(call.id.clone()),
                effects,
            }))
        };

        if listed.provider.is_some() {
            // Permission is decided before the arguments are checked or the provider is called.
            let mut access = named(&call.name);
            access.title = format!("call {}", call.name);
            let access = access.details(&format!("{arguments:#}"));
            permits(Effects::None).require(access).await?;
        }

        listed.check(&arguments)?;
        let permits = permits(listed.tool.effects);
        let invocation = Invocation {
            context: self.permits.context.clone(),
            call_id: call.id,
            tool: call.name,
            arguments,
            permits,
        };

        match &listed.provider {
            None => self.own.call(self, invocation, turn).await,
            Some(provider) => {
                if listed.tool.effects == Effects::Some {
                    self.permits.begin(&invocation.call_id).await?;
                }
                provider.call(invocation).await
            }
        }
    }

    /// Runs work on the embedder's runtime. A panic there becomes an error here, and dropping
    /// the future aborts the work.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ToolError>> + Send + 'static,
    ) -> Result<T, ToolError> {
        let task = AbortOnDropHandle::new(self.runtime.spawn(work.in_current_span()));
        task.await.unwrap_or_else(|_| {
            let why = "the tool failed inside the host; its log says why";
            Err(ToolError::new(ToolErrorKind::Internal, why))
        })
    }
}

fn named(tool: &str) -> Access {
    Access::new(Capability::Tools, tool, "")
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(fits)
}
