//! An agent's log for its author: log calls and printed lines are passed to `tracing`, within
//! bounds, and with a marker where lines were dropped.

use super::control::Control;
use lastword_sandbox::bindings::lastword::agent::log::{Host, Level};
use lastword_sandbox::{GuestLines, HostResult, LineSource};
use lastword_types::id::RunId;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The largest number of lines that one run may log.
const LINES_MAX: u32 = 1000;
/// The largest number of bytes in a line.
const LINE_BYTES_MAX: usize = 4096;
/// The number of lines of standard error that are kept for the detail of a crash.
const LAST_WORDS: usize = 8;

/// One guest's log.
pub(crate) struct Log {
    pub(crate) control: Arc<Control>,
    pub(crate) journal: Arc<Journal>,
}

/// The log of one run, and those of its lines that explain a crash.
pub(crate) struct Journal {
    run: Option<RunId>,
    lines: AtomicU32,
    crash: Mutex<Crash>,
}

#[derive(Default)]
struct Crash {
    panic: Option<String>,
    stderr: Vec<String>,
}

impl Journal {
    pub(crate) fn new(run: Option<RunId>) -> Arc<Self> {
        Arc::new(Self {
            run,
            lines: AtomicU32::new(0),
            crash: Mutex::default(),
        })
    }

    /// Returns the guest's own message about its crash: its panic, or else the end of its standard
    /// error.
    pub(crate) fn last_words(&self) -> Option<String> {
        let crash = self.crash.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = (!crash.stderr.is_empty()).then(|| crash.stderr.join("\n"));
        crash.panic.clone().or(stderr)
    }

    /// Adds a line of the host's own, within the same bounds.
    pub(crate) fn warn(&self, message: &str) {
        self.write(Level::Warn, message, None);
    }

    fn write(&self, level: Level, message: &str, fields: Option<&str>) {
        if fields.is_some_and(has_panic) {
            let mut crash = self.crash.lock().unwrap_or_else(PoisonError::into_inner);
            crash.panic = Some(cut(message).to_owned());
        }

        let count = self.lines.fetch_add(1, Ordering::Relaxed);
        if count > LINES_MAX {
            return;
        }

        let run = self.run.map(|run| run.to_string()).unwrap_or_default();
        if count == LINES_MAX {
            tracing::warn!(target: "lastword::agent", run, "the agent logs too much; the rest is dropped");
            return;
        }

        let message = cut(message);
        let fields = cut(fields.unwrap_or_default());
        match level {
            Level::Trace => tracing::trace!(target: "lastword::agent", run, fields, "{message}"),
            Level::Debug => tracing::debug!(target: "lastword::agent", run, fields, "{message}"),
            Level::Info => tracing::info!(target: "lastword::agent", run, fields, "{message}"),
            Level::Warn => tracing::warn!(target: "lastword::agent", run, fields, "{message}"),
            Level::Error => tracing::error!(target: "lastword::agent", run, fields, "{message}"),
        }
    }
}

/// Whether log fields report a panic. Fields longer than a line are not parsed: they are cut, and
/// no longer valid JSON.
fn has_panic(fields: &str) -> bool {
    if fields.len() > LINE_BYTES_MAX {
        return false;
    }
    let fields: Option<serde_json::Value> = serde_json::from_str(fields).ok();
    fields.is_some_and(|fields| fields.get("panic").is_some())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LINE_BYTES_MAX)]
}

impl GuestLines for Journal {
    fn line(&self, source: LineSource, line: &str) {
        let level = match source {
            LineSource::Stdout => Level::Info,
            LineSource::Stderr => {
                let mut crash = self.crash.lock().unwrap_or_else(PoisonError::into_inner);
                if crash.stderr.len() == LAST_WORDS {
                    crash.stderr.remove(0);
                }
                crash.stderr.push(cut(line).to_owned());
                Level::Warn
            }
        };

        self.write(level, line, None);
    }
}

impl Host for Log {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "log.write",
        skip_all
    )]
    async fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Option<String>,
    ) -> HostResult<()> {
        self.control.called();
        self.journal.write(level, &message, fields.as_deref());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_kept_and_fields_longer_than_a_line_are_not_looked_into() {
        let journal = Journal::new(None);
        let long = format!("{{\"panic\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        journal.write(Level::Error, "a long panic", Some(&long));
        assert_eq!(journal.last_words(), None);
        journal.write(Level::Error, "a panic", Some("{\"panic\":true}"));
        assert_eq!(journal.last_words().as_deref(), Some("a panic"));
    }
}
