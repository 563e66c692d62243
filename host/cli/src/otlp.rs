//! Spans for an OpenTelemetry collector, where the usual `OTEL_*` variables name one. They are sent
//! by a thread with a runtime of its own, so that no run waits for a collector.

use crate::terminal::Terminal;
use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter as Otlp, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor};
use std::sync::mpsc as standard;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Identity, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The largest number of spans that wait to be sent; further ones are dropped.
const WAITING_MAX: usize = 4096;
/// The number of spans in one request.
const BATCH: usize = 512;
/// How long spans are collected for one request.
const GATHER: Duration = Duration::from_secs(1);
/// How long the process's end waits for the collector.
const FLUSH: Duration = Duration::from_secs(3);

/// The sender to the thread that exports the spans.
pub(crate) struct Export(mpsc::Sender<Item>);

enum Item {
    Span(Box<SpanData>),
    Flush(standard::Sender<()>),
}

impl Export {
    /// Sends the remaining spans, for a bounded time.
    pub(crate) fn flush(self) {
        let (sent, done) = standard::channel();
        if self.0.try_send(Item::Flush(sent)).is_ok() {
            // A collector that does not answer must not hold the process.
            let _in_time = done.recv_timeout(FLUSH);
        }
    }
}

/// The layer that collects spans: none, unless the environment names a collector.
pub(crate) fn start<S>(terminal: &Terminal) -> (Box<dyn Layer<S> + Send + Sync>, Option<Export>)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    if !crate::trace::is_collector_named(|name| std::env::var(name).ok()) {
        return (Identity::new().boxed(), None);
    }

    match exporter() {
        Ok((provider, export)) => {
            let spans = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("lastword"))
                .with_filter(
                    Targets::new()
                        .with_target("lastword", LevelFilter::INFO)
                        // Log lines of agents are private and are not exported.
                        .with_target("lastword::agent", LevelFilter::OFF),
                );
            (spans.boxed(), Some(export))
        }
        Err(why) => {
            terminal.warn(&format!(
                "traces are not exported: {why}; look at OTEL_EXPORTER_OTLP_ENDPOINT"
            ));
            (Identity::new().boxed(), None)
        }
    }
}

fn exporter() -> Result<(SdkTracerProvider, Export), String> {
    install_tls();
    let http = reqwest::Client::new();
    let exporter = Otlp::builder().with_http().with_http_client(http).build();
    let mut exporter = exporter.map_err(|error| error.to_string())?;
    let name = std::env::var("OTEL_SERVICE_NAME").ok();
    let name = name.filter(|name| !name.trim().is_empty());
    let resource = Resource::builder()
        .with_service_name(name.unwrap_or_else(|| "lastword".to_owned()))
        .build();
    exporter.set_resource(&resource);
    let (items, waiting) = mpsc::channel(WAITING_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    std::thread::Builder::new()
        .name("lastword-traces".to_owned())
        .spawn(move || runtime.block_on(send(exporter, waiting)))
        .map_err(|error| error.to_string())?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(Queue(items.clone()))
        .build();
    Ok((provider, Export(items)))
}

/// Hands spans to the thread that sends them.
#[derive(Debug)]
struct Queue(mpsc::Sender<Item>);

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Item")
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Drops a span that does not fit, so that no run waits for a collector.
        let _dropped = self.0.try_send(Item::Span(Box::new(span)));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans in batches, until all senders are dropped.
async fn send(exporter: Otlp, mut waiting: mpsc::Receiver<Item>) {
    let mut batch = Vec::new();
    loop {
        let next = if batch.is_empty() {
            Ok(waiting.recv().await)
        } else {
            tokio::time::timeout(GATHER, waiting.recv()).await
        };
        let (mut flushed, mut over) = (None, false);
        match next {
            Ok(Some(Item::Span(span))) => {
                batch.push(*span);
                if batch.len() < BATCH {
                    continue;
                }
            }
            Ok(Some(Item::Flush(sent))) => flushed = Some(sent),
            Ok(None) => over = true,
            Err(_) => {}
        }
        if !batch.is_empty()
            && let Err(error) = exporter.export(std::mem::take(&mut batch)).await
        {
            tracing::warn!(%error, "traces were not taken by the collector");
        }
        if let Some(sent) = flushed {
            let _nobody_waits = sent.send(());
        }
        if over {
            return;
        }
    }
}

/// Gives HTTPS its cryptography.
fn install_tls() {
    let _installed_already = rustls::crypto::ring::default_provider().install_default();
}
