//! Many concurrent changes of one file, by one model response and by several runs: each is in the
//! file, in its order, or reports why it is not. The controls show that this depends on the turns
//! and the locks.

use super::{Bench, FileLocks, FileTools, text};
use crate::tools::ToolOutput;
use crate::tools::files::locks::FileKey;
use crate::tools::files::path::open_directory;
use cap_std::fs::Dir;
use futures_util::future::{join_all, poll_immediate};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, yield_now};

/// Rounds of each kind; both kinds together are 1,000.
const ROUNDS: usize = 500;
/// Rounds within which a control has to fail.
const ROUNDS_OF_CONTROL: usize = 1_000;
/// Enough for any machine; only a hanging test reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// From 2 to 12.
fn edits(round: usize) -> usize {
    2 + round % 11
}

/// Replaces one number by the next, so that it can only follow the edit before.
fn step(path: &str, number: usize) -> Value {
    let (old, new) = (format!("<{number}>"), format!("<{}>", number + 1));
    json!({"path": path, "old_string": old, "new_string": new})
}

/// The edits of one model response, started in reverse order. Returns their results in order.
async fn answer(bench: &Bench, calls: Vec<Value>, ordered: bool) -> Vec<ToolOutput> {
    let turn = |call| {
        (
            ordered.then(|| bench.tools.turn("edit_file")).flatten(),
            call,
        )
    };
    let calls: Vec<_> = calls.into_iter().map(turn).collect();
    let begin = |(turn, call)| tokio::spawn(bench.call_of(&bench.tools, turn, "edit_file", call));
    let mut begun: Vec<_> = calls.into_iter().rev().map(begin).collect();

    begun.reverse();
    let done = join_all(begun).await.into_iter();
    done.map(|done| done.expect("no panic").expect("it is tried"))
        .collect()
}

/// A round of one model response. Returns the messages of the edits that failed.
async fn round_of_one_answer(bench: &Bench, edits: usize, ordered: bool) -> Vec<String> {
    bench.put("d/f", "<0>");
    bench.succeed("read_file", json!({"path": "d/f"})).await;
    let paths = ["d/f", "link/f", "/workspace/d/../d/./f"];
    let calls = (0..edits).map(|number| step(paths[number % paths.len()], number));
    let outcome = answer(bench, calls.collect(), ordered).await;
    let failed = outcome.iter().filter(|outcome| outcome.is_error);
    failed.map(|outcome| text(outcome).to_owned()).collect()
}

