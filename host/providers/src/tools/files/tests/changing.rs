//! Tests of writing and editing: the diff, what is preserved, stale files, and what a dropped call
//! leaves behind.

use super::{Bench, structured, text};
use crate::tools::ToolErrorKind;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

#[tokio::test]
async fn an_edit_is_shown_as_a_diff_and_made() {
    let bench = Bench::new();
    bench.put("src/a.rs", "one\ntwo\nthree");

    let mode = std::fs::Permissions::from_mode(0o750);
    std::fs::set_permissions(bench.at("src/a.rs"), mode).expect("a mode");
    bench
        .succeed("read_file", json!({"path": "src/a.rs"}))
        .await;

    let edit = json!({"path": "src/a.rs", "old_string": "two", "new_string": "2"});
    let edited = bench.succeed("edit_file", edit).await;
    assert_eq!(bench.get("src/a.rs"), "one\n2\nthree");

    let diff = "--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n\
        \\ No newline at end of file\n";
    assert_eq!(
        edited.metadata,
        Some(json!({"path": "src/a.rs", "diff": diff}))
    );

    let asked = bench
        .asked
        .lock()
        .expect("no test panicked")
        .pop()
        .expect("it asked");
    assert_eq!(asked.title, "change src/a.rs");
    assert_eq!(asked.diff.as_deref(), Some(diff));

    let now = std::fs::metadata(bench.at("src/a.rs")).expect("it is there");
    assert_eq!(now.permissions().mode() & 0o7777, 0o750);
    assert_eq!(bench.names("src"), ["a.rs"]);

    // Its own writes count as seen.
    let edits = json!({"path": "src/a.rs", "edits": [
        {"old_string": "2", "new_string": "two"},
        {"old_string": "e", "new_string": "E", "replace_all": true},
    ]});
    bench.succeed("edit_file", edits).await;
    assert_eq!(bench.get("src/a.rs"), "onE\ntwo\nthrEE");
}

#[tokio::test]
async fn a_new_file_comes_with_its_directories() {
    let bench = Bench::new();
    let new = bench
        .succeed("write_file", json!({"path": "a/b/c.txt", "content": "x\n"}))
        .await;
    assert_eq!(bench.get("a/b/c.txt"), "x\n");
    assert_eq!(structured(&new)["created"], true);

    let diff = &new.metadata.expect("a diff")["diff"];
    assert_eq!(diff, "--- /dev/null\n+++ b/a/b/c.txt\n@@ -0,0 +1 @@\n+x\n");
    bench
        .succeed("write_file", json!({"path": "a/b/c.txt", "content": "y\n"}))
        .await;
    assert_eq!(
        bench.asked(),
        ["write-files a/b/c.txt", "write-files a/b/c.txt"]
    );
}

#[tokio::test]
async fn line_ends_and_a_byte_order_mark_are_kept_or_named() {
    let bench = Bench::new();
    bench.put("f", "\u{feff}a\r\nb\r\nc");
    bench.succeed("read_file", json!({"path": "f"})).await;

    let kept = "changed f; its lines end with CR LF, as before; it begins with a byte order mark, \
        as before";
    let edit = json!({"path": "f", "old_string": "a\nb", "new_string": "x\ny"});
    let edited = bench.succeed("edit_file", edit).await;

    assert_eq!(
        (text(&edited), &*bench.get("f")),
        (kept, "\u{feff}x\r\ny\r\nc")
    );

    let write = json!({"path": "f", "content": "1\n2\n"});
    let written = bench.succeed("write_file", write).await;
    assert_eq!(
        (text(&written), &*bench.get("f")),
        (kept, "\u{feff}1\r\n2\r\n")
    );

    let diff = &written.metadata.expect("a diff")["diff"];
    let diff = diff.as_str().expect("a text");
    assert!(diff.ends_with("+\u{feff}1\r\n+2\r\n"), "{diff:?}");

    let mark = json!({"path": "f", "old_string": "\u{feff}", "new_string": ""});
    let result = bench.succeed("edit_file", mark).await;
    let result = text(&result);

    assert!(
        result.ends_with("; the byte order mark at its beginning is gone"),
        "{result}"
    );

    assert_eq!(bench.get("f"), "1\r\n2\r\n");
    let mixed = json!({"path": "f", "content": "1\r\n2\n"});
    let mixed = bench.succeed("write_file", mixed).await;
    let says = "; its lines ended with CR LF and now end with some LF and some CR LF";

    assert!(text(&mixed).ends_with(says), "{}", text(&mixed));
    assert_eq!(bench.get("f"), "1\r\n2\n");
}

