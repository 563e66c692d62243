//! Percentiles and how they are printed.

use std::time::Duration;

pub(crate) fn heading(text: &str) {
    println!("\n{text}");
}

/// A percentile of durations, in microseconds.
pub(crate) fn percentile(took: &mut [Duration], percent: f64) -> f64 {
    took.sort_unstable();
    let at = ((took.len() - 1) as f64 * percent / 100.0).round() as usize;
    took[at].as_secs_f64() * 1e6
}

/// One line: median, p99 and maximum.
pub(crate) fn line(name: &str, mut took: Vec<Duration>) -> f64 {
    let median = percentile(&mut took, 50.0);
    println!(
        "  {name:<52} p50 {median:>9.1} µs   p99 {:>9.1} µs   p100 {:>9.1} µs   n {}",
        percentile(&mut took, 99.0),
        percentile(&mut took, 100.0),
        took.len(),
    );
    median
}

pub(crate) fn micros(us: u64) -> Duration {
    Duration::from_micros(us)
}