fn linked() -> Bench {
    let bench = Bench::in_memory();
    bench.put("d/f", "");
    bench.link("d", "link");
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edits_of_one_response_are_made_in_order() {
    let bench = linked();
    for round in 0..ROUNDS {
        let edits = edits(round);
        assert_eq!(round_of_one_answer(&bench, edits, true).await, [""; 0]);
        assert_eq!(bench.get("d/f"), format!("<{edits}>"));
    }
    assert_eq!(bench.locks.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_turns_some_edit_of_a_response_fails() {
    let bench = linked();
    for _ in 0..ROUNDS_OF_CONTROL {
        if !round_of_one_answer(&bench, 12, false).await.is_empty() {
            return;
        }
    }
    panic!("the order is kept without turns: the test above tests nothing");
}

/// A failed edit is reported, and later ones go on.
#[tokio::test]
async fn a_failed_edit_does_not_stop_others() {
    let bench = Bench::new();
    bench.put("f", "<0>");
    bench.succeed("read_file", json!({"path": "f"})).await;
    let calls = [0, 7, 1].map(|number| step("f", number)).to_vec();
    let outcome = answer(&bench, calls, true).await;
    assert!(!outcome[0].is_error && !outcome[2].is_error, "{outcome:?}");
    assert!(text(&outcome[1]).contains("(0 matches)"), "{outcome:?}");
    assert_eq!(bench.get("f"), "<2>");
}

#[tokio::test]
async fn reads_and_changes_keep_the_order_of_the_response() {
    let bench = Bench::new();
    bench.put("f", "<0>");

    let read = || ("read_file", json!({"path": "f"}));
    let calls = [
        read(),
        ("edit_file", step("f", 0)),
        read(),
        ("write_file", json!({"path": "f", "content": "<5>"})),
        ("edit_file", step("f", 5)),
        read(),
    ];
    let turns = calls.map(|(tool, call)| (bench.tools.turn(tool), tool, call));

    for (turn, ..) in &turns[1..] {
        let turn = turn.as_ref().expect("these tools have turns");
        assert!(!turn.is_free(), "none of them may be answered at once");
    }

    let calls = turns
        .into_iter()
        .rev()
        .map(|(turn, tool, call)| bench.call_of(&bench.tools, turn, tool, call));
    let mut outcome = join_all(calls).await;
    outcome.reverse();

    let outcome: Vec<_> = outcome
        .into_iter()
        .map(|outcome| outcome.expect("it is tried"))
        .collect();
    let outcome: Vec<_> = outcome.iter().map(text).collect();
    assert_eq!(
        outcome,
        ["<0>", "changed f", "<1>", "changed f", "changed f", "<6>"]
    );
}

/// The tools of several runs, with the host's locks or their own. Each has its own path to one
/// file: in the workspace, by a link, in a nested workspace.
fn runs(
    bench: &Bench,
    runs: usize,
    locks: impl Fn() -> Arc<FileLocks>,
) -> Vec<(FileTools, &'static str)> {
    let ways = [(".", "d/f"), (".", "link/f"), ("d", "f")];
    let ways = ways.into_iter().cycle().take(runs);
    ways.map(|(directory, path)| (bench.run(directory, &locks()), path))
        .collect()
}

fn marks(runs: usize, made: impl Fn(usize) -> bool) -> String {
    (0..runs)
        .map(|run| format!("[{run}] {}\n", if made(run) { "new" } else { "old" }))
        .collect()
}

/// Reads the file and changes the run's own line. Returns the result.
async fn change(bench: Arc<Bench>, tools: FileTools, path: &'static str, run: usize) -> ToolOutput {
    let read = bench.call_of(&tools, None, "read_file", json!({"path": path}));
    assert!(!read.await.expect("it is read").is_error);
    let (old, new) = (format!("[{run}] old"), format!("[{run}] new"));
    let edit = json!({"path": path, "old_string": old, "new_string": new});
    let edit = bench.call_of(&tools, None, "edit_file", edit);
    edit.await.expect("it is tried")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_runs_do_not_undo_each_others_changes() {
    let bench = Arc::new(linked());

    for round in 0..ROUNDS {
        let count = edits(round);
        bench.put("d/f", marks(count, |_| false));

        let mut all = JoinSet::new();
        let runs = runs(&bench, count, || Arc::clone(&bench.locks)).into_iter();
        for (run, (tools, path)) in runs.enumerate() {
            let bench = Arc::clone(&bench);
            all.spawn(async move {
                loop {
                    let outcome = change(Arc::clone(&bench), tools.clone(), path, run).await;
                    if !outcome.is_error {
                        break;
                    }
                    // A change that was not made says so, and that the file has to be read again.
                    let outcome = text(&outcome);
                    assert!(outcome.contains("it has changed since"), "{outcome}");
                }
            });
        }

        all.join_all().await;
        assert_eq!(bench.get("d/f"), marks(count, |_| true));
    }

    assert_eq!(bench.locks.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_common_locks_a_change_is_lost() {
    let bench = Arc::new(linked());

    for _ in 0..ROUNDS_OF_CONTROL {
        bench.put("d/f", marks(12, |_| false));
        let mut all = JoinSet::new();
        let runs = runs(&bench, 12, Arc::default).into_iter();

        for (run, (tools, path)) in runs.enumerate() {
            let change = change(Arc::clone(&bench), tools, path, run);
            all.spawn(async move { (run, change.await.is_error) });
        }

        let mut made = all.join_all().await;
        made.retain(|(_, is_error)| !is_error);

        if bench.get("d/f") != marks(12, |run| made.contains(&(run, false))) {
            return;
        }
    }

    panic!("nothing is lost without locks: the test above tests nothing");
}

impl Bench {
    fn key(&self, directory: &str, name: &str) -> FileKey {
        let root = std::fs::File::open(self.at(".")).expect("the workspace");
        let directory = open_directory(&Dir::from_std_file(root), directory);
        FileKey::of(&directory.expect("a directory"), name).expect("a key")
    }

    /// Waits until this many calls hold a file's lock or wait for it.
    async fn until_used(&self, key: &FileKey, users: usize) {
        let used = async {
            while self.locks.users(key) != users {
                yield_now().await;
            }
        };
        let used = tokio::time::timeout(PATIENCE, used).await;
        used.unwrap_or_else(|_| panic!("{users} calls do not meet at one lock"));
    }
}

/// However a file is reached, its lock is the same. A call that waits for it can be dropped, and
/// its change is then not made later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_waits_for_a_file_ends_when_it_is_dropped() {
    let bench = Arc::new(linked());
    bench.put("d/f", marks(3, |_| false));

    let key = bench.key("d", "f");
    let held = bench.locks.lock(key.clone()).await;
    let mut calls = Vec::new();
    let runs = runs(&bench, 3, || Arc::clone(&bench.locks)).into_iter();

    for (run, (tools, path)) in runs.enumerate() {
        calls.push(tokio::spawn(change(Arc::clone(&bench), tools, path, run)));
        bench.until_used(&key, calls.len() + 1).await;
    }

    assert_eq!(bench.get("d/f"), marks(3, |_| false));
    calls.remove(0).abort();
    bench.until_used(&key, 3).await;
    drop(held);

    let second = calls.remove(0).await.expect("no panic");
    assert!(!second.is_error, "{second:?}");

    let third = calls.remove(0).await.expect("no panic");
    assert!(text(&third).contains("changed since this change was shown"));
    assert_eq!(bench.get("d/f"), marks(3, |run| run == 1));
    assert_eq!(bench.names("d"), ["f"]);
    assert_eq!(bench.locks.len(), 0);
}

/// However far a call has come when it is dropped, the file can be changed afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_call_leaves_no_lock_and_no_turn() {
    let bench = Bench::new();
    let key = bench.key(".", "f");

    for polls in 0..60 {
        bench.put("f", "<0>");
        bench.succeed("read_file", json!({"path": "f"})).await;

        let turn = bench.tools.turn("edit_file");
        let next = bench.tools.turn("edit_file").expect("it has a turn");

        {
            let call = bench.call_of(&bench.tools, turn, "edit_file", step("f", 0));
            let mut call = std::pin::pin!(call);
            for _ in 0..polls {
                if poll_immediate(call.as_mut()).await.is_some() {
                    break;
                }
                yield_now().await;
            }
        }

        assert!(next.is_free());
        drop(next);
        bench.until_used(&key, 0).await;

        let now = bench.get("f");
        assert!(now == "<0>" || now == "<1>", "{now}");
    }

    assert_eq!(bench.names("."), ["f"]);
}

#[tokio::test]
async fn no_lock_is_held_during_a_question() {
    let bench = Bench::new();
    bench.put("f", "<0>");
    let locks = Arc::clone(&bench.locks);
    let bench = bench.on_ask(move |access| access.diff.is_none() || locks.len() == 0);
    bench.succeed("read_file", json!({"path": "f"})).await;
    bench.succeed("edit_file", step("f", 0)).await;
    assert_eq!(bench.get("f"), "<1>");
}

/// Between the question and the change, the directory at a path may be replaced by another.
#[tokio::test]
async fn a_directory_exchanged_during_the_question_is_not_written_to() {
    let bench = Bench::new();

    for directory in ["d", "other"] {
        bench.put(&format!("{directory}/f"), "<0>");
    }

    let place = bench.at("");
    let bench = bench.on_ask(move |access| {
        if access.diff.is_some() {
            std::fs::rename(place.join("d"), place.join("before")).expect("it moves");
            std::fs::rename(place.join("other"), place.join("d")).expect("it moves");
        }
        true
    });
    bench.succeed("read_file", json!({"path": "d/f"})).await;

    let outcome = bench.fail("edit_file", step("d/f", 0)).await;
    assert!(
        outcome.contains("changed since this change was shown"),
        "{outcome}"
    );

    assert_eq!(
        (bench.get("d/f"), bench.get("before/f")),
        ("<0>".into(), "<0>".into())
    );
}
