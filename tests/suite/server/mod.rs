//! The HTTP API, through a real socket and by a client of its own.

mod access;
mod attachments;
mod bad_input;
mod client;
mod connections;
mod document;
mod figures;
mod forms;
mod harness;
mod keeping;
mod keys;
mod nested;
mod permissions;
mod retries;
mod routes;
mod streams;
mod tenants;
