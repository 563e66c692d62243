//! The figures of a server and its host, in the text format of OpenMetrics, which Prometheus reads.
//! `observe.rs` counts responses here and `feed.rs` streams; the host's own figures are read on
//! request.

use crate::options::Connections;
use lastword::run::BUCKETS_US;
use lastword::{Host, HostStats};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The content type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of the buckets of durations, in microseconds.
const DURATIONS_US: [u64; 11] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000,
];

/// A method and a route. Their number is bounded by that of the API's routes.
type Route = (&'static str, String);

/// The figures of a server.
pub(crate) struct Metrics {
    host: Host,
    routes: Mutex<BTreeMap<Route, Answers>>,
    streams: Arc<AtomicU64>,
    questions: AtomicU64,
    connections: Connections,
}

/// The counts of one route's responses.
#[derive(Default)]
struct Answers {
    by_status: BTreeMap<u16, u64>,
    /// The number of responses in each bucket of durations. The last bucket has no upper bound.
    classes: [u64; DURATIONS_US.len() + 1],
    sum: Duration,
}

impl Metrics {
    pub(crate) fn new(host: Host, connections: Connections) -> Self {
        Self {
            host,
            routes: Mutex::default(),
            streams: Arc::default(),
            questions: AtomicU64::new(0),
            connections,
        }
    }

    /// Counts a response, and the time between the head of its request and its own head.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let within = |us: &u64| took <= Duration::from_micros(*us);
        let class = DURATIONS_US.iter().position(within);

        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = routes.entry((method, route.to_owned())).or_default();
        *answers.by_status.entry(status).or_default() += 1;
        answers.classes[class.unwrap_or(DURATIONS_US.len())] += 1;
        answers.sum += took;
    }

    /// Counts a stream as open until the returned value is dropped.
    pub(crate) fn stream(&self) -> Streaming {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Streaming(Arc::clone(&self.streams))
    }

    /// Sets how many questions are open.
    pub(crate) fn questions(&self, open: usize) {
        self.questions.store(open as u64, Ordering::Relaxed);
    }

    /// Returns all current figures.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = Text(String::new());
        let stats = self.host.stats();
        text.family(
            "build_info",
            "gauge",
            None,
            "The version of this server; always 1",
        )?;
        let version = ("version", env!("CARGO_PKG_VERSION"));
        let labels = labels(&[version, ("wit", lastword::WIT_VERSION)]);
        text.sample("build_info", &labels, 1)?;
        host_gauges(&mut text, &stats)?;
        host_counters(&mut text, &stats)?;
        host_times(&mut text, &stats)?;
        self.routes(&mut text)?;

        let connections = self.connections.open();
        let help = "Connections that are open, on all listeners of this server";
        text.gauge("http_connections", help, connections)?;
        let streams = self.streams.load(Ordering::Relaxed);
        text.gauge("http_streams", "Event streams that are open", streams)?;
        let questions = self.questions.load(Ordering::Relaxed);
        let help = "Questions that nobody has answered; at most 1,000 are counted";
        text.gauge("questions_open", help, questions)?;
        text.0.push_str("# EOF\n");
        Ok(text.0)
    }

    fn routes(&self, text: &mut Text) -> fmt::Result {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        text.family(
            "http_answers",
            "counter",
            None,
            "Requests that were answered",
        )?;
        for ((method, route), answers) in &*routes {
            for (status, count) in &answers.by_status {
                let labels = labels(&[
                    ("method", method),
                    ("route", route),
                    ("status", &status.to_string()),
                ]);
                text.sample("http_answers_total", &labels, count)?;
            }
        }

        let help = "From a request's head to its answer's head";
        text.family("http_answering", "histogram", Some("seconds"), help)?;
        for ((method, route), answers) in &*routes {
            let labels = labels(&[("method", method), ("route", route)]);
            let (name, sum) = ("http_answering_seconds", answers.sum);
            text.histogram(name, &labels, &DURATIONS_US, &answers.classes, sum)?;
        }

        Ok(())
    }
}

/// A stream that is counted as open.
pub(crate) struct Streaming(Arc<AtomicU64>);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn host_gauges(text: &mut Text, stats: &HostStats) -> fmt::Result {
    let gauges = [
        (
            "workspaces_open",
            "Workspaces that are open",
            stats.workspaces_open,
        ),
        (
            "workspaces_closing",
            "Workspaces that are closing",
            stats.workspaces_closing,
        ),
        (
            "clients",
            "Claims of clients, summed over workspaces",
            stats.clients,
        ),
        (
            "client_streams",
            "Streams of clients, summed over workspaces",
            stats.streams,
        ),
        ("runs_running", "Runs that have a guest", stats.runs_running),
        ("runs_queued", "Runs that wait", stats.runs_queued),
        (
            "slots",
            "Runs that may have a guest at the same time",
            stats.slots,
        ),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help, value)?;
    }

    let sizes = [
        (
            "database",
            "The database; 0 for a store in memory",
            stats.database_bytes,
        ),
        (
            "database_wal",
            "The database's write-ahead log; 0 for a store in memory",
            stats.wal_bytes,
        ),
    ];
    for (name, help, bytes) in sizes {
        text.family(name, "gauge", Some("bytes"), help)?;
        text.sample(&format!("{name}_bytes"), "", bytes)?;
    }

    Ok(())
}

