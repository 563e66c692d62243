//! The suite: one binary, one file per promise.

mod campaign;
mod controls;
mod smoke;
mod tidy;