#[tokio::test]
async fn files_that_a_run_has_not_seen_are_not_changed() {
    let bench = Bench::new();
    bench.put("a", "one\n");

    let edit = json!({"path": "a", "old_string": "one", "new_string": "two"});
    assert!(
        bench
            .fail("edit_file", edit.clone())
            .await
            .contains("was not read yet")
    );

    let write = json!({"path": "a", "content": "two"});
    assert!(
        bench
            .fail("write_file", write.clone())
            .await
            .contains("was not read yet")
    );

    bench.succeed("read_file", json!({"path": "a"})).await;
    bench.put("a", "one!\n");

    assert!(
        bench
            .fail("edit_file", edit.clone())
            .await
            .contains("has changed since")
    );

    assert!(
        bench
            .fail("write_file", write)
            .await
            .contains("has changed since")
    );

    assert_eq!(bench.get("a"), "one!\n");
    assert!(bench.asked().iter().all(|asked| asked == "read-files a"));
    bench.succeed("read_file", json!({"path": "a"})).await;
    bench.succeed("edit_file", edit).await;
    assert_eq!(bench.get("a"), "two!\n");
}

/// The file is changed or created while the question is open.
#[tokio::test]
async fn a_file_that_changed_during_the_question_is_not_overwritten() {
    let bench = Bench::new();
    bench.put("a", "one\n");

    let (a, b) = (bench.at("a"), bench.at("new/b"));

    let bench = bench.on_ask(move |access| {
        match access.title.as_str() {
            "change a" => std::fs::write(&a, "theirs\n").expect("a file"),
            "create new/b" => {
                std::fs::create_dir(b.parent().expect("a directory")).expect("a directory");
                std::fs::write(&b, "theirs\n").expect("a file");
            }
            _ => {}
        }
        true
    });
    bench.succeed("read_file", json!({"path": "a"})).await;

    let edit = json!({"path": "a", "old_string": "one", "new_string": "two"});
    assert!(
        bench
            .fail("edit_file", edit)
            .await
            .contains("since this change was shown")
    );

    assert_eq!(bench.get("a"), "theirs\n");
    let write = json!({"path": "new/b", "content": "ours"});

    assert!(
        bench
            .fail("write_file", write)
            .await
            .contains("another program has created it")
    );

    assert_eq!(bench.get("new/b"), "theirs\n");
    assert_eq!(
        (bench.names("."), bench.names("new")),
        (vec!["a".into(), "new".into()], vec!["b".into()])
    );
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_behind() {
    let bench = Bench::with(10, Arc::new(|_, _| true));
    let write = json!({"path": "a/b/c", "content": "more than ten"});
    assert_eq!(
        bench.refused("write_file", write).await,
        ToolErrorKind::Limit
    );

    assert_eq!(bench.names("."), [""; 0]);
    bench
        .succeed("write_file", json!({"path": "a", "content": "123456"}))
        .await;

    let more = json!({"path": "b", "content": "78901"});
    assert_eq!(
        bench.refused("write_file", more).await,
        ToolErrorKind::Limit
    );

    let large = "x".repeat((16 << 20) + 1);
    let large = bench
        .fail("write_file", json!({"path": "c", "content": large}))
        .await;
    assert!(large.contains("more than 16777216 bytes"), "{large}");
    assert_eq!(bench.names("."), ["a"]);
}

#[tokio::test]
async fn binary_files_are_not_changed() {
    let bench = Bench::new();
    bench.put("latin", b"caf\xe9\n");
    bench.succeed("read_file", json!({"path": "latin"})).await;

    let edit = json!({"path": "latin", "old_string": "caf", "new_string": "x"});
    assert!(
        bench
            .fail("edit_file", edit)
            .await
            .contains("no UTF-8 text")
    );

    let write = json!({"path": "latin", "content": "x"});
    assert!(
        bench
            .fail("write_file", write)
            .await
            .contains("no UTF-8 text")
    );

    let none = json!({"path": "none", "old_string": "a", "new_string": "b"});
    assert!(
        bench
            .fail("edit_file", none)
            .await
            .contains("write_file makes one")
    );

    let directory = json!({"path": "a/", "content": ""});
    assert!(
        bench
            .fail("write_file", directory)
            .await
            .contains("names a directory")
    );
}

/// However far a dropped call has come, the file is whole: old or new.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_leaves_the_old_or_the_new() {
    let bench = Bench::new();
    let old = "old\n".repeat(10_000);
    let new = "new\n".repeat(10_000);
    let mut kept = 0;

    for polls in 0..60 {
        let name = format!("f{polls}");
        bench.put(&name, &old);
        bench.succeed("read_file", json!({"path": name})).await;

        let write = json!({"path": name, "content": new});

        {
            let mut call = std::pin::pin!(bench.call("write_file", write));
            for _ in 0..polls {
                let once = futures_util::future::poll_immediate(call.as_mut());
                if once.await.is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }

        let now = bench.get(&name);
        assert!(now == old || now == new);
        kept += usize::from(now == old);
    }

    assert!(kept > 0, "no call was dropped in time");
}

#[tokio::test]
async fn a_diff_is_bounded() {
    let bench = Bench::new();
    let content = "a line of text\n".repeat(100_000);
    let written = bench
        .succeed("write_file", json!({"path": "a", "content": content}))
        .await;

    assert_eq!(text(&written), "created a");
    let metadata = written.metadata.expect("a diff");
    let diff = metadata["diff"].as_str().expect("a text");

    assert!(diff.len() < 300_000 && diff.contains("[truncated: the diff has"));
}
