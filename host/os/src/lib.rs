//! What lastword takes from the machine: its clock, files that a person names, and the removal
//! of trees that a guest may have built.

pub mod clock;
pub mod file;
mod removing;

pub use removing::remove_tree;
