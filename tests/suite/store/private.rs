//! Who may read a data directory: its user, whatever the umask was and however it was made before.

use super::{Bench, open};
use lastword::Notice;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    let found = std::fs::metadata(path).expect("there it is");
    found.permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    let changed = std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    changed.expect("it is ours");
}

/// The files of a directory that others may read, by name.
fn open_files(data: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(data).expect("a directory");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let open = entries.filter(|entry| mode(&entry.path()) & 0o077 != 0);
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    open.map(name).collect()
}

#[tokio::test]
async fn what_lies_in_an_open_directory_is_closed_to_others() {
    let mut bench = Bench::new().await;
    bench.write(1).await;
    let data = bench.data();
    assert_eq!((mode(&data), open_files(&data)), (0o700, Vec::new()));
    assert_eq!(bench.store.notices(), []);
    // As a service manager makes it, with the files of an earlier version that was killed.
    let data = bench.image("image");
    set_mode(&data, 0o755);
    for entry in std::fs::read_dir(&data).expect("a directory") {
        set_mode(&entry.expect("an entry").path(), 0o644);
    }
    let all = std::fs::read_dir(&data).expect("a directory").count();
    assert_eq!((open_files(&data).len(), all), (5, 5));
    let store = open(&data);
    assert_eq!(open_files(&data), [""; 0]);
    let [notice @ Notice::OpenToOthers { mode, .. }] = store.notices() else {
        panic!("{:?}", store.notices());
    };
    assert_eq!(*mode, 0o755);
    let words = notice.to_string();
    assert!(
        words.contains("chmod 700") && words.contains("0755"),
        "{words}"
    );
}

#[tokio::test]
async fn a_file_has_what_its_owner_needs_and_nothing_else_is_changed() {
    let mut bench = Bench::new().await;
    bench.write(1).await;
    let cases = [
        (0o400, 0o600),
        (0o604, 0o600),
        (0o600, 0o600),
        (0o700, 0o700),
    ];
    for (number, (found, left)) in cases.into_iter().enumerate() {
        let data = bench.image(&format!("image-{number}"));
        let database = data.join("lastword.db");
        set_mode(&database, found);
        let store = open(&data);
        assert_eq!(mode(&database), left, "{found:o}");
        drop(store);
    }
}
