//! `lastword run`: from a plan to the run's end. Knows neither how events are shown nor how
//! signals arrive.

use crate::agent::{self, Found};
use crate::arguments::{self, Shared};
use crate::attached;
use crate::client::Api;
use crate::desk::{Answerer, Desk};
use crate::failure::{Exit, Failure};
use crate::follow::{Follow, Met};
use crate::hints;
use crate::owner::{self, Patience, Taken};
use crate::place::Place;
use crate::plan::{Given, Plan};
use crate::reading::Source;
use crate::settings::Settings;
use crate::signals::Stops;
use crate::terminal::{self, Terminal};
use crate::units;
use crate::view::View;
use lastword::capability::tools::OWN_TOOLS;
use lastword::id::{RunId, SessionId};
use lastword::permission::{Grants, Manifest, Want};
use lastword::{
    Agent, Capability, Cause, Host, HostBuilder, HostError, Lifecycle, Receipt, RunState, Session,
    WorkspaceKey, text,
};
use std::path::Path;
use tracing::Instrument;

/// Runs at the same time: one's own, and those of commands in other terminals.
const CONCURRENT_RUNS: u32 = 8;

/// Runs an agent and stays until its end is told: at the server that was named, at the data
/// directory's owner, or here. An owner that leaves first is succeeded.
pub(crate) async fn run(
    arguments: arguments::Run,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let place = Place::of(&shared, &settings)?;
    let mut command = RunCommand {
        arguments,
        settings: &settings,
        place: &place,
        terminal,
        given: None,
        begun: None,
        here: None,
    };
    if let Some(api) = owner::named(&shared, &place)? {
        return command.elsewhere(&api).await;
    }
    let mut patience = Patience::default();
    loop {
        let (pid, failure) = match owner::by_socket(&place).await? {
            Some(api) => match (command.elsewhere(&api).await, api.holder()) {
                (Err(failure), Some(holder)) if failure.handover => (holder.pid.clone(), failure),
                (outcome, _) => return outcome,
            },
            None => match command.take().await? {
                Taken::Ours(host) => return command.here(host).await,
                Taken::InUse { pid, failure } => (pid, failure),
            },
        };
        tokio::select! {
            again = patience.wait(&pid, terminal) => if !again {
                return Err(failure);
            },
            () = command.stopped() => {
                terminal.note("stopped while another process had the data directory; nothing was run");
                return Ok(Exit::Cancelled);
            }
        }
    }
}

/// One `lastword run`, wherever it comes to run.
struct RunCommand<'a> {
    arguments: arguments::Run,
    settings: &'a Settings,
    place: &'a Place,
    terminal: &'a Terminal,
    given: Option<Given>,
    /// The agent, once it is built, and the signals since.
    begun: Option<(Found, Stops)>,
    /// What it takes to run it here, once that was tried.
    here: Option<(Plan, HostBuilder)>,
}

impl RunCommand<'_> {
    /// The agent, built if need be, and signals from then on.
    fn begin(&mut self, agent: &Path) -> Result<&mut (Found, Stops), Failure> {
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => (agent::find(agent, self.terminal)?, Stops::listen()?),
        };
        Ok(self.begun.insert(begun))
    }

    /// Completes when a signal asks to stop.
    async fn stopped(&mut self) {
        match &mut self.begun {
            Some((_, stops)) => drop(stops.recv().await),
            None => std::future::pending().await,
        }
    }

    /// Runs it at another host.
    async fn elsewhere(&mut self, api: &Api) -> Result<Exit, Failure> {
        let (settings, terminal) = (self.settings, self.terminal);
        let run = self.arguments.clone();
        let mut plan = Plan::elsewhere(run, &mut self.given, settings, api.place(), terminal)?;
        let (found, stops) = self.begin(&plan.agent)?;
        let span = tracing::info_span!("command", otel.name = "lastword run", server = api.place());
        let running = attached::run(api, &mut plan, found, stops, terminal);
        let outcome = running.instrument(span).await;
        // Wherever it is asked next, it is the same prompt.
        self.arguments.session = plan.session;
        self.arguments.key = plan.key;
        outcome
    }

    /// Takes the data directory for a host in this process.
    async fn take(&mut self) -> Result<Taken, Failure> {
        let planned = match self.here.take() {
            Some(planned) => planned,
            None => self.plan()?,
        };
        let (_, builder) = self.here.insert(planned);
        owner::take(builder.clone(), self.place, self.terminal).await
    }

    fn plan(&mut self) -> Result<(Plan, HostBuilder), Failure> {
        let (settings, terminal) = (self.settings, self.terminal);
        let plan = Plan::new(self.arguments.clone(), &mut self.given, settings, terminal)?;
        self.begin(&plan.agent)?;
        let mut builder = settings
            .host()
            .limits(plan.limits)
            .concurrent_runs_max(CONCURRENT_RUNS);
        if let Some(models) = plan.models.clone() {
            builder = builder.model(models);
        }
        Ok((plan, settings.outside().equip(builder)?))
    }

    /// Runs it at this host, which ends once nothing runs there any more.
    async fn here(mut self, host: Host) -> Result<Exit, Failure> {
        let (place, terminal) = (self.place, self.terminal);
        let (mut plan, _) = match self.here.take() {
            Some(planned) => planned,
            None => self.plan()?,
        };
        plan.session = self.arguments.session.take();
        plan.key = self.arguments.key.take();
        let (found, stops) = self.begin(&plan.agent)?;
        let serving = owner::open_socket(&host, place, terminal).await;
        let span = tracing::info_span!("command", otel.name = "lastword run");
        let mut own = None;
        let running = on(&host, &plan, found, place, &mut own, stops, terminal);
        let exit = running.instrument(span).await;
        others(&host, own.as_slice(), stops, terminal).await;
        let left = serving.end().await;
        if !left.is_empty() {
            terminal.warn("the run's end is not on disk; the next start writes it");
        }
        exit
    }
}

