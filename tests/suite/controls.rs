//! Each rule of the checker catches what breaks it: a real database, one corruption each.

use lastword_tests::check::{self, RULES, violations};
use lastword_tests::fixture::Fixture;
use std::path::Path;

/// A corruption that breaks one rule and no other, by the beginning of the rule's words.
const CORRUPTIONS: [(&str, &str); 10] = [
    (
        "the database is damaged",
        "PRAGMA ignore_check_constraints = ON; UPDATE owner SET one = 2",
    ),
    (
        "a run has another number of ends than one",
        "DELETE FROM event WHERE pos = (SELECT max(pos) FROM event)",
    ),
    (
        "a run has an end, though",
        "UPDATE run SET state = 'running' WHERE no = 1",
    ),
    (
        "a terminal run has no stored receipt",
        "DELETE FROM run_terminal WHERE run = 1",
    ),
    (
        "something about a run follows its end",
        "INSERT INTO event (session, seq, run, at_ms, body)
         SELECT session, max(seq) + 1, 1, at_ms, '{\"type\":\"run.held\"}' FROM event
         GROUP BY session",
    ),
    (
        "a session's sequence has a gap",
        "DELETE FROM event WHERE json_extract(body, '$.type') = 'run.queued' AND run = 2",
    ),
    (
        "a message was begun in the log and is not kept",
        "DELETE FROM message WHERE role = 'user' AND run = 1",
    ),
    (
        "an ended run's streamed text differs",
        "UPDATE message SET parts = replace(parts, 'Hello', 'Hallo') WHERE role = 'assistant'",
    ),
    (
        "a tool call of an ended run has no result",
        "UPDATE message SET parts = '[]' WHERE role = 'tool'",
    ),
    ("a question of an ended run is open", "DELETE FROM wake"),
];

#[tokio::test]
async fn each_rule_catches_what_breaks_it_and_nothing_else() {
    let fixture = Fixture::new().await;
    for prompt in [
        "echo Hello.",
        "two-steps",
        "fail on purpose",
        "wait-for Yes?",
    ] {
        fixture.run(prompt).await;
    }
    assert_eq!(fixture.host.shutdown().await, []);
    assert_eq!(violations(&fixture.data()), [""; 0]);
    for (rule, corruption) in CORRUPTIONS {
        let broken = copy(&fixture.data());
        let conn = check::open(broken.path());
        conn.execute_batch(corruption).expect(corruption);
        drop(conn);
        let found = violations(broken.path());
        assert!(
            found.len() == 1 && found[0].contains(rule),
            "`{corruption}` was to break `{rule}`: {found:?}"
        );
    }
}

#[test]
fn each_rule_has_a_control() {
    for (rule, _) in RULES {
        let controls = CORRUPTIONS
            .iter()
            .filter(|(name, _)| rule.starts_with(name));
        assert_eq!(controls.count(), 1, "the rule `{rule}` has no control");
    }
}

fn copy(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder for temporary files");
    for name in ["lastword.db", "lastword.db-wal"] {
        if data.join(name).is_file() {
            std::fs::copy(data.join(name), copy.path().join(name)).expect("a file is copied");
        }
    }
    copy
}
