//! Who is let in, and what they may do: tokens, sockets, host names, web pages, tenants.

use super::harness::{Server, client, json, problem};
use lastword_server::{
    Anyone, Authorizer, FirstOf, ListenError, Listener, ServerOptions, Token, TokenError,
    TokenFile, UnixOwner, connect_unix, router, serve,
};
use lastword_tests::fixture::{Fixture, Plan};
use reqwest::StatusCode;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_token_lets_in() {
    let server = Server::new().await;
    let url = server.url("/workspaces");
    let ask = || server.http.get(&url);
    let wrong = format!("{}0", server.token.as_str());
    for request in [
        ask(),
        ask().bearer_auth(&wrong),
        ask().bearer_auth(""),
        ask().header("authorization", server.token.as_str()),
        ask().basic_auth("owner", Some(server.token.as_str())),
        ask()
            .bearer_auth(server.token.as_str())
            .bearer_auth(server.token.as_str()),
        server.http.get(server.url("/metrics")),
    ] {
        assert_eq!(problem(request).await, (401, "unauthenticated".to_owned()));
    }
    let right = ask().bearer_auth(server.token.as_str());
    assert_eq!(json(right).await.0, StatusCode::OK);
    let health = server.http.get(server.url("/health"));
    assert_eq!(json(health).await.0, StatusCode::OK, "health needs none");
    let nothing = server.http.get(server.url("/nothing/here"));
    assert_eq!(problem(nothing).await, (404, "unknown-route".to_owned()));
    let wrong = server.http.put(server.url("/workspaces"));
    assert_eq!(problem(wrong).await, (401, "unauthenticated".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_that_changed_is_read_again() {
    let fixture = Fixture::new().await;
    let (file, draft) = (
        fixture.folder.path().join("token"),
        fixture.folder.path().join("new"),
    );
    let authorizer = Arc::new(TokenFile::read_or_create(&file).unwrap());
    let first = Token::read(&file).unwrap();
    let server = Server::of(fixture, first.clone(), authorizer, |_| {}).await;
    let status = |token: &Token| {
        let request = server.http.get(server.url("/version"));
        let request = request.bearer_auth(token.as_str());
        async move { request.send().await.unwrap().status() }
    };
    assert_eq!(status(&first).await, StatusCode::OK);

    // Another file in its place, as a careful program writes it.
    let second = Token::read_or_create(&draft).unwrap();
    std::fs::rename(&draft, &file).unwrap();
    assert_eq!(status(&first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&second).await, StatusCode::OK);

    // A file without a token, and a missing one, lock no caller out.
    std::fs::write(&draft, "short").unwrap();
    std::fs::rename(&draft, &file).unwrap();
    assert_eq!(status(&second).await, StatusCode::OK);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status(&second).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_names_are_answered_for() {
    let named = |options: &mut ServerOptions| {
        options.allowed_hosts = vec!["agents.example".to_owned()];
        options.allowed_origins = vec!["https://page.example".to_owned()];
    };
    let server = Server::with(Plan::new(), named).await;
    let own = server.address.to_string();
    let with = |name: &'static str, value: &str| server.get("/version").header(name, value);
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "[::1]:80",
        "agents.example",
        &own,
    ] {
        assert_eq!(json(with("host", host)).await.0, StatusCode::OK, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
    ] {
        let refused = problem(with("host", host)).await;
        assert_eq!(refused, (421, "foreign-host".to_owned()), "{host}");
    }
    for origin in [format!("http://{own}"), "https://page.example".to_owned()] {
        assert_eq!(
            json(with("origin", &origin)).await.0,
            StatusCode::OK,
            "{origin}"
        );
    }
    for origin in [
        "null",
        "https://evil.example",
        "http://localhost:1",
        "file://",
        "",
    ] {
        let refused = problem(with("origin", origin)).await;
        assert_eq!(refused, (403, "foreign-origin".to_owned()), "{origin}");
    }
    let refused = json(with("origin", "https://evil.example")).await.1;
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("without an `Origin` header"), "{detail}");
    assert!(!detail.contains("setting"), "there is none: {detail}");
    let mut raw = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    raw.write_all(b"GET /v1/health HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.contains(" 421 ") && answer.contains("foreign-host"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_taken_over_if_they_are_sane() {
    let server = Server::new().await;
    let id = |sent: &str| {
        let request = server.get("/version").header("x-request-id", sent);
        async move { request.send().await.unwrap().headers()["x-request-id"].clone() }
    };
    assert_eq!(id("a-1:b").await, "a-1:b");
    for strange in ["", "a b", "<script>", &"x".repeat(65)] {
        let made = id(strange).await;
        assert_ne!(made, strange);
        assert_eq!(made.len(), 36);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_to_those_who_begin_with_it() {
    let server = Server::new().await;
    let http = client(reqwest::ClientBuilder::http2_prior_knowledge);
    let request = http
        .get(server.url("/version"))
        .bearer_auth(server.token.as_str());
    let response = request.send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.status(), StatusCode::OK);
    let foreign = http
        .get(server.url("/version"))
        .header("host", "evil.example");
    assert_ne!(foreign.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_token_stays_on_loopback() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = Listener::tcp(address.parse().unwrap(), &Anyone)
            .await
            .unwrap_err();
        assert!(matches!(refused, ListenError::Unprotected(_)), "{refused}");
        let either = FirstOf::new([Arc::new(UnixOwner) as Arc<dyn Authorizer>, Arc::new(Anyone)]);
        let refused = Listener::tcp(address.parse().unwrap(), &either)
            .await
            .unwrap_err();
        assert!(matches!(refused, ListenError::Unprotected(_)), "{refused}");
    }
    assert!(
        Listener::tcp("127.0.0.1:0".parse().unwrap(), &Anyone)
            .await
            .is_ok()
    );
    let guarded = Listener::tcp("0.0.0.0:0".parse().unwrap(), &UnixOwner).await;
    assert!(
        guarded.is_ok(),
        "one that asks who it is may listen anywhere"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_user_is_let_in_through_a_unix_socket_of_any_path_length() {
    let fixture = Fixture::new().await;
    let deep = fixture
        .folder
        .path()
        .join("d".repeat(100))
        .join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("socket");
    let listener = Listener::unix(&path).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let taken = Listener::unix(&path).await.unwrap_err();
    assert!(matches!(taken, ListenError::Answers { .. }), "{taken}");
    std::fs::write(deep.join("file"), "").unwrap();
    let occupied = Listener::unix(deep.join("file")).await.unwrap_err();
    assert!(
        matches!(occupied, ListenError::Occupied { .. }),
        "{occupied}"
    );

    let options = ServerOptions::default();
    let router = router(fixture.host.clone(), Arc::new(UnixOwner), options.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        serve(vec![listener], router, &options, async {
            drop(stopped.await);
        })
        .await;
    });
    let mut stream = connect_unix(&path).await.unwrap();
    let request = b"GET /v1/version HTTP/1.1\r\nhost: whatever\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(stop);
    serving.await.unwrap();
    assert!(!path.exists(), "the socket goes with its server");
    let left: Vec<_> = std::fs::read_dir(&deep).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    // What a server that was killed leaves.
    let socket = std::os::unix::net::UnixListener::bind(fixture.folder.path().join("stale"));
    drop(socket.unwrap());
    assert!(
        Listener::unix(fixture.folder.path().join("stale"))
            .await
            .is_ok()
    );
}

#[test]
fn a_token_file_is_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let made = Token::read_or_create(&path).unwrap();
    assert_eq!(made.as_str().len(), 64);
    assert!(!format!("{made:?}").contains(made.as_str()));
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert_eq!(Token::read_or_create(&path).unwrap(), made);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no drafts are left"
    );

    std::fs::write(&path, format!("\u{feff}{}\r\n", made.as_str())).unwrap();
    assert_eq!(Token::read_or_create(&path).unwrap(), made);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let exposed = Token::read_or_create(&path).unwrap_err();
    assert!(
        matches!(exposed, TokenError::Exposed { mode: 0o640, .. }),
        "{exposed}"
    );
    assert!(!exposed.to_string().contains(made.as_str()));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    for text in ["", "short", &"x y".repeat(30), "\u{e9}".repeat(40).as_str()] {
        std::fs::write(&path, text).unwrap();
        let malformed = Token::read_or_create(&path).unwrap_err();
        assert!(
            matches!(malformed, TokenError::Malformed { .. }),
            "{malformed}"
        );
    }
    let foreign = Token::read_or_create(folder.path()).unwrap_err();
    assert!(matches!(foreign, TokenError::Foreign { .. }), "{foreign}");
}

#[test]
fn many_processes_that_make_one_token_file_get_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let makers: Vec<_> = (0..16)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || Token::read_or_create(path).unwrap())
        })
        .collect();
    let tokens: Vec<_> = makers
        .into_iter()
        .map(|maker| maker.join().unwrap())
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
}
