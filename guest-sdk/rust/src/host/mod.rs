//! The way to the host: the interfaces' own functions in a component, and on a native target
//! whichever host a test has put there. It is chosen when the crate is compiled, so that a
//! component holds nothing of it but what it calls.

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
