//! Which workspaces are open and who keeps them open, without locks or time: `host/registry.rs` and
//! `host/closing.rs` do what these say.

pub(crate) mod claims;
pub(crate) mod registry;

pub(crate) use lastword_types::workspace::*;
