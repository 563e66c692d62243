//! `lastword agents`: what a host has loaded, by name.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::owner;
use crate::paths::Paths;
use crate::settings::Settings;
use crate::table::{self, Column};
use crate::terminal::{Terminal, prose};
use lastword::text;
use lastword_client::api::AgentView;
use serde_json::json;

const COLUMNS: [Column; 4] = [
    Column::words("AGENT"),
    Column::fixed("VERSION").detail(),
    Column::words("WANTS").detail(),
    Column::words("DESCRIPTION"),
];

/// Lists the agents of the server that was named, or of the directory's owner.
pub(crate) async fn agents(
    arguments: &arguments::Agents,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(shared, &settings)?;
    let server = owner::reach(shared, &paths).await?.ok_or_else(|| {
        Failure::usage(format!(
            "no host runs on {}, and only hosts have agents; start one with `lastword serve \
             --agent NAME=FILE`, or name one with `--server URL`",
            paths.data.display()
        ))
    })?;

    let page = server.client.agents().await?;
    let damaged: Vec<String> = page.damaged.iter().map(ToString::to_string).collect();
    tell_damaged(&damaged, terminal);
    if arguments.json {
        table::print_json(page.items.iter().map(|agent| json!(agent)));
    } else {
        let none = format!(
            "{} has no agents; `lastword run FILE` sends one",
            server.client.server()
        );
        let rows: Vec<_> = page.items.iter().map(row).collect();
        table::print(COLUMNS, &rows, &none, terminal);
    }

    Ok(Exit::Completed)
}

fn row(agent: &AgentView) -> [String; 4] {
    [
        text::line(agent.name.as_str()).into_owned(),
        text::line(&agent.manifest.version).into_owned(),
        text::line(&agent.capabilities.join(", ")).into_owned(),
        prose(&agent.manifest.description),
    ]
}
