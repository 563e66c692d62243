//! Spans for a collector: sent only to the address that the environment names. A collector that
//! does not respond delays nothing.

use super::Shell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

/// What one request brought: its first line and its body.
fn request(stream: TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if let Some(bytes) = header.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or(0);
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.into_inner().write_all(answer.as_bytes())?;
    Ok((first, body))
}

#[test]
fn spans_reach_the_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (requests, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(request) = request(stream) else {
                continue;
            };
            if requests.send(request).is_err() {
                return;
            }
        }
    });
    let shell = Shell::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_SERVICE_NAME", "the-service");
    let done = shell.probe("log 1", &["-v"]).exits(0);
    done.tells(&["line 0"]);
    // The process is gone: what it had to send, it has sent.
    let (first, body) = received.try_recv().expect("a request came");
    assert!(first.starts_with("POST /v1/traces "), "{first}");
    let holds = |words: &str| body.windows(words.len()).any(|at| at == words.as_bytes());
    for words in ["lastword run", "the-service", "stop_us", "returned"] {
        assert!(holds(words), "`{words}` is missing");
    }

    assert!(!holds("line 0"), "what an agent logs left the machine");

    let shell = shell.variable("OTEL_SDK_DISABLED", "true");
    shell.probe("echo x", &[]).exits(0);
    assert!(received.try_recv().is_err(), "it is disabled");
}

#[test]
fn a_collector_that_does_not_answer_holds_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shell = Shell::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    assert_eq!(shell.probe("echo x", &[]).exits(0).out, "x");
}
