//! `lastword mcp`: a person logs in with a browser, runs use it, and no token is seen anywhere
//! but in the one file that is for it.

use super::Shell;
use crate::mcp_fake::Web;
use crate::mcp_oauth::browser;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const CALL: &str = r#"tool it.echo {"text":"hello"}"#;
/// What the fake hands out.
const TOKENS: [&str; 4] = [
    "canary-access",
    "canary-refresh",
    "canary-id",
    "canary-client-secret",
];

/// What a browser does with an address: it goes where it is sent, once.
fn visit(address: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let sent = browser().get(address).send().await.expect("an answer");
        let back = sent.headers()["location"].to_str().expect("an address");
        // Whoever guesses the port is not let in.
        let other = back.replace("state=", "state=x");
        let refused = browser().get(other).send().await.expect("an answer");
        assert_eq!(refused.status(), 404);
        let page = browser().get(back).send().await.expect("an answer");
        page.text().await.expect("a page")
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn a_person_logs_in_and_no_token_is_seen() {
    let web = Web::guarded(&[]);
    let mut shell = Shell::new().variable("RUST_LOG", "trace");
    let table = format!("[mcp.it]\nurl = '{}'\noauth = true\n", web.url());
    let file = shell.file("mine.toml", table);
    let named = ["--config-file", &file];
    let granted = [&named[..], &["--allow", "tools"]].concat();
    let listed = shell.lastword(&[&["mcp"], &named[..]].concat()).exits(0);
    assert!(listed.out.contains("lastword mcp login it"), "{listed:?}");
    let refused = shell.probe(CALL, &granted).exits(0);
    assert!(!refused.out.contains("hello"), "{refused:?}");
    let mut told = String::new();
    let mut login = shell.spawn(&[&["mcp", "login", "it"], &named[..]].concat());
    login.until_told_into("browser on this machine:\n\n  ", &mut told);
    let mut address = String::new();
    login.until_told_into("\n", &mut address);
    assert!(visit(address.trim()).contains("close this page"));
    let login = login.end().exits(0).tells(&["logged in to it"]);
    told.push_str(&login.err);
    let token = shell.data().join("mcp-tokens/it.json");
    let mode = token.metadata().expect("it is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let done = shell.probe(CALL, &granted).exits(0);
    assert!(done.out.contains("hello"), "{done:?}");
    // What a server says, the library below logs as it came if it is told to.
    shell.variables = vec![("RUST_LOG", "lastword=trace".to_owned())];
    let again = shell.probe("tool it.seen {}", &granted).exits(0);
    assert!(again.out.contains("Bearer [secret"), "{again:?}");
    for said in [
        told,
        listed.err,
        refused.err,
        done.err,
        done.out,
        again.err,
        again.out,
    ] {
        let seen = TOKENS.iter().find(|token| said.contains(**token));
        assert_eq!(seen, None, "{said}");
    }
    for path in files(&shell.data())
        .into_iter()
        .filter(|path| *path != token)
    {
        let bytes = std::fs::read(&path).expect("a file");
        let seen = TOKENS.iter().find(|token| {
            let mut places = bytes.windows(token.len());
            places.any(|place| place == token.as_bytes())
        });
        assert_eq!(seen, None, "{}", path.display());
    }
    shell
        .lastword(&[&["mcp", "logout", "it"], &named[..]].concat())
        .exits(0);
    assert!(!token.exists());
}

#[test]
fn a_folder_s_settings_name_no_servers() {
    let shell = Shell::new();
    shell.file(
        "lastword.toml",
        "[mcp.it]\nurl = 'http://127.0.0.1:9/mcp'\noauth = true\n",
    );
    for command in [&["mcp"][..], &["mcp", "login", "it"]] {
        let refused = shell.lastword(command).exits(2);
        refused.tells(&["[mcp]", "--config-file"]);
    }
    let file = shell.file("mine.toml", "[mcp.it]\ncommand = ['x']\n");
    let login = ["mcp", "login", "it", "--config-file", &file];
    shell.lastword(&login).exits(2).tells(&["without OAuth"]);
    let other = ["mcp", "login", "that", "--config-file", &file];
    shell
        .lastword(&other)
        .exits(2)
        .tells(&["no MCP server `that`"]);
}
