//! Tests the guarded client against a hostile server and a changing resolver.

use super::guarded::Request;
use super::hostile::{ChangingResolver, HostileServer, Reply, client, client_with, ok, status};
use super::{Guarded, HttpError, HttpErrorKind, HttpOptions, Response};
use crate::permits::testing::Scripted;
use crate::secrets::Secrets;
use crate::secrets::testing::secrets;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lastword_types::id::RunId;
use reqwest::Url;
use std::time::Duration;

/// The outcome of a request: status, headers and body.
type Outcome = Result<(u16, HeaderMap, String), HttpError>;

fn request(url: &str, headers: &[(&'static str, &str)]) -> Request {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        (HeaderName::from_static(name), value)
    });

    Request {
        method: Method::GET,
        url: Url::parse(url).unwrap(),
        headers: headers.collect(),
        body: futures_util::stream::empty().boxed(),
    }
}

async fn read(response: Result<Response, HttpError>) -> Outcome {
    let mut response = response?;
    let mut body = Vec::new();
    while let Some(bytes) = response.body.chunk().await? {
        body.extend_from_slice(&bytes);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((response.status.as_u16(), response.headers, body))
}

async fn get(client: &Guarded, request: Request) -> Outcome {
    let permits = Scripted::new(true).permits();
    read(client.send(RunId::generate(), request, &permits).await).await
}

async fn follow(client: &Guarded, url: &str, headers: &[(&'static str, &str)]) -> Outcome {
    let permits = Scripted::new(true).permits();

    let Request {
        method,
        url,
        headers,
        ..
    } = request(url, headers);

    let run = RunId::generate();
    read(client.follow(run, method, url, headers, &permits).await).await
}

fn kind(got: Outcome) -> HttpErrorKind {
    got.unwrap_err().kind
}

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let server = HostileServer::serve(|_| ok("x-here: yes\r\n", "hello")).await;
    let target = format!("a.example:{}", server.port);
    let client = client(std::slice::from_ref(&target), Secrets::none());
    let scripted = Scripted::new(true);
    let mut asked = request(&format!("http://{target}/p?q=1"), &[("x-mine", "1")]);

    asked.method = Method::POST;
    asked.body = futures_util::stream::iter([Ok(Bytes::from_static(b"a body"))]).boxed();

    let permits = scripted.permits();
    let sent = client.send(RunId::generate(), asked, &permits);
    let (status, headers, body) = read(sent.await).await.unwrap();

    assert_eq!((status, body.as_str()), (200, "hello"));
    assert_eq!(headers["x-here"], "yes");

    let seen = &server.asked()[0];
    assert!(seen.starts_with("POST /p?q=1 HTTP/1.1\r\n"), "{seen}");

    for part in [
        format!("host: {target}\r\n"),
        "content-length: 6\r\n".to_owned(),
        "x-mine: 1\r\n".to_owned(),
        "\r\n\r\na body".to_owned(),
    ] {
        assert!(seen.to_lowercase().contains(&part), "{part:?}: {seen}");
    }

    let asked = scripted.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, target);
    assert_eq!(asked[0].title, format!("POST http://{target}/p"));
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_form() {
    let server = HostileServer::serve(|_| ok("", "secret")).await;
    let port = server.port;
    let client = client(&[], Secrets::none());

    for host in [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "a.example",
        "a.example.",
    ] {
        let url = format!("http://{host}:{port}/");
        let got = get(&client, request(&url, &[])).await;
        assert_eq!(kind(got), HttpErrorKind::Private, "{url}");
    }

    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn a_name_is_resolved_once_and_all_its_addresses_count() {
    let server = HostileServer::serve(|_| ok("", "hello")).await;
    let target = format!("a.example:{}", server.port);
    let url = format!("http://{target}/");

    // The address is public when it is checked and private afterwards, or public among others.
    for answers in [
        [&["192.0.2.1", "127.0.0.1"][..], &["127.0.0.1"][..]],
        [&["1.1.1.1", "127.0.0.1"], &["1.1.1.1"]],
        [&["2606:4700::1111", "::ffff:10.0.0.1"], &["1.1.1.1"]],
        [&[], &["127.0.0.1"]],
    ] {
        let resolver = ChangingResolver::new(&answers);
        let options = HttpOptions::new().resolver(resolver.clone());
        let client = client_with(options, &[], Secrets::none());
        let kind = kind(get(&client, request(&url, &[])).await);
        let unknown = answers[0].is_empty();
        let expected = if unknown {
            HttpErrorKind::Resolve
        } else {
            HttpErrorKind::Private
        };
        assert_eq!((kind, resolver.asked()), (expected, 1));
    }

    // The connection goes to the checked address: the second answer would fail.
    let resolver = ChangingResolver::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let options = HttpOptions::new().resolver(resolver.clone());
    let client = client_with(options, &[target], Secrets::none());
    let (_, _, body) = get(&client, request(&url, &[])).await.unwrap();

    assert_eq!((body.as_str(), resolver.asked()), ("hello", 1));
}

#[tokio::test]
async fn denied_names_are_not_resolved() {
    let resolver = ChangingResolver::new(&[&["127.0.0.1"]]);
    let options = HttpOptions::new().resolver(resolver.clone());
    let client = client_with(options, &["*".to_owned()], Secrets::none());
    let permits = Scripted::new(false).permits();
    let asked = request("http://a.example/", &[]);
    let got = read(client.send(RunId::generate(), asked, &permits).await).await;

    assert_eq!(kind(got), HttpErrorKind::Denied);

    for header in [
        "host",
        "transfer-encoding",
        "content-length",
        "proxy-authorization",
    ] {
        let got = get(&client, request("http://a.example/", &[(header, "0")])).await;
        assert_eq!(kind(got), HttpErrorKind::Header, "{header}");
    }

    assert_eq!(resolver.asked(), 0);
}

const VALUE: &str = "canary-0123456789";

#[tokio::test]
async fn a_secret_goes_out_and_never_comes_back() {
    // Echoes the request, in pieces that cut the value everywhere.
    let server = HostileServer::serve(|asked| {
        let head = "HTTP/1.1 200 OK\r\nx-echo: Bearer canary-0123456789\r\n\r\n";
        let mut pieces = vec![head.as_bytes().to_vec()];
        pieces.extend(asked.as_bytes().chunks(3).map(<[u8]>::to_vec));
        Reply::Pieces(pieces)
    });
    let server = server.await;
    let target = format!("a.example:{}", server.port);
    let client = client(
        std::slice::from_ref(&target),
        secrets(&[("key", VALUE, &target)]),
    );

    let scripted = Scripted::new(true);

    let asked = request(
        &format!("http://{target}/"),
        &[
            ("authorization", "Bearer {{secret:key}}"),
            ("accept-encoding", "br"),
        ],
    );

    let permits = scripted.permits();
    let sent = client.send(RunId::generate(), asked, &permits);
    let (_, headers, body) = read(sent.await).await.unwrap();
    let seen = &server.asked()[0];

    assert!(
        seen.contains("authorization: Bearer canary-0123456789\r\n"),
        "{seen}"
    );

    assert!(!seen.contains(": br\r\n"), "{seen}");
    assert_eq!(headers["x-echo"], "Bearer [secret key]");
    assert!(
        body.contains("authorization: Bearer [secret key]\r\n"),
        "{body}"
    );

    assert!(!body.contains(VALUE));
    let targets: Vec<_> = scripted.asked().into_iter().map(|a| a.target).collect();
    assert_eq!(targets, [target, "key".to_owned()]);
}

#[tokio::test]
async fn a_secret_goes_nowhere_else() {
    let server = HostileServer::serve(|_| ok("", "")).await;
    let port = server.port;
    let named = [format!("a.example:{port}"), format!("b.example:{port}")];
    let known = secrets(&[("key", VALUE, &named[0])]);
    let here = client(&named, known.clone());
    let denied = |value: &'static str, host: &str| {
        request(&format!("http://{host}:{port}/"), &[("x-key", value)])
    };

    for (value, host, expected) in [
        ("{{secret:key}}", "b.example", HttpErrorKind::Denied),
        ("{{secret:other}}", "a.example", HttpErrorKind::Denied),
        ("{{secret:key", "a.example", HttpErrorKind::Header),
        ("{{secret:}}", "a.example", HttpErrorKind::Header),
    ] {
        let error = get(&here, denied(value, host)).await.unwrap_err();
        assert_eq!(error.kind, expected, "{value} to {host}");
        assert!(!error.message.contains(VALUE));
    }

    // Not unencrypted over a network, even to a host that is listed.
    for address in ["1.1.1.1", "10.0.0.1"] {
        let options = HttpOptions::new().resolver(ChangingResolver::new(&[&[address]]));
        let elsewhere = client_with(options, &named, known.clone());
        let got = get(&elsewhere, denied("{{secret:key}}", "a.example")).await;
        assert_eq!(kind(got), HttpErrorKind::Denied, "{address}");
    }

    // A value that is invalid in a header is refused without being shown.
    let broken = secrets(&[("key", "canary\r\nx: y", &named[0])]);
    let error = get(
        &client(&named, broken),
        denied("{{secret:key}}", "a.example"),
    )
    .await;
    let error = error.unwrap_err();

    assert!(!error.message.contains("canary"), "{error}");
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn compressed_answers_are_read_or_refused() {
    let server = HostileServer::serve(|_| ok("content-encoding: br\r\n", "canary")).await;
    let target = format!("a.example:{}", server.port);
    let url = format!("http://{target}/");
    let client = client(
        std::slice::from_ref(&target),
        secrets(&[("key", VALUE, &target)]),
    );

    let with_key = request(&url, &[("x-key", "{{secret:key}}")]);
    assert_eq!(kind(get(&client, with_key).await), HttpErrorKind::Coding);

    let (_, headers, body) = get(&client, request(&url, &[])).await.unwrap();
    assert_eq!(
        (headers["content-encoding"].as_bytes(), &*body),
        (&b"br"[..], "canary")
    );
}

#[tokio::test]
async fn every_encoding_of_a_response_is_redacted_or_refused() {
    let twice = "content-encoding: identity\r\ncontent-encoding: br\r\n";
    let server = HostileServer::serve(move |_| ok(twice, "canary")).await;
    let target = format!("a.example:{}", server.port);
    let known = secrets(&[("key", VALUE, &target)]);
    let client = client(std::slice::from_ref(&target), known);
    let with_key = request(&format!("http://{target}/"), &[("x-key", "{{secret:key}}")]);
    assert_eq!(kind(get(&client, with_key).await), HttpErrorKind::Coding);
}

#[tokio::test]
async fn requests_with_secrets_have_no_range() {
    let server = HostileServer::serve(|_| status("206 Partial Content", "", "canary")).await;
    let target = format!("a.example:{}", server.port);
    let url = format!("http://{target}/");
    let known = secrets(&[("key", VALUE, &target)]);
    let client = client(std::slice::from_ref(&target), known);
    let range = [("range", "bytes=0-3"), ("if-range", "\"a\"")];
    let with_key = [&range[..], &[("x-key", "{{secret:key}}")]].concat();
    let got = get(&client, request(&url, &with_key)).await;

    assert_eq!(kind(got), HttpErrorKind::Coding);
    let (status, _, body) = get(&client, request(&url, &range)).await.unwrap();
    assert_eq!((status, &*body), (206, "canary"), "without one it may");

    let asked = server.asked();
    let ranges = asked
        .iter()
        .map(|asked| asked.to_lowercase().contains("range:"));
    assert_eq!(ranges.collect::<Vec<_>>(), [false, true]);
}

/// 64 KiB of zeros, compressed.
const ZEROS: [u8; 96] = {
    let mut bytes = [0; 96];
    let head = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf,
        0xee, 8, 0x0a,
    ];
    let tail = [0x6a, 0xeb, 0x8e, 0x97, 0xd7, 0, 0, 1, 0];
    let mut at = 0;
    while at < head.len() {
        bytes[at] = head[at];
        at += 1;
    }
    at = 0;
    while at < tail.len() {
        bytes[96 - tail.len() + at] = tail[at];
        at += 1;
    }
    bytes
};

#[tokio::test]
async fn responses_have_their_decoded_length() {
    let server = HostileServer::serve(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 96\r\n\r\n";
        Reply::Pieces(vec![head.as_bytes().to_vec(), ZEROS.to_vec()])
    });
    let server = server.await;
    let target = format!("a.example:{}", server.port);
    let url = format!("http://{target}/");

    for (most, fits) in [(65_536, true), (65_535, false)] {
        let options = HttpOptions::new().resolver(ChangingResolver::new(&[&["127.0.0.1"]]));
        let options = options.response_bytes(most);
        let client = client_with(options, std::slice::from_ref(&target), Secrets::none());
        match get(&client, request(&url, &[])).await {
            Ok((_, _, body)) => assert!(fits && body.len() == 65_536),
            Err(error) => assert!(
                !fits && error.kind == HttpErrorKind::ResponseBytes,
                "{error}"
            ),
        }
    }
}

#[tokio::test]
async fn each_redirect_is_checked_anew() {
    let server = HostileServer::serve(|asked| {
        let port = asked.split("host: a.example:").nth(1);
        let port = port.and_then(|rest| rest.lines().next()).unwrap_or("1");

        let to = match asked.split(' ').nth(1).unwrap_or_default() {
            "/here" => "/there".to_owned(),
            "/away" => format!("http://b.example:{port}/there"),
            "/private" => format!("http://127.0.0.1:{port}/there"),
            "/scheme" => "file:///etc/passwd".to_owned(),
            "/round" => "/round".to_owned(),
            _ => return ok("", "there"),
        };

        status("302 Found", &format!("location: {to}\r\n"), "")
    });
    let server = server.await;
    let port = server.port;
    let named = [format!("a.example:{port}"), format!("b.example:{port}")];
    let client = client(&named, secrets(&[("key", VALUE, &named[0])]));
    let url = |path: &str| format!("http://a.example:{port}{path}");

    let headers = [
        ("authorization", "Basic x"),
        ("cookie", "c=1"),
        ("x-key", "{{secret:key}}"),
        ("x-mine", "1"),
    ];
    let (_, _, body) = follow(&client, &url("/here"), &headers).await.unwrap();
    assert_eq!(body, "there");

    let asked = server.asked();
    assert!(asked[1].contains("authorization: Basic x") && asked[1].contains(VALUE));

    let (_, _, body) = follow(&client, &url("/away"), &headers).await.unwrap();
    assert_eq!(body, "there");

    let asked = server.asked();
    let last = asked[asked.len() - 1].to_lowercase();
    assert!(
        last.contains("host: b.example") && last.contains("x-mine: 1"),
        "{last}"
    );

    for gone in ["authorization", "cookie", "x-key", VALUE] {
        assert!(!last.contains(gone), "{gone} went along: {last}");
    }

    for (path, expected) in [
        ("/private", HttpErrorKind::Private),
        ("/scheme", HttpErrorKind::Url),
        ("/round", HttpErrorKind::Protocol),
    ] {
        let got = follow(&client, &url(path), &[]).await;
        assert_eq!(kind(got), expected, "{path}");
    }

    // A guest's own request is not redirected.
    let (status, headers, _) = get(&client, request(&url("/private"), &[])).await.unwrap();
    assert_eq!((status, headers.contains_key("location")), (302, true));
}

#[tokio::test]
async fn endless_responses_are_aborted() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let server = HostileServer::serve(move |asked| {
        let head = head.clone();

        match asked.split(' ').nth(1).unwrap_or_default() {
            "/endless" => Reply::Endless(head, vec![b'x'; 4096]),
            "/announced" => {
                Reply::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".into())
            }
            "/silent" => Reply::Hang(head),
            "/mute" => Reply::Hang(vec![]),
            "/headers" => Reply::Endless(b"HTTP/1.1 200 OK\r\n".into(), b"a: b\r\n".into()),
            "/large" => ok(&format!("x: {}\r\n", "y".repeat(70_000)), ""),
            "/broken" => Reply::Pieces(vec![
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".into(),
            ]),
            _ => Reply::Pieces(vec![b"no answer\r\n\r\n".into()]),
        }
    });
    let server = server.await;
    let target = format!("a.example:{}", server.port);

    let options = HttpOptions::new()
        .resolver(ChangingResolver::new(&[&["127.0.0.1"]]))
        .response_bytes(1 << 20)
        .request_bytes(1000)
        .idle(Duration::from_millis(300))
        .total(Duration::from_secs(3));
    let client = client_with(options, std::slice::from_ref(&target), Secrets::none());

    for (path, expected) in [
        ("/endless", HttpErrorKind::ResponseBytes),
        ("/announced", HttpErrorKind::ResponseBytes),
        ("/silent", HttpErrorKind::Timeout),
        ("/mute", HttpErrorKind::Timeout),
        ("/headers", HttpErrorKind::Protocol),
        ("/large", HttpErrorKind::ResponseHeaders),
        ("/broken", HttpErrorKind::Protocol),
        ("/other", HttpErrorKind::Protocol),
    ] {
        let got = get(&client, request(&format!("http://{target}{path}"), &[])).await;
        assert_eq!(kind(got), expected, "{path}");
    }

    // A pause ends the request long before its whole time is over.
    let paused = get(&client, request(&format!("http://{target}/silent"), &[])).await;
    let paused = paused.unwrap_err().message;
    assert!(paused.contains("sent nothing for 300ms"), "{paused}");

    let mut asked = request(&format!("http://{target}/endless"), &[]);
    asked.method = Method::POST;

    let chunk = || async { Ok(Bytes::from_static(&[0; 100])) };
    asked.body = futures_util::stream::repeat_with(chunk)
        .then(|chunk| chunk)
        .boxed();
    assert_eq!(kind(get(&client, asked).await), HttpErrorKind::RequestBytes);
}

#[tokio::test]
async fn requests_of_a_run_are_bounded() {
    let server = HostileServer::serve(|_| Reply::Hang(b"HTTP/1.1 200 OK\r\n\r\n".into())).await;
    let target = format!("a.example:{}", server.port);
    let client = client(std::slice::from_ref(&target), Secrets::none());
    let permits = Scripted::new(true).permits();
    let (run, other) = (RunId::generate(), RunId::generate());
    let url = format!("http://{target}/");
    let mut held = Vec::new();

    for _ in 0..16 {
        held.push(
            client
                .send(run, request(&url, &[]), &permits)
                .await
                .unwrap(),
        );
    }

    let refused = client.send(run, request(&url, &[]), &permits).await;
    assert_eq!(
        refused.err().map(|error| error.kind),
        Some(HttpErrorKind::Busy)
    );

    assert!(
        client
            .send(other, request(&url, &[]), &permits)
            .await
            .is_ok()
    );

    held.pop();
    assert!(client.send(run, request(&url, &[]), &permits).await.is_ok());
}
