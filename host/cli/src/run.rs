//! `lastword run`: from a plan to the run's end. Knows neither how events are shown nor how
//! signals arrive.

use crate::agent::{self, Found};
use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::follow::{Follow, Met};
use crate::place::{self, Place};
use crate::plan::Plan;
use crate::settings::Settings;
use crate::signals::{self, Stop};
use crate::terminal::{self, Terminal};
use crate::units;
use crate::view::View;
use lastword::permission::Want;
use lastword::{Agent, Archive, Host, HostError, RunState, Session, WorkspaceKey};
use tokio::sync::mpsc;

/// Runs an agent and stays until its end is told.
pub(crate) async fn run(
    arguments: arguments::Run,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let place = Place::of(&shared, &settings)?;
    let plan = Plan::new(arguments, &settings)?;
    let found = agent::find(&plan.agent, terminal)?;
    let mut stops = signals::listen()
        .map_err(|error| Failure::usage(format!("cannot listen to signals: {error}")))?;
    let mut builder = Host::builder()
        .data_dir(&place.data)
        .cache_dir(&place.cache)
        .limits(plan.limits)
        .concurrent_runs(1);
    if let Some(models) = plan.models.clone() {
        builder = builder.model(models);
    }
    let host = builder.build().await?;
    tell_recovery(&host, terminal);
    let exit = on(&host, &plan, found, &place, &mut stops, terminal).await;
    let left = host.shutdown().await;
    if !left.is_empty() {
        terminal.warn("the run's end is not on disk; the next start writes it");
    }
    exit
}

fn tell_recovery(host: &Host, terminal: &Terminal) {
    let recovered = host.recovered();
    if recovered.ended > 0 {
        let runs = units::count(recovered.ended, "run");
        terminal.note(&format!(
            "recovered {runs} that an earlier start had left without an end"
        ));
    }
    if recovered.held > 0 {
        let prompts = units::count(recovered.held, "prompt");
        terminal.note(&format!("{prompts} that had not begun by then are held"));
    }
}

async fn on(
    host: &Host,
    plan: &Plan,
    found: Found,
    place: &Place,
    stops: &mut mpsc::Receiver<Stop>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let name = plan.name.clone().unwrap_or(found.name);
    let agent = tokio::select! {
        agent = host.load_agent(name, found.file) => agent?,
        Some(_) = stops.recv() => {
            terminal.note("stopped before the agent was loaded; nothing was run");
            return Ok(Exit::Cancelled);
        }
    };
    if !may_run(&agent, plan, terminal) {
        return Ok(Exit::Denied);
    }
    let default = agent.manifest().default_prompt.as_deref();
    if plan.blank && default.is_none_or(|prompt| prompt.trim().is_empty()) {
        return Err(HostError::EmptyPrompt.into());
    }
    let session = session(host, plan, &agent, place, terminal).await?;
    let run = session.prompt(plan.prompt.clone()).await?;
    let follow = Follow {
        host,
        run: &run,
        data: &place.data,
        grace: plan.limits.grace,
        terminal,
    };
    let mut view = View::new(plan.json, terminal);
    let met = follow.to_the_end(&mut view, stops).await?;
    Ok(conclude(&met, &view, &session, terminal))
}

/// Tells what is wanted and not granted, and whether the agent can do without.
fn may_run(agent: &Agent, plan: &Plan, terminal: &Terminal) -> bool {
    let manifest = agent.manifest();
    for unknown in &manifest.unknown_wants {
        let unknown = terminal::line(unknown, 80);
        terminal.note(&format!(
            "the agent wants `{unknown}`, which this lastword does not know"
        ));
    }
    let lacking = |want: &&Want| !plan.grants.has(want.capability);
    let (required, optional): (Vec<_>, Vec<_>) = manifest
        .wants
        .iter()
        .filter(lacking)
        .partition(|want| want.required);
    if !required.is_empty() {
        let lines = required.into_iter().map(|want| {
            let reason = terminal::line(&want.reason, 200);
            let how = want.capability.how_to_grant();
            format!("\n  {} ({reason}): grant it with {how}", want.capability)
        });
        terminal.error(&format!(
            "{} cannot work without what is not granted; nothing was run{}",
            agent.id(),
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
            let archive = Archive::open(&place.data)?;
            let id = place::session(&archive, word)?.record.id;
            tell_held(&archive, id, terminal)?;
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

fn tell_held(
    archive: &Archive,
    session: lastword::id::SessionId,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let runs = archive.runs(session)?;
    let held = runs.iter().filter(|run| run.state == RunState::Held);
    let held = held.count() as u64;
    if held > 0 {
        let prompts = units::count(held, "earlier prompt");
        terminal.note(&format!(
            "{prompts} of this session never began and stay held; \
             `lastword show {session}` prints them, and this prompt goes before them"
        ));
    }
    Ok(())
}

/// Tells the end, and what the shell shall know of it.
fn conclude(met: &Met, view: &View, session: &Session, terminal: &Terminal) -> Exit {
    let (receipt, gone) = match met {
        Met::Ended(receipt) => (receipt, false),
        Met::ReaderGone(receipt) => (receipt, true),
    };
    if !gone {
        view.conclude(receipt, session.id(), terminal);
    }
    match (receipt.state, receipt.cause.as_str()) {
        (RunState::Completed, _) => Exit::Completed,
        (RunState::Cancelled, _) | (_, "shutdown" | "user") => Exit::Cancelled,
        _ => Exit::Failed,
    }
}
