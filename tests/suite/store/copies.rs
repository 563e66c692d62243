//! Databases that were put in the place of others: backups, copies, other ones.

use super::{Bench, missing, open};
use lastword::event::Seq;
use lastword::{Archive, BackupError, Notice, backup};
use lastword_tests::check::violations;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn last_position(data: &Path) -> u64 {
    let archive = Archive::open(data).expect("a database");
    let sessions = archive.sessions(None, u32::MAX).expect("sessions");
    let last = sessions.iter().map(|session| {
        let events = archive.events(session.record.id, Seq(0)).expect("events");
        events.last().map_or(0, |event| event.pos.0)
    });
    last.max().unwrap_or(0)
}

#[tokio::test]
async fn a_backup_of_a_running_host_is_whole_and_its_restore_is_said_once() {
    let mut bench = Bench::new().await;
    bench.write(5).await;
    let file = bench.folder.path().join("backup");
    let made = backup(&bench.data(), &file).expect("it is made");
    assert_eq!(made.sessions, 5);
    let found = std::fs::metadata(&file).expect("there it is");
    assert_eq!(
        (found.len(), found.permissions().mode() & 0o777),
        (made.bytes, 0o600)
    );
    let again = backup(&bench.data(), &file);
    assert!(
        matches!(again, Err(BackupError::Exists { .. })),
        "{again:?}"
    );
    let beside: Vec<_> = std::fs::read_dir(bench.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(beside.len(), 2, "nothing is left beside it: {beside:?}");

    // Into an empty directory.
    let other = bench.folder.path().join("other");
    std::fs::create_dir(&other).expect("a folder");
    std::fs::copy(&file, other.join("lastword.db")).expect("it is copied");
    assert_eq!(bench.lost(&other), 0, "without a host");
    assert_eq!(missing(open(&other).notices()), None);
    assert_eq!(violations(&other), [""; 0]);

    // Into the place of a newer one, after an orderly end.
    bench.write(3).await;
    bench.store.close();
    let data = bench.data();
    let last = last_position(&data);
    std::fs::copy(&file, data.join("lastword.db")).expect("it is copied");
    let archive = Archive::open(&data).expect("a database");
    let found = archive
        .missing()
        .expect("it is read")
        .expect("it is missing");
    drop(archive);
    let mut restored = Bench {
        store: open(&data),
        ..Bench::new().await
    };
    let said = missing(restored.store.notices()).expect("it is said");
    assert_eq!((said.first, said.last), (found.first, found.last));
    assert!(said.last >= last && said.count() >= 6, "{said:?}");
    let words = said.to_string();
    for part in ["positions", "UTC", "If you restored a backup"] {
        assert!(words.contains(part), "`{part}`: {words}");
    }
    restored.workspace = super::workspace(&restored.store, None).await;
    restored.write(1).await;
    restored.store.close();
    assert!(last_position(&data) > last, "no position is given twice");
    assert_eq!(missing(open(&data).notices()), None, "it is said once");
}

#[tokio::test]
async fn a_copied_directory_is_as_good_as_the_first() {
    let mut bench = Bench::new().await;
    bench.write(2).await;
    let copy = bench.image("copy");
    bench.write(2).await;
    assert_eq!(missing(open(&copy).notices()), None);
    bench.restart().await;
    assert_eq!(missing(bench.store.notices()), None);
}

#[tokio::test]
async fn another_database_is_told_from_an_older_one() {
    let mut bench = Bench::new().await;
    let mut other = Bench::new().await;
    bench.write(3).await;
    other.write(1).await;
    bench.store.close();
    other.store.close();
    let (data, from) = (bench.data(), other.data());
    std::fs::copy(from.join("lastword.db"), data.join("lastword.db")).expect("it is copied");
    assert_eq!(other.lost(&data), 0);
    assert_eq!(open(&data).notices(), [Notice::OtherDatabase]);
    assert_eq!(open(&data).notices(), []);
    std::fs::remove_file(data.join("lastword.db")).expect("it was there");
    let store = open(&data);
    let said = missing(store.notices()).expect("all is missing");
    assert_eq!((said.first, said.since), (1, None));
    assert!(said.to_string().contains("all that there was"));
}

/// A record that is damaged is no reason to refuse, and says no more than that.
#[tokio::test]
async fn a_damaged_record_is_made_anew() {
    let mut bench = Bench::new().await;
    bench.write(1).await;
    bench.store.close();
    let record = bench.data().join("lastword.committed");
    std::fs::write(&record, [7; 1024]).expect("it is written");
    let store = open(&bench.data());
    assert!(
        matches!(store.notices(), [Notice::Unrecorded { .. }]),
        "{:?}",
        store.notices()
    );
    drop(store);
    assert_eq!(open(&bench.data()).notices(), []);
}

#[tokio::test]
async fn what_cannot_be_copied_is_said() {
    let bench = Bench::new().await;
    let folder = bench.folder.path();
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let none = backup(&empty, &folder.join("file"));
    assert!(matches!(none, Err(BackupError::Open(_))), "{none:?}");
    let nowhere = backup(&bench.data(), &folder.join("no/such/file"));
    assert!(
        matches!(nowhere, Err(BackupError::Io { .. })),
        "{nowhere:?}"
    );
    std::os::unix::fs::symlink("nowhere", folder.join("link")).expect("a link");
    let link = backup(&bench.data(), &folder.join("link"));
    assert!(matches!(link, Err(BackupError::Exists { .. })), "{link:?}");
}
