//! A data directory that is taken away under a running host: nothing is acknowledged any more, the
//! host says why, and ends.

use lastword::{Health, StoreError};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::locked::Locked;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Taking = fn(&Path);

fn rename(data: &Path, name: &str) {
    std::fs::rename(data.join(name), data.join("elsewhere")).expect("it was there");
}

/// What happens, and what is said of it.
const TAKEN: [(&str, Taking, &str); 8] = [
    (
        "the directory is removed",
        |data| std::fs::remove_dir_all(data).expect("it was there"),
        "removed or moved",
    ),
    (
        "the directory is moved",
        |data| std::fs::rename(data, data.with_extension("old")).expect("it was there"),
        "removed or moved",
    ),
    (
        "the database is removed",
        |data| std::fs::remove_file(data.join("lastword.db")).expect("it was there"),
        "lastword.db was removed",
    ),
    (
        "the database is replaced",
        |data| {
            rename(data, "lastword.db");
            std::fs::write(data.join("lastword.db"), "").expect("it is written");
        },
        "lastword.db was replaced",
    ),
    (
        "the log is removed",
        |data| std::fs::remove_file(data.join("lastword.db-wal")).expect("it was there"),
        "lastword.db-wal was removed",
    ),
    (
        "the lock is removed",
        |data| std::fs::remove_file(data.join("owner.lock")).expect("it was there"),
        "owner.lock was removed",
    ),
    (
        "the lock is replaced",
        |data| {
            rename(data, "owner.lock");
            std::fs::write(data.join("owner.lock"), "1").expect("it is written");
        },
        "owner.lock was replaced",
    ),
    (
        "another host takes over",
        |data| {
            let conn = Connection::open(data.join("lastword.db")).expect("a database");
            let taken = conn.execute("UPDATE owner SET epoch = epoch + 1", []);
            taken.expect("it is taken");
        },
        "another host took the data directory over",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_into_what_was_taken_away() {
    for (what, take, said) in TAKEN {
        let fixture = Fixture::new().await;
        let run = fixture.start_until("spin before", "before").await;
        assert_eq!(fixture.host.health().await, Health::Ready, "{what}");
        take(&fixture.data());
        let refused = fixture.session.prompt("echo x").await;
        let refused = refused.map(|run| run.id()).expect_err(what).to_string();
        assert!(refused.contains(said), "{what}: {refused}");
        assert!(!run.cancel().await.expect(what).persisted, "{what}");
        let StoreError::Closed(why) = fixture.host.failed().await else {
            panic!("{what}: it is no end");
        };
        assert!(why.contains(said), "{what}: {why}");
        let data = fixture.data();
        assert!(!why.contains(data.to_str().expect("a path")), "{why}");
        assert_eq!(
            fixture.host.health().await,
            Health::Closed { why },
            "{what}"
        );
        assert_eq!(fixture.host.shutdown().await, [run.id()], "{what}");
    }
}

/// A store that does not answer is told apart from one that refuses.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_is_stalled() {
    let clock = ManualClock::default();
    let plan = Plan::new();
    let fixture = plan
        .host(|host| host.clock(Arc::new(clock.clone())))
        .build()
        .await;
    let patience = Duration::from_secs(2);
    // The lock makes the store wait for a second of real time before it says that it cannot write;
    // on a busy machine the host's two virtual ones may be over only then.
    for _ in 0..20 {
        let locked = Locked::hold(&fixture.data());
        let begun = clock.begun_for(patience);
        let (health, ()) = tokio::join!(fixture.host.health(), async {
            clock.asleep_for(patience, begun + 1).await;
            clock.advance(patience);
        });
        locked.release();
        match health {
            Health::Stalled { .. } => return,
            Health::CannotWrite { .. } => {
                assert_eq!(fixture.host.health().await, Health::Ready);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it was never told apart");
}

/// Health alone finds it, without a write.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_at_rest_finds_that_it_was_taken_over() {
    for (what, take, said) in TAKEN {
        let fixture = Fixture::new().await;
        take(&fixture.data());
        match fixture.host.health().await {
            Health::Closed { why } => assert!(why.contains(said), "{what}: {why}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_write_says_so_until_it_can() {
    let fixture = Fixture::new().await;
    let locked = Locked::hold(&fixture.data());
    match fixture.host.health().await {
        Health::CannotWrite { why } => assert!(why.contains("locked"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(fixture.session.prompt("echo x").await.is_err());
    locked.release();
    assert_eq!(fixture.host.health().await, Health::Ready);
    fixture.run("echo x").await;
    assert_eq!(fixture.host.health().await, Health::Ready);
    fixture.host.shutdown().await;
    assert_eq!(fixture.host.health().await, Health::Closing);
}
