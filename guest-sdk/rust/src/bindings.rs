//! The only module that is generated from the WIT package, and therefore the only one that contains
//! `unsafe`. It is public for the export macros and for tests of a host, and is not part of the
//! API.

use crate::{Agent, Epilogue};

/// The world `agent`.
pub mod agent {
    wit_bindgen::generate!({
        world: "lastword:agent/agent",
        path: "wit",
        pub_export_macro: true,
        additional_derives: [Clone, PartialEq],
    });
}

/// The exports that the world `agent-with-epilogue` adds to `agent`. A component that exports both
/// worlds is the sum of the two, so that the imports are generated only once.
pub mod closing {
    wit_bindgen::generate!({
        inline: "
            package lastword:guest-sdk;
            world closing { export lastword:agent/epilogue@0.1.0; }
        ",
        path: "wit",
        with: { "lastword:agent/types@0.1.0": crate::bindings::agent::lastword::agent::types },
        pub_export_macro: true,
        additional_derives: [Clone, PartialEq],
    });
}

pub use agent::exports::lastword::agent::turn;
pub use agent::lastword::agent::{control, log, model, secrets, state, tools, transcript, types};
pub use closing::exports::lastword::agent::epilogue;

pub fn check_agent<A: Agent>() {}

pub fn check_epilogue<A: Epilogue>() {}
