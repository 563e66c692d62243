//! Requests over `https`, to a server on loopback whose certificate an authority of the test's
//! own has signed: whom a secret reaches, what a certificate is checked against, and where a
//! name that changes its mind leads.

use super::{CANARY, Hostile, Names, canary};
use lastword::Capability;
use lastword::http::{HostPatterns, HttpOptions};
use lastword::secrets::Secrets;
use lastword_tests::fixture::{Fixture, Plan};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_rustls::TlsAcceptor;

/// An authority's own certificate in DER, and what speaks for `a.example`, whom it knows.
fn authority() -> (Vec<u8>, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap().der().to_vec();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["a.example".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (own, TlsAcceptor::from(Arc::new(config)))
}

async fn fixture(options: HttpOptions, secrets: Secrets) -> Fixture {
    let grants = [Capability::Network, Capability::Secrets];
    let plan = Plan::new().grants(grants);
    let plan = plan.host(|host| host.http(options).secrets(secrets));
    plan.build().await
}

fn options(names: &Arc<Names>, private: &[String]) -> HttpOptions {
    HttpOptions::new()
        .resolver(Arc::clone(names) as _)
        .private(HostPatterns::new(private).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_over_https_to_its_host_and_not_on_to_http() {
    let (root, secure) = authority();
    let server = Hostile::at("127.0.0.1:0", Some(secure)).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secrets = canary(elsewhere.path(), &server.target());
    let names = Arc::new(Names::default());
    let options = options(&names, &[server.target()]).root_certificate(root);
    let fixture = fixture(options, secrets).await;
    let (target, key) = (server.target(), "x-key: {{secret:key}}");

    let prompt = format!("http GET https://{target}/echo | {key}");
    let text = fixture.run(&prompt).await.text();
    assert!(
        text.starts_with("200\n") && text.contains("x-key: [secret key]"),
        "{text}"
    );
    assert!(server.asked()[0].contains(&format!("x-key: {CANARY}\r\n")));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1, "one resolution");

    // The same host and port without TLS, which only the scheme tells apart.
    let call = json!({
        "url": format!("https://{target}/to?http://{target}/echo"),
        "headers": { "x-key": "{{secret:key}}", "x-mine": "1" },
    });
    let text = fixture.run(&format!("tool fetch_url {call}")).await.text();
    let asked = server.asked();
    assert_eq!(asked.len(), 3, "it was followed: {text}");
    assert!(asked[1].contains(CANARY), "the first hop was for the host");
    assert!(asked[2].contains("x-mine: 1"), "{}", asked[2]);
    assert!(!asked[2].contains("x-key"), "{}", asked[2]);

    // And on over TLS within the host, where it goes along.
    let call = json!({
        "url": format!("https://{target}/to?/echo"),
        "headers": { "x-key": "{{secret:key}}" },
    });
    fixture.run(&format!("tool fetch_url {call}")).await;
    assert!(server.asked()[4].contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_nowhere_that_was_not_granted() {
    let (root, secure) = authority();
    let server = Hostile::at("127.0.0.1:0", Some(secure)).await;
    let trap = Hostile::serve().await;
    let names = Arc::new(Names::default());
    let target = server.target();
    let http = options(&names, std::slice::from_ref(&target)).root_certificate(root);
    let rule: lastword::permission::Rule = format!("network={target}").parse().unwrap();
    let plan = Plan::new().grants([]).host(|host| host.http(http));
    let fixture = plan.options(|options| options.grant(rule)).build().await;
    let loopback = format!("http://127.0.0.1:{}/", trap.port);
    let fetch = async |to: &str| {
        let call = json!({ "url": format!("https://{target}/to?{to}") });
        fixture.run(&format!("tool fetch_url {call}")).await.text()
    };
    for (to, says) in [
        (&*trap.url("/"), "`network` is not granted"),
        (&loopback, "`network` is not granted"),
        ("file:///etc/passwd", "only `http` and `https`"),
    ] {
        let text = fetch(to).await;
        assert!(
            text.starts_with("error") && text.contains(says),
            "{to}: {text}"
        );
    }
    let all = lastword::WorkspaceOptions::new().grant(Capability::Network);
    fixture.workspace.set_options(all).await.unwrap();
    for to in [&*trap.url("/"), &loopback] {
        let text = fetch(to).await;
        assert!(text.contains("not to the public internet"), "{to}: {text}");
    }
    assert_eq!((trap.met(), server.asked().len()), (0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_against_its_authority_and_the_name() {
    let (root, secure) = authority();
    let server = Hostile::at("127.0.0.1:0", Some(secure)).await;
    let (names, port) = (Arc::new(Names::default()), server.port);
    let here = ["a.example", "b.example", "127.0.0.1"].map(|host| format!("{host}:{port}"));
    let known = options(&names, &here).root_certificate(root);
    let known = fixture(known, Secrets::none()).await;
    let unknown = fixture(options(&names, &here), Secrets::none()).await;
    let none = options(&names, &here).root_certificate("no certificate");
    let none = fixture(none, Secrets::none()).await;
    let ask = async |fixture: &Fixture, target: &str| {
        let prompt = format!("http GET https://{target}/");
        fixture.run(&prompt).await.text()
    };
    let text = ask(&known, &here[0]).await;
    assert!(text.starts_with("200\n"), "{text}");
    for (fixture, target) in [
        (&known, &here[1]),
        (&known, &here[2]),
        (&unknown, &here[0]),
        (&none, &here[0]),
    ] {
        let text = ask(fixture, target).await;
        assert!(
            text.starts_with("error: ErrorCode::Tls"),
            "{target}: {text}"
        );
    }
    assert_eq!(server.asked().len(), 1, "nobody else was heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_connected_to_where_it_was_checked() {
    let (root, secure) = authority();
    let server = Hostile::at("127.0.0.1:0", Some(secure.clone())).await;
    // Another machine, as far as addresses go; it could speak for the name as well.
    let trap = Hostile::at(&format!("127.0.0.2:{}", server.port), Some(secure)).await;
    let first = ["127.0.0.1", "127.0.0.2"].map(|address| address.parse().unwrap());
    let names = || {
        Arc::new(Names {
            first: first.to_vec(),
            ..Names::default()
        })
    };
    let (target, here) = (server.target(), format!("127.0.0.1:{}", server.port));
    let prompt = format!("http GET https://{target}/");

    // Both addresses may be reached: a client that resolved the name again would reach the trap.
    let asked = names();
    let both = options(&asked, &[target]).root_certificate(root.clone());
    let both = fixture(both, Secrets::none()).await;
    let text = both.run(&prompt).await.text();
    assert!(text.starts_with("200\n"), "{text}");
    assert_eq!(asked.asked.load(Ordering::SeqCst), 1);
    assert_eq!((server.met(), trap.met()), (1, 0));

    // Only the first may: the next request finds the name elsewhere, and is not made.
    let one = options(&names(), &[here]).root_certificate(root);
    let one = fixture(one, Secrets::none()).await;
    let text = one.run(&prompt).await.text();
    assert!(text.starts_with("200\n"), "{text}");
    let text = one.run(&prompt).await.text();
    assert_eq!(text, "error: ErrorCode::DestinationIpProhibited");
    assert_eq!((server.met(), trap.met()), (2, 0));
}
