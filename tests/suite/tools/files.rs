//! The file tools through a guest: what they change, what is asked, and what leads out.

use super::questions::{allow, asked, remember};
use super::{results, text};
use lastword::Capability;
use lastword::permission::Rule;
use lastword::session::{Asked, Within};
use lastword_tests::fixture::{Fixture, Plan};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

async fn granted(capability: Capability) -> Fixture {
    Plan::new()
        .grants([capability, Capability::Tools])
        .build()
        .await
}

fn call(tool: &str, arguments: &serde_json::Value) -> String {
    format!("tool {tool} {arguments}")
}

#[tokio::test]
async fn a_file_is_read_found_and_changed() {
    let fixture = granted(Capability::WriteFiles).await;
    std::fs::create_dir(fixture.files().join("src")).expect("a folder");
    std::fs::write(fixture.files().join("src/a.rs"), "fn one() {}\n").expect("a file");
    let listed = fixture.run(&call("list_files", &json!({}))).await.text();
    assert!(listed.contains("src/a.rs"), "{listed}");
    let found = call("search_text", &json!({ "pattern": "fn \\w+" }));
    let found = fixture.run(&found).await.text();
    assert!(found.contains("a.rs"), "{found}");
    let lines = format!(
        "{}\n{}",
        format_args!("read_file {}", json!({ "path": "src/a.rs" })),
        format_args!("todo {}", json!({ "todo": [] }))
    );
    let both = fixture.run(&format!("tools-all {lines}")).await.text();
    assert!(both.contains("fn one()"), "{both}");
    let written = call(
        "write_file",
        &json!({ "path": "b/c.txt", "content": "new\n" }),
    );
    fixture.run(&written).await;
    let there = std::fs::read_to_string(fixture.files().join("b/c.txt"));
    assert_eq!(there.expect("it is there"), "new\n");
}

#[tokio::test]
async fn a_change_is_asked_with_its_diff_and_kept_with_its_result() {
    let plan = Plan::new().grants([Capability::ReadFiles, Capability::Tools]);
    let fixture = plan.options(|options| options.ask(true)).build().await;
    let change = call(
        "write_file",
        &json!({ "path": "a.txt", "content": "new\n" }),
    );
    let run = fixture.start(&change).await;
    let question = asked(&run).await;
    let Asked::Permission { target, diff, .. } = &question.asked else {
        panic!("a permission: {question:?}");
    };
    assert_eq!(target, "a.txt");
    assert!(
        diff.as_deref().is_some_and(|diff| diff.contains("+new")),
        "{diff:?}"
    );
    assert!(
        !fixture.files().join("a.txt").exists(),
        "nothing is done before"
    );
    fixture
        .host
        .answer(question.id, allow())
        .await
        .expect("it counts");
    let receipt = run.ended().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    let there = std::fs::read_to_string(fixture.files().join("a.txt"));
    assert_eq!(there.expect("it is there"), "new\n");
    let metadata = results(&outcome)[0].metadata.clone().expect("the diff");
    assert!(metadata.contains("+new"), "{metadata}");
}

#[tokio::test]
async fn a_run_cancelled_while_it_asks_changes_nothing() {
    let plan = Plan::new().grants([Capability::ReadFiles, Capability::Tools]);
    let fixture = plan.options(|options| options.ask(true)).build().await;
    let change = call(
        "write_file",
        &json!({ "path": "a.txt", "content": "new\n" }),
    );
    let run = fixture.start(&change).await;
    asked(&run).await;
    let receipt = run.cancel().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert_eq!(
        text(&results(&outcome)[0]),
        "Tool call cancelled by the user"
    );
    assert_eq!(
        std::fs::read_dir(fixture.files())
            .expect("a folder")
            .count(),
        0
    );
}

