//! MCP servers that ask for authorization: a person consents once, tokens are refreshed and
//! requested again, and the number of requests for consent is bounded. If no person can consent,
//! the error says what to do. The server and its authorization server are fakes on this machine.

use crate::mcp_fake::{PATIENCE, Web, call, context, text};
use futures_util::future::BoxFuture;
use lastword::id::WorkspaceId;
use lastword::mcp::{
    Consent, ConsentRequest, McpConfig, McpLoginState, McpServers, OAuthConfig, OAuthGrant,
    SecretSource, TokenFiles,
};
use lastword::tools::{ToolError, ToolErrorKind, ToolProvider};
use lastword_tests::clock::ManualClock;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// What a person's browser does. It follows no redirect: who sends it where is looked at.
pub(crate) fn browser() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    let browser = reqwest::Client::builder().no_proxy();
    let browser = browser.redirect(reqwest::redirect::Policy::none());
    browser.timeout(PATIENCE).build().expect("a client")
}

/// Somebody who consents to everything, and is counted.
#[derive(Clone, Default)]
struct Willing(Arc<AtomicUsize>);

impl Consent for Willing {
    fn redirect_uri(&self) -> String {
        "http://127.0.0.1:9/callback".to_owned()
    }

    fn consent(&self, request: ConsentRequest) -> BoxFuture<'static, Result<String, String>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let sent = browser().get(&request.address).send().await;
            let sent = sent.map_err(|error| error.to_string())?;
            Ok(sent.headers()["location"].to_str().unwrap().to_owned())
        })
    }
}

