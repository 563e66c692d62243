//! `lastword agents`: what a host has loaded, by name.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure, tell_damaged};
use crate::owner;
use crate::paths::Paths;
use crate::settings::Settings;
use crate::table::{Column, table};
use crate::terminal::{Terminal, brief, line, to_stdout};
use lastword_client::api::AgentView;
use serde_json::json;

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
    if page.items.is_empty() && !arguments.json {
        let place = server.client.server();
        terminal.note(&format!(
            "{place} has no agents; `lastword run FILE` sends one"
        ));
        return Ok(Exit::Completed);
    }

    let text = if arguments.json {
        let lines = page.items.iter().map(|agent| format!("{}\n", json!(agent)));
        lines.collect()
    } else {
        let rows = page.items.iter().map(|agent| row(agent, terminal));
        let rows: Vec<_> = rows.collect();
        table(
            [
                Column::left("AGENT"),
                Column::left("VERSION"),
                Column::left("WANTS"),
                Column::left("DESCRIPTION"),
            ],
            &rows,
            terminal,
        )
    };

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}

fn row(agent: &AgentView, terminal: &Terminal) -> [String; 4] {
    let wide = if terminal.out.terminal { 60 } else { 400 };
    let wants = agent.capabilities.join(", ");
    [
        brief(agent.name.as_str(), 40),
        brief(&agent.manifest.version, 20),
        brief(&wants, wide),
        line(&agent.manifest.description, wide),
    ]
}
