//! The command `lastword`.

fn main() {}
