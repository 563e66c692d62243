//! Access to the host. In a component these are the functions of the WIT interfaces; on a native
//! target they call the host that a test has set. The choice is made at compile time, so that a
//! component contains only the host functions that it calls.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub(crate) use component::{control, log, model, secrets, state, tools, transcript};
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{Backend, Events, Values, enter};
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{control, log, model, secrets, state, tools, transcript};
