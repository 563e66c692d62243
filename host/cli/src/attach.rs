//! `lastword follow`: a run that another command began, from its first word to its end. `follow.rs`
//! shows it, as it shows the runs of `lastword run`.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::owner::{self, Connection};
use crate::paths::Paths;
use crate::reading::{Named, Source};
use crate::remote_run::{RemoteRun, Shown};
use crate::settings::Settings;
use crate::signals::Stops;
use crate::terminal::Terminal;
use lastword::RunState;
use lastword_client::Client;
use lastword_client::api::RunSummary;

/// Shows a run and returns once it has ended.
pub(crate) async fn follow(
    arguments: arguments::Follow,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let terminal = &terminal.raw(arguments.raw);
    if owner::reach(&shared, &paths).await?.is_none() {
        let source = Source::on_disk(&paths)?;
        source.refuse_unknown(&arguments.what).await?;
    }

    let builder = settings.host().concurrent_runs(1).wakes(false);
    let connection = Connection::open_alone(&shared, &paths, &builder, terminal).await?;
    let followed = to_the_end(&connection, &paths, &arguments, terminal).await;
    connection.close(terminal).await;
    followed
}

async fn to_the_end(
    connection: &Connection,
    paths: &Paths,
    arguments: &arguments::Follow,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let run = run(&connection.server.client, &arguments.what).await?;
    if connection.host().is_some() && !run.state.is_terminal() {
        return Err(Failure::failed(format!(
            "the run {0} is {1}, and no host goes on with it: `lastword resume {0}` does",
            run.run, run.state
        )));
    }

    let mut stops = Stops::listen()?;
    // Questions are told: the command that began the run may be asking them.
    let shown = Shown {
        json: arguments.json,
        asks: false,
    };
    let there = RemoteRun::at(connection, paths, terminal);
    there.watch(&run, shown, &mut stops).await
}

/// The run that a word names. Of a session it is the one that goes on, else the first that waits,
/// else the last.
async fn run(client: &Client, word: &str) -> Result<RunSummary, Failure> {
    let session = match Source::server(client).named(word).await? {
        Named::Run(run) => return Ok(client.run(run.run).await?),
        Named::Session(session) => session.record.id,
    };

    let mut runs = client.runs(session).await?.items;
    let live = |state: RunState| matches!(state, RunState::Running | RunState::Finishing);
    let at = runs.iter().position(|run| live(run.state));
    let at = at.or_else(|| runs.iter().position(|run| !run.state.is_terminal()));
    let run = match at {
        Some(at) => Some(runs.swap_remove(at)),
        None => runs.pop(),
    };
    run.ok_or_else(|| {
        Failure::usage(format!(
            "nothing ever ran in session {session}; ask something with `lastword run AGENT --session`"
        ))
    })
}
