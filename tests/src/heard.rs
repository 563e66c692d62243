//! Searches everything that the libraries of this process log, at every level, for given words. It
//! keeps only the lines that it found and the crates that logged.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// Compilers, which log very much about guests and are given nothing else.
const COMPILERS: [&str; 3] = ["cranelift", "regalloc", "wasmtime_internal_cranelift"];

static LISTENING: AtomicUsize = AtomicUsize::new(0);
static LISTENERS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Listens until it is dropped.
pub struct Heard(Arc<Shared>);

struct Shared {
    wanted: Vec<String>,
    heard: Mutex<(BTreeSet<String>, Vec<String>)>,
}

impl Heard {
    /// Listens for these words from now on, in the logs of the whole process.
    ///
    /// # Panics
    /// When the process already has another global subscriber or logger.
    #[must_use]
    pub fn listen(wanted: Vec<String>) -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let all = tracing_subscriber::registry().with(Ear);
            tracing::subscriber::set_global_default(all).expect("nobody else listens");
            log::set_logger(&Ear).expect("nobody else listens");
        });
        let shared = Arc::new(Shared {
            wanted,
            heard: Mutex::default(),
        });
        listeners().push(Arc::downgrade(&shared));
        LISTENING.fetch_add(1, Ordering::SeqCst);
        log::set_max_level(log::LevelFilter::Trace);
        Self(shared)
    }

    /// The crates that logged: that of each target.
    #[must_use]
    pub fn speakers(&self) -> BTreeSet<String> {
        self.0.lock().0.clone()
    }

    /// The lines that hold one of the words.
    #[must_use]
    pub fn found(&self) -> Vec<String> {
        self.0.lock().1.clone()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if LISTENING.fetch_sub(1, Ordering::SeqCst) == 1 {
            log::set_max_level(log::LevelFilter::Off);
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, (BTreeSet<String>, Vec<String>)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listeners() -> std::sync::MutexGuard<'static, Vec<Weak<Shared>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_heard(target: &str) -> bool {
    LISTENING.load(Ordering::Relaxed) > 0 && !COMPILERS.iter().any(|name| target.starts_with(name))
}

fn tell(target: &str, line: &str) {
    let mut listeners = listeners();
    listeners.retain(|listener| listener.strong_count() > 0);
    for listener in listeners.iter().filter_map(Weak::upgrade) {
        let mut heard = listener.lock();
        let speaker = target.split("::").next().unwrap_or_default();
        if !heard.0.contains(speaker) {
            heard.0.insert(speaker.to_owned());
        }
        if listener.wanted.iter().any(|wanted| line.contains(wanted)) {
            heard.1.push(format!("{target}: {line}"));
        }
    }
}

/// Takes what `tracing` and `log` carry.
struct Ear;

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _never_fails = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _never_fails = write!(self.0, " {field}={value}");
    }
}

/// The name and the first fields of a span.
fn line_of<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> String {
    let extensions = span.extensions();
    let line = extensions.get::<Line>().map(|line| line.0.clone());
    line.unwrap_or_else(|| span.name().to_owned())
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_heard(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut line = Line(attributes.metadata().name().to_owned());
        attributes.record(&mut line);
        tell(attributes.metadata().target(), &line.0);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(line);
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().map_or("nothing", |parent| parent.name());
        let own = line_of(&span);
        // A span that has closed is not found any more, and cannot be followed.
        let followed = context.span_scope(follows);
        let followed = followed.into_iter().flat_map(|scope| scope.from_root());
        let followed: Vec<String> = followed.map(|span| line_of(&span)).collect();
        let link = format!("{own} in {parent} follows from {}", followed.join(": "));
        tell(span.metadata().target(), &link);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        values.record(&mut line);
        tell("a span", &line.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        tell(event.metadata().target(), &line.0);
    }
}

impl log::Log for Ear {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        is_heard(metadata.target())
    }

    fn log(&self, record: &log::Record<'_>) {
        if is_heard(record.target()) {
            tell(record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}
