//! The suite: one binary, one file per promise.

mod campaign;
mod capabilities;
mod cli;
mod controls;
mod finishing;
mod following;
mod formats;
mod interruption;
mod mcp;
mod mcp_everything;
mod mcp_fake;
mod mcp_oauth;
mod mcp_odd;
mod mcp_odd_http;
mod model_wire;
mod models;
mod network;
mod panics;
mod queue;
mod secrets;
mod server;
mod sessions;
mod tidy;
mod tools;
mod workspaces;
mod writes;
