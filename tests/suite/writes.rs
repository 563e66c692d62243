//! What a run has the host write is bounded, whatever it calls and whether or not anything is
//! granted, and what changes nothing writes nothing.

use lastword::model::{Reply, Scripted, Step};
use lastword::session::Usage;
use lastword::{Capability, Limits};
use lastword_tests::check::{open, violations};
use lastword_tests::fixture::{Fixture, Plan};
use std::path::Path;

/// What an import has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// Nothing.
    Nothing,
    /// What the run says: bounded by its bytes, its entries in the log and its bytes of data.
    Output,
    /// The agent's values, if they are granted: bounded by their bytes in each scope.
    State,
    /// What the run says, if a model is granted.
    Model,
}

/// Every function that the world imports, what it has written, and how often it is called here:
/// far more often than fits the bounds. A tidy test holds this list against the WIT files: an
/// import of which nothing is known fails the build.
const IMPORTS: [(&str, Writes, u32); 24] = [
    ("transcript/history", Writes::Nothing, 500),
    ("transcript/append-text", Writes::Output, 1000),
    ("transcript/append-reasoning", Writes::Output, 2000),
    ("transcript/append-part", Writes::Output, 1000),
    ("transcript/record-result", Writes::Output, 500),
    ("transcript/summarise", Writes::Output, 500),
    ("transcript/set-title", Writes::Output, 20_000),
    ("transcript/read-blob", Writes::Nothing, 500),
    ("model/complete", Writes::Model, 500),
    ("model/completion.next", Writes::Model, 2000),
    ("model/completion.to-transcript", Writes::Model, 2000),
    ("model/models", Writes::Nothing, 500),
    ("tools/available", Writes::Nothing, 50),
    ("tools/call", Writes::Output, 100),
    ("tools/call-all", Writes::Output, 50),
    ("state/get", Writes::Nothing, 500),
    ("state/set", Writes::State, 500),
    ("state/compare-and-set", Writes::State, 500),
    ("state/delete", Writes::State, 500),
    ("state/keys", Writes::Nothing, 500),
    ("control/interruption", Writes::Nothing, 500),
    ("control/remaining-ms", Writes::Nothing, 500),
    ("log/write", Writes::Nothing, 5000),
    ("secrets/exists", Writes::Nothing, 500),
];

/// Bytes that a run itself takes: its row, its prompt, its end.
const RUN: u64 = 64 << 10;
/// Bytes of the write-ahead log, whose checkpoints come every 16 MiB.
const LOG_AHEAD: u64 = 32 << 20;

fn limits() -> Limits {
    Limits::default()
        .output_bytes(64 << 10)
        .log_entries(500)
        .written_bytes(1 << 20)
        .state_bytes(64 << 10)
        .tool_calls(200)
}

/// Limits that no run reaches.
fn without() -> Limits {
    limits()
        .output_bytes(u64::MAX)
        .log_entries(u64::MAX)
        .written_bytes(u64::MAX)
}

/// By how much a run may have the data directory grow, as the documentation of [`Limits`] says.
fn bound(writes: Writes, granted: bool) -> u64 {
    let limits = limits();
    let output = 12 * limits.output_bytes + 1024 * limits.log_entries + limits.written_bytes;
    RUN + match (writes, granted) {
        (Writes::Output, _) | (Writes::Model, true) => output,
        // Two scopes, in pages that are half full.
        (Writes::State, true) => 4 * limits.state_bytes,
        (Writes::Nothing, _) | (Writes::State | Writes::Model, false) => 0,
    }
}

/// Bytes of a data directory: of its database as it is when all is copied from the log ahead, and
/// of all its other files.
fn size(data: &Path) -> u64 {
    let pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let database: i64 = open(data)
        .query_row(pages, [], |row| row.get(0))
        .expect("a size");
    database as u64 + files(data)
}

fn files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => files(&entry.path()),
            Ok(metadata) if !name.starts_with("lastword.db") => metadata.len(),
            // Of the database, or gone meanwhile.
            _ => 0,
        }
    });
    sizes.sum()
}

