//! The suite: one binary, one file per promise.

mod capabilities;
mod cli;
mod finishing;
mod interruption;
mod models;
mod queue;
