//! Builds an agent's crate with cargo, whose own messages go to standard error, and finds the
//! component in cargo's JSON output.

use crate::agent::Found;
use crate::failure::Failure;
use crate::terminal::Terminal;
use serde::Deserialize;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-wasip2";

/// Builds the library of the package in a folder as a component.
pub(crate) fn build(folder: &Path, terminal: &Terminal) -> Result<Found, Failure> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Failure::usage(format!(
            "{} is a folder without a Cargo.toml; name a .wasm file, or the folder of an \
             agent's crate",
            folder.display()
        )));
    }

    let package = package(folder, &manifest)?;
    ensure_target(folder, terminal)?;
    let file = component(folder, &package)?;
    Ok(Found {
        name: package.name,
        file,
    })
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Package {
    fn is_agent(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    }
}

/// Returns the package of this very folder. A workspace folder without one is refused, since it is
/// unclear which of its packages is meant.
fn package(folder: &Path, manifest: &Path) -> Result<Package, Failure> {
    let output = cargo(folder)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| no_cargo(&error))?;
    let unreadable = |why: &str| {
        Failure::usage(format!(
            "cargo cannot read {}: {why}; try `cargo check` there",
            manifest.display()
        ))
    };

    if !output.status.success() {
        return Err(unreadable("its message is above"));
    }

    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| unreadable(&error.to_string()))?;
    let here = manifest.canonicalize().unwrap_or(manifest.to_owned());
    let (mut ours, others): (Vec<_>, Vec<_>) = metadata
        .packages
        .into_iter()
        .partition(|package| package.manifest_path == here);
    let Some(package) = ours.pop() else {
        let folders = others.iter().filter(|package| package.is_agent());
        let folders = folders.filter_map(|package| package.manifest_path.parent());
        let folders: Vec<_> = folders.map(|at| at.display().to_string()).collect();
        let agents = match folders.as_slice() {
            [] => "none of its packages is an agent".to_owned(),
            folders => format!("name one of its agents: {}", folders.join(", ")),
        };
        return Err(Failure::usage(format!(
            "{} is a workspace, not a package; {agents}",
            manifest.display()
        )));
    };

    if !package.is_agent() {
        return Err(Failure::usage(format!(
            "the package `{}` is not an agent: its library is no cdylib; add to {}:\n\n  \
             [lib]\n  crate-type = [\"cdylib\", \"rlib\"]\n",
            package.name,
            manifest.display()
        )));
    }

    Ok(package)
}

/// A fresh machine lacks the target: rustup adds it.
fn ensure_target(folder: &Path, terminal: &Terminal) -> Result<(), Failure> {
    let libraries = clean("rustc", folder)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output();
    // If rustc is missing, cargo gives the better message.
    let Ok(libraries) = libraries else {
        return Ok(());
    };

    let libraries = String::from_utf8_lossy(&libraries.stdout);
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }

    terminal.note(&format!(
        "agents are built for {TARGET}, which this toolchain lacks; \
         adding it with `rustup target add {TARGET}`"
    ));
    let added = clean("rustup", folder)
        .args(["target", "add", TARGET])
        .stdout(Stdio::null())
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Failure::usage(format!(
            "the target {TARGET} is missing and could not be added; run \
             `rustup target add {TARGET}` in {}, or add it with whatever installed Rust here",
            folder.display()
        ))),
    }
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

fn component(folder: &Path, package: &Package) -> Result<PathBuf, Failure> {
    let mut child = cargo(folder)
        .args(["build", "--release", "--lib", "--target", TARGET])
        .args(["--package", &package.id])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| no_cargo(&error))?;
    let mut found = None;
    let lines = child.stdout.take().map(BufReader::new);
    for line in lines
        .into_iter()
        .flat_map(BufRead::lines)
        .map_while(Result::ok)
    {
        if let Ok(Message::CompilerArtifact {
            package_id,
            filenames,
        }) = serde_json::from_str(&line)
            && package_id == package.id
        {
            let is_component = |file: &PathBuf| file.extension().is_some_and(|e| e == "wasm");
            found = filenames.into_iter().find(is_component).or(found);
        }
    }
    let name = &package.name;
    match (child.wait(), found) {
        (Ok(status), Some(file)) if status.success() => Ok(file),
        (Ok(status), None) if status.success() => Err(Failure::usage(format!(
            "cargo built `{name}` and wrote no component; is its library a cdylib?"
        ))),
        (Ok(_), _) => Err(Failure::usage(format!(
            "`{name}` does not build; cargo's messages are above"
        ))),
        (Err(error), _) => Err(no_cargo(&error)),
    }
}

fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    clean(program, folder)
}

/// A program in the crate's folder, so that its toolchain and configuration apply, with what builds
/// need of the environment and no more: a crate's build scripts and macros run with the user's
/// rights, and are given no keys.
fn clean(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let passed = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passes));
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_clear()
        .envs(passed);
    command
}

/// What cargo, rustup, git and linkers look at, beside what begins with one of [`PREFIXES`].
const NAMES: [&str; 42] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "MAKEFLAGS",
    "NUM_JOBS",
    "SOURCE_DATE_EPOCH",
    "SDKROOT",
    "DEVELOPER_DIR",
    "MACOSX_DEPLOYMENT_TARGET",
    "LIBCLANG_PATH",
    "WASI_SYSROOT",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "SCCACHE_DIR",
    "CCACHE_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];
const PREFIXES: [&str; 7] = [
    "CARGO",
    "RUST",
    "LC_",
    "PKG_CONFIG",
    "NIX_",
    "WASI_SDK",
    "LLVM_",
];
/// Compilers and their flags, which are also written for a target: `CC_wasm32_wasip2`, `HOST_CC`.
const TOOLS: [&str; 10] = [
    "CC", "CXX", "AR", "LD", "NM", "RANLIB", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS",
];
/// A variable whose name contains one of these is kept from builds, whatever its prefix.
const KEPT: [&str; 5] = ["TOKEN", "SECRET", "PASSW", "CREDENTIAL", "KEY"];
/// What cargo says of this program where that was started by `cargo run`: it would be taken for the
/// crate's own, and make build scripts that look at it run again each time.
const OF_THIS_PROGRAM: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Whether a build sees a variable of the environment.
fn passes(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if KEPT.iter().any(|word| upper.contains(word)) || begins(&OF_THIS_PROGRAM) {
        return false;
    }

    let is_proxy = upper.ends_with("_PROXY") && NAMES.contains(&upper.as_str());
    let tool = name.strip_prefix("HOST_").or(name.strip_prefix("TARGET_"));
    let tool = tool.unwrap_or(name);
    let tool = TOOLS.iter().any(|known| {
        let rest = tool.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    });
    NAMES.contains(&name) || is_proxy || tool || begins(&PREFIXES)
}

fn no_cargo(error: &std::io::Error) -> Failure {
    Failure::usage(format!(
        "cannot run cargo: {error}; install Rust, or build the agent elsewhere and name its \
         .wasm file"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_sees_its_tools_and_no_keys() {
        for name in [
            "PATH",
            "CARGO_HOME",
            "CARGO_TARGET_WASM32_WASIP2_LINKER",
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "CC",
            "CC_wasm32_wasip2",
            "HOST_CFLAGS",
            "https_proxy",
            "LC_ALL",
        ] {
            assert!(passes(name), "{name}");
        }
        for name in [
            "OPENAI_API_KEY",
            "LASTWORD_TOKEN",
            "LASTWORD_DATA_DIR",
            "CARGO_REGISTRY_TOKEN",
            "CARGO_REGISTRIES_OWN_TOKEN",
            "CARGO_PKG_NAME",
            "AWS_ACCESS_KEY_ID",
            "DATABASE_URL",
            "CCTV",
            "GIT_CONFIG_VALUE_0",
            "MY_PROXY",
        ] {
            assert!(!passes(name), "{name}");
        }
    }
}
