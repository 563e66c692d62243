//! Commands about the network: requests through `wasi:http`, sockets, and secrets.
//!
//! It does not know which hosts it may reach, nor what the values of secrets are.

use std::io;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use lastword_guest::prelude::*;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::{ProbeTurn, said, said_answer, said_result, word};

/// Bytes that are read at a time, and said at the most.
const CHUNK: u64 = 64 * 1024;
/// How often requests are begun and dropped at the most.
const ROUNDS: u64 = 500;
/// Bytes that a stream takes at a time.
const WRITE: usize = 4096;

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "http" => said_result(turn, http(argument)),
        "http-drain" => said_result(
            turn,
            send("GET", argument, &[], 0).and_then(|response| drain(&response)),
        ),
        "http-hold" => turn.say("before").and_then(|()| {
            said_result(
                turn,
                send("GET", argument, &[], 0).and_then(|response| drain(&response)),
            )
        }),
        "http-post" => said_result(turn, post(argument)),
        "http-many" => said(turn, &many(argument)),
        "http-begin" => begin_and_drop(turn, argument),
        "has-secret" => said_answer(turn, turn.has_secret(argument).map(|has| has.to_string())),
        "tcp" => said_result(
            turn,
            TcpStream::connect(argument).map(|_| "connected".to_owned()),
        ),
        "udp" => said_result(turn, udp(argument)),
        "dns" => said_result(turn, resolve(argument)),
        _ => return None,
    })
}

type Answer<T> = std::result::Result<T, String>;

/// `METHOD URL | NAME: VALUE | …`: the status, the headers and the beginning of the body.
fn http(argument: &str) -> Answer<String> {
    let mut parts = argument.split(" | ");
    let (method, url) = word(parts.next().unwrap_or_default());
    let headers: Vec<_> = parts.filter_map(|part| part.split_once(": ")).collect();
    let response = send(method, url, &headers, 0)?;
    let mut text = format!("{}\n", response.status());
    for (name, value) in response.headers().entries() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(&value)));
    }
    let mut body = Vec::new();
    read(&response, |bytes| body.extend_from_slice(bytes))?;
    body.truncate(usize::try_from(CHUNK).unwrap_or(usize::MAX));
    Ok(format!("{text}\n{}", String::from_utf8_lossy(&body)))
}

/// `BYTES URL`: sends so many bytes, and says the status.
fn post(argument: &str) -> Answer<String> {
    let (bytes, url) = word(argument);
    let bytes = bytes.parse().map_err(|_| "no number of bytes".to_owned())?;
    let response = send("POST", url, &[], bytes)?;
    Ok(response.status().to_string())
}

/// `COUNT URL`: begins so many requests at once; how many of them were answered.
fn many(argument: &str) -> String {
    let (count, url) = word(argument);
    let count = count.parse().unwrap_or(0);
    let begun: Vec<_> = (0..count).map(|_| begin("GET", url, &[], 0)).collect();
    let ended: Vec<_> = begun
        .into_iter()
        .map(|begun| begun.and_then(|future| wait(&future)))
        .collect();
    let answered = ended.iter().filter(|ended| ended.is_ok()).count();
    let mut errors: Vec<_> = ended.into_iter().filter_map(Answer::err).collect();
    errors.sort();
    errors.dedup();
    format!("{answered} answered {}", errors.join(", "))
}

/// Begins requests and drops them, again and again, until one of them is denied; then stays.
fn begin_and_drop(turn: &ProbeTurn, url: &str) -> Result<Outcome> {
    let denied = (0..ROUNDS).find(|round| {
        let begun: Vec<_> = (0..16).map(|_| begin("GET", url, &[], 0)).collect();
        // The time until the host handles them is unknown.
        sleep(Duration::from_millis(*round).min(Duration::from_millis(100)));
        begun.iter().flatten().any(|future| {
            // Only who asks whether it is ready hears of it.
            let ready = future.subscribe().ready();
            let answer = ready.then(|| future.get()).flatten();
            matches!(answer, Some(Ok(Err(ErrorCode::HttpRequestDenied))))
        })
    });
    turn.say(match denied {
        Some(_) => "denied at last",
        None => "never, at last",
    })?;
    sleep(Duration::from_secs(3600));
    Ok(Outcome::end_turn())
}

fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: usize,
) -> Answer<IncomingResponse> {
    wait(&begin(method, url, headers, body)?)
}

fn begin(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: usize,
) -> Answer<FutureIncomingResponse> {
    let fields = Fields::new();
    for (name, value) in headers {
        // For tests of what no header may hold.
        let value = value.replace("\\r", "\r").replace("\\n", "\n");
        let appended = fields.append(name, value.as_bytes());
        appended.map_err(|error| format!("{name}: {error:?}"))?;
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        other => Method::Other(other.to_owned()),
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let request = OutgoingRequest::new(fields);
    let set = request
        .set_method(&method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| "the request cannot be written".to_owned())?;
    let outgoing = request.body().map_err(|()| "no body".to_owned())?;
    let future = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
    write(outgoing, body);
    Ok(future)
}

/// Writes this number of bytes, or fewer if the host stops reading them.
fn write(body: OutgoingBody, bytes: usize) {
    let Ok(stream) = body.write() else { return };
    let chunk = [b'x'; WRITE];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(WRITE);
        if stream.blocking_write_and_flush(&chunk[..part]).is_err() {
            break;
        }
        left -= part;
    }
    drop(stream);
    _ = OutgoingBody::finish(body, None);
}

fn wait(future: &FutureIncomingResponse) -> Answer<IncomingResponse> {
    future.subscribe().block();
    match future.get() {
        Some(Ok(answer)) => answer.map_err(|error| format!("{error:?}")),
        _ => Err("there is no answer".to_owned()),
    }
}

/// How much came, and how it ended.
fn drain(response: &IncomingResponse) -> Answer<String> {
    let mut count = 0;
    let end = read(response, |bytes| count += bytes.len());
    let end = end.err().unwrap_or_else(|| "the end".to_owned());
    Ok(format!("{count} bytes, then {end}"))
}

fn read(response: &IncomingResponse, mut take: impl FnMut(&[u8])) -> Answer<()> {
    let body = response.consume().map_err(|()| "no body".to_owned())?;
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    loop {
        match stream.blocking_read(CHUNK) {
            Ok(bytes) => take(&bytes),
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(error.to_debug_string());
            }
        }
    }
}

fn udp(address: &str) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let sent = socket.send_to(b"x", address)?;
    Ok(format!("sent {sent}"))
}

fn resolve(name: &str) -> io::Result<String> {
    let found = (name, 80).to_socket_addrs()?.count();
    Ok(format!("found {found}"))
}
