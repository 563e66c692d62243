//! Reports a panic's message and place to the host before the trap that ends the run.

use std::panic::{Location, PanicHookInfo};
use std::sync::Once;

use crate::bindings::log;

/// Installs the panic hook, once per instance. A native build keeps its own hook, since it has no
/// host to report to.
pub(crate) fn report_to_host() {
    static INSTALLED: Once = Once::new();
    if cfg!(target_family = "wasm") {
        INSTALLED.call_once(|| std::panic::set_hook(Box::new(report)));
    }
}

fn report(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    let (line, fields) = describe(message, panic.location());
    log::write(log::Level::Error, &line, Some(&fields));
}

/// The largest number of bytes of a message in the field `panic`: the host ignores fields that are
/// longer than a log line.
const MESSAGE_BYTES_MAX: usize = 512;

/// Returns the line for people, and the JSON of the field `panic` that the host reads.
fn describe(message: &str, place: Option<&Location<'_>>) -> (String, String) {
    let short = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let Some(place) = place else {
        let fields = serde_json::json!({ "panic": { "message": short } });
        return (format!("panicked: {message}"), fields.to_string());
    };
    let fields = serde_json::json!({ "panic": {
        "message": short,
        "file": place.file(),
        "line": place.line(),
        "column": place.column(),
    }});
    (
        format!("panicked at {place}: {message}"),
        fields.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place() {
        let place = Location::caller();
        let (line, fields) = describe("no \"luck\"", Some(place));
        assert!(
            line.starts_with("panicked at ") && line.ends_with(": no \"luck\""),
            "{line}"
        );
        assert!(line.contains(&format!("panic.rs:{}:{}", place.line(), place.column())));
        let fields: serde_json::Value = serde_json::from_str(&fields).unwrap();
        assert_eq!(fields["panic"]["message"], "no \"luck\"");
        assert_eq!(fields["panic"]["line"], place.line());
        assert_eq!(fields["panic"]["column"], place.column());
    }

    #[test]
    fn a_long_message_is_whole_in_the_line_alone() {
        let message = "\u{1}ü".repeat(4096);
        let (line, fields) = describe(&message, Some(Location::caller()));
        assert!(line.ends_with(&message));
        assert!(fields.len() < 4096, "{}", fields.len());
    }
}
