//! An agent for the tests of the host that asks for little: it calls the tool that its prompt
//! names, and says what came of it. After `state` or `file` it reads a value or a file by itself, and
//! fails if it cannot.
//!
//! It does not know what it is denied, nor what those whom it starts are.

use lastword_guest::Content;
use lastword_guest::bindings::types::ToolCall;
use lastword_guest::prelude::*;

struct NarrowProbe;

impl Agent for NarrowProbe {
    type Config = ();

    fn manifest() -> Manifest {
        let tools = Want::new(Capability::Tools, "to call these two");
        let files = Want::new(Capability::ReadFiles, "to read what is open");
        Manifest::new("narrow-probe", env!("CARGO_PKG_VERSION"))
            .describe("Calls the tool that its prompt names")
            .want(tools.scope(["test.echo", "run_agent", "read_file"]))
            .want(files.scope(["open/**"]))
            .wants(Capability::RunAgents, "to run whom it is told to")
    }

    fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
        let (name, arguments) = turn.prompt().split_once(' ').unwrap_or((turn.prompt(), ""));
        match name {
            "state" => {
                turn.state(Scope::Session).get(arguments)?;
                return Ok(Outcome::end_turn());
            }
            "file" => {
                let read = std::fs::read_to_string(arguments);
                read.map_err(|error| Error::new("internal", error.to_string()))?;
                return Ok(Outcome::end_turn());
            }
            _ => {}
        }

        let call = ToolCall {
            id: String::new(),
            name: name.to_owned(),
            arguments_json: arguments.to_owned(),
        };
        let said = match turn.tools().serve(&call) {
            Ok(result) => {
                let texts = result.content.iter().map(|content| match content {
                    Content::Text(text) => text.as_str(),
                    _ => "",
                });
                let failed = if result.is_error { "failed: " } else { "" };
                format!("{failed}{}", texts.collect::<String>())
            }
            Err(error) => format!("error {}: {}", error.code(), error.message()),
        };
        turn.say(&said)?;
        Ok(Outcome::end_turn())
    }
}

lastword_guest::export!(NarrowProbe);
