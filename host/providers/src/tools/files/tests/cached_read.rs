//! Tests that a cached read returns the same as an ordinary one, and needs only memory, a plain
//! path and a grant.

use super::{Bench, ToolOutput};
use serde_json::json;

impl Bench {
    /// Repeats the cached read until it succeeds: the kernel may refuse while other files are
    /// renamed.
    fn cached_read(&self, arguments: &str) -> ToolOutput {
        let answer = || self.tools.cached_read("read_file", arguments, |_| true);
        let answered = std::iter::repeat_with(answer).take(10_000).flatten().next();
        answered.unwrap_or_else(|| panic!("{arguments} has to wait"))
    }

    fn waits(&self, arguments: &str) {
        let answer = self.tools.cached_read("read_file", arguments, |_| true);
        assert!(answer.is_none(), "{arguments}: {answer:?}");
    }
}

#[tokio::test]
async fn a_cached_read_returns_the_same_output() {
    let bench = Bench::new();
    bench.put("src/a.txt", "one\ntwo\n".repeat(9_000));
    bench.put("empty", "");
    bench.put("image", b"\x89PNG\r\n\x1a\n\0\0");

    for arguments in [
        json!({"path": "src/a.txt"}),
        json!({"path": "/workspace/./src//a.txt", "start_line": 3, "line_count": 2}),
        json!({"path": "src/a.txt", "start_line": 100_000}),
        json!({"path": "empty"}),
        json!({"path": "image"}),
    ] {
        let long = bench.call("read_file", arguments.clone()).await;
        let short = bench.cached_read(&arguments.to_string());
        assert_eq!(Some(short), long.ok(), "{arguments}");
    }
}

#[tokio::test]
async fn a_cached_read_counts_as_seen() {
    let bench = Bench::new();
    bench.put("a", "one");
    let write = json!({"path": "a", "content": "two"});
    bench.fail("write_file", write.clone()).await;
    bench.cached_read(r#"{"path": "a"}"#);
    bench.succeed("write_file", write).await;
    assert_eq!(bench.get("a"), "two");
}

#[test]
fn unusual_reads_are_not_served_from_the_cache() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let bench = Bench::new();
    bench.put("a", "one");
    bench.put("src/b", "two");
    bench.put("long", vec![b'x'; 1 << 20]);
    bench.link("a", "link");
    bench.link("src", "linked");
    bench.link(bench.outside("secret"), "out");

    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, bench.at("pipe"), FileType::Fifo, mode, 0).expect("a pipe");

    for path in [
        "link",
        "linked/b",
        "out",
        "src",
        "src/",
        "a/",
        "a/b",
        "missing",
        "pipe",
        "long",
        "..",
        "../outside/secret",
        "src/../a",
        ".",
        "",
        "/etc/passwd",
        "/proc/self/environ",
        "a\0",
    ] {
        bench.waits(&json!({ "path": path }).to_string());
    }

    for arguments in [
        "",
        "[\"a\"]",
        "\"a\"",
        "{}",
        r#"{"path": "a", "more": 1}"#,
        r#"{"path": 1}"#,
        r#"{"path": "a", "start_line": 0}"#,
        r#"{"path": "a", "line_count": 0}"#,
        r#"{"path": "a", "start_line": -1}"#,
    ] {
        bench.waits(arguments);
    }

    let padded = format!(r#"{{"path": "a"{}}}"#, " ".repeat(10_000));
    bench.waits(&padded);

    let denied = bench
        .tools
        .cached_read("read_file", r#"{"path": "a"}"#, |_| false);
    assert!(denied.is_none());

    let other = bench
        .tools
        .cached_read("list_files", r#"{"path": "src"}"#, |_| true);
    assert!(other.is_none());
}
