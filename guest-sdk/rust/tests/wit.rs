//! The SDK's copy of the WIT package is the package itself. It does not know what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every interface file of a folder, by name.
fn package(folder: &Path) -> BTreeMap<String, String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "wit"))
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&file).unwrap())
        })
        .collect()
}

#[test]
fn the_copy_is_the_package() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = package(&here.join("wit"));
    assert!(copy.contains_key("world.wit"));
    assert_eq!(
        copy,
        package(&here.join("../../wit")),
        "copy ../../wit/*.wit into the SDK's wit/"
    );
}
