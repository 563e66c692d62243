//! A write-ahead log that was damaged or cut off: the host starts, and says what is missing.

use super::{Bench, missing, open, workspace};
use lastword::Missing;
use lastword_tests::campaign::chance::Chance;
use lastword_tests::check::violations;
use std::path::Path;

/// Sessions that are in the database when the log begins, and in the log.
const SESSIONS: usize = 12;

/// Flips one bit, or cuts the end off.
fn damage(log: &Path, chance: &mut Chance) {
    let mut bytes = std::fs::read(log).expect("there is a log");
    let at = chance.below(bytes.len() as u64) as usize;
    if chance.percent(75) {
        bytes[at] ^= 1 << chance.below(8);
    } else {
        bytes.truncate(at);
    }
    std::fs::write(log, bytes).expect("it is written");
}

/// What the cases came to.
#[derive(Debug, Default)]
struct Sum {
    cases: usize,
    whole: usize,
    told: usize,
    /// Cases in which something was lost and nothing was said.
    silent: usize,
    sessions_lost: usize,
}

impl Sum {
    /// Starts a host on a damaged copy, and holds what it says against what it has.
    fn add(&mut self, bench: &Bench, image: &Path) {
        let store = open(image);
        let lost = bench.lost(image);
        let said = missing(store.notices()).cloned();
        drop(store);
        self.cases += 1;
        self.sessions_lost += lost;
        match (&said, lost) {
            (None, 0) => self.whole += 1,
            (None, _) => self.silent += 1,
            (Some(said), lost) => {
                self.told += 1;
                assert!(said.count() >= lost as u64, "{said:?}");
                assert!(
                    said.until >= said.since.expect("some are there"),
                    "{said:?}"
                );
                let kept = said.kept.as_ref().expect("the log as it was found");
                assert!(kept.is_file());
            }
        }
        assert!(lost <= SESSIONS, "what an orderly end left is there");
        assert_eq!(violations(image), [""; 0]);
        let again = open(image);
        assert_eq!(missing(again.notices()), None, "it is said once");
    }
}

/// `LASTWORD_LOG_CASES` for more, `LASTWORD_LOG_SEED` for others.
#[tokio::test]
async fn what_a_damaged_log_takes_away_is_said() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("LASTWORD_LOG_CASES").unwrap_or(40);
    let seed = number("LASTWORD_LOG_SEED").unwrap_or(12);
    let mut bench = Bench::new().await;
    bench.write(SESSIONS).await;
    bench.restart().await;
    bench.write(SESSIONS).await;
    let (mut with, mut without) = (Sum::default(), Sum::default());
    for case in 0..cases {
        for (record, sum) in [(true, &mut with), (false, &mut without)] {
            let image = bench.image("image");
            damage(
                &image.join("lastword.db-wal"),
                &mut Chance::of_case(seed, case),
            );
            if !record {
                std::fs::remove_file(image.join("lastword.committed")).expect("there is one");
            }
            sum.add(&bench, &image);
            std::fs::remove_dir_all(image).expect("it is ours");
        }
    }
    println!("seed {seed}: {with:?}; without the record {without:?}");
    assert_eq!(with.silent, 0, "{with:?}");
    assert!(with.told > 0, "{with:?}");
    assert_eq!(with.sessions_lost, without.sessions_lost);
    // The control.
    assert!(without.silent > 0 && without.told == 0, "{without:?}");
}

/// A change that brings no event is acknowledged as well.
#[tokio::test]
async fn a_change_without_an_event_is_missed_too() {
    let mut bench = Bench::new().await;
    bench.write(1).await;
    let before = bench.image("before");
    assert_eq!(missing(open(&before).notices()), None);
    let options = lastword::store::StoredOptions::default();
    workspace(&bench.store, Some(options)).await;
    let image = bench.image("image");
    let log = image.join("lastword.db-wal");
    // The last frame, whose pages nothing else holds.
    let length = std::fs::metadata(&log).expect("a log").len();
    let file = std::fs::File::options().write(true).open(&log);
    let cut = file.expect("a log").set_len(length - 1);
    cut.expect("it is cut");
    let store = open(&image);
    let said = missing(store.notices()).expect("it is said");
    assert_eq!(said.count(), 1, "{said:?}");
}

/// Once the log is in the database whole, damage to it must not take pages back one by one.
#[tokio::test]
async fn a_log_that_is_in_the_database_means_nothing_any_more() {
    let mut bench = Bench::new().await;
    let length = |data: &Path, name| {
        let found = std::fs::metadata(data.join(name));
        found.expect("there it is").len()
    };
    let before = length(&bench.data(), "lastword.db");
    while length(&bench.data(), "lastword.db") == before {
        bench.write(1).await;
        // The writer has come to what follows a commit.
        bench.store.probe().await.expect("it can write");
    }
    let whole = length(&bench.data(), "lastword.db-wal");
    for at in [32 + 24, whole / 3, whole / 2, whole - 4000] {
        let image = bench.image("image");
        let log = image.join("lastword.db-wal");
        let mut bytes = std::fs::read(&log).expect("a log");
        bytes[at as usize] ^= 1;
        std::fs::write(&log, bytes).expect("it is written");
        let store = open(&image);
        // What is committed behind the checkpoint is in the new log, and may be the last title.
        let said = missing(store.notices()).map_or(0, Missing::count);
        assert!(bench.lost(&image) <= 1 && said <= 2, "at {at}: {said}");
        drop(store);
        assert_eq!(violations(&image), [""; 0], "at {at}");
        std::fs::remove_dir_all(image).expect("it is ours");
    }
}

#[tokio::test]
async fn an_orderly_end_leaves_one_whole_file() {
    let mut bench = Bench::new().await;
    bench.write(SESSIONS).await;
    // What has read keeps SQLite from clearing up by itself.
    for (id, _) in &bench.given {
        bench.store.session(*id).await.expect("it is read");
    }
    bench.store.close();
    let log = std::fs::metadata(bench.data().join("lastword.db-wal"));
    assert_eq!(log.expect("a log").len(), 0, "it is in the database");
    let alone = bench.folder.path().join("alone");
    std::fs::create_dir(&alone).expect("a folder");
    let copied = std::fs::copy(bench.data().join("lastword.db"), alone.join("lastword.db"));
    copied.expect("it is copied");
    assert_eq!(bench.lost(&alone), 0);
    let store = open(&alone);
    assert_eq!(missing(store.notices()), None);
    drop(store);
    assert_eq!(violations(&alone), [""; 0]);
}
