//! `lastword runs`: lists runs with their ids and ends. Reads them through `reading.rs`.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::paths::Paths;
use crate::reading::{ListedRun, Source};
use crate::settings::Settings;
use crate::table::{Column, table};
use crate::terminal::{Terminal, brief, line, to_stdout};
use crate::units::ago;
use lastword::RunState;
use lastword::clock::SystemClock;
use serde_json::json;
use std::cmp::Reverse;

/// Lists runs, the newest first.
pub(crate) async fn runs(
    arguments: &arguments::Runs,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(shared, &settings)?;
    let source = Source::of(shared, &paths)?;
    let sessions = match &arguments.session {
        Some(word) => vec![source.session(word).await?],
        None => source.sessions().await?,
    };
    let mut runs = source.runs_of(sessions).await?;
    tell_damaged(&source.damaged(), terminal);

    // Ids are in the order of creation.
    runs.sort_by_key(|run| Reverse(run.id));
    runs.truncate(arguments.limit);
    if runs.is_empty() && !arguments.json {
        terminal.note("no runs yet; `lastword run AGENT` begins one");
        return Ok(Exit::Completed);
    }

    let owned = source.is_owned();
    let text = if arguments.json {
        let lines = runs.iter().map(|run| format!("{}\n", as_json(run, owned)));
        lines.collect()
    } else {
        let rows: Vec<_> = runs.iter().map(|run| row(run, owned)).collect();
        table(
            [
                Column::left("RUN"),
                Column::left("STATE"),
                Column::left("CAUSE"),
                Column::left("UPDATED"),
                Column::left("AGENT"),
                Column::left("SESSION"),
            ],
            &rows,
            terminal,
        )
    };

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

/// Whether a run has begun and has neither an owner nor an end.
fn is_left(run: &ListedRun, owned: bool) -> bool {
    !owned && matches!(run.state, RunState::Running | RunState::Finishing)
}

fn as_json(run: &ListedRun, owned: bool) -> serde_json::Value {
    json!({
        "run": run.id,
        "session": run.session.record.id,
        "agent": run.session.record.agent,
        "state": run.state,
        "awaiting_recovery": is_left(run, owned),
        "started_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "receipt": run.receipt,
    })
}

fn row(run: &ListedRun, owned: bool) -> [String; 6] {
    let now = SystemClock::shared().now().0;
    let state = if is_left(run, owned) {
        "awaiting recovery".to_owned()
    } else {
        run.state.to_string()
    };
    let cause = run
        .receipt
        .as_ref()
        .map(|receipt| receipt.cause.to_string());
    let updated = run.ended_ms.or(run.started_ms);
    [
        run.id.to_string(),
        state,
        line(&cause.unwrap_or_default(), 40),
        updated.map_or_else(String::new, |at| ago(now, at.0)),
        brief(run.session.record.agent.as_str(), 40),
        run.session.record.id.to_string(),
    ]
}
