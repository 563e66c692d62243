//! The host of a component: the functions that were generated from the WIT package.
//!
//! It does not know that there are others.

pub(crate) use crate::bindings::{control, log, model, secrets, state, tools, transcript};
