//! A loop in which a model calls tools until it has its answer.
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
//! Each step is one answer of the model, streamed into the transcript. The host or the agent's own
//! tools carry out its calls; the results are recorded, and the next request contains them. The
//! model is told about a call that fails, and the loop goes on: an unknown name, arguments that are
//! not JSON, a denial. The loop ends with an error only if the run is being stopped or the model
//! cannot be asked.
//!
//! When the model's window fills, the older part of the conversation is summarised; the original
//! messages stay. A request that did not fit is then sent again. Other failed requests are not,
//! since the host has already repeated those that failed for a passing reason.
//!
//! A call that was cut off because the answer became too long is not carried out. The loop ends
//! after the other calls, with [`Reason::CutOff`].

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
    /// Lets a model call tools until it has its answer. The transcript then contains the model's
    /// answers, its calls and their results.
    ///
    /// # Errors
    ///
    /// `cancelled` when the run is being stopped; `denied` without a model, or without tools if the
    /// loop uses any of the host's; `limit` if the newest messages alone do not fit the model's
    /// window ([`is_context_overflow`](crate::Error::is_context_overflow)); otherwise the failure
    /// of the model.
    pub fn run_tools(&self, tool_loop: ToolLoop<'_>) -> Result<Finished> {
        Steps::begin(self, tool_loop)?.run()
    }
}
