//! `lastword cancel` and `lastword queue`: runs and prompts that have not ended yet. They go
//! through the owner of the data directory, or own it for a moment.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::owner::{self, Connection, Patience, comes_again};
use crate::paths::Paths;
use crate::reading::{Listed, Source};
use crate::rendering;
use crate::settings::Settings;
use crate::terminal::{Terminal, line, to_stdout};
use crate::view;
use lastword::id::RunId;
use lastword::session::{FinishReason, PartBody};
use lastword::{Receipt, RunRow, RunState};
use lastword_client::Client;
use lastword_client::api::{EditedRun, QueuedRun, RunSummary};
use serde_json::json;

/// A run or a session that a word names.
pub(crate) enum Named {
    Run(Box<RunSummary>),
    Session(Box<Listed>),
}

/// A run by its id, or a session.
pub(crate) async fn named(client: &Client, word: &str) -> Result<Named, Failure> {
    if let Ok(id) = word.parse::<RunId>() {
        match client.run(id).await {
            Ok(run) => return Ok(Named::Run(Box::new(run))),
            Err(error) if error.name() == Some("unknown-run") => {}
            Err(error) => return Err(error.into()),
        }
    }

    let source = Source::server(client);
    let listed = source.session(word).await?;
    Ok(Named::Session(Box::new(listed)))
}

/// Carries out an operation at the host that owns the data directory, or in this process as its
/// owner. Does not create a directory that does not exist. If the owner shuts down meanwhile, the
/// next one is asked.
pub(crate) async fn with_owner<T>(
    shared: &Shared,
    settings: &Settings,
    paths: &Paths,
    terminal: &Terminal,
    work: impl AsyncFn(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if shared.server.is_none()
        && let Source::Nothing = Source::on_disk(paths)?
    {
        // Fails with the message that there is no session.
        Source::Nothing.session("latest").await?;
    }
    // Sessions that are due wait for a host that stays.
    let builder = settings.host().concurrent_runs(1).wakes(false);
    let mut patience = Patience::default();
    loop {
        let connection = Connection::open_alone(shared, paths, &builder, terminal).await?;
        let server = connection.server.clone();
        let done = work(&server.client).await;
        connection.close(terminal).await;
        match done {
            Err(failure) if comes_again(&failure, &server, &mut patience, terminal).await => {}
            done => return done,
        }
    }
}

/// Stops a run, or all runs of a session.
pub(crate) async fn cancel(
    arguments: arguments::Cancel,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    if owner::reach(&shared, &paths).await?.is_none() && is_at_rest(&paths, &arguments.what).await?
    {
        terminal.note("nothing runs there and nothing waits; there is nothing to stop");
        return Ok(Exit::Completed);
    }
    let work = async |client: &Client| stop(client, &arguments.what).await;
    let receipts = with_owner(&shared, &settings, &paths, terminal, work).await?;
    if receipts.is_empty() {
        terminal.note("nothing runs there and nothing waits; there is nothing to stop");
    }

    let text = |receipt: &Receipt| {
        if arguments.json {
            format!("{}\n", json!(receipt))
        } else {
            format!("{} · {}\n", receipt.run, view::end(receipt, None))
        }
    };

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&receipts.iter().map(text).collect::<String>());
    if receipts.iter().all(|receipt| receipt.persisted) {
        Ok(Exit::Completed)
    } else {
        Err(Failure::failed(view::NOT_YET))
    }
}

/// Whether a session, without an owner, has nothing that could be withdrawn.
async fn is_at_rest(paths: &Paths, word: &str) -> Result<bool, Failure> {
    let source = Source::on_disk(paths)?;
    let session = match source.session(word).await {
        Ok(session) => session,
        // It may be a run's id.
        Err(_) if word.parse::<RunId>().is_ok() => return Ok(false),
        Err(failure) => return Err(failure),
    };

    let runs = source.runs(session.record.id).await?;
    let rests = |run: &RunRow| {
        let waits = |receipt: &Receipt| receipt.finish_reason == FinishReason::Waiting;
        run.state.is_terminal() && !run.receipt.as_ref().is_some_and(waits)
    };

    Ok(runs.iter().all(rests))
}

async fn stop(client: &Client, word: &str) -> Result<Vec<Receipt>, Failure> {
    match named(client, word).await? {
        Named::Run(run) => Ok(vec![client.cancel(run.run).await?]),
        Named::Session(session) => Ok(client.cancel_session(session.record.id).await?),
    }
}

/// Lists or changes waiting prompts.
pub(crate) async fn queue(
    arguments: arguments::Queue,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let work = async |client: &Client| change(client, &arguments, terminal).await;
    let text = with_owner(&shared, &settings, &paths, terminal, work).await?;
    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

async fn change(
    client: &Client,
    arguments: &arguments::Queue,
    terminal: &Terminal,
) -> Result<String, Failure> {
    let source = Source::server(client);
    let session = source.session(&arguments.session).await?.record.id;
    if let Some(run) = arguments.withdraw {
        let receipt = client.withdraw(session, run).await?;
        return Ok(if arguments.json {
            format!("{}\n", json!(receipt))
        } else {
            format!("{run} · {}\n", view::end(&receipt, None))
        });
    }

    if let [run, text] = arguments.edit.as_slice() {
        let run: RunId = run.parse().map_err(|error| {
            Failure::usage(format!(
                "{error}; `lastword queue {session}` lists those that wait"
            ))
        })?;
        let edited = EditedRun::text(text);
        let changed = client.edit_queued(session, run, &edited).await?;
        return Ok(waiting(&changed, arguments.json));
    }

    let queue = client.queue(session).await?;
    if queue.items.is_empty() {
        terminal.note(&format!("nothing waits in session {session}"));
    }

    let lines = queue.items.iter().map(|run| waiting(run, arguments.json));
    Ok(lines.collect())
}

/// Describes a waiting prompt in one line.
fn waiting(run: &QueuedRun, as_json: bool) -> String {
    if as_json {
        return format!("{}\n", json!(run));
    }

    let text = run.parts.iter().filter_map(|part| match &part.body {
        PartBody::Text { text } => Some(text.clone()),
        PartBody::Data {
            media_type,
            name,
            bytes,
            ..
        } => Some(rendering::data(name.as_deref(), media_type, *bytes)),
        _ => None,
    });
    let text: Vec<String> = text.collect();
    let state = match run.state {
        RunState::Held => "held  ",
        _ => "queued",
    };

    format!("{}  {state}  {}\n", run.run, line(&text.join(" "), 200))
}
