//! Commands that never end by themselves: loops in the guest, and in every import of the host.
//!
//! It does not know what ends them.

use std::hint::black_box;

use lastword_guest::bindings::{control, log, model, secrets, state, tools, transcript, types};
use lastword_guest::model::Request;
use lastword_guest::prelude::*;

use crate::{ProbeTurn, number};

const MIB: usize = 1024 * 1024;

pub(crate) fn run(turn: &ProbeTurn, command: &str, argument: &str) -> Option<Result<Outcome>> {
    Some(match command {
        "spin" if argument.is_empty() => turn.say("before").map(|()| spin()),
        "spin" => turn.say(argument).map(|()| spin()),
        "spin-ready" => turn.say("before").map(|()| {
            forever(|| {
                control::remaining_ms();
            })
        }),
        "flood" => forever(|| {
            _ = transcript::append_text("x");
        }),
        "recurse" => Ok(Outcome::finish(deeper(black_box(0)).to_string())),
        "grow" => turn.say("before").map(|()| grow()),
        "fill" => number::<usize>(argument).map(|mebibytes| {
            let mut memory = vec![0_u8; mebibytes * MIB];
            let mut byte = 0_u8;
            forever(|| {
                byte = byte.wrapping_add(1);
                memory.fill(byte);
                black_box(&memory);
            })
        }),
        "model-stubborn" => turn.say("before").map(|()| {
            forever(|| {
                if let Ok(deltas) = turn.model().ask(argument) {
                    deltas.for_each(drop);
                }
            })
        }),
        "loop" => turn.say("before").and_then(|()| each_import(argument)),
        _ => return None,
    })
}

/// Loops without a call to the host.
pub(crate) fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

fn forever(mut step: impl FnMut()) -> ! {
    loop {
        step();
    }
}

/// Recursion that needs a frame for each call: the result is used after it, and in no order
/// that an optimiser may change.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    deeper(depth + 1).rotate_left(3).wrapping_mul(31) ^ depth
}

fn grow() -> ! {
    forever(|| {
        let memory: &'static mut [u8] = vec![1_u8; MIB].leak();
        black_box(memory);
    })
}

/// Calls one import again and again, whatever it answers.
fn each_import(name: &str) -> Result<Outcome> {
    let step: fn() = match name {
        "transcript/history" => || _ = transcript::history(None, 10),
        "transcript/append-text" => || _ = transcript::append_text("x"),
        "transcript/append-reasoning" => || _ = transcript::append_reasoning("x"),
        "transcript/append-part" => || _ = transcript::append_part(&Part::text("x")),
        "transcript/record-result" => || _ = transcript::record_result(&result()),
        "transcript/summarise" => || _ = transcript::summarise("x", "no-such-message"),
        "transcript/set-title" => || _ = transcript::set_title("x"),
        "transcript/read-blob" => || _ = transcript::read_blob("no-such-blob"),
        "model/complete" => || _ = model::complete(&request()),
        "model/completion.next" => with_completion(|completion| _ = completion.next()),
        "model/completion.to-transcript" => {
            with_completion(|completion| _ = completion.to_transcript())
        }
        "model/models" => || _ = model::models(),
        "tools/available" => || _ = tools::available(),
        "tools/call" => || _ = tools::call(&call()),
        "tools/call-all" => || _ = tools::call_all(&[call(), call()]),
        "state/get" => || _ = state::get(Scope::Session, "key"),
        "state/set" => || _ = state::set(Scope::Session, "key", b"value"),
        "state/compare-and-set" => || {
            _ = state::compare_and_set(Scope::Session, "key", None, b"value");
        },
        "state/delete" => || _ = state::delete(Scope::Session, "key"),
        "state/keys" => || _ = state::keys(Scope::Session, ""),
        "control/interruption" => || _ = control::interruption(),
        "control/remaining-ms" => || _ = control::remaining_ms(),
        "secrets/exists" => || _ = secrets::exists("no-such-secret"),
        "log/write" => || log::write(Level::Debug, "x", None),
        _ => return Err(Error::new("invalid", format!("no import `{name}`"))),
    };
    forever(step)
}

/// Uses one completion for ever, once the host gives one out.
fn with_completion(step: fn(&model::Completion)) -> ! {
    loop {
        if let Ok(completion) = model::complete(&request()) {
            forever(|| step(&completion));
        }
    }
}

fn request() -> model::Request {
    Request::new().user("loop").into()
}

fn call() -> types::ToolCall {
    types::ToolCall {
        id: String::new(),
        name: "t".to_owned(),
        arguments_json: "{}".to_owned(),
    }
}

fn result() -> types::ToolResult {
    types::ToolResult::text("no-such-call", "x")
}
