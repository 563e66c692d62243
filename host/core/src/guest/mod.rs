//! The host side of the interfaces that a guest imports, one module for each. A refusal is never
//! a trap: it is an error value that names the capability and what would grant it.

pub(crate) mod agents;
pub(crate) mod budget;
pub(crate) mod config_schema;
pub(crate) mod control;
mod convert;
pub(crate) mod decider;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod outgoing;
pub(crate) mod questions;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod tools;
pub(crate) mod transcript;

pub(crate) use convert::{BLOB_BYTES_MAX, Blob, blob_of, check_json};
pub(crate) use convert::{part_out as part_to_guest, words_in as part_from_guest};

use lastword_sandbox::bindings::lastword::agent as wit;
use lastword_sandbox::{GuestState, HasSelf, HostResult, Linker};
use std::sync::Arc;

/// The implementations of the imported interfaces for one guest, each with its own context.
pub(crate) struct Capabilities {
    pub(crate) transcript: transcript::Transcript,
    pub(crate) model: model::Model,
    pub(crate) tools: tools::Tools,
    pub(crate) state: state::State,
    pub(crate) control: control::ControlHost,
    pub(crate) log: log::Log,
    pub(crate) secrets: secrets::SecretsHost,
}

impl Capabilities {
    /// Denies everything, as for a component that describes itself or runs its epilogue.
    pub(crate) fn none(control: &Arc<control::Control>, journal: &Arc<log::Journal>) -> Self {
        Self {
            transcript: transcript::Transcript {
                control: Arc::clone(control),
                conversation: None,
            },
            model: model::Model::new(control, Err(failure::nothing_granted())),
            tools: tools::Tools {
                control: Arc::clone(control),
                granted: Err(failure::nothing_granted()),
            },
            state: state::State {
                control: Arc::clone(control),
                values: Err(failure::nothing_granted()),
            },
            control: control::ControlHost(Arc::clone(control)),
            log: log::Log {
                control: Arc::clone(control),
                journal: Arc::clone(journal),
            },
            secrets: secrets::SecretsHost {
                control: Arc::clone(control),
                granted: Err(failure::nothing_granted()),
            },
        }
    }
}

type State = GuestState<Capabilities>;

/// Links every interface of the WIT package, also those that are not granted: their functions
/// return a refusal.
pub(crate) fn link(linker: &mut Linker<State>) -> HostResult<()> {
    wit::types::add_to_linker::<_, HasSelf<transcript::Transcript>>(linker, |s: &mut State| {
        &mut s.host.transcript
    })?;
    wit::transcript::add_to_linker::<_, HasSelf<transcript::Transcript>>(
        linker,
        |s: &mut State| &mut s.host.transcript,
    )?;
    wit::model::add_to_linker::<_, HasSelf<model::Model>>(linker, |s: &mut State| {
        &mut s.host.model
    })?;
    wit::tools::add_to_linker::<_, HasSelf<tools::Tools>>(linker, |s: &mut State| {
        &mut s.host.tools
    })?;
    wit::state::add_to_linker::<_, HasSelf<state::State>>(linker, |s: &mut State| {
        &mut s.host.state
    })?;
    wit::control::add_to_linker::<_, HasSelf<control::ControlHost>>(linker, |s: &mut State| {
        &mut s.host.control
    })?;
    wit::secrets::add_to_linker::<_, HasSelf<secrets::SecretsHost>>(linker, |s: &mut State| {
        &mut s.host.secrets
    })?;
    wit::log::add_to_linker::<_, HasSelf<log::Log>>(linker, |s: &mut State| &mut s.host.log)
}
