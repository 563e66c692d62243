//! The vocabulary of lastword: ids, sessions and their messages, events, permissions, the keys of
//! workspaces, and the states, causes and ends of runs.
//!
//! Plain values: no async, no threads, no database. Embedders find all of it in the crate
//! `lastword`, which re-exports it.

pub mod clock;
pub mod damage;
pub mod event;
pub mod hint;
pub mod id;
pub mod permission;
pub mod retry;
pub mod run;
pub mod session;
pub mod similar;
pub mod text;
pub mod words;
pub mod workspace;
