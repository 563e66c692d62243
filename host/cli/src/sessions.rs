//! `lastword sessions`: lists the sessions. Reads them through `reading.rs`.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::paths::{self, Paths};
use crate::reading::{Listed, Source};
use crate::settings::Settings;
use crate::table::{Column, table};
use crate::terminal::{Terminal, brief, line, to_stdout};
use crate::units::ago;
use lastword::clock::SystemClock;
use lastword::text;
use serde_json::json;
use std::collections::HashSet;

/// Characters of a session's id that hold its time of creation.
const SHORT: usize = 13;

/// Lists sessions.
pub(crate) async fn sessions(
    arguments: &arguments::Sessions,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(shared, &settings)?;
    let source = Source::of(shared, &paths)?;
    let rows = source.sessions().await?;
    tell_damaged(&source.damaged(), terminal);
    let ids: Vec<String> = rows.iter().map(|row| row.record.id.to_string()).collect();
    let is_wanted = |row: &&Listed| {
        let wanted = arguments.workspace.as_deref();
        row.has_begun()
            && wanted.is_none_or(|directory| paths::is_directory(&row.workspace_key, directory))
    };

    let shown: Vec<_> = rows
        .iter()
        .filter(is_wanted)
        .take(arguments.limit)
        .collect();
    let text = match (arguments.json, shown.is_empty()) {
        (true, _) => shown
            .iter()
            .map(|row| format!("{}\n", as_json(row)))
            .collect(),
        (false, true) => {
            terminal.note("no sessions yet; `lastword run AGENT` begins one");
            return Ok(Exit::Completed);
        }
        (false, false) => listed(&shown, short(&ids), terminal),
    };

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

/// A session as programs read it.
pub(crate) fn as_json(row: &Listed) -> serde_json::Value {
    json!({ "session": row.record, "workspace": paths::workspace(&row.workspace_key) })
}

/// Returns how many characters distinguish all ids.
fn short(ids: &[String]) -> usize {
    let unique = |chars: usize| {
        let mut seen = HashSet::new();
        ids.iter().all(|id| seen.insert(&id[..chars.min(id.len())]))
    };
    (SHORT..=36).find(|chars| unique(*chars)).unwrap_or(36)
}

const COLUMNS: [Column; 7] = [
    Column::left("SESSION"),
    Column::left("UPDATED"),
    Column::left("AGENT"),
    Column::right("MESSAGES"),
    Column::right("TOKENS"),
    Column::left("WORKSPACE"),
    Column::left("TITLE"),
];

fn listed(rows: &[&Listed], id_chars: usize, terminal: &Terminal) -> String {
    let now = SystemClock::shared().now().0;
    let (narrow, wide) = if terminal.out.terminal {
        (24, 40)
    } else {
        (400, 400)
    };

    let row = |row: &&Listed| {
        let record = &row.record;
        let tokens = record.usage.input_tokens + record.usage.output_tokens;
        let title = record.title.as_deref().unwrap_or_default();
        [
            record.id.to_string()[..id_chars].to_owned(),
            ago(now, record.updated_ms.0),
            brief(record.agent.as_str(), narrow),
            record.messages.to_string(),
            tokens.to_string(),
            last(&text::line(&paths::workspace(&row.workspace_key)), narrow),
            line(title, wide),
        ]
    };
    let cells: Vec<_> = rows.iter().map(row).collect();
    table(COLUMNS, &cells, terminal)
}

/// Shortens a path to its end, which says more than its beginning.
fn last(text: &str, chars: usize) -> String {
    let count = text.chars().count();
    if count <= chars {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(count - chars + 1).collect();
    format!("…{kept}")
}
