//! Subscribers in a process of their own: they open the streams that are named on standard
//! input, one per line, and tell on standard output when all are open and what they saw.

use std::io::{BufRead, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// What one stream tells.
enum Told {
    Open,
    /// How long one delta was on its way, in microseconds.
    Delta(u64),
    Ended,
}

/// Reads every stream until each has seen the end of a run; a line that begins with `slow `
/// names one that is opened and never read.
pub(crate) async fn read(url: &str) {
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    let (tell, mut told) = mpsc::unbounded_channel();
    let (mut open, mut reading) = (0, 0);
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (slow, path) = match line.strip_prefix("slow ") {
            Some(path) => (true, path.to_owned()),
            None => (false, line),
        };
        open += 1;
        reading += usize::from(!slow);
        let request = client.get(format!("{url}{path}")).send();
        tokio::spawn(stream(request, slow, tell.clone()));
    }
    let mut took = Vec::new();
    while reading > 0 {
        match told.recv().await.expect("the streams tell") {
            Told::Open => {
                open -= 1;
                if open == 0 {
                    say("open");
                }
            }
            Told::Delta(us) => took.push(us),
            Told::Ended => reading -= 1,
        }
    }
    let took: Vec<String> = took.iter().map(u64::to_string).collect();
    say(&took.join(" "));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").expect("somebody reads");
}

async fn stream(
    request: impl Future<Output = reqwest::Result<reqwest::Response>>,
    slow: bool,
    tell: mpsc::UnboundedSender<Told>,
) {
    let mut response = request.await.expect("the server answers");
    assert!(response.status().is_success(), "{}", response.status());
    let _all_are_known = tell.send(Told::Open);
    if slow {
        std::future::pending::<()>().await;
    }
    let mut buffer = Vec::new();
    while let Some(chunk) = response.chunk().await.expect("the stream goes on") {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or(Duration::ZERO).as_micros();
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Some(json) = line.strip_prefix(b"data:") else {
                continue;
            };
            let event: serde_json::Value = serde_json::from_slice(json).expect("an event");
            match event["type"].as_str() {
                Some("text.delta") => {
                    let text = event["text"].as_str().unwrap_or_default();
                    for stamp in text.split_terminator(';') {
                        let said: u128 = stamp.parse().expect("a time");
                        let us = u64::try_from(now.saturating_sub(said)).unwrap_or(u64::MAX);
                        let _all_are_known = tell.send(Told::Delta(us));
                    }
                }
                Some("run.ended") => {
                    let _all_are_known = tell.send(Told::Ended);
                }
                _ => {}
            }
        }
    }
}
