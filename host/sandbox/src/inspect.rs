//! Inspects a component before it is compiled: what it imports and exports, by name. Types are
//! checked later, when [`component`](super::component) links it.

use super::ComponentError;
use wasmparser::{Encoding, Parser, Payload};

/// The WIT package that agents are built against.
pub const WIT_PACKAGE: &str = "lastword:agent";
/// The version of it that this host offers. A component may be built against any version that
/// semver calls compatible.
pub const WIT_VERSION: &str = "0.1.0";

const OURS: [&str; 9] = [
    "types",
    "transcript",
    "model",
    "tools",
    "state",
    "control",
    "log",
    "secrets",
    "turn",
];

/// The WASI interfaces that are linked, without version; any 0.2 is compatible. Sockets are among
/// them because guests in some languages import them, but every operation on them is denied.
const WASI: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/wall-clock",
    "wasi:clocks/monotonic-clock",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
    "wasi:http/types",
    "wasi:http/outgoing-handler",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:sockets/network",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// What a component imports and exports, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Names of imports, in the component's order.
    pub imports: Vec<String>,
    /// Names of exports, in the component's order.
    pub exports: Vec<String>,
    /// The size of the component in bytes.
    pub bytes: u64,
}

impl Inspection {
    /// Whether the agent exports an epilogue.
    #[must_use]
    pub fn has_epilogue(&self) -> bool {
        self.exports.iter().any(|name| is_ours(name, "epilogue"))
    }
}

/// Inspects the outermost layer of a component and refuses one that the host cannot serve.
pub(super) fn inspect(wasm: &[u8]) -> Result<Inspection, ComponentError> {
    if wasm.len() < 8 || !wasm.starts_with(b"\0asm") {
        return Err(ComponentError::NotWasm);
    }
    let found = names(wasm)?;
    check_exports(&found.exports)?;
    check_imports(&found.imports)?;
    Ok(found)
}

fn names(wasm: &[u8]) -> Result<Inspection, ComponentError> {
    let invalid = |error: wasmparser::BinaryReaderError| ComponentError::Invalid(error.to_string());
    let mut found = Inspection {
        bytes: wasm.len() as u64,
        ..Inspection::default()
    };

    let mut depth = 0_u32;

    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(ComponentError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    found
                        .imports
                        .push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    found
                        .exports
                        .push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }

    Ok(found)
}

fn check_exports(exports: &[String]) -> Result<(), ComponentError> {
    if exports.iter().any(|name| is_ours(name, "turn")) {
        return Ok(());
    }

    match exports
        .iter()
        .find(|name| split(name).0 == format!("{WIT_PACKAGE}/turn"))
    {
        Some(other) => Err(ComponentError::WrongVersion {
            found: vec![other.clone()],
        }),
        None => Err(ComponentError::OtherWorld {
            exports: exports.to_vec(),
        }),
    }
}

fn check_imports(imports: &[String]) -> Result<(), ComponentError> {
    let prefix = format!("{WIT_PACKAGE}/");
    let (mut missing, mut other_version) = (Vec::new(), Vec::new());

    for name in imports {
        let (interface, version) = split(name);

        if let Some(short) = interface.strip_prefix(&prefix) {
            match (OURS.contains(&short), is_compatible(version, WIT_VERSION)) {
                (true, true) => {}
                (_, false) => other_version.push(name.clone()),
                (false, true) => missing.push(name.clone()),
            }
        } else if !(WASI.contains(&interface)
            && version.is_none_or(|v| is_compatible(Some(v), "0.2.0")))
        {
            missing.push(name.clone());
        }
    }

    if !other_version.is_empty() {
        return Err(ComponentError::WrongVersion {
            found: other_version,
        });
    }

    if !missing.is_empty() {
        return Err(ComponentError::MissingImports { names: missing });
    }

    Ok(())
}

fn is_ours(name: &str, interface: &str) -> bool {
    let (found, version) = split(name);
    found == format!("{WIT_PACKAGE}/{interface}") && is_compatible(version, WIT_VERSION)
}

fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((interface, version)) => (interface, Some(version)),
        None => (name, None),
    }
}

/// Whether a component built against `found` links with `ours`: the same major version, and before
/// 1.0 the same minor version. A newer patch version adds nothing to a WIT package.
fn is_compatible(found: Option<&str>, ours: &str) -> bool {
    let Some(found) = found else { return false };
    let track = |version: &str| {
        let mut numbers = version.split(['.', '-', '+']);
        match (numbers.next(), numbers.next()) {
            (Some("0"), minor) => ("0".to_owned(), minor.unwrap_or_default().to_owned()),
            (major, _) => (major.unwrap_or_default().to_owned(), String::new()),
        }
    };
    track(found) == track(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compatible_within_a_track() {
        assert!(is_compatible(Some("0.1.0"), "0.1.0"));
        assert!(is_compatible(Some("0.1.7"), "0.1.0"));
        assert!(is_compatible(Some("1.4.0"), "1.0.0"));
        assert!(!is_compatible(Some("0.2.0"), "0.1.0"));
        assert!(!is_compatible(Some("2.0.0"), "1.0.0"));
        assert!(!is_compatible(None, "0.1.0"));
    }
}
