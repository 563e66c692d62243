//! The suite: one binary, one file per promise.

mod cli;
mod smoke;