fn host_counters(text: &mut Text, stats: &HostStats) -> fmt::Result {
    let counters = [
        (
            "runs_accepted",
            "Prompts that were accepted",
            stats.accepted,
        ),
        ("runs_completed", "Runs that completed", stats.completed),
        (
            "runs_cancelled",
            "Runs that were cancelled",
            stats.cancelled,
        ),
        ("runs_failed", "Runs that failed", stats.failed),
        (
            "runs_interrupted",
            "Runs that were interrupted",
            stats.interrupted,
        ),
        (
            "runs_lost",
            "Runs whose end could not be written",
            stats.lost,
        ),
        (
            "input_tokens",
            "Tokens that models read",
            stats.input_tokens,
        ),
        (
            "output_tokens",
            "Tokens that models wrote",
            stats.output_tokens,
        ),
        (
            "tool_calls",
            "Calls of tools that runs made, refused ones included",
            stats.tool_calls,
        ),
    ];
    for (name, help, value) in counters {
        text.family(name, "counter", None, help)?;
        text.sample(&format!("{name}_total"), "", value)?;
    }

    let help = "What models cost, as far as their prices are known";
    text.family("model_cost", "counter", Some("dollars"), help)?;
    let (dollars, micros) = (stats.cost_micros / 1_000_000, stats.cost_micros % 1_000_000);
    text.sample(
        "model_cost_dollars_total",
        "",
        format_args!("{dollars}.{micros:06}"),
    )
}

fn host_times(text: &mut Text, stats: &HostStats) -> fmt::Result {
    let times = [
        (
            "run_wait",
            "From the prompt or resumption of a run to the call of its agent",
            &stats.wait,
        ),
        (
            "run_stop",
            "From a cause to the guest being gone",
            &stats.stop,
        ),
        (
            "run_persist",
            "From there to the finishing transaction",
            &stats.persist,
        ),
    ];
    for (name, help, times) in times {
        text.family(name, "histogram", Some("seconds"), help)?;
        let (name, sum) = (
            format!("{name}_seconds"),
            Duration::from_micros(times.sum_us),
        );
        text.histogram(&name, "", &BUCKETS_US, &times.counts, sum)?;
    }

    Ok(())
}

/// The text under construction.
struct Text(String);

impl Text {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, unit: Option<&str>, help: &str) -> fmt::Result {
        let name = match unit {
            Some(unit) => format!("lastword_{name}_{unit}"),
            None => format!("lastword_{name}"),
        };

        writeln!(self.0, "# HELP {name} {help}.")?;
        writeln!(self.0, "# TYPE {name} {kind}")?;
        match unit {
            Some(unit) => writeln!(self.0, "# UNIT {name} {unit}"),
            None => Ok(()),
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) -> fmt::Result {
        match labels {
            "" => writeln!(self.0, "lastword_{name} {value}"),
            _ => writeln!(self.0, "lastword_{name}{{{labels}}} {value}"),
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, "gauge", None, help)?;
        self.sample(name, "", value)
    }

    /// Writes a histogram of durations. It has one more bucket than upper bounds.
    fn histogram(
        &mut self,
        name: &str,
        labels: &str,
        bounds_us: &[u64],
        classes: &[u64],
        sum: Duration,
    ) -> fmt::Result {
        self.sample(&format!("{name}_sum"), labels, seconds(sum))?;
        let count: u64 = classes.iter().sum();
        self.sample(&format!("{name}_count"), labels, count)?;

        let bounds = bounds_us
            .iter()
            .map(|us| seconds(Duration::from_micros(*us)));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(classes) {
            below += count;
            let comma = if labels.is_empty() { "" } else { "," };
            let labels = format!("le=\"{bound}\"{comma}{labels}");
            self.sample(&format!("{name}_bucket"), &labels, below)?;
        }

        Ok(())
    }
}

/// Returns seconds in the form of the format, always with a decimal point.
fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        whole if whole.fract() == 0.0 => format!("{whole:.1}"),
        seconds => seconds.to_string(),
    }
}

/// Returns the labels between braces.
fn labels(labels: &[(&str, &str)]) -> String {
    let labels = labels.iter().map(|(name, value)| {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    labels.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_upwards_to_all() {
        let mut text = Text(String::new());
        let (bounds, classes) = ([500, 1_000_000], [1, 2, 4]);
        let sum = Duration::from_millis(1500);
        let labels = labels(&[("route", "a\"b\\c\nd")]);
        text.family("x", "histogram", Some("seconds"), "Help")
            .unwrap();
        text.histogram("x_seconds", &labels, &bounds, &classes, sum)
            .unwrap();
        let wanted = r#"# HELP lastword_x_seconds Help.
# TYPE lastword_x_seconds histogram
# UNIT lastword_x_seconds seconds
lastword_x_seconds_sum{route="a\"b\\c\nd"} 1.5
lastword_x_seconds_count{route="a\"b\\c\nd"} 7
lastword_x_seconds_bucket{le="0.0005",route="a\"b\\c\nd"} 1
lastword_x_seconds_bucket{le="1.0",route="a\"b\\c\nd"} 3
lastword_x_seconds_bucket{le="+Inf",route="a\"b\\c\nd"} 7
"#;
        assert_eq!(text.0, wanted);
    }
}
