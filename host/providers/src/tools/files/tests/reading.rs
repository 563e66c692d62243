//! Tests of reading, listing and searching: ranges, bounds and their markers, binary files, ignored
//! files, and the order.

use super::{Bench, structured, text};
use lastword_types::permission::{Capability, Rule};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_text_is_read_whole_and_by_ranges() {
    let bench = Bench::new();
    bench.put("a.txt", "one\r\ntwo\nthree");

    let whole = bench
        .succeed("read_file", json!({"path": "/workspace/a.txt"}))
        .await;
    assert_eq!(text(&whole), "one\r\ntwo\nthree");

    let value = structured(&whole);
    assert_eq!((&value["lines"], &value["bytes"]), (&json!(3), &json!(14)));
    assert_eq!(value["truncated"], false);

    let digest = value["digest"].as_str().expect("a digest");
    assert!(digest.starts_with("sha256:") && digest.len() == 71);

    let arguments = json!({"path": "a.txt", "start_line": 2, "line_count": 1});
    let line = bench.succeed("read_file", arguments).await;
    assert_eq!(text(&line), "two\n");
    bench.put("empty", "");

    let empty = bench.succeed("read_file", json!({"path": "empty"})).await;
    assert_eq!(text(&empty), "[the file is empty]");
    assert_eq!(
        bench.asked(),
        ["read-files a.txt", "read-files a.txt", "read-files empty"]
    );
}

/// Follows the markers of a truncated text, and joins the parts.
#[tokio::test]
async fn a_long_text_says_how_to_read_on() {
    let bench = Bench::new();
    let mut long: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    long.push_str(&"ä".repeat(100_000));
    long.push_str("\nend");
    bench.put("long", &long);

    let (mut read, mut start_line, mut start_byte) = (String::new(), 1, 0);

    for _ in 0..20 {
        let arguments = json!({"path": "long", "start_line": start_line, "start_byte": start_byte});
        let part = bench.succeed("read_file", arguments).await;
        let words = text(&part);

        if structured(&part)["truncated"] == false {
            read.push_str(words);
            break;
        }

        let (shown, marker) = words.rsplit_once("[truncated: ").expect("a marker");

        let number = |name: &str| {
            let rest = marker.split_once(name)?.1;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        };
        start_line = number("start_line=").expect("where to read on");
        start_byte = number("start_byte=").unwrap_or_default();

        let cut_in_a_line = start_byte > 0;
        read.push_str(if cut_in_a_line {
            shown.trim_end_matches('\n')
        } else {
            shown
        });
    }

    assert_eq!(read, long);
}

#[tokio::test]
async fn binary_files_are_described() {
    let bench = Bench::new();
    bench.put("a.png", b"\x89PNG\r\n\x1a\n\0\0");
    bench.put("latin", b"caf\xe9\n");

    let image = bench.succeed("read_file", json!({"path": "a.png"})).await;
    assert_eq!(
        text(&image),
        "a.png is no UTF-8 text: 10 bytes of type image/png."
    );

    assert_eq!(structured(&image)["binary"], true);
    let latin = bench.succeed("read_file", json!({"path": "latin"})).await;
    assert!(text(&latin).contains("no UTF-8 text: 5 bytes"));

    let none = bench.fail("read_file", json!({"path": "b/c"})).await;
    assert_eq!(none, "b/c: there is no such file or directory");

    let directory = bench.fail("read_file", json!({"path": "."})).await;
    assert!(directory.contains("list_files"), "{directory}");
}

fn tree(bench: &Bench) {
    bench.put(".gitignore", "*.log\n/target/\n");
    bench.put(".hidden/a.rs", "fn needle() {}\n");
    bench.put(".git/config", "needle\n");
    bench.put("a.log", "needle\n");
    bench.put("target/made.rs", "needle\n");
    bench.put("src/.gitignore", "!keep.log\nmade/\n");
    bench.put("src/keep.log", "a needle\n");
    bench.put("src/made/x.rs", "needle\n");
    bench.put(
        "src/lib.rs",
        "one\ntwo\nfn Needle() {}\nfour\nfive\nsix\nneedle\n",
    );

    bench.put("src/deep/er/mod.rs", "needle\n");
    bench.put("src/binary", b"needle\0needle\n");
    bench.link("../outside", "away");
    bench.link("src", "inside");
}

#[tokio::test]
async fn a_listing_is_sorted_and_omits_ignored_names() {
    let bench = Bench::new();
    tree(&bench);

    let all = bench.succeed("list_files", json!({})).await;
    let expected = "away@\ninside@\nsrc/binary\nsrc/deep/er/mod.rs\nsrc/keep.log\nsrc/lib.rs\n";
    assert_eq!(text(&all), expected);

    let flat = bench
        .succeed("list_files", json!({"path": "src/", "depth": 1}))
        .await;
    assert_eq!(
        text(&flat),
        "src/binary\nsrc/deep/\nsrc/keep.log\nsrc/lib.rs\n"
    );

    let hidden = bench
        .succeed("list_files", json!({"hidden": true, "glob": "*.rs"}))
        .await;
    assert_eq!(
        text(&hidden),
        ".hidden/a.rs\nsrc/deep/er/mod.rs\nsrc/lib.rs\n"
    );

    let glob = bench
        .succeed("list_files", json!({"glob": "src/*.rs"}))
        .await;
    assert_eq!(text(&glob), "src/lib.rs\n");

    let some = bench.succeed("list_files", json!({"max_names": 2})).await;
    assert!(text(&some).starts_with("away@\ninside@\n[truncated: the first 2 names;"));

    // An ignored directory is shown when it is named.
    let target = bench.succeed("list_files", json!({"path": "target"})).await;
    assert_eq!(text(&target), "target/made.rs\n");
    assert_eq!(bench.asked()[..2], ["read-files .", "read-files src/"]);
}