#[tokio::test]
async fn nothing_leads_out_of_the_workspace() {
    let fixture = granted(Capability::WriteFiles).await;
    let outside = fixture.folder.path().join("outside");
    std::fs::create_dir(&outside).expect("a folder");
    std::fs::write(outside.join("secret"), "canary").expect("a file");
    let files = fixture.files();
    symlink(&outside, files.join("out")).expect("a link");
    symlink(outside.join("secret"), files.join("link")).expect("a link");
    std::fs::hard_link(outside.join("secret"), files.join("hard")).expect("a link");
    let absolute = outside.join("secret").display().to_string();
    for path in [
        "../outside/secret",
        "out/secret",
        "link",
        "src/../../outside/secret",
        "/proc/self/root/etc/hostname",
        "/etc/hostname",
        "secret/",
        "a\0b",
        "",
        absolute.as_str(),
    ] {
        let read = fixture
            .run(&call("read_file", &json!({ "path": path })))
            .await;
        let said = read.text();
        assert!(!said.contains("canary"), "{path}: {said}");
        let refused = said.starts_with("failed: ") || said.starts_with("error ");
        assert!(refused, "{path}: {said}");
        let write = json!({ "path": path, "content": "changed" });
        fixture.run(&call("write_file", &write)).await;
    }
    for tool in ["list_files", "search_text"] {
        let arguments = json!({ "path": "out", "pattern": "canary" });
        let said = fixture.run(&call(tool, &arguments)).await.text();
        assert!(!said.contains("canary"), "{tool}: {said}");
    }
    let found = fixture
        .run(&call("search_text", &json!({ "pattern": "canary" })))
        .await;
    assert!(!found.text().contains("link"), "{}", found.text());
    // A hard link looks like any other file of the workspace. A change of it must not reach its
    // other name.
    let write = json!({ "path": "hard", "content": "changed" });
    fixture.run(&call("write_file", &write)).await;
    let kept = std::fs::read_to_string(outside.join("secret")).expect("it is there");
    assert_eq!(kept, "canary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_changes_while_it_is_followed_leads_nowhere() {
    let fixture = granted(Capability::WriteFiles).await;
    let outside = fixture.folder.path().join("outside");
    std::fs::create_dir(&outside).expect("a folder");
    std::fs::write(outside.join("file"), "canary").expect("a file");
    let files = fixture.files();
    std::fs::create_dir(files.join("inside")).expect("a folder");
    std::fs::write(files.join("inside/file"), "harmless").expect("a file");
    let over = Arc::new(AtomicBool::new(false));
    let swaps = Arc::new(AtomicU64::new(0));
    let swapping = {
        let (over, swaps) = (Arc::clone(&over), Arc::clone(&swaps));
        let (files, outside) = (files.clone(), outside.clone());
        std::thread::spawn(move || {
            let (name, spare) = (files.join("dir"), files.join("spare"));
            while !over.load(Ordering::Relaxed) {
                let to = match swaps.fetch_add(1, Ordering::Relaxed) % 2 {
                    0 => files.join("inside"),
                    _ => outside.clone(),
                };
                symlink(to, &spare).expect("a link");
                std::fs::rename(&spare, &name).expect("it is put in place");
            }
        })
    };
    let write = json!({ "path": "dir/file", "content": "changed" });
    let calls = [
        format!("read_file {}", json!({ "path": "dir/file" })),
        format!("write_file {write}"),
        format!(
            "search_text {}",
            json!({ "path": "dir", "pattern": "canary" })
        ),
    ];
    let lines: Vec<&str> = calls.iter().map(String::as_str).cycle().take(240).collect();
    let mut made = Vec::new();
    // Rounds until both sides had their turns, however few processors there are.
    while made.is_empty() || swaps.load(Ordering::Relaxed) < 200 {
        let outcome = fixture
            .run(&format!("tools-all {}", lines.join("\n")))
            .await;
        made.extend(results(&outcome));
    }
    over.store(true, Ordering::Relaxed);
    swapping.join().expect("it swaps");
    // The pattern itself is no leak: what is found would be quoted with its place.
    for result in made {
        let said = format!("{:?}", result.content);
        assert!(
            !said.contains("canary\\n") && !said.contains(": canary"),
            "{said}"
        );
    }
    let kept = std::fs::read_to_string(outside.join("file")).expect("it is there");
    assert_eq!(kept, "canary");
}

#[tokio::test]
async fn a_rule_denies_what_it_names_to_every_tool() {
    let rule: Rule = "read-files=.env".parse().expect("a rule");
    let plan = Plan::new().grants([Capability::WriteFiles, Capability::Tools]);
    let fixture = plan.options(|options| options.deny(rule)).build().await;
    std::fs::write(fixture.files().join(".env"), "KEY=canary\n").expect("a file");
    std::fs::write(fixture.files().join("a"), "KEY=harmless\n").expect("a file");
    for (tool, arguments) in [
        ("read_file", json!({ "path": ".env" })),
        (
            "search_text",
            json!({ "pattern": "KEY=\\w+", "hidden": true }),
        ),
        ("search_text", json!({ "pattern": "KEY=\\w+" })),
    ] {
        let said = fixture.run(&call(tool, &arguments)).await.text();
        assert!(!said.contains("canary"), "{tool}: {said}");
    }
    let read = fixture.run("read /workspace/.env").await.text();
    assert!(
        !read.contains("canary"),
        "a guest cannot open it by itself: {read}"
    );
    let write = json!({ "path": ".env", "content": "x" });
    let said = fixture.run(&call("write_file", &write)).await.text();
    assert!(
        said.starts_with("error ") || said.starts_with("failed: "),
        "{said}"
    );
    let kept = std::fs::read_to_string(fixture.files().join(".env")).expect("it is there");
    assert_eq!(kept, "KEY=canary\n");
}

#[tokio::test]
async fn a_name_without_a_directory_has_no_file_tools() {
    let fixture = granted(Capability::WriteFiles).await;
    let key = lastword::WorkspaceKey::name("only-a-name");
    let options = lastword::WorkspaceOptions::new();
    let options = options
        .grant(Capability::WriteFiles)
        .grant(Capability::Tools);
    let workspace = fixture
        .host
        .open_workspace(key, options)
        .await
        .expect("it opens");
    let session = workspace
        .new_session(&fixture.agent)
        .await
        .expect("a session");
    let run = session
        .prompt("tool read_file {\"path\":\"a\"}")
        .await
        .expect("accepted");
    run.ended().await.expect("the run ends");
    let messages = session.messages().await.expect("the messages");
    let said = messages
        .last()
        .map(lastword::session::Message::text)
        .unwrap_or_default();
    assert!(said.contains("name without one"), "{said}");
}

/// A file at the top of `src` and one further down, both with a canary.
fn deep(fixture: &Fixture) {
    let deep = fixture.files().join("src/deep");
    std::fs::create_dir_all(&deep).expect("a folder");
    for file in ["src/top", "src/deep/x"] {
        std::fs::write(fixture.files().join(file), "canary\n").expect("a file");
    }
}

fn walks() -> [String; 2] {
    [
        call("list_files", &json!({ "path": "src" })),
        call(
            "search_text",
            &json!({ "pattern": "canary", "path": "src" }),
        ),
    ]
}

#[tokio::test]
async fn a_walk_finds_what_its_rule_covers_and_nothing_further_down() {
    for (rule, finds) in [("read-files=src/*", false), ("read-files=src/**", true)] {
        let rule: Rule = rule.parse().expect("a rule");
        let plan = Plan::new().grants([Capability::Tools]);
        let fixture = plan.options(|options| options.grant(rule)).build().await;
        deep(&fixture);
        for walk in walks() {
            let said = fixture.run(&walk).await.text();
            assert!(said.contains("src/top"), "{said}");
            assert_eq!(said.contains("src/deep/x"), finds, "{said}");
        }
    }
}

#[tokio::test]
async fn a_walk_that_was_answered_finds_everything_then_and_later() {
    let plan = Plan::new().grants([Capability::Tools]);
    let fixture = plan.options(|options| options.ask(true)).build().await;
    deep(&fixture);
    for (walk, answer) in walks()
        .into_iter()
        .zip([allow(), remember(Within::Session, None)])
    {
        let run = fixture.start(&walk).await;
        let question = asked(&run).await;
        let Asked::Permission { offers, .. } = &question.asked else {
            panic!("a permission: {question:?}");
        };
        assert_eq!(offers, &["read-files=src/**", "read-files"]);
        let answered = fixture.host.answer(question.id, answer).await;
        answered.expect("it counts");
        let receipt = run.ended().await.expect("the run ends");
        let said = fixture.outcome(&run, receipt).await.text();
        assert!(said.contains("src/deep/x"), "{said}");
    }
    for walk in walks() {
        let said = fixture.run(&walk).await.text();
        assert!(said.contains("src/deep/x"), "{said}");
    }
}

#[tokio::test]
async fn what_is_granted_for_one_name_is_granted_for_no_other() {
    let plan = Plan::new().grants([Capability::ReadFiles, Capability::Tools]);
    let fixture = plan.options(|options| options.ask(true)).build().await;
    let write = |path: &str| call("write_file", &json!({ "path": path, "content": "new\n" }));
    let run = fixture.start(&write(r"Cargo\.toml")).await;
    let question = asked(&run).await;
    let answer = remember(Within::Session, None);
    let answered = fixture.host.answer(question.id, answer).await;
    answered.expect("it counts");
    run.ended().await.expect("the run ends");
    assert!(fixture.files().join(r"Cargo\.toml").exists());
    let run = fixture.start(&write("Cargo.toml")).await;
    let question = asked(&run).await;
    let Asked::Permission { target, .. } = &question.asked else {
        panic!("a permission: {question:?}");
    };
    assert_eq!(target, "Cargo.toml");
    run.cancel().await.expect("the run ends");
    assert!(!fixture.files().join("Cargo.toml").exists());
}

/// Calls that read a file and then change its one number step by step, so that each can only
/// follow upon the one before.
fn steps(path: &str, count: usize) -> String {
    let read = format!("read_file {}", json!({ "path": path }));
    let edit = |at: usize| {
        let (old, new) = (format!("<{at}>"), format!("<{}>", at + 1));
        let edit = json!({ "path": path, "old_string": old, "new_string": new });
        format!("edit_file {edit}")
    };
    let edits = (0..count).map(edit);
    let calls: Vec<_> = std::iter::once(read.clone())
        .chain(edits)
        .chain([read])
        .collect();
    calls.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_calls_of_one_answer_on_one_file_keep_their_order() {
    let fixture = granted(Capability::WriteFiles).await;
    for count in 2..=20 {
        std::fs::write(fixture.files().join("f"), "<0>").expect("a file");
        let said = fixture
            .run(&format!("tools-all {}", steps("f", count)))
            .await
            .text();
        let last = format!("<{count}>");
        let mut expected = vec!["<0>"];
        expected.extend(std::iter::repeat_n("changed f", count));
        expected.push(&last);
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_runs_at_the_same_time_change_in_one_file_is_there_or_named() {
    let fixture = granted(Capability::WriteFiles).await;
    let file = fixture.files().join("f");
    for count in 2..=12 {
        let mark = |run: usize| format!("[{run}]\n");
        let marks: String = (0..count).map(mark).collect();
        std::fs::write(&file, marks).expect("a file");
        let runs = (0..count).map(async |run| {
            let session = fixture.workspace.new_session(&fixture.agent).await;
            let session = session.expect("a session");
            let (old, new) = (format!("[{run}]"), format!("[{run}!]"));
            let edit = json!({ "path": "f", "old_string": old, "new_string": new });
            let read = json!({ "path": "f", "line_count": 1 });
            let calls = format!("tools-all read_file {read}\nedit_file {edit}");
            let run = session.prompt(calls.as_str()).await.expect("accepted");
            run.ended().await.expect("the run ends");
            let messages = session.messages().await.expect("the messages");
            messages.last().expect("an answer").text()
        });
        let said = futures_util::future::join_all(runs).await;
        let there = std::fs::read_to_string(&file).expect("it is there");
        let mut changed = 0;
        for (run, said) in said.iter().enumerate() {
            let is_changed = said.ends_with("changed f");
            assert!(
                is_changed || said.contains("it has changed since"),
                "{said}"
            );
            assert_eq!(there.contains(&format!("[{run}!]")), is_changed, "{said}");
            changed += usize::from(is_changed);
        }
        assert!(changed > 0, "none of {count} came through");
    }
}