/// Waits for the runs that commands in other terminals began here, until the host takes no more.
pub(crate) async fn others(host: &Host, own: &[RunId], stops: &mut Stops, terminal: &Terminal) {
    let mut steps = host.lifecycle();
    let mut told = false;
    loop {
        let live = host.live_runs(None);
        let left = live.iter().filter(|run| !own.contains(&run.id())).count();
        // One's own that has no end is left to the next start.
        if left == 0 && !live.is_empty() || host.is_closing() {
            return;
        }
        if left > 0 && !std::mem::replace(&mut told, true) {
            stops.begin_again();
            let runs = units::count(left as u64, "run");
            let whose = if left == 1 {
                "another client"
            } else {
                "other clients"
            };
            let them = if left == 1 { "it" } else { "them" };
            terminal.note(&format!(
                "waiting for {runs} of {whose}; Ctrl-C stops {them}"
            ));
        }
        tokio::select! {
            _ = stops.recv() => return,
            step = steps.next() => match step {
                None | Some(Lifecycle::HostClosing) => return,
                Some(_) => {}
            },
            () = host.close_when_idle(), if left == 0 => return,
        }
    }
}

async fn on(
    host: &Host,
    plan: &Plan,
    found: &Found,
    place: &Place,
    own: &mut Option<RunId>,
    stops: &mut Stops,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let name = plan.name.clone().unwrap_or_else(|| found.name.clone());
    let agent = tokio::select! {
        agent = agent::loading(&name, host.load_agent(&name, found.file.clone()), terminal) => agent?,
        _ = stops.recv() => {
            terminal.note("stopped before the agent was loaded; nothing was run");
            return Ok(Exit::Cancelled);
        }
    };
    let manifest = agent.manifest();
    let name = agent.id().as_str();
    let Some(notes) = may_run(name, manifest, &plan.grants, plan.asks, terminal) else {
        return Ok(Exit::Denied);
    };
    if plan.is_blank() && !has_default(manifest) {
        return Err(Failure::empty_prompt(name));
    }
    for note in &notes {
        terminal.note(note);
    }
    let session = session(host, plan, &agent, place, terminal).await?;
    let run = session.prompt(plan.prompt()).await?;
    *own = Some(run.id());
    let follow = Follow {
        host,
        run: &run,
        data: &place.data,
        grace: plan.limits.grace,
        terminal,
    };
    let mut view = View::new(plan.json, terminal);
    let mut desk = Desk::new(Answerer::Host(host.clone()), plan.asks, plan.json, terminal);
    let met = follow.to_the_end(&mut view, stops, &mut desk).await?;
    desk.close();
    let exit = conclude(&met, &view, session.id(), terminal);
    if met.receipt().finish_reason.as_str() == "waiting" {
        terminal.note(
            "the session waits, and nothing goes on with it once this command is over: \
             `lastword serve` does, in time",
        );
    }
    Ok(exit)
}

/// Whether somebody can be asked for it once it is needed, rather than before.
fn is_asked_for(capability: Capability) -> bool {
    // These are there from the beginning, or not at all.
    !matches!(
        capability,
        Capability::ReadFiles | Capability::Model | Capability::State
    )
}

/// Whether an agent says what an empty prompt stands for.
pub(crate) fn has_default(manifest: &Manifest) -> bool {
    let default = manifest.default_prompt.as_deref();
    default.is_some_and(|prompt| !prompt.trim().is_empty())
}