impl Willing {
    fn asked(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn table(web: &Web, oauth: OAuthConfig) -> McpConfig {
    McpConfig {
        url: Some(web.url().to_owned()),
        oauth: Some(oauth),
        ..McpConfig::default()
    }
}

/// A host's servers, with tokens in this folder.
fn servers(web: &Web, folder: &Path) -> McpServers {
    let tables = [("it".to_owned(), table(web, OAuthConfig::default()))];
    let servers = McpServers::new(tables.into()).unwrap();
    servers.tokens(Arc::new(TokenFiles::new(folder)))
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What a page of the fake answers.
async fn page(web: &Web, path: &str) -> Value {
    let address = web.url().replace("/mcp", path);
    let answer = browser().get(address).send().await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

/// How often the fake was asked for something.
async fn seen(web: &Web, what: &str) -> usize {
    let seen = page(web, "/seen").await;
    let seen = seen.as_array().unwrap().iter();
    seen.filter(|seen| seen["what"] == what || seen["grant"] == what)
        .count()
}

async fn echo(servers: &McpServers) -> Result<String, ToolError> {
    let output = call(servers, WorkspaceId::generate(), "it.echo").await?;
    Ok(text(&output).to_owned())
}

#[tokio::test]
async fn consent_is_given_once_and_remembered_by_the_next_host() {
    let (web, folder, person) = (Web::guarded(&[]), folder(), Willing::default());
    let first = servers(&web, folder.path()).consent(Arc::new(person.clone()));
    assert_eq!(first.logins().await[0].state, McpLoginState::LoggedOut);
    assert_eq!(echo(&first).await.unwrap(), "hello");
    assert_eq!(echo(&first).await.unwrap(), "hello", "another workspace");
    assert_eq!(first.logins().await[0].state, McpLoginState::LoggedIn);
    drop(first);
    let file = folder.path().join("it.json");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nobody consents here.
    let next = servers(&web, folder.path());
    assert_eq!(echo(&next).await.unwrap(), "hello");
    assert_eq!((person.asked(), seen(&web, "register").await), (1, 1));
    let asked = page(&web, "/seen").await;
    let resource = |seen: &&Value| seen["resource"] == json!(web.url());
    let with = asked.as_array().unwrap().iter().filter(resource).count();
    assert_eq!(
        with, 2,
        "the code and the token are for this server: {asked}"
    );
}

#[tokio::test]
async fn tokens_are_refreshed_without_anybody() {
    let (web, folder, person) = (
        Web::guarded(&["--expires", "0"]),
        folder(),
        Willing::default(),
    );
    let first = servers(&web, folder.path()).consent(Arc::new(person.clone()));
    assert_eq!(echo(&first).await.unwrap(), "hello");
    let refreshed = seen(&web, "refresh_token").await;
    assert!(refreshed > 0);
    // The next host has the secret that the first was registered with.
    let next = servers(&web, folder.path());
    assert_eq!(echo(&next).await.unwrap(), "hello");
    assert!(seen(&web, "refresh_token").await > refreshed);
    assert_eq!(person.asked(), 1);
}

#[tokio::test]
async fn a_token_that_is_revoked_in_use_is_replaced_or_asked_for() {
    let (web, folder, person) = (Web::guarded(&[]), folder(), Willing::default());
    let asks = servers(&web, folder.path()).consent(Arc::new(person.clone()));
    let workspace = WorkspaceId::generate();
    call(&asks, workspace, "it.echo").await.unwrap();
    page(&web, "/revoke").await;
    call(&asks, workspace, "it.echo").await.unwrap();
    assert_eq!((person.asked(), seen(&web, "refresh_token").await), (1, 1));
    page(&web, "/revoke-all").await;
    call(&asks, workspace, "it.echo").await.unwrap();
    assert_eq!(person.asked(), 2);
    // If no person can consent the call fails, in the same connection and in a new one.
    let alone = servers(&web, folder.path());
    call(&alone, workspace, "it.echo").await.unwrap();
    page(&web, "/revoke-all").await;
    for workspace in [workspace, WorkspaceId::generate()] {
        let error = call(&alone, workspace, "it.echo").await.unwrap_err();
        assert_eq!(error.kind, ToolErrorKind::Unavailable);
        let says = error.message.contains("log in to it");
        assert!(says, "{error}");
        assert!(!error.message.contains("canary"), "{error}");
    }
    assert_eq!(alone.logins().await[0].state, McpLoginState::LoggedOut);
}

#[tokio::test]
async fn more_scopes_are_asked_for_when_a_tool_needs_them() {
    let web = Web::guarded(&["--for", "echo=write"]);
    let (folder, person) = (folder(), Willing::default());
    let asks = servers(&web, folder.path()).consent(Arc::new(person.clone()));
    let workspace = WorkspaceId::generate();
    asks.tools(&context(workspace)).await.unwrap();
    assert_eq!(person.asked(), 1);
    call(&asks, workspace, "it.echo").await.unwrap();
    call(&asks, workspace, "it.echo").await.unwrap();
    assert_eq!(person.asked(), 2);
    // Scopes that were requested when no person could consent are part of the next login.
    asks.logout("it").await.unwrap();
    asks.login("it").await.unwrap();
    let alone = servers(&web, folder.path());
    let error = echo(&alone).await.unwrap_err();
    assert!(error.message.contains("more (write)"), "{error}");
    asks.login("it").await.unwrap();
    assert_eq!(echo(&alone).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_server_that_asks_without_end_is_given_up() {
    let (web, folder, person) = (
        Web::guarded(&["--more-and-more"]),
        folder(),
        Willing::default(),
    );
    let asks = servers(&web, folder.path()).consent(Arc::new(person.clone()));
    for _ in 0..3 {
        let error = echo(&asks).await.unwrap_err();
        assert!(error.message.contains("again and again"), "{error}");
        assert_eq!(person.asked(), 3);
    }
}

#[tokio::test]
async fn where_nobody_consents_the_error_says_what_to_do() {
    let (web, folder) = (Web::guarded(&[]), folder());
    // No time passes here.
    let alone = servers(&web, folder.path()).clock(Arc::new(ManualClock::default()));
    let workspace = WorkspaceId::generate();
    for _ in 0..2 {
        let error = call(&alone, workspace, "it.echo").await.unwrap_err();
        assert_eq!(error.kind, ToolErrorKind::Unavailable);
        assert!(error.message.contains("log in to it"), "{error}");
    }
    assert_eq!(seen(&web, "authorize").await + seen(&web, "token").await, 0);
    // Somebody logs in beside it, and it goes on at once.
    let person = servers(&web, folder.path()).consent(Arc::new(Willing::default()));
    person.login("it").await.unwrap();
    call(&alone, workspace, "it.echo").await.unwrap();
    let unset = McpConfig {
        oauth: None,
        ..table(&web, OAuthConfig::default())
    };
    let unset = McpServers::new([("it".to_owned(), unset)].into()).unwrap();
    let error = echo(&unset).await.unwrap_err();
    assert!(error.message.contains("oauth = true"), "{error}");
    assert!(unset.login("it").await.is_err());
    assert!(unset.login("that").await.is_err());
}

#[tokio::test]
async fn consent_that_does_not_come_is_not_waited_for_without_end() {
    struct Absent;
    impl Consent for Absent {
        fn redirect_uri(&self) -> String {
            "http://127.0.0.1:9/callback".to_owned()
        }

        fn consent(&self, _: ConsentRequest) -> BoxFuture<'static, Result<String, String>> {
            Box::pin(std::future::pending())
        }
    }
    let (web, folder, clock) = (Web::guarded(&[]), folder(), ManualClock::default());
    let waits = servers(&web, folder.path()).clock(Arc::new(clock.clone()));
    let waits = waits.consent(Arc::new(Absent));
    let calling = tokio::spawn(async move { echo(&waits).await });
    let asked = async { while seen(&web, "register").await == 0 {} };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("it asks");
    clock.advance(Duration::from_secs(5 * 60));
    let error = tokio::time::timeout(PATIENCE, calling).await;
    let error = error.expect("it ends").unwrap().unwrap_err();
    assert!(error.message.contains("within 5 minutes"), "{error}");
}

#[tokio::test]
async fn what_is_not_safe_is_refused() {
    for (option, says) in [("--no-pkce", "PKCE"), ("--refuse", "access_denied")] {
        let (web, folder) = (Web::guarded(&[option]), folder());
        let asks = servers(&web, folder.path()).consent(Arc::new(Willing::default()));
        let error = echo(&asks).await.unwrap_err();
        assert!(error.message.contains(says), "{error}");
        assert_eq!(seen(&web, "token").await, 0);
    }
}

#[tokio::test]
async fn tokens_go_to_no_other_address() {
    let (web, other, folder) = (Web::guarded(&[]), Web::guarded(&[]), folder());
    let asks = servers(&web, folder.path()).consent(Arc::new(Willing::default()));
    echo(&asks).await.unwrap();
    let moved = servers(&other, folder.path());
    assert_eq!(moved.logins().await[0].state, McpLoginState::LoggedOut);
    let error = echo(&moved).await.unwrap_err();
    assert_eq!(error.kind, ToolErrorKind::Unavailable);
    assert!(error.message.contains("log in to it"), "{error}");
}

/// The secret of a client of its own.
struct Client;

impl SecretSource for Client {
    fn fill(&self, text: &str) -> Result<String, String> {
        Ok(text.replace("{{secret:CLIENT}}", "canary-client-secret"))
    }

    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

#[tokio::test]
async fn a_host_authorizes_itself_where_its_operator_says_so() {
    let (web, folder) = (Web::guarded(&[]), folder());
    let oauth = OAuthConfig {
        grant: OAuthGrant::ClientCredentials,
        client_id: Some("itself".to_owned()),
        client_secret: Some("{{secret:CLIENT}}".to_owned()),
        ..OAuthConfig::default()
    };
    let itself = McpServers::new([("it".to_owned(), table(&web, oauth))].into()).unwrap();
    let itself = itself.secrets(Arc::new(Client));
    let itself = itself.tokens(Arc::new(TokenFiles::new(folder.path().join("tokens"))));
    assert_eq!(itself.logins().await[0].state, McpLoginState::ByItself);
    assert_eq!(echo(&itself).await.unwrap(), "hello");
    page(&web, "/revoke").await;
    assert_eq!(echo(&itself).await.unwrap(), "hello");
    let obtained = seen(&web, "client_credentials").await;
    assert_eq!((obtained, seen(&web, "authorize").await), (2, 0));
    assert!(!folder.path().join("tokens").exists(), "nothing is written");
}

#[tokio::test]
async fn nobody_is_shown_a_token() {
    let (web, folder) = (Web::guarded(&[]), folder());
    let asks = servers(&web, folder.path()).consent(Arc::new(Willing::default()));
    let workspace = WorkspaceId::generate();
    // The server repeats what it was sent.
    let repeated = call(&asks, workspace, "it.seen").await.unwrap();
    let repeated = text(&repeated);
    assert!(repeated.contains("Bearer [secret"), "{repeated}");
    assert!(!repeated.contains("canary"), "{repeated}");
    let shown = format!("{asks:?} {:?}", table(&web, OAuthConfig::default()));
    assert!(!shown.contains("canary"), "{shown}");
    // What is of no use is not even kept.
    let kept = std::fs::read_to_string(folder.path().join("it.json")).unwrap();
    assert!(kept.contains("canary-access") && !kept.contains("canary-id"));
}
