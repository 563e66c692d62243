//! The loop in which a model calls tools until it has its answer.
//!
//! ```
//! use lastword_guest::prelude::*;
//! use lastword_guest::run_tools::{Kind, Parameters, Tool, ToolLoop};
//!
//! #[derive(serde::Deserialize)]
//! struct Note {
//!     text: String,
//! }
//!
//! fn run(turn: &Turn<()>) -> Result<Outcome> {
//!     let parameters = Parameters::new().required("text", Kind::Text, "What to keep");
//!     let keep = Tool::new("keep_note", "Keeps a note", &parameters, |note: Note| {
//!         turn.state(Scope::Session).set("note", note.text.as_bytes())?;
//!         Ok("kept")
//!     });
//!     let finished = turn.run_tools(
//!         ToolLoop::new()
//!             .system("You look after notes.")
//!             .host_tools(["read_file", "search_text"])
//!             .serve(keep)
//!             .max_steps(20)
//!             .stop_when(|step| step.usage.output_tokens > 20_000),
//!     )?;
//!     Ok(Outcome::from(&finished))
//! }
//! ```
//!
//! Each step is one answer of the model, streamed into the transcript. Its calls go to the
//! host, or to the agent's own tools; the results are recorded, and the next request has them
//! in front. What a tool could not do is told to the model and does not end the loop: unknown
//! names, arguments that are not JSON, a refusal. Only a run that is being stopped does, and a
//! model that cannot be asked.
//!
//! When the model's window fills, the older part of the conversation is summarised; the
//! originals stay where they are. A request that does not fit is sent again after that. No
//! other request is: the host has already tried failures that may pass again.
//!
//! A call that was cut off, since the answer became too long, is not carried out, and the loop
//! ends after the others: [`Reason::CutOff`].

mod finished;
mod parameters;
mod pieces;
mod plan;
mod render;
mod repeats;
mod room;
mod serve;
mod settings;
mod steps;
mod summary;
#[cfg(test)]
mod tests;
mod toolbox;
mod trim;
mod window;
#[cfg(test)]
mod window_tests;

pub use finished::{Finished, Reason, Step};
pub use parameters::{Kind, Parameters};
pub use serve::{Answer, ServeTool, Tool};
pub use settings::{
    HostTools, KEEP_DEFAULT, REPEATS_DEFAULT, STEPS_DEFAULT, TRIM_PERCENT_DEFAULT, ToolLoop,
};
pub(crate) use steps::Steps;

#[cfg(not(target_family = "wasm"))]
pub(crate) use summary::SUMMARISED_AS;

use crate::{Result, Turn};

impl<C> Turn<C> {
    /// Lets a model call tools until it has its answer. What it says is in the transcript, and
    /// so are its calls and their results.
    ///
    /// # Errors
    ///
    /// `cancelled` when the run is being stopped; `denied` without a model, or without tools if
    /// any of the host's were asked for; `limit` if the newest messages alone do not fit the
    /// model's window ([`is_context_overflow`](crate::Error::is_context_overflow)); and otherwise
    /// what the model fails with.
    pub fn run_tools(&self, tool_loop: ToolLoop<'_>) -> Result<Finished> {
        Steps::begin(self, tool_loop)?.run()
    }
}
