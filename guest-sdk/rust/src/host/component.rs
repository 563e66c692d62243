//! The host functions of a component: those that are generated from the WIT package.

pub(crate) use crate::bindings::{control, log, model, secrets, state, tools, transcript};
