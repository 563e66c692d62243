//! Conversations that are longer than the model's window, with a service that refuses them.

mod in_time;
mod refused;

use serde_json::{Value, json};

use super::{Finished, Kind, Parameters, Reason, Tool, ToolLoop};
use crate::testing::{Asked, Host, Overflow, Reply};
use crate::{Part, Result, Role, Turn};

/// The number of bytes that the service accepts, and the number of tokens that it reports for them.
const BYTES: usize = 16_000;
const TOKENS: u32 = 4_000;

/// Words of the requests that ask for an account of a piece.
const PIECE: &str = "Write the account anew.";

/// Words of the request that asks for an account of the whole.
const WHOLE: &str = "about to be shortened";

/// The model's account of every piece.
const ACCOUNT: &str = "They talked about many numbers.";

fn words(at: usize, bytes: usize) -> String {
    let mark = format!("<message {at}>");
    format!("{mark}{}", "x".repeat(bytes - mark.len()))
}

/// Returns the host after the user and the model have exchanged this range of messages of 1,000
/// bytes.
fn talked(host: Host, messages: std::ops::Range<usize>) -> Host {
    messages.fold(host, |host, at| {
        let roles = [Role::User, Role::Assistant];
        host.message(roles[at % 2], vec![Part::text(words(at, 1_000))])
    })
}

/// Creates a host with this number of such messages, and a service that refuses long requests.
fn host(messages: usize, overflow: Overflow) -> Host {
    talked(Host::new().overflow(overflow), 0..messages).reply_to(PIECE, Reply::text(ACCOUNT))
}

/// As `host`, with a window whose size the host knows or does not know.
fn known(host: Host, tokens: Option<u32>) -> Host {
    match tokens {
        Some(tokens) => host.context_tokens(tokens),
        None => host,
    }
}

fn refusing() -> Overflow {
    Overflow::above(BYTES)
}

/// A tool that returns this number of bytes.
fn read_file() -> Tool<'static> {
    let bytes = Parameters::new().required("bytes", Kind::Integer, "How many");
    Tool::new("read_file", "Reads", &bytes, |arguments: Value| {
        let bytes = arguments["bytes"].as_u64().unwrap_or(0);
        Ok("r".repeat(usize::try_from(bytes).unwrap_or(0)))
    })
}

fn read(bytes: usize) -> Reply {
    Reply::call("read_file", &json!({ "bytes": bytes }))
}

fn go(host: &Host, prompt: &str, tool_loop: ToolLoop<'_>) -> Result<Finished> {
    host.turn(prompt, |turn: &Turn<()>| turn.run_tools(tool_loop))
}

fn refused(host: &Host) -> usize {
    let requests = host.requests();
    requests
        .iter()
        .filter(|asked| asked.bytes() > BYTES)
        .count()
}

/// Returns the pieces that the model read, joined.
fn pieces(requests: &[Asked]) -> String {
    let taken = requests.iter().filter(|asked| asked.bytes() <= BYTES);
    let pieces = taken.filter_map(|asked| {
        let text = asked.last_text();
        let (_, piece) = text.split_once("<messages>\n")?;
        Some(piece.split_once("\n</messages>")?.0.to_owned())
    });
    pieces.collect()
}

/// Fails if a request has a result without its call.
fn results_have_calls(host: &Host) {
    for asked in host.requests() {
        let parts: Vec<_> = asked
            .messages
            .iter()
            .flat_map(|input| &input.parts)
            .collect();
        let calls: Vec<_> = parts
            .iter()
            .filter_map(|part| part.as_tool_call())
            .collect();
        for result in parts.iter().filter_map(|part| part.as_tool_result()) {
            assert!(
                calls.iter().any(|call| call.id == result.call_id),
                "{result:?}"
            );
        }
    }
}
