//! Log lines for the operator of an agent. They are not part of the conversation.

use serde::Serialize;

use crate::host::log;

pub use crate::bindings::log::Level;

/// Writes one line. Never fails.
pub fn write(level: Level, message: &str) {
    log::write(level, message, None);
}

/// Writes one line with named values beside it. Never fails: fields that cannot be written as JSON
/// are left out, since a log line is no reason to end a run.
pub fn write_with(level: Level, message: &str, fields: &impl Serialize) {
    let fields = serde_json::to_string(fields).ok();
    log::write(level, message, fields.as_deref());
}
