//! The trait that an agent implements, and how a call from the host reaches it.

use crate::bindings::{turn, types};
use crate::{Config, Manifest, Outcome, Result, Turn, panic};

/// An agent.
pub trait Agent {
    /// The settings that an embedder can set for a session: `()` for an agent without settings, or
    /// a type that implements [`Default`] and `serde::Deserialize`.
    type Config: Config;

    /// Returns the agent's description of itself. The host calls it at load, with every capability
    /// denied.
    fn manifest() -> Manifest;

    /// Carries out one run: answers one prompt. The instance is not used again afterwards.
    ///
    /// # Errors
    ///
    /// An error ends the run as failed, with its code and message as the detail. If the host is
    /// already stopping the run, the host's cause stands.
    fn run(turn: &Turn<Self::Config>) -> Result<Outcome>;
}

impl<A: Agent> turn::Guest for A {
    fn describe() -> turn::Manifest {
        panic::report_to_host();
        A::manifest().into()
    }

    fn run(prompt: turn::Prompt) -> std::result::Result<turn::Outcome, types::Failure> {
        panic::report_to_host();
        let turn = Turn::start(prompt)?;
        Ok(A::run(&turn)?.into())
    }
}
