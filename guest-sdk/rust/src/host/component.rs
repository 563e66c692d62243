//! The host of a component: the functions that were generated from the WIT package.

pub(crate) use crate::bindings::{control, log, model, secrets, state, tools, transcript};
