//! `lastword run`: from a plan to the run's end. Knows neither how events are shown nor how
//! signals arrive.

use crate::agent::{self, Found};
use crate::arguments::{self, Shared};
use crate::attached;
use crate::client::Api;
use crate::desk::{Answerer, Desk};
use crate::failure::{Exit, Failure};
use crate::follow::{Follow, Met};
use crate::owner::{self, Owner};
use crate::place::Place;
use crate::plan::Plan;
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
    Agent, Capability, Host, HostError, Lifecycle, Receipt, RunState, Session, WorkspaceKey,
};
use tracing::Instrument;

/// Runs at the same time: one's own, and those of commands in other terminals.
const CONCURRENT_RUNS: u32 = 8;

/// Runs an agent and stays until its end is told.
pub(crate) async fn run(
    arguments: arguments::Run,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let place = Place::of(&shared, &settings)?;
    if let Some(api) = owner::reach(&shared, &place).await? {
        return elsewhere(&api, arguments, &settings, None, terminal).await;
    }
    let plan = Plan::new(arguments.clone(), &settings, terminal)?;
    let found = agent::find(&plan.agent, terminal)?;
    let mut stops = Stops::listen()?;
    let mut builder = settings
        .host()
        .limits(plan.limits)
        .concurrent_runs(CONCURRENT_RUNS);
    if let Some(models) = plan.models.clone() {
        builder = builder.model(models);
    }
    builder = settings.outside().equip(builder)?;
    let host = match owner::own(builder, &place, terminal).await? {
        Owner::Us(host) => host,
        Owner::Other(api) => {
            let begun = Some((found, stops));
            return elsewhere(&api, arguments, &settings, begun, terminal).await;
        }
    };
    let serving = owner::open_socket(&host, &place, terminal).await;
    let span = tracing::info_span!("command", otel.name = "lastword run");
    let mut own = None;
    let running = on(&host, &plan, found, &place, &mut own, &mut stops, terminal);
    let exit = running.instrument(span).await;
    others(&host, own, &mut stops, terminal).await;
    let left = serving.end().await;
    if !left.is_empty() {
        terminal.warn("the run's end is not on disk; the next start writes it");
    }
    exit
}

/// Runs it at a host that is there already.
async fn elsewhere(
    api: &Api,
    arguments: arguments::Run,
    settings: &Settings,
    begun: Option<(Found, Stops)>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let plan = Plan::elsewhere(arguments, settings, api.place(), terminal)?;
    let (found, mut stops) = match begun {
        Some(begun) => begun,
        None => (agent::find(&plan.agent, terminal)?, Stops::listen()?),
    };
    let span = tracing::info_span!("command", otel.name = "lastword run", server = api.place());
    let running = attached::run(api, &plan, found, &mut stops, terminal);
    running.instrument(span).await
}

/// Waits for the runs that commands in other terminals began here.
async fn others(host: &Host, own: Option<RunId>, stops: &mut Stops, terminal: &Terminal) {
    let mut steps = host.lifecycle();
    let mut told = false;
    loop {
        let live = host.live_runs(None);
        let left = live.iter().filter(|run| Some(run.id()) != own).count();
        if left == 0 || host.is_closing() {
            return;
        }
        if !std::mem::replace(&mut told, true) {
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
        }
    }
}

async fn on(
    host: &Host,
    plan: &Plan,
    found: Found,
    place: &Place,
    own: &mut Option<RunId>,
    stops: &mut Stops,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let name = plan.name.clone().unwrap_or(found.name);
    let agent = tokio::select! {
        agent = host.load_agent(name, found.file) => agent?,
        _ = stops.recv() => {
            terminal.note("stopped before the agent was loaded; nothing was run");
            return Ok(Exit::Cancelled);
        }
    };
    let manifest = agent.manifest();
    if !may_run(
        agent.id().as_str(),
        manifest,
        &plan.grants,
        plan.asks,
        terminal,
    ) {
        return Ok(Exit::Denied);
    }
    if plan.is_blank() && !has_default(manifest) {
        return Err(HostError::EmptyPrompt.into());
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
    Ok(conclude(&met, &view, session.id(), terminal))
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

/// Tells what is wanted and not granted, and whether the agent can do without.
pub(crate) fn may_run(
    name: &str,
    manifest: &Manifest,
    grants: &Grants,
    asks: bool,
    terminal: &Terminal,
) -> bool {
    for unknown in &manifest.unknown_wants {
        let unknown = terminal::line(unknown, 80);
        terminal.note(&format!(
            "the agent wants `{unknown}`, which this lastword does not know"
        ));
    }
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
                false => format!("grant it with {}", want.capability.how_to_grant()),
            };
            format!("\n  {} ({reason}): {how}", want.capability)
        });
        terminal.error(&format!(
            "{} cannot work without what is not granted; nothing was run{}",
            terminal::line(name, 128),
            lines.collect::<String>()
        ));
        return false;
    }
    if !optional.is_empty() {
        let names = optional.iter().map(|want| {
            let how = want.capability.how_to_grant();
            format!("{} ({})", want.capability, how.replace('`', ""))
        });
        let names: Vec<_> = names.collect();
        terminal.note(&format!(
            "wanted, not granted, not required: {}",
            names.join(", ")
        ));
    }
    true
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
            let id = source.session(word).await?.record.id;
            let runs = source.runs(id).await?;
            tell_held(runs.iter().map(|run| run.state), id, terminal);
            Some(id)
        }
    };
    let key = plan
        .directory
        .clone()
        .unwrap_or_else(|| WorkspaceKey::name(agent.id().as_str()));
    let workspace = host.open_workspace(key, plan.options()).await?;
    Ok(match going_on {
        Some(id) => workspace.session(id, agent).await?,
        None => workspace.new_session(agent).await?,
    })
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
    let (receipt, gone) = match met {
        Met::Ended(receipt) => (receipt, false),
        Met::ReaderGone(receipt) => (receipt, true),
    };
    if !gone {
        view.conclude(receipt, session, terminal);
    }
    exit_of(receipt)
}

/// What the shell shall know of a run's end.
pub(crate) fn exit_of(receipt: &Receipt) -> Exit {
    match (receipt.state, receipt.cause.as_str()) {
        (RunState::Completed, _) => Exit::Completed,
        (RunState::Cancelled, _) | (_, "shutdown" | "user") => Exit::Cancelled,
        _ => Exit::Failed,
    }
}
