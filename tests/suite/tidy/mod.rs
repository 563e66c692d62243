//! What a reviewer would otherwise have to look for each time. Reads the repository as text;
//! runs nothing. Each rule is a function from a file to what is wrong with it, and has a
//! control: a snippet that it must not let pass.

mod boundaries;
mod crates;
mod futures;
mod guides;
mod imports;
mod layout;
mod shape;
mod source;
