//! Malformed responses: the corpus with random changes, and unbounded lengths.
//! `LASTWORD_FUZZ_SECONDS` extends the former, for each service.

use super::assembly::HELD_BYTES_MAX;
use super::calls::{ARGUMENTS_BYTES_MAX, CALLS_MAX};
use super::cases::{corpus, decode};
use super::{DOCUMENT_BYTES_MAX, Decoder, Fault};
use crate::model::endpoint::Service;
use crate::model::provider::ModelEvent;
use lastword_types::session::PartBody;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How many inputs there are for each service by default.
const INPUTS: u32 = 1_500;

/// Tokens that change the meaning of their surroundings.
const TOKENS: [&[u8]; 28] = [
    b"\n\n",
    b"\r",
    b"\r\n",
    b"data: ",
    b"data:",
    b"event: ",
    b": x",
    b"[DONE]",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\ud83d",
    b"\\ude00",
    b"null",
    b"0",
    b"-1",
    b"1e99",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\"error\":{\"message\":\"x\"},",
    b"\"index\":3000000,",
    b"\"choices\":",
    b"\"type\":\"message_stop\"",
    b"\"done\":true,",
    b"\"finish_reason\":\"stop\",",
];

/// Pseudo-random numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }
}

fn change(bodies: &[Vec<u8>], chance: &mut Random) -> Vec<u8> {
    let mut body = bodies[chance.below(bodies.len())].clone();

    for _ in 0..=chance.below(6) {
        let range = chance.range(body.len());

        match chance.below(6) {
            0 => drop(body.drain(range)),
            1 => {
                let piece = body[range].to_vec();
                let at = chance.below(body.len() + 1);
                body.splice(at..at, piece);
            }
            2 => {
                let other = &bodies[chance.below(bodies.len())];
                let piece = other[chance.range(other.len())].to_vec();
                body.splice(range, piece);
            }
            3 => {
                let token = TOKENS[chance.below(TOKENS.len())];
                let at = chance.below(body.len() + 1);
                body.splice(at..at, token.iter().copied());
            }
            4 => {
                let at = chance.below(body.len() + 1);
                let byte = chance.below(256) as u8;
                body.splice(at..(at + 1).min(body.len()), [byte]);
            }
            _ => {
                let line = body.iter().position(|byte| *byte == b'\n').unwrap_or(0);
                body.rotate_left(line);
            }
        }
    }

    body
}

