//! The guests of the tests, built once per process by cargo itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
}

/// The component of a guest crate of this workspace, by its package name.
///
/// # Panics
/// When it cannot be built; cargo has said why.
#[must_use]
pub fn guest(package: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(build_all);
    let file = directory.join(format!("{}.wasm", package.replace('-', "_")));
    assert!(
        file.is_file(),
        "no guest {package}: {} is missing",
        file.display()
    );
    file
}

const PACKAGES: [&str; 9] = [
    "assistant",
    "census",
    "epilogue",
    "epilogue-probe",
    "hog",
    "narrow-probe",
    "probe",
    "researcher",
    "workbench",
];

fn build_all() -> PathBuf {
    ensure_target();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--target", "wasm32-wasip2"])
        .args(PACKAGES.iter().flat_map(|package| ["-p", package]))
        .current_dir(root());
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the guests do not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("wasm32-wasip2/release")
}

/// A fresh machine lacks the target: rustup adds it.
fn ensure_target() {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.expect("rustc runs").stdout;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot).trim());
    if sysroot.join("lib/rustlib/wasm32-wasip2").is_dir() {
        return;
    }
    eprintln!("adding the target wasm32-wasip2 with `rustup target add wasm32-wasip2`");
    let added = Command::new("rustup")
        .args(["target", "add", "wasm32-wasip2"])
        .status();
    assert!(
        added.is_ok_and(|status| status.success()),
        "run `rustup target add wasm32-wasip2`: the guests are built for it"
    );
}