/// Whether a want is for tools of the host's own alone, which ask for what they touch.
pub(crate) fn is_for_own_tools(want: &Want) -> bool {
    let own = |name: &String| OWN_TOOLS.contains(&name.as_str());
    want.capability == Capability::Tools && !want.scope.is_empty() && want.scope.iter().all(own)
}

/// What is wanted and not granted, as notes to tell once a run begins; `None` if the agent cannot do
/// without, which is told at once.
pub(crate) fn may_run(
    name: &str,
    manifest: &Manifest,
    grants: &Grants,
    asks: bool,
    terminal: &Terminal,
) -> Option<Vec<String>> {
    let unknown = manifest.unknown_wants.iter().map(|unknown| {
        let unknown = terminal::brief(unknown, 80);
        format!("the agent wants `{unknown}`, which this lastword does not know")
    });
    let mut notes: Vec<String> = unknown.collect();
    let asked =
        |want: &&Want| asks && is_asked_for(want.capability) && !grants.denies_all(want.capability);
    let lacking =
        |want: &&Want| !grants.has(want.capability) && !asked(want) && !is_for_own_tools(want);
    let (required, optional): (Vec<_>, Vec<_>) = manifest
        .wants
        .iter()
        .filter(lacking)
        .partition(|want| want.required);
    if !required.is_empty() {
        let lines = required.into_iter().map(|want| {
            let reason = terminal::line(&want.reason, 200);
            let how = match grants.denies_all(want.capability) {
                true => "a rule of `--deny` or of the settings denies it".to_owned(),
                false => format!("grant it with {}", hints::how_to_grant(want.capability)),
            };
            format!("\n  {} ({reason}): {how}", want.capability)
        });
        terminal.error(&format!(
            "{} cannot work without what is not granted; nothing was run{}",
            text::line(name),
            lines.collect::<String>()
        ));
        return None;
    }
    if !optional.is_empty() {
        let names = optional.iter().map(|want| {
            let how = hints::how_to_grant(want.capability);
            format!("{} ({})", want.capability, how.replace('`', ""))
        });
        let names: Vec<_> = names.collect();
        let names = names.join(", ");
        notes.push(format!("wanted, not granted, not required: {names}"));
    }
    Some(notes)
}

async fn session(
    host: &Host,
    plan: &Plan,
    agent: &Agent,
    place: &Place,
    terminal: &Terminal,
) -> Result<Session, Failure> {
    // The words are looked up first, so that a wrong one leaves no workspace behind.
    let going_on = match &plan.session {
        None => None,
        Some(word) => {
            let source = Source::on_disk(place)?;
            let found = source.session(word).await?;
            let id = found.record.id;
            let runs = source.runs(id).await?;
            tell_held(runs.iter().map(|run| run.state), id, terminal);
            Some((id, found.workspace_key))
        }
    };
    let key = plan
        .directory
        .clone()
        .unwrap_or_else(|| WorkspaceKey::name(agent.id().as_str()));
    let workspace = host.open_workspace(key, plan.options()).await?;
    let Some((id, of)) = going_on else {
        return Ok(workspace.new_session(agent).await?);
    };
    match workspace.session(id, agent).await {
        Err(HostError::OtherWorkspace(_)) => Err(Failure::other_workspace(id, &of)),
        session => Ok(session?),
    }
}

fn tell_held(runs: impl Iterator<Item = RunState>, session: SessionId, terminal: &Terminal) {
    let held = runs.filter(|state| *state == RunState::Held).count() as u64;
    if held > 0 {
        let prompts = units::count(held, "earlier prompt");
        terminal.note(&format!(
            "{prompts} of this session never began and stay held; `lastword resume {session}` \
             goes on with them, and this prompt goes before them"
        ));
    }
}

/// Tells the end, and what the shell shall know of it.
pub(crate) fn conclude(met: &Met, view: &View, session: SessionId, terminal: &Terminal) -> Exit {
    match met {
        Met::Ended(receipt) => {
            view.conclude(receipt, session, terminal);
            exit_of(receipt)
        }
        Met::ReaderGone(receipt) => exit_of(receipt),
        Met::Cut(receipt) => {
            view.conclude(receipt, session, terminal);
            terminal.warn(&format!(
                "the output took nothing, so not all was printed; `lastword show {session}` has it"
            ));
            exit_of(receipt).cut_short(Exit::Cancelled)
        }
    }
}

/// What the shell shall know of a run's end.
pub(crate) fn exit_of(receipt: &Receipt) -> Exit {
    match (receipt.state, &receipt.cause) {
        (RunState::Completed, _) => Exit::Completed,
        (RunState::Cancelled, _) | (_, Cause::Shutdown | Cause::User) => Exit::Cancelled,
        _ => Exit::Failed,
    }
}
