//! The network as a guest has it: what it may reach, what ends it, and what never comes back.

mod hostile;
mod https;

pub(crate) use hostile::{Hostile, Names};

use futures_util::future::BoxFuture;
use lastword::event::EventBody;
use lastword::http::{HostPatterns, HttpOptions};
use lastword::model::CallContext;
use lastword::permission::{Access, Rule};
use lastword::permits::{Decision, PermissionPolicy};
use lastword::secrets::{SecretConfig, Secrets, SecretsConfig};
use lastword::session::{Answer, Asked, Remember, Within};
use lastword::{Capability, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, Plan};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CANARY: &str = "canary/\"0123456789\"";

fn options(server: &Hostile) -> HttpOptions {
    HttpOptions::new()
        .resolver(Arc::new(Names::default()))
        .private(HostPatterns::new([server.target()]).unwrap())
}

async fn fixture(options: HttpOptions, secrets: Secrets) -> Fixture {
    let grants = [Capability::Network, Capability::Secrets];
    let plan = Plan::new().grants(grants);
    let plan = plan.host(|host| host.http(options).secrets(secrets));
    plan.build().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grant_everything_is_denied_by_value() {
    let server = Hostile::serve().await;
    let http = options(&server);
    let plan = Plan::new().host(|host| host.http(http));
    let fixture = plan.build().await;
    let outcome = fixture.run(&format!("http GET {}", server.url("/"))).await;
    assert_eq!(outcome.text(), "error: ErrorCode::HttpRequestDenied");
    assert_eq!(outcome.receipt.state, RunState::Completed);
    let text = fixture.run("has-secret key").await.text();
    assert!(
        text.starts_with("error denied: the capability `secrets`"),
        "{text}"
    );
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_denied_whatever_is_granted() {
    let server = Hostile::serve().await;
    let fixture = fixture(options(&server), Secrets::none()).await;
    for attempt in ["tcp 127.0.0.1", "udp 127.0.0.1", "tcp [::1]"] {
        let prompt = format!("{attempt}:{}", server.port);
        let text = fixture.run(&prompt).await.text();
        assert!(text.starts_with("error: "), "{prompt}: {text}");
    }
    for attempt in ["net", "dns localhost", "dns a.example", "dns 127.0.0.1"] {
        let text = fixture.run(attempt).await.text();
        assert!(!text.starts_with("connected"), "{attempt}: {text}");
        let literal = attempt.ends_with("127.0.0.1");
        assert!(literal || text.starts_with("error: "), "{attempt}: {text}");
    }
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_and_named_is_reached() {
    let server = Hostile::serve().await;
    let fixture = fixture(options(&server), Secrets::none()).await;
    let prompt = format!("http GET {} | x-mine: 1", server.url("/page?q=1"));
    let text = fixture.run(&prompt).await.text();
    assert!(
        text.starts_with("200\n") && text.ends_with("\n\nhello"),
        "{text}"
    );
    let seen = server.asked();
    assert!(
        seen[0].starts_with("GET /page?q=1 HTTP/1.1\r\n"),
        "{seen:?}"
    );
    assert!(
        seen[0].contains(&format!("host: {}\r\n", server.target())),
        "{seen:?}"
    );
    let text = fixture
        .run(&format!("http-post 100000 {}", server.url("/")))
        .await
        .text();
    assert_eq!(text, "200");
    assert!(server.asked()[1].contains("content-length: 100000\r\n"));
    // A redirect is an answer like any other.
    let text = fixture
        .run(&format!("http GET {}", server.url("/redirect")))
        .await
        .text();
    assert!(text.starts_with("302\n"), "{text}");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_to_the_machine_itself() {
    let server = Hostile::serve().await;
    let nothing_private = HttpOptions::new().resolver(Arc::new(Names::default()));
    let fixture = fixture(nothing_private, Secrets::none()).await;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "a.example",
    ] {
        let prompt = format!("http GET http://{host}:{}/", server.port);
        let text = fixture.run(&prompt).await.text();
        assert_eq!(
            text, "error: ErrorCode::DestinationIpProhibited",
            "{prompt}"
        );
    }
    for address in [
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let text = fixture
            .run(&format!("http GET http://{address}/"))
            .await
            .text();
        assert_eq!(
            text, "error: ErrorCode::DestinationIpProhibited",
            "{address}"
        );
    }
    for strange in [
        "http://user@a.example/",
        "http://a.example:0/",
        "ftp://a.example/",
    ] {
        let text = fixture.run(&format!("http GET {strange}")).await.text();
        assert!(text.starts_with("error: "), "{strange}: {text}");
    }
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_mind_changes_nothing() {
    let server = Hostile::serve().await;
    // A public address without a host while it is checked; then this machine.
    let names = Arc::new(Names {
        first: vec!["3ffe::1".parse().unwrap()],
        asked: AtomicUsize::new(0),
    });
    let http = HttpOptions::new()
        .resolver(names.clone())
        .connect(Duration::from_millis(300));
    let fixture = fixture(http, Secrets::none()).await;
    let prompt = format!("http GET {}", server.url("/"));
    let text = fixture.run(&prompt).await.text();
    assert!(text.starts_with("error: "), "{text}");
    assert_eq!(
        names.asked.load(Ordering::SeqCst),
        1,
        "one resolution per request"
    );
    let text = fixture.run(&prompt).await.text();
    assert_eq!(text, "error: ErrorCode::DestinationIpProhibited");
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_smuggles_a_second_message() {
    let server = Hostile::serve().await;
    let fixture = fixture(options(&server), Secrets::none()).await;
    for (header, says) in [
        ("host: evil.example", "Forbidden"),
        ("transfer-encoding: chunked", "Forbidden"),
        ("connection: upgrade", "Forbidden"),
        ("te: trailers", "Forbidden"),
        ("proxy-authorization: x", "Forbidden"),
        ("x: a\\r\\nhost: evil.example", "InvalidSyntax"),
        ("x: a\\nhost: evil.example", "InvalidSyntax"),
        ("x y: a", "InvalidSyntax"),
        ("content-length: 1", "HttpProtocolError"),
        ("proxy-other: x", "HttpRequestDenied"),
        ("via: x", "HttpRequestDenied"),
    ] {
        let prompt = format!("http GET {} | {header}", server.url("/"));
        let text = fixture.run(&prompt).await.text();
        assert!(
            text.starts_with("error: ") && text.contains(says),
            "{header}: {text}"
        );
    }
    let head = server.asked().concat();
    assert!(!head.contains("evil"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_headers_without_end_are_ended_and_the_host_goes_on() {
    let server = Hostile::serve().await;
    let http = options(&server)
        .response_bytes(1 << 20)
        .request_bytes(1 << 20)
        .total(Duration::from_secs(2))
        .idle(Duration::from_millis(500));
    let fixture = fixture(http, Secrets::none()).await;
    for (path, says) in [
        (
            "/endless",
            "bytes, then HTTP response body size exceeds limit",
        ),
        ("/drip", "bytes, then HTTP response timeout"),
        ("/hold", "0 bytes, then HTTP response timeout"),
        ("/headers", "HttpProtocolError"),
    ] {
        let outcome = fixture
            .run(&format!("http-drain {}", server.url(path)))
            .await;
        assert!(outcome.text().contains(says), "{path}: {}", outcome.text());
        assert_eq!(outcome.receipt.state, RunState::Completed, "{path}");
    }
    let text = fixture
        .run(&format!("http-post 2000000 {}", server.url("/")))
        .await
        .text();
    assert!(text.contains("HttpRequestBodySize"), "{text}");
    let text = fixture
        .run(&format!("http-many 20 {}", server.url("/hold")))
        .await
        .text();
    assert_eq!(text, "16 answered ErrorCode::ConnectionLimitReached");
    assert_eq!(fixture.run("echo still here").await.text(), "still here");
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_takes_its_requests_along() {
    let server = Hostile::serve().await;
    let fixture = fixture(options(&server), Secrets::none()).await;
    for (count, path) in (1..).zip(["/hold", "/drip"]) {
        let prompt = format!("http-hold {}", server.url(path));
        let run = fixture.start_until(&prompt, "before").await;
        server.until_asked(count).await;
        let receipt = run.cancel().await.unwrap();
        assert_eq!(receipt.cause, "user");
        server.gone(count).await;
    }
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

fn canary(folder: &Path, host: &str) -> Secrets {
    let file = folder.join("key");
    std::fs::write(&file, format!("{CANARY}\n")).unwrap();
    let secret = SecretConfig {
        file: Some(file),
        hosts: vec![host.to_owned()],
        ..SecretConfig::default()
    };
    let named = BTreeMap::from([("key".to_owned(), secret)]);
    Secrets::load(&SecretsConfig(named)).unwrap()
}

/// Whether a file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// Allows whatever it is asked about.
struct Everything;

impl PermissionPolicy for Everything {
    fn decide(&self, _: CallContext, _: Access) -> BoxFuture<'static, Decision> {
        Box::pin(async { Decision::Allow })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_there_is_a_secret_is_told_by_rule_alone() {
    let server = Hostile::serve().await;
    let elsewhere = tempfile::tempdir().unwrap();
    for (rule, answer) in [("secrets=key", "true"), ("secrets=other", "error denied")] {
        let secrets = canary(elsewhere.path(), &server.target());
        let rule: Rule = rule.parse().unwrap();
        let plan = Plan::new()
            .grants([])
            .options(|options| options.grant(rule));
        let plan = plan.host(|host| host.secrets(secrets).permission_policy(Everything));
        let text = plan.build().await.run("has-secret key").await.text();
        assert!(text.starts_with(answer), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leave_to_send_a_secret_is_for_one_request() {
    let server = Hostile::serve().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secrets = canary(elsewhere.path(), &server.target());
    let http = options(&server);
    let plan = Plan::new().grants([Capability::Network]);
    let plan = plan.host(|host| host.http(http).secrets(secrets));
    let fixture = plan.options(|options| options.ask(true)).build().await;
    let prompt = format!(
        "http GET {} | x-key: {{{{secret:key}}}}",
        server.url("/echo")
    );
    for _ in 0..2 {
        let run = fixture.start(&prompt).await;
        let mut events = run.events();
        let question = loop {
            let event = events.next().await.expect("it asks").unwrap();
            if let EventBody::QuestionAsked { question } = event.body {
                break question;
            }
        };
        let Asked::Permission { title, offers, .. } = &question.asked else {
            panic!("a permission: {question:?}");
        };
        assert_eq!(
            *title,
            format!("send the secret `key` to {}", server.target())
        );
        assert_eq!(offers, &[""; 0]);
        let (within, rule) = (Within::Session, None);
        let remember = Some(Remember { within, rule });
        let longer = fixture.host.answer(question.id, Answer::Allow { remember });
        let refused = longer.await.err().expect("it is for once").to_string();
        assert!(refused.contains("once only"), "{refused}");
        let once = Answer::Allow { remember: None };
        fixture.host.answer(question.id, once).await.unwrap();
        let receipt = run.ended().await.unwrap();
        let text = fixture.outcome(&run, receipt).await.text();
        assert!(text.contains("x-key: [secret key]"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_its_host_and_nobody_else() {
    let server = Hostile::serve().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secrets = canary(elsewhere.path(), &server.target());
    let fixture = fixture(options(&server), secrets).await;
    assert_eq!(fixture.run("has-secret key").await.text(), "true");
    assert_eq!(fixture.run("has-secret other").await.text(), "false");
    let prompt = format!(
        "http GET {} | x-key: {{{{secret:key}}}}",
        server.url("/echo")
    );
    let outcome = fixture.run(&prompt).await;
    let text = outcome.text();
    assert!(text.contains("x-echo: [secret key]\n"), "{text}");
    assert!(text.contains("x-key: [secret key]\r\n"), "{text}");
    assert!(server.asked()[0].contains(&format!("x-key: {CANARY}\r\n")));
    // By another name of the same machine it goes nowhere.
    for (url, header) in [
        (format!("http://b.example:{}/echo", server.port), "x-key"),
        (format!("http://127.0.0.1:{}/echo", server.port), "x-key"),
    ] {
        let prompt = format!("http GET {url} | {header}: {{{{secret:key}}}}");
        let text = fixture.run(&prompt).await.text();
        assert_eq!(text, "error: ErrorCode::HttpRequestDenied", "{url}");
    }
    let shown = format!("{:?}", outcome.events);
    assert!(!shown.contains("0123456789"), "an event holds it");
    fixture.host.shutdown().await;
    assert!(
        holds(elsewhere.path(), b"0123456789"),
        "the search finds what is there"
    );
    assert!(!holds(&fixture.data(), b"0123456789"), "the store holds it");
}
