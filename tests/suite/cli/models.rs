//! Models that cannot be asked, or answer badly: known before the run where that is possible, and
//! a failed run with a clear detail where it is not. The servers live on the loopback interface.

use super::{Done, Shell, agent};
use lastword_tests::check::violations;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Asks the assistant.
fn ask(shell: &Shell, options: &[&str]) -> Done {
    let assistant = agent("assistant");
    shell.lastword(&[&["run", &assistant, "Hello?"], options].concat())
}

/// A server that gives every request this answer and closes; it lives as long as the process.
fn server(answer: String) -> Shell {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever hangs up early is served the same.
            let _hung_up = serve(stream, &answer);
        }
    });
    Shell::new().variable("OPENAI_BASE_URL", format!("http://{address}/v1"))
}

fn serve(stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
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
    reader.read_exact(&mut vec![0; length])?;
    reader.into_inner().write_all(answer.as_bytes())
}

fn http(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nretry-after: 0\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The run fails and says why.
#[track_caller]
fn fails(shell: &Shell, words: &[&str]) -> Done {
    let done = ask(shell, &["--model", "openai:test"]).exits(1);
    assert_eq!(violations(&shell.data()), [""; 0]);
    done.tells(words)
        .tells(&["error: ", "failed", "go on with --session"])
}

#[test]
fn a_missing_key_is_known_before_the_run() {
    let shell = Shell::new();
    let done = ask(&shell, &["--model", "openai:test"]).exits(2);
    done.tells(&["no key for openai", "set OPENAI_API_KEY", "[models.openai]"]);
    assert!(shell.sessions().is_empty());
}

#[test]
fn models_that_do_not_exist() {
    let shell = Shell::new();
    for (spec, words) in [
        ("gpt", &["`gpt` names no model", "openai:NAME"][..]),
        ("openai:", &["names no model"]),
        ("acme:x", &["no provider `acme`"]),
        ("scripted:none.toml", &["none.toml", "No such file"]),
    ] {
        ask(&shell, &["--model", spec]).exits(2).tells(words);
    }
    ask(&shell, &["--allow", "model"])
        .exits(2)
        .tells(&["no model is chosen"]);
    let nowhere = Shell::new().variable("OPENAI_BASE_URL", "not an address");
    let done = ask(&nowhere, &["--model", "openai:x"]).exits(2);
    done.tells(&["OPENAI_BASE_URL", "no address of a model server"]);
    assert!(shell.sessions().is_empty() && nowhere.sessions().is_empty());
}

#[test]
fn a_server_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let shell = Shell::new().variable("OPENAI_BASE_URL", format!("http://{address}"));
    fails(
        &shell,
        &["Connection refused", "is the model server running?"],
    );
}

#[test]
fn a_key_that_is_refused() {
    let body = r#"{"error":{"message":"Incorrect API key provided"}}"#;
    let answer = http("401 Unauthorized", "application/json", body);
    let shell = server(answer).variable("OPENAI_API_KEY", "sk-secret-and-wrong");
    let done = fails(&shell, &["refused the key (401)", "check OPENAI_API_KEY"]);
    assert!(!done.err.contains("sk-secret"), "{done:?}");
}

#[test]
fn too_many_requests() {
    let body = r#"{"error":{"message":"Rate limit reached"}}"#;
    let answer = http("429 Too Many Requests", "application/json", body);
    fails(
        &server(answer),
        &["takes no more requests", "try again later"],
    );
}

#[test]
fn an_answer_that_is_none() {
    let answer = http("200 OK", "text/event-stream", "data: {garbage\n\n");
    let done = fails(&server(answer), &["cause agent-error"]);
    assert!(done.out.is_empty(), "{done:?}");
}

#[test]
fn an_answer_that_stops_in_the_middle() {
    let delta = r#"data: {"choices":[{"index":0,"delta":{"content":"Half of it"}}]}"#;
    let answer = http("200 OK", "text/event-stream", &format!("{delta}\n\n"));
    let done = fails(&server(answer), &["cause agent-error"]);
    assert_eq!(done.out, "Half of it");
}

#[test]
fn a_whole_answer() {
    let script = "[[reply]]\nsteps = [{ text = 'Hello.' }, \
        { usage = { input_tokens = 3, output_tokens = 2 } }]\n";
    let shell = Shell::new();
    shell.file("script.toml", script);
    let done = ask(&shell, &["--model", "scripted:script.toml"]).exits(0);
    assert_eq!(done.out, "Hello.");
    done.tells(&["3 + 2 tokens"]);
    shell.file("lastword.toml", "[run]\nmodel = 'scripted:script.toml'\n");
    assert_eq!(ask(&shell, &[]).exits(0).out, "Hello.");
}