fn pieces<'a>(body: &'a [u8], chance: &mut Random) -> Vec<&'a [u8]> {
    let mut rest = body;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + chance.below(rest.len().min(40)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Bytes of an event's content.
fn size(event: &ModelEvent) -> usize {
    match event {
        ModelEvent::Text(text) | ModelEvent::Reasoning(text) => text.len(),
        ModelEvent::Finish(reason) => reason.as_str().len(),
        ModelEvent::Part(part) => {
            let extra = part.extra.values().map(String::len).sum::<usize>();
            extra
                + match &part.body {
                    PartBody::ToolCall(call) => call.input.len() + call.name.len(),
                    PartBody::Other { kind, json } => kind.len() + json.len(),
                    _ => 0,
                }
        }
        ModelEvent::Data { bytes, .. } => bytes.len(),
        ModelEvent::Usage(_) | ModelEvent::Retrying(_) => 0,
    }
}

/// Checks for any input: no panic, the same result for every cut, and no more output than input.
fn fuzz(service: Service) {
    let corpus = corpus().into_iter().filter(|case| case.service == service);
    let bodies: Vec<Vec<u8>> = corpus.map(|case| case.body).collect();
    let seconds = std::env::var("LASTWORD_FUZZ_SECONDS").ok();
    let until = seconds.map(|seconds| {
        Instant::now() + Duration::from_secs(seconds.parse().expect("a number of seconds"))
    });
    let seed = until.map_or(1, |_| u64::from(std::process::id()));
    let mut chance = Random(seed << 8 | service as u64);
    let mut inputs = 0_u32;

    while until.map_or(inputs < INPUTS, |until| Instant::now() < until) {
        inputs += 1;
        let body = change(&bodies, &mut chance);
        let whole = decode(service, [&*body]);
        let cut = decode(service, pieces(&body, &mut chance));
        let shown = String::from_utf8_lossy(&body);

        assert_eq!(cut, whole, "seed {seed}, input {inputs}: {shown:?}");
        let output_bytes: usize = whole.0.iter().map(size).sum();

        // An invalid byte becomes three, and a piece is delivered at most twice: as text, and in
        // the data that the service wants back.
        assert!(
            output_bytes <= 6 * body.len() + 256,
            "{output_bytes} bytes of {shown:?}"
        );
        let finishes = whole
            .0
            .iter()
            .filter(|event| matches!(event, ModelEvent::Finish(_)));
        let finishes = finishes.count();

        assert_eq!(finishes, usize::from(whole.1.is_none()), "{shown:?}");
        assert!(finishes == 0 || matches!(whole.0.last(), Some(ModelEvent::Finish(_))));
    }

    eprintln!("{}: {inputs} inputs, seed {seed}", service.word());
}

#[test]
fn hostile_answers_on_openais_wire() {
    fuzz(Service::OpenAi);
}

#[test]
fn hostile_answers_on_anthropics_wire() {
    fuzz(Service::Anthropic);
}

#[test]
fn hostile_answers_on_geminis_wire() {
    fuzz(Service::Gemini);
}

#[test]
fn hostile_answers_on_ollamas_wire() {
    fuzz(Service::Ollama);
}

/// Feeds a piece until the decoder refuses; returns how many bytes it accepted.
fn until_refused(service: Service, first: &str, piece: &str, most: usize) -> (usize, Fault) {
    let mut decoder = Decoder::new(service, HashSet::new());
    let mut events = Vec::new();
    decoder.feed(first.as_bytes(), &mut events).unwrap();

    let mut fed = 0;
    while fed < most {
        fed += piece.len();
        if let Err(fault) = decoder.feed(piece.as_bytes(), &mut events) {
            return (fed, fault);
        }
    }

    panic!("{most} bytes were taken");
}

#[test]
fn held_back_data_is_bounded() {
    let long = "x".repeat(1 << 16);

    let call = |index: usize, arguments: &str| {
        format!(
            r#"data: {{"choices":[{{"delta":{{"tool_calls":[{{"index":{index},"function":{{"name":"a","arguments":"{arguments}"}}}}]}}}}]}}"#
        ) + "\n\n"
    };

    let block =
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking"}}"#;
    let thought = format!(
        r#"data: {{"type":"content_block_delta","index":0,"delta":{{"thinking":"{long}"}}}}"#
    );

    for (service, first, piece, most) in [
        // One event, one document, one call, all calls, all thoughts.
        (Service::OpenAi, "data: ", &*long, DOCUMENT_BYTES_MAX),
        (
            Service::Ollama,
            "{\"message\":\"",
            &*long,
            DOCUMENT_BYTES_MAX,
        ),
        (
            Service::OpenAi,
            ":\n",
            &*call(0, &long),
            ARGUMENTS_BYTES_MAX,
        ),
        (
            Service::Anthropic,
            &format!("{block}\n\n"),
            &format!("{thought}\n\n"),
            HELD_BYTES_MAX,
        ),
    ] {
        let (fed, fault) = until_refused(service, first, piece, 2 * most);
        assert!(matches!(fault, Fault::TooMuch(_)), "{fault:?}");
        assert!(fed + piece.len() >= most, "{fed} bytes of {most}");
    }

    let calls: String = (0..=CALLS_MAX).map(|index| call(index, "{}")).collect();
    let (_, fault) = until_refused(Service::OpenAi, ":\n", &calls, calls.len());
    assert!(matches!(fault, Fault::TooMuch(_)), "{fault:?}");
}

#[test]
fn white_space_and_comments_without_end_are_not_kept() {
    for piece in [
        " ".repeat(4096),
        "\n".repeat(4096),
        format!(": {}\n", "x".repeat(4096)),
    ] {
        let mut decoder = Decoder::new(Service::OpenAi, HashSet::new());
        let mut events = Vec::new();
        for _ in 0..8_192 {
            decoder.feed(piece.as_bytes(), &mut events).unwrap();
        }
        assert_eq!(events, []);
    }
}
