//! What may be named where: serialisation, SQL, and nothing of the machine that it was
//! written on.

use super::source::{File, all, catches, code, has_word, holds, without_tests};

/// Where the crate `lastword` makes values for a wire or a disk. The crates that do nothing else
/// do not depend on serde.
const SERDE: [&str; 9] = [
    "guest/config_schema.rs",
    "guest/convert.rs",
    "guest/log.rs",
    "guest/model/",
    "guest/secrets.rs",
    "guest/tools/",
    "host/options.rs",
    "run/stats.rs",
    "run/waiting.rs",
];

const CORE: &str = "host/core/src/";
const STORE: &str = "host/store/src/sqlite/";

fn serde(file: &File) -> Vec<String> {
    let Some(inside) = file.path.strip_prefix(CORE) else {
        return vec![];
    };
    let allowed = SERDE.iter().any(|place| inside.starts_with(place));
    let code = without_tests(&code(&file.text));
    let names = ["serde", "serde_json"]
        .iter()
        .any(|name| has_word(&code, name));
    match names && !allowed {
        true => vec!["serialises: only wire types and the store do".to_owned()],
        false => vec![],
    }
}

/// SQL, as it is written here: its first word in capitals, then another of its words.
fn sql(file: &File) -> Vec<String> {
    if !file.path.starts_with("host/") || file.path.starts_with(STORE) {
        return vec![];
    }
    let begins = [
        "SELECT ",
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "PRAGMA ",
    ];
    let found = begins.iter().filter(|begin| file.text.contains(**begin));
    let update = file.text.contains("UPDATE ") && file.text.contains(" SET ");
    let update = update.then_some(&"UPDATE ");
    found
        .chain(update)
        .map(|begin| format!("has `{begin}`: SQL is the store's"))
        .collect()
}

/// Split, so that this file does not name them itself.
const HOSTS: [&str; 6] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("files.pythonhosted", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("sparse+", "http"),
];
const PLACES: [&str; 5] = [
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("C:", "\\Users"),
];

fn machine(file: &File) -> Vec<String> {
    let hosts = HOSTS.iter().filter(|host| file.text.contains(**host));
    let places = PLACES.iter().filter(|place| {
        // An address may have a path of its own.
        let before = |at: usize| file.text[..at].chars().next_back();
        file.text.match_indices(**place).any(|(at, _)| {
            !before(at).is_some_and(|before| before.is_alphanumeric() || ".$}-_~".contains(before))
        })
    });
    hosts
        .chain(places)
        .map(|name| format!("names `{name}`"))
        .collect()
}

/// Locks of the package managers, which name where each package came from by design.
const LOCKS: [&str; 3] = ["package-lock.json", "uv.lock", "requirements.lock"];

#[test]
fn only_wire_types_are_serialised() {
    holds(&all(), serde);
    catches(serde, "host/core/src/host/a.rs", "use serde::Serialize;");
    catches(
        serde,
        "host/core/src/run/live.rs",
        "fn f() { serde_json::json!(1); }",
    );
}

#[test]
fn sql_is_the_stores() {
    holds(&all(), sql);
    catches(sql, "host/cli/src/a.rs", "query(\"SELECT 1\")");
    catches(sql, "host/core/src/run/a.rs", "\"UPDATE run\n SET a = 1\"");
}

#[test]
fn nothing_names_the_machine_or_a_registry() {
    let files = all();
    let written = files
        .iter()
        .filter(|file| !LOCKS.iter().any(|lock| file.path.ends_with(lock)));
    holds(written, machine);
    catches(machine, "a.md", concat!("see /ro", "ot/notes"));
    catches(machine, ".cargo/config.toml", HOSTS[5]);
}
