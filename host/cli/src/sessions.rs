//! `lastword sessions`: lists the sessions. Reads them through `reading.rs`.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::naming::Ids;
use crate::paths;
use crate::reading::{Listed, Source};
use crate::table::{self, Column};
use crate::terminal::{Terminal, prose};
use crate::units::ago;
use lastword::clock::SystemClock;
use lastword::text;
use serde_json::{Value, json};

const NONE: &str = "no sessions yet; `lastword run AGENT` begins one";
const COLUMNS: [Column; 7] = [
    Column::fixed("SESSION"),
    Column::fixed("UPDATED"),
    Column::words("AGENT").detail(),
    Column::number("MESSAGES").detail(),
    Column::number("TOKENS").detail(),
    Column::path("WORKSPACE").detail(),
    Column::words("TITLE"),
];

/// Lists sessions.
pub(crate) async fn sessions(
    arguments: &arguments::Sessions,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let source = Source::of(shared)?;
    let rows = source.sessions().await?;
    tell_damaged(&source.damaged(), terminal);
    let ids = Ids::of(rows.iter().map(|row| row.record.id), &terminal.out);
    let is_wanted = |row: &&Listed| {
        let wanted = arguments.workspace.as_deref();
        row.has_begun()
            && wanted.is_none_or(|directory| paths::is_directory(&row.workspace_key, directory))
    };

    let shown = rows.iter().filter(is_wanted).take(arguments.limit);
    if arguments.json {
        table::print_json(shown.map(as_json));
    } else {
        let cells: Vec<_> = shown.map(|listed| row(listed, ids)).collect();
        table::print(COLUMNS, &cells, NONE, terminal);
    }

    Ok(Exit::Completed)
}

/// A session as programs read it: as the HTTP API has it, with its workspace's directory.
pub(crate) fn as_json(row: &Listed) -> Value {
    let mut session = json!(row.record);
    session["directory"] = json!(paths::directory(&row.workspace_key));
    session
}

fn row(listed: &Listed, ids: Ids) -> [String; 7] {
    let now = SystemClock::shared().now().0;
    let record = &listed.record;
    let tokens = record.usage.input_tokens + record.usage.output_tokens;
    [
        ids.show(&record.id),
        ago(now, record.updated_ms.0),
        text::line(record.agent.as_str()).into_owned(),
        record.messages.to_string(),
        tokens.to_string(),
        text::line(&paths::workspace(&listed.workspace_key)).into_owned(),
        prose(record.title.as_deref().unwrap_or_default()),
    ]
}
