//! The parts of the operating system that lastword uses: the clock, files that a person names, and
//! the removal of directory trees that a guest may have built.

pub mod clock;
pub mod file;
mod removing;

pub use removing::remove_tree;
