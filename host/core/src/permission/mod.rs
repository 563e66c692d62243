//! What an agent wants, what it is granted, and what follows from both. Pure; knows neither
//! who grants nor what a capability does.

mod capability;
mod grants;
mod manifest;

pub use capability::{Capability, UnknownCapability};
pub use grants::Grants;
pub use manifest::{Manifest, Want};
