//! Commands on a session whose log was folded (`--retention`): each prints what it printed before.

use super::served::Served;
use super::{Done, Shell};
use lastword::Host;
use lastword_tests::check::violations;
use lastword_tests::guests::root;
use std::time::Duration;

/// Folds every log, as a host does that keeps nothing.
fn fold(shell: &Shell) -> u64 {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let host = Host::builder()
            .data_dir(shell.data())
            .cache_dir(root().join("target/lastword-test-cache"))
            .retention(Some(Duration::ZERO))
            .build()
            .await
            .expect("the host starts");
        let folded = host.prune_events().await.expect("it folds");
        host.shutdown().await;
        folded
    })
}

/// What each command prints about a session.
fn table(shell: &Shell, session: &str) -> Vec<(String, Done)> {
    let run = |prompt: &str, key: &str| shell.probe(prompt, &["--session", session, "--key", key]);
    let mut rows = vec![
        ("run --key".to_owned(), run("echo again", "k").exits(0)),
        (
            "run --key, failed".to_owned(),
            run("fail no luck", "f").exits(1),
        ),
        (
            "run --key, other words".to_owned(),
            run("echo other", "k").exits(2),
        ),
    ];
    for words in [
        &["show", session][..],
        &["show", session, "--json"],
        &["export", session],
        &["export", session, "--format", "json"],
        &["sessions", "--json"],
    ] {
        rows.push((words.join(" "), shell.lastword(words).exits(0)));
    }
    rows
}

fn compare(before: &[(String, Done)], after: &[(String, Done)], how: &str) {
    for ((command, before), (_, after)) in before.iter().zip(after) {
        assert_eq!(after.out, before.out, "{command} {how}");
        assert_eq!(after.err, before.err, "{command} {how}");
    }
}

#[test]
fn commands_answer_the_same_once_a_log_was_folded() {
    let shell = Shell::new();
    shell.probe("two-steps", &[]).exits(0);
    let session = shell.sessions()[0].record.id.to_string();
    let kept = {
        // The first time starts the runs, the second one finds them.
        table(&shell, &session);
        table(&shell, &session)
    };
    let served = Served::start(&shell, &[]);
    let kept_at_server = table(&shell, &session);
    served.end();

    assert!(fold(&shell) > 0);
    compare(&kept, &table(&shell, &session), "on disk");
    let served = Served::start(&shell, &["--retention=30d"]);
    compare(&kept_at_server, &table(&shell, &session), "at a server");
    served.end();

    // A younger run stands in the log, behind what is gone.
    let done = shell.probe("echo young", &["--session", &session]).exits(0);
    assert_eq!(done.out, "young");
    let shown = shell.lastword(&["show", &session]).exits(0);
    for words in ["→ t a=1", "no luck", "assistant\nyoung", "took "] {
        assert!(shown.out.contains(words), "{words}: {shown:?}");
    }
    assert_eq!(violations(&shell.data()), [""; 0]);
}