#[tokio::test]
async fn a_search_finds_lines_in_order() {
    let bench = Bench::new();
    tree(&bench);

    let found = bench
        .succeed("search_text", json!({"pattern": "needle"}))
        .await;
    let expected = "src/deep/er/mod.rs\n1: needle\nsrc/keep.log\n1: a needle\nsrc/lib.rs\n\
        7: needle\n\n[1 files are binary, too large or unreadable and were passed over]";
    assert_eq!(text(&found), expected);

    let arguments = json!({
        "pattern": "NEEDLE", "ignore_case": true, "context_lines": 1, "path": "src/lib.rs",
    });
    let context = bench.succeed("search_text", arguments).await;
    let expected = "src/lib.rs\n2- two\n3: fn Needle() {}\n4- four\n--\n6- six\n7: needle\n";

    assert_eq!(text(&context), expected);
    let literal = json!({"pattern": "Needle()", "literal": true, "glob": "*.rs"});
    let literal = bench.succeed("search_text", literal).await;

    assert_eq!(text(&literal), "src/lib.rs\n3: fn Needle() {}\n");
    let none = bench
        .succeed("search_text", json!({"pattern": "no[t]here"}))
        .await;
    assert!(text(&none).starts_with("[no matches]"));
    assert_eq!(bench.asked()[1], "read-files src/lib.rs");
}

#[tokio::test]
async fn ten_thousand_files_are_searched_the_same_each_time() {
    let bench = Bench::new();

    for number in 0..10_000 {
        bench.put(
            &format!("d{:02}/f{number:05}", number % 50),
            "some needle here\n",
        );
    }

    let mut before = None;

    for _ in 0..3 {
        let found = bench
            .succeed("search_text", json!({"pattern": "needle"}))
            .await;
        let listed = bench.succeed("list_files", json!({})).await;
        assert!(text(&found).starts_with("d00/f00000\n1: some needle here\nd00/f00050\n"));
        assert!(text(&found).contains("[truncated: the first 100 matches"));
        assert_eq!(text(&listed).lines().count(), 1_001);
        let both = (text(&found).to_owned(), text(&listed).to_owned());
        assert_eq!(*before.get_or_insert(both.clone()), both);
    }
}

#[tokio::test]
async fn long_lines_and_large_answers_are_cut() {
    let bench = Bench::new();

    for number in 0..400 {
        bench.put(
            &format!("{number:03}"),
            format!("needle {}\n", "x".repeat(5_000)),
        );
    }

    let found = bench
        .succeed(
            "search_text",
            json!({"pattern": "needle", "max_matches": 1_000}),
        )
        .await;

    assert!(
        text(&found).len() < (64 << 10) + 1_000,
        "{}",
        text(&found).len()
    );

    assert!(text(&found).contains("[… 5007 bytes]"));
    assert!(text(&found).contains("[truncated: the first"));
    assert_eq!(structured(&found)["truncated"], true);
}

#[tokio::test]
async fn unreadable_paths_are_in_no_result() {
    let readable = |path: &str, _: &crate::permits::Allowed| !path.starts_with("private/");
    let bench = Bench::with(0, Arc::new(readable));
    bench.put("private/a", "needle\n");
    bench.put("public/a", "needle\n");

    let listed = bench.succeed("list_files", json!({})).await;
    assert_eq!(text(&listed), "public/a\n");

    let found = bench
        .succeed("search_text", json!({"pattern": "needle"}))
        .await;
    assert_eq!(text(&found), "public/a\n1: needle\n");
}

#[tokio::test]
async fn a_rule_for_what_is_below_a_directory_covers_listing_it() {
    let bench = Bench::new();
    bench.put("src/a", "");
    bench.succeed("list_files", json!({"path": "src"})).await;

    let asked = bench.asked.lock().expect("no test panicked").remove(0);

    for (rule, covers) in [("src/**", true), ("**", true), ("tests/**", false)] {
        let rule = Rule::only(Capability::ReadFiles, rule).expect("a rule");
        assert_eq!(
            rule.covers(asked.capability, &asked.target),
            covers,
            "{rule}"
        );
    }
}

#[tokio::test]
async fn a_denial_comes_before_any_read() {
    let bench = Bench::new().on_ask(|_| false);
    bench.put("a", "x");

    for (tool, arguments) in [
        ("read_file", json!({"path": "a"})),
        ("list_files", json!({})),
        ("search_text", json!({"pattern": "x"})),
        ("write_file", json!({"path": "new/b", "content": "x"})),
    ] {
        let kind = bench.refused(tool, arguments).await;
        assert_eq!(kind, crate::tools::ToolErrorKind::Denied);
    }

    assert_eq!(bench.names("."), ["a"]);
    let edit = json!({"path": "a", "old_string": "x", "new_string": "y"});

    assert!(
        bench
            .fail("edit_file", edit)
            .await
            .contains("was not read yet")
    );
}
