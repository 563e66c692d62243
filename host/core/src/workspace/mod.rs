//! Decides which workspaces are open and which claims keep them open, without locks or clocks.
//! `host/registry.rs` and `host/closing.rs` carry out these decisions.

pub(crate) mod claims;
pub(crate) mod registry;

pub(crate) use lastword_types::workspace::*;
