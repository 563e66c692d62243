//! The tests' harness: guests built once, hosts in folders of their own, a clock that a test
//! moves, and what every finished run must look like.

pub mod campaign;
pub mod check;
pub mod clock;
pub mod fixture;
pub mod guests;
pub mod heard;
pub mod locked;
pub mod tools;
pub mod wat;
pub mod watch;
