//! `lastword runs`: lists runs with their ids and ends. Reads them through `reading.rs`.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::naming::Ids;
use crate::reading::{ListedRun, Source};
use crate::table::{self, Column};
use crate::terminal::{Terminal, line};
use crate::units::ago;
use lastword::RunState;
use lastword::clock::SystemClock;
use lastword::text;
use serde_json::json;
use std::cmp::Reverse;

const NONE: &str = "no runs yet; `lastword run AGENT` begins one";
const COLUMNS: [Column; 6] = [
    Column::fixed("RUN"),
    Column::fixed("STATE"),
    Column::fixed("CAUSE").detail(),
    Column::fixed("UPDATED"),
    Column::words("AGENT").detail(),
    Column::fixed("SESSION").detail(),
];

/// Lists runs, the newest first.
pub(crate) async fn runs(
    arguments: &arguments::Runs,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let source = Source::of(shared)?;
    let sessions = match &arguments.session {
        Some(word) => vec![source.session(word).await?],
        None => source.sessions().await?,
    };
    let mut runs = source.runs_of(sessions).await?;
    tell_damaged(&source.damaged(), terminal);

    // A word is compared with the ids of sessions first.
    let of_run = |run: &ListedRun| [run.row.id.to_string(), run.session.record.id.to_string()];
    let ids = Ids::of(runs.iter().flat_map(of_run), &terminal.out);
    // Ids are in the order of creation.
    runs.sort_by_key(|run| Reverse(run.row.id));
    runs.truncate(arguments.limit);
    let owned = source.is_owned();
    if arguments.json {
        table::print_json(runs.iter().map(|run| as_json(run, owned)));
    } else {
        let rows: Vec<_> = runs.iter().map(|run| row(run, owned, ids)).collect();
        table::print(COLUMNS, &rows, NONE, terminal);
    }

    Ok(Exit::Completed)
}

/// Whether a run has begun and has neither an owner nor an end.
fn is_left(run: &ListedRun, owned: bool) -> bool {
    !owned && matches!(run.row.state, RunState::Running | RunState::Finishing)
}

fn as_json(run: &ListedRun, owned: bool) -> serde_json::Value {
    json!({
        "run": run.row.id,
        "session": run.session.record.id,
        "agent": run.session.record.agent,
        "state": run.row.state,
        "awaiting_recovery": is_left(run, owned),
        "started_ms": run.row.started_ms,
        "ended_ms": run.row.ended_ms,
        "receipt": run.row.receipt,
    })
}

fn row(run: &ListedRun, owned: bool, ids: Ids) -> [String; 6] {
    let now = SystemClock::shared().now().0;
    let state = if is_left(run, owned) {
        "awaiting recovery".to_owned()
    } else {
        run.row.state.to_string()
    };
    let cause = run
        .row
        .receipt
        .as_ref()
        .map(|receipt| receipt.cause.to_string());
    let updated = run.row.ended_ms.or(run.row.started_ms);
    [
        ids.show(&run.row.id),
        state,
        line(&cause.unwrap_or_default(), 40),
        updated.map_or_else(String::new, |at| ago(now, at.0)),
        text::line(run.session.record.agent.as_str()).into_owned(),
        ids.show(&run.session.record.id),
    ]
}
