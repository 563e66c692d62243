//! The library for writing agents for the lastword host.
//!
//! An agent is a type that implements [`Agent`] and is handed to [`export!`]. It asks for
//! capabilities in its [`Manifest`], does its work in [`Agent::run`], and replies through the
//! [`Turn`] that it is given. The host keeps this output even if the agent fails or is stopped.
//!
//! ```
//! use lastword_guest::prelude::*;
//!
//! struct Greeter;
//!
//! impl Agent for Greeter {
//!     type Config = ();
//!
//!     fn manifest() -> Manifest {
//!         Manifest::new("greeter", env!("CARGO_PKG_VERSION"))
//!             .describe("Greets, and lets the model answer")
//!             .wants(Capability::Model, "to answer")
//!     }
//!
//!     fn run(turn: &Turn<Self::Config>) -> Result<Outcome> {
//!         turn.say("Hello, ")?;
//!         for delta in turn.model().ask(turn.prompt())? {
//!             turn.say(&delta?)?;
//!         }
//!         Ok(Outcome::end_turn())
//!     }
//! }
//!
//! lastword_guest::export!(Greeter);
//! ```
//!
//! The crate of an agent is a `cdylib`, needs no build script and no other tool, and is built
//! with `cargo build --release --target wasm32-wasip2`. Files of the workspace are below
//! [`WORKSPACE`], for `std::fs`; `/tmp` is the run's own.
//!
//! A host call that was not carried out returns an [`Error`] with a [`code`](Error::code). If the
//! agent returns it with `?`, a run that was being stopped ends with the host's cause, and any
//! other run ends as failed. A panic is reported to the host with its message and place.
//!
//! [`run_tools`] is the loop in which a model calls tools until it has its answer.
//! [`Turn::ask_json`] asks a model for a typed value instead of text.
//!
//! On a native target everything compiles, but there is no host: a host call panics, unless a test
//! runs the agent with [`testing::Host`].
//!
//! The crate depends on the interfaces in `wit/` and on no code of the host.

mod agent;
#[doc(hidden)]
pub mod bindings;
mod config;
mod epilogue;
mod error;
mod host;
pub mod log;
mod manifest;
mod message;
pub mod model;
mod outcome;
mod panic;
pub mod run_tools;
mod secrets;
pub mod state;
mod structured;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod tools;
mod turn;
mod words;

pub use agent::Agent;
pub use config::Config;
pub use epilogue::{Epilogue, Interruption};
pub use error::{Error, Result};
pub use manifest::{Capability, Manifest, Want};
pub use message::{
    Blob, Body, Content, Extra, Message, Part, Role, Source, ToolCall, ToolResult, Usage,
};
pub use outcome::Outcome;
pub use turn::{Messages, Turn};
pub use words::{Code, FinishReason, Origin, ToolChoice};

/// The directory of the workspace's files, if `read-files` was granted.
pub const WORKSPACE: &str = "/workspace";

/// The items that most agents use.
pub mod prelude {
    pub use crate::log::Level;
    pub use crate::model::{Completion, Context, Event, Reply, Request};
    pub use crate::run_tools::{Finished, ToolLoop};
    pub use crate::state::Scope;
    pub use crate::{
        Agent, Capability, Code, Epilogue, Error, FinishReason, Interruption, Manifest, Message,
        Origin, Outcome, Part, Result, Role, ToolChoice, Turn, WORKSPACE, Want,
    };
}

/// Exports a type that implements [`Agent`] as the component.
///
/// On a native target it only checks that the type implements the trait: the names that a component
/// exports are not valid names for a native linker.
#[macro_export]
macro_rules! export {
    ($agent:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::agent::export!($agent with_types_in $crate::bindings::agent);

        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::bindings::check_agent::<$agent>;
    };
}

/// Exports a type that implements [`Agent`] and [`Epilogue`] as the component.
///
/// On a native target it only checks that the type implements both traits.
#[macro_export]
macro_rules! export_with_epilogue {
    ($agent:ident) => {
        $crate::export!($agent);

        #[cfg(target_family = "wasm")]
        $crate::bindings::closing::export!($agent with_types_in $crate::bindings::closing);

        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::bindings::check_epilogue::<$agent>;
    };
}

/// Compiles the programs in the guide.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Guide;
