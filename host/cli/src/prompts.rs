//! `lastword cancel` and `lastword queue`: runs and prompts that have not ended yet. They go
//! through the owner of the data directory, or own it for a moment.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::naming::{self, Ids};
use crate::owner::{self, Connection, Patience, comes_again};
use crate::paths::Paths;
use crate::reading::{Listed, ListedRun, Named, Source};
use crate::rendering;
use crate::settings::Settings;
use crate::table::{Column, table};
use crate::terminal::{Terminal, line, to_stdout};
use crate::view;
use lastword::id::RunId;
use lastword::session::{FinishReason, PartBody};
use lastword::{Receipt, RunState};
use lastword_client::Client;
use lastword_client::api::{EditedRun, QueuedRun};
use serde_json::json;

const COLUMNS: [Column; 3] = [
    Column::fixed("RUN"),
    Column::fixed("STATE"),
    Column::words("PROMPT"),
];

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
            format!(
                "{} · {}\n",
                receipt.run,
                view::end(receipt, None, terminal.verbose)
            )
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

/// Whether a run or a session, without an owner, has nothing that could be withdrawn.
async fn is_at_rest(paths: &Paths, word: &str) -> Result<bool, Failure> {
    let source = Source::on_disk(paths)?;
    let rests = |state: RunState, receipt: Option<&Receipt>| {
        let waits = |receipt: &Receipt| receipt.finish_reason == FinishReason::Waiting;
        state.is_terminal() && !receipt.is_some_and(waits)
    };

    if let Ok(id) = word.parse()
        && source.find(id).await?.is_none()
    {
        // It may be a run's id, which only a host finds without reading every session.
        return Ok(false);
    }

    Ok(match source.named(word).await? {
        Named::Run(run) => rests(run.state, run.receipt.as_ref()),
        Named::Session(session) => {
            let runs = source.runs(session.record.id).await?;
            runs.iter()
                .all(|run| rests(run.state, run.receipt.as_ref()))
        }
    })
}

async fn stop(client: &Client, word: &str) -> Result<Vec<Receipt>, Failure> {
    match Source::server(client).named(word).await? {
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
    let listed = source.session(&arguments.session).await?;
    let session = listed.record.id;
    if let Some(word) = &arguments.withdraw {
        let run = run_of(&source, listed, word).await?;
        let receipt = client.withdraw(session, run).await?;
        return Ok(if arguments.json {
            format!("{}\n", json!(receipt))
        } else {
            format!("{run} · {}\n", view::end(&receipt, None, terminal.verbose))
        });
    }

    if let [word, text] = arguments.edit.as_slice() {
        let run = run_of(&source, listed, word).await?;
        let edited = EditedRun::text(text);
        let changed = client.edit_queued(session, run, &edited).await?;
        return Ok(waiting(&[changed], arguments.json, terminal));
    }

    let queue = client.queue(session).await?;
    if queue.items.is_empty() {
        terminal.note(&format!("nothing waits in session {session}"));
        return Ok(String::new());
    }

    Ok(waiting(&queue.items, arguments.json, terminal))
}

/// Returns the run of a session that a word names. Only the host knows whether it still waits.
async fn run_of(source: &Source, session: Listed, word: &str) -> Result<RunId, Failure> {
    if let Ok(run) = word.parse() {
        return Ok(run);
    }

    let runs: Vec<ListedRun> = source.runs_of(vec![session]).await?;
    let run = naming::RUN.pick(word, runs)?;
    let run = run.ok_or_else(|| naming::RUN.unknown(word))?;
    Ok(run.row.id)
}

/// Lists waiting prompts.
fn waiting(runs: &[QueuedRun], as_json: bool, terminal: &Terminal) -> String {
    if as_json {
        return runs.iter().map(|run| format!("{}\n", json!(run))).collect();
    }

    let ids = Ids::of(runs.iter().map(|run| run.run), &terminal.out);
    let rows: Vec<_> = runs.iter().map(|run| row(run, ids)).collect();
    table(COLUMNS, &rows, terminal)
}

fn row(run: &QueuedRun, ids: Ids) -> [String; 3] {
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
    [
        ids.show(&run.run),
        run.state.to_string(),
        line(&text.join(" "), 200),
    ]
}
