//! The figures of a server and its host, as Prometheus text. Every server has a registry of
//! its own. Knows what is counted, not who asks.

use lastword::run::BUCKETS_US;
use lastword::{Host, HostStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

/// The content type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the classes of durations, in seconds.
const DURATIONS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: String,
}

/// The figures.
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Answer, Counter>,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    streams: Gauge,
    questions: Gauge,
}

impl Metrics {
    pub(crate) fn new(host: Host) -> Self {
        let mut registry = Registry::with_prefix("lastword");
        registry.register_collector(Box::new(OfHost(host)));
        let answers = Family::<Answer, Counter>::default();
        registry.register(
            "http_answers",
            "Requests that were answered",
            answers.clone(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(DURATIONS);
        let durations = Family::<Asked, Histogram, _>::new_with_constructor(histogram);
        let help = "From a request's head to its answer's head";
        let unit = Unit::Seconds;
        registry.register_with_unit("http_answering", help, unit, durations.clone());
        let streams = Gauge::default();
        registry.register(
            "http_streams",
            "Event streams that are open",
            streams.clone(),
        );
        let questions = Gauge::default();
        let help = "Questions that nobody has answered; at most 1,000 are counted";
        registry.register("questions_open", help, questions.clone());
        Self {
            registry,
            answers,
            durations,
            streams,
            questions,
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        let asked = Asked {
            method,
            route: route.clone(),
        };
        self.durations
            .get_or_create(&asked)
            .observe(took.as_secs_f64());
        let answer = Answer {
            method,
            route,
            status,
        };
        self.answers.get_or_create(&answer).inc();
    }

    /// Counts a stream for as long as the answer is kept.
    pub(crate) fn stream(&self) -> Streaming {
        self.streams.inc();
        Streaming(self.streams.clone())
    }

    /// So many questions are open.
    pub(crate) fn questions(&self, open: usize) {
        self.questions.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// All figures as they are now.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A stream that is counted as open.
pub(crate) struct Streaming(Gauge);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The host's own figures, taken when somebody asks for them.
struct OfHost(Host);

impl fmt::Debug for OfHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfHost")
    }
}

impl Collector for OfHost {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let stats = self.0.stats();
        gauges(&mut encoder, &stats)?;
        counters(&mut encoder, &stats)?;
        times(&mut encoder, &stats)
    }
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, stats: &HostStats) -> fmt::Result {
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
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
    }
    Ok(())
}

fn counters(encoder: &mut DescriptorEncoder<'_>, stats: &HostStats) -> fmt::Result {
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
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    Ok(())
}

fn times(encoder: &mut DescriptorEncoder<'_>, stats: &HostStats) -> fmt::Result {
    let times = [
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
        let unit = Some(&Unit::Seconds);
        let mut encoder = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        let bounds = BUCKETS_US.iter().map(|us| seconds(*us));
        let buckets = bounds.chain([f64::INFINITY]).zip(times.counts);
        let buckets: Vec<_> = buckets.collect();
        let count = times.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(seconds(times.sum_us), count, &buckets, None)?;
    }
    Ok(())
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}
