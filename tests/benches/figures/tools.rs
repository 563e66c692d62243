//! What a tool call costs a guest, beside the same operation done natively in the same run.

use grep_regex::RegexMatcher;
use grep_searcher::Searcher;
use grep_searcher::sinks::UTF8;
use ignore::WalkBuilder;
use lastword::{Capability, Limits};
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::tools::TestTools;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls of one run, one behind the other.
const CALLS: u32 = 2000;
/// Calls of one run that thinks before each.
const PACED: u32 = 400;
/// Files of the tree that is searched.
const FILES: usize = 20_000;
/// Searches of each side.
const SEARCHES: usize = 7;

pub(super) async fn figures() {
    let limits = Limits::default()
        .tool_calls(u32::MAX)
        .output_bytes(u64::MAX);
    let plan = Plan::new()
        .limits(limits)
        .host(|host| host.tools(TestTools::default()));
    let fixture = plan
        .grants([Capability::WriteFiles, Capability::Tools])
        .build()
        .await;
    doors(&fixture).await;
    reading(&fixture).await;
    searching(&fixture).await;
}

/// What calls cost whose work is nothing.
async fn doors(fixture: &Fixture) {
    let echo = paced(fixture, &json!({ "text": "" }), "test.echo").await;
    let todo = paced(fixture, &json!({ "todo": [] }), "todo").await;
    println!(
        "  a tool of the embedder's that answers at once {:>16.0} µs",
        micros(echo)
    );
    println!(
        "  `todo`, which is committed first {:>29.0} µs",
        micros(todo)
    );
}

async fn reading(fixture: &Fixture) {
    let arguments = json!({ "path": "file.txt" });
    for kilobytes in [1, 10, 60] {
        let path = fixture.files().join("file.txt");
        let text = "a line of text that is forty characters\n".repeat(kilobytes * 1024 / 40);
        std::fs::write(&path, text).expect("a file");
        let native = natively_read(&path);
        let tool = paced(fixture, &arguments, "read_file").await;
        let busy = each(fixture, &arguments, "read_file").await;
        println!(
            "  read_file, {kilobytes:>2} KB, over std::fs::read {:>22.0} µs over {:.0} µs   ({:.0} µs one behind the other)",
            micros(tool.saturating_sub(native)),
            micros(native),
            micros(busy.saturating_sub(native)),
        );
    }
}

/// The median time of a native read, with the same pause before each.
fn natively_read(path: &Path) -> Duration {
    let mut taken = Vec::new();
    for _ in 0..PACED {
        std::thread::sleep(Duration::from_millis(3));
        let began = Instant::now();
        std::hint::black_box(std::fs::read(path).expect("it is there"));
        taken.push(began.elapsed());
    }
    taken.sort();
    taken[taken.len() / 2]
}

/// The median time of a call in a run that thinks before each, by the guest's clock.
async fn paced(fixture: &Fixture, arguments: &serde_json::Value, tool: &str) -> Duration {
    let outcome = fixture
        .run(&format!("tool-paced {PACED} {tool} {arguments}"))
        .await;
    let taken = outcome.text().parse().expect("nanoseconds");
    Duration::from_nanos(taken)
}

/// The mean time of a call in a run that makes one behind the other.
async fn each(fixture: &Fixture, arguments: &serde_json::Value, tool: &str) -> Duration {
    let prompt = format!("tool-times {CALLS} {tool} {arguments}");
    let began = Instant::now();
    let outcome = fixture.start(&prompt).await;
    let receipt = outcome.ended().await.expect("the run ends");
    assert_eq!(receipt.cause, "returned");
    began.elapsed() / CALLS
}

async fn searching(fixture: &Fixture) {
    let root = fixture.files();
    for folder in 0..200 {
        let folder_path = root.join(format!("d{folder}"));
        std::fs::create_dir(&folder_path).expect("a folder");
        for file in 0..FILES / 200 {
            let text = format!("fn f{folder}_{file}() {{}}\n").repeat(40);
            std::fs::write(folder_path.join(format!("f{file}.rs")), text).expect("a file");
        }
    }
    std::fs::write(root.join("d7/needle.rs"), "the needle\n").expect("a file");
    let (mut native, mut tool) = (Vec::new(), Vec::new());
    let prompt = format!("tool search_text {}", json!({ "pattern": "the needle" }));
    for _ in 0..SEARCHES {
        let began = Instant::now();
        assert_eq!(natively(&root), 1);
        native.push(began.elapsed());
        let began = Instant::now();
        let run = fixture.start(&prompt).await;
        run.ended().await.expect("the run ends");
        tool.push(began.elapsed());
    }
    native.sort();
    tool.sort();
    let (native, tool) = (native[SEARCHES / 2], tool[SEARCHES / 2]);
    println!(
        "  search_text, {FILES} files, a whole run, over native {:>10.2}   ({:.0} ms over {:.0} ms)",
        tool.as_secs_f64() / native.as_secs_f64(),
        tool.as_secs_f64() * 1e3,
        native.as_secs_f64() * 1e3
    );
}

/// What ripgrep does, with its own crates, on as many threads as there are.
fn natively(root: &Path) -> usize {
    let matcher = RegexMatcher::new_line_matcher("the needle").expect("a pattern");
    let found = std::sync::atomic::AtomicUsize::new(0);
    WalkBuilder::new(root).build_parallel().run(|| {
        let (matcher, found) = (matcher.clone(), &found);
        let mut searcher = Searcher::new();
        Box::new(move |entry| {
            let Ok(entry) = entry else {
                return ignore::WalkState::Continue;
            };
            if entry.file_type().is_some_and(|kind| kind.is_file()) {
                let counted = UTF8(|_, _| {
                    found.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok(true)
                });
                let _unreadable = searcher.search_path(&matcher, entry.path(), counted);
            }
            ignore::WalkState::Continue
        })
    });
    found.into_inner()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