/// By how many bytes a data directory grows while a run calls an import.
async fn growth(fixture: &Fixture, import: &str, count: u32) -> u64 {
    let before = size(&fixture.data());
    let run = fixture.start(&format!("write-out {import} {count}")).await;
    let receipt = run.ended().await.expect("it ends");
    assert!(
        ["returned", "limit(tool-calls)"].contains(&&*receipt.cause.name()),
        "{import}: {receipt:?}"
    );
    let ahead = std::fs::metadata(fixture.data().join("lastword.db-wal"));
    let ahead = ahead.expect("a log").len();
    assert!(
        ahead <= LOG_AHEAD,
        "{import}: the log ahead has {ahead} bytes"
    );
    size(&fixture.data()).saturating_sub(before)
}

/// A host whose model says little and uses tokens.
async fn host(limits: Limits, grants: &[Capability]) -> Fixture {
    let usage = Usage {
        input_tokens: 1,
        output_tokens: 1,
        ..Usage::default()
    };
    let steps = [Step::Text("x".to_owned()), Step::Usage(usage)];
    let model = Scripted::new([Reply::new(steps)]);
    let plan = Plan::new().grants(grants).limits(limits);
    plan.host(|host| host.model(model)).build().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_import_writes_within_its_bound() {
    for grants in [vec![], vec![Capability::State, Capability::Model]] {
        let granted = !grants.is_empty();
        let fixture = host(limits(), &grants).await;
        for (import, writes, count) in IMPORTS {
            let (grew, bound) = (
                growth(&fixture, import, count).await,
                bound(writes, granted),
            );
            println!("{import} × {count}, granted: {granted}: {grew} of {bound} bytes");
            assert!(grew <= bound, "{import}: {grew} bytes, of {bound}");
        }
        assert_eq!(violations(&fixture.data()), [""; 0]);
    }
}

/// The bounds are what bounds it: the same calls would write more.
#[tokio::test(flavor = "multi_thread")]
async fn control_without_limits_each_of_them_writes_more() {
    let fixture = host(without(), &[]).await;
    for (import, writes, count) in IMPORTS {
        if writes == Writes::Output {
            let grew = growth(&fixture, import, count).await;
            println!("{import} × {count} without limits: {grew} bytes");
            assert!(grew > bound(writes, false), "{import}: only {grew} bytes");
        }
    }
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let fixture = Fixture::new().await;
    let renamed = |outcome: &lastword_tests::fixture::Outcome| {
        let kinds = outcome.kinds();
        kinds
            .iter()
            .filter(|kind| **kind == "session.renamed")
            .count()
    };
    assert_eq!(renamed(&fixture.run("title the same").await), 1);
    assert_eq!(renamed(&fixture.run("title the same").await), 0);
    fixture.run("state-set session key value").await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON state
        BEGIN SELECT RAISE(ABORT, 'it was written'); END";
    open(&fixture.data())
        .execute_batch(refuse)
        .expect("a trigger");
    let again = fixture.run("state-set session key value").await;
    assert_eq!(again.text(), "done");
    let other = fixture.run("state-set session key other").await;
    assert!(other.text().starts_with("error "), "{}", other.text());
    let todo = || {
        vec![lastword::session::Todo {
            content: "the same".to_owned(),
            status: lastword::session::TodoStatus::Pending,
        }]
    };
    let events = || {
        let count = "SELECT count(*) FROM event";
        open(&fixture.data()).query_row(count, [], |row| row.get::<_, i64>(0))
    };
    fixture.session.set_todo(todo()).await.expect("a plan");
    let before = events();
    fixture.session.set_todo(todo()).await.expect("a plan");
    fixture.session.rename("the same").await.expect("a title");
    assert_eq!(events(), before);
}

#[tokio::test]
async fn the_words_of_a_failure_are_bounded() {
    let fixture = Fixture::new().await;
    let outcome = fixture.run(&format!("fail {}", "x".repeat(100_000))).await;
    let detail = outcome.receipt.detail.expect("a detail");
    assert!(detail.len() < 20_000, "{} bytes", detail.len());
    assert!(detail.starts_with("xxx") && detail.ends_with('…'));
}
