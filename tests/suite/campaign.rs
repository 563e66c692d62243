//! A short kill campaign, and proof that it finds what it looks for: each control breaks one
//! promise on purpose. The long one is `cargo run --example campaign`.

use lastword_tests::campaign::{Campaign, Chain, Orders, Phase, victim};
use lastword_tests::check;
use lastword_tests::guests::{guest, root};
use std::process::Command;
use tempfile::TempDir;

/// Lives of a control until it must have been caught.
const LIVES: usize = 20;

/// In a process that has orders this is the victim; the test is that such a process starts a
/// host and ends by itself.
#[test]
fn a_victim_that_nobody_kills_ends_clean() {
    if let Some(orders) = Orders::of_this_process() {
        return victim::live(&orders);
    }
    let (mut chain, _folder) = chain(11);
    chain.rest();
    assert_eq!(chain.findings, [""; 0]);
    assert!(chain.acknowledged() >= victim::SESSIONS);
}

/// This test binary, as a victim.
fn itself() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows where it is"));
    let test = "campaign::a_victim_that_nobody_kills_ends_clean";
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}

fn chain(seed: u64) -> (Chain, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let campaign = Campaign {
        command: itself,
        probe: guest("probe"),
        cache: root().join("target/lastword-test-cache"),
        lastword: None,
    };
    let data = folder.path().join("data");
    (Chain::new(campaign, seed, 0, data), folder)
}

#[test]
fn nothing_acknowledged_is_lost_to_a_kill() {
    let (mut chain, _folder) = chain(12);
    chain.run(12);
    assert_eq!(chain.findings, [""; 0]);
    assert_eq!(chain.matrix.kills(), 12);
}

#[test]
fn control_an_accept_before_its_commit_is_found_lost() {
    let (mut chain, _folder) = chain(13);
    for _ in 0..LIVES {
        chain.life(Phase::Accepting, |orders| orders.early = true);
        if found(&chain, "accepted and gone") {
            return;
        }
    }
    panic!("the campaign overlooked it: {:?}", chain.findings);
}

#[test]
fn control_an_end_that_is_not_guarded_is_found_twice() {
    let (mut chain, folder) = chain(14);
    chain.life(Phase::Working, |_| {});
    assert_eq!(chain.findings, [""; 0]);
    let conn = check::open(&folder.path().join("data"));
    let unguard = "CREATE TRIGGER unguard AFTER INSERT ON run_terminal BEGIN
                     UPDATE run SET state = 'running', cause = NULL WHERE no = new.run;
                     DELETE FROM run_terminal WHERE run = new.run;
                   END";
    conn.execute_batch(unguard).expect("a trigger is made");
    chain.life(Phase::Working, |_| {});
    conn.execute_batch("DROP TRIGGER unguard")
        .expect("a trigger is dropped");
    chain.rest();
    let twice = "another number of ends than one";
    assert!(found(&chain, twice), "{:?}", chain.findings);
}

#[test]
fn control_an_event_that_was_seen_and_is_gone_is_missed() {
    let (mut chain, folder) = chain(15);
    chain.life(Phase::Working, |_| {});
    assert_eq!(chain.findings, [""; 0]);
    let conn = check::open(&folder.path().join("data"));
    let lose = "DELETE FROM event WHERE pos = (SELECT min(pos) FROM event
                WHERE json_extract(body, '$.type') = 'text.delta')";
    assert_eq!(conn.execute(lose, []), Ok(1));
    chain.rest();
    assert!(found(&chain, "seen and gone"), "{:?}", chain.findings);
    assert!(found(&chain, "a gap"), "{:?}", chain.findings);
}

#[test]
fn control_an_event_that_was_seen_and_is_another_is_noticed() {
    let (mut chain, folder) = chain(16);
    chain.life(Phase::Working, |_| {});
    assert_eq!(chain.findings, [""; 0]);
    let conn = check::open(&folder.path().join("data"));
    let change = "UPDATE event SET body = json_set(body, '$.text', 'other words')
                  WHERE pos = (SELECT min(pos) FROM event
                  WHERE json_extract(body, '$.type') = 'text.delta')";
    assert_eq!(conn.execute(change, []), Ok(1));
    chain.rest();
    assert!(found(&chain, "and stored as"), "{:?}", chain.findings);
}

#[test]
fn control_a_receipt_that_was_answered_and_is_gone_is_missed() {
    let (mut chain, folder) = chain(17);
    chain.life(Phase::Cancelling, |_| {});
    chain.life(Phase::Working, |_| {});
    assert_eq!(chain.findings, [""; 0]);
    let conn = check::open(&folder.path().join("data"));
    let lost = conn.execute("DELETE FROM run_terminal", []);
    assert!(lost.is_ok_and(|lost| lost > 0));
    chain.rest();
    assert!(
        found(&chain, "answered and not stored"),
        "{:?}",
        chain.findings
    );
}

fn found(chain: &Chain, words: &str) -> bool {
    chain.findings.iter().any(|found| found.contains(words))
}
