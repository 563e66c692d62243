//! Decodes the corpus of services' responses in `tests/data/model-wire.json`: each case as it is,
//! and cut at every byte, with every line end.
//!
//! A case: `wire`; `status` (200 by default), `headers` and `content_type`; `chunks` as they arrive
//! (text, `base64`, or `pause_ms`); and in `expect` the result: `text`, `reasoning`, `calls`,
//! `others` (kinds that are passed on), `data` (media types), `finish`, `usage` (read, written),
//! `cached` (read, written), `end` (of the run), `says` (words that a person sees). The suite plays
//! the same cases through a host.

use super::{Decoder, Fault};
use crate::model::endpoint::Service;
use crate::model::provider::ModelEvent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastword_types::session::PartBody;
use serde_json::{Value, json};
use std::collections::HashSet;

const CORPUS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/data/model-wire.json"
));

/// One case.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) service: Service,
    pub(super) body: Vec<u8>,
    expect: Value,
}

/// The cases with a status of success.
pub(super) fn corpus() -> Vec<Case> {
    let all: Vec<Value> = serde_json::from_str(CORPUS).unwrap();
    let answers = all.iter().filter(|case| case.get("status").is_none());
    answers.map(case).collect()
}

fn case(case: &Value) -> Case {
    let mut body = Vec::new();

    for chunk in case["chunks"].as_array().unwrap() {
        if let Some(text) = chunk.as_str() {
            body.extend_from_slice(text.as_bytes());
        } else if let Some(base64) = chunk["base64"].as_str() {
            body.extend(STANDARD.decode(base64).unwrap());
        }
    }

    let wire = case["wire"].as_str().unwrap();
    let service = Service::ALL.into_iter().find(|it| it.word() == wire);

    Case {
        name: format!("{wire}: {}", case["name"].as_str().unwrap()),
        service: service.unwrap(),
        body,
        expect: case["expect"].clone(),
    }
}

/// Decodes these chunks. Ids that the host generated are replaced by their position.
pub(super) fn decode<'a>(
    service: Service,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<ModelEvent>, Option<Fault>) {
    let mut decoder = Decoder::new(service, HashSet::new());
    let mut events = Vec::new();
    let mut fault = None;

    for chunk in chunks {
        if fault.is_none() {
            fault = decoder.feed(chunk, &mut events).err();
        }
    }

    if fault.is_none() {
        fault = decoder.end(&mut events).err();
    }

    let mut ids = HashSet::new();

    for (place, event) in events.iter_mut().enumerate() {
        if let ModelEvent::Part(part) = event
            && let PartBody::ToolCall(call) = &mut part.body
        {
            if call.id.len() == "call_".len() + 32 {
                call.id = format!("made {place}");
            }
            assert!(ids.insert(call.id.clone()), "{} is there twice", call.id);
        }
    }

    (events, fault)
}

/// The actual values of what a case expects.
fn found(expect: &Value, events: &[ModelEvent], fault: Option<&Fault>) -> Value {
    let mut found = json!({});
    let text = |wanted: fn(&ModelEvent) -> Option<&String>| {
        let texts = events.iter().filter_map(wanted);
        json!(texts.cloned().collect::<String>())
    };

    let all = |wanted: fn(&ModelEvent) -> Option<Value>| {
        json!(events.iter().filter_map(wanted).collect::<Vec<_>>())
    };

    for key in expect.as_object().unwrap().keys() {
        found[key] = match key.as_str() {
            "text" => text(|event| match event {
                ModelEvent::Text(text) => Some(text),
                _ => None,
            }),
            "reasoning" => text(|event| match event {
                ModelEvent::Reasoning(text) => Some(text),
                _ => None,
            }),
            "calls" => all(|event| match event {
                ModelEvent::Part(part) => match &part.body {
                    PartBody::ToolCall(call) if call.finished => {
                        let input: Value = serde_json::from_str(&call.input).unwrap();
                        Some(json!([call.name, input]))
                    }
                    _ => None,
                },
                _ => None,
            }),
            "others" => all(|event| match event {
                ModelEvent::Part(part) => match &part.body {
                    PartBody::Other { kind, .. } => Some(json!(kind)),
                    _ => None,
                },
                _ => None,
            }),
            "data" => all(|event| match event {
                ModelEvent::Data { media_type, .. } => Some(json!(media_type)),
                _ => None,
            }),
            "usage" => all(|event| match event {
                ModelEvent::Usage(usage) => Some(json!([usage.input_tokens, usage.output_tokens])),
                _ => None,
            })[0]
                .clone(),
            "cached" => all(|event| match event {
                ModelEvent::Usage(usage) => {
                    Some(json!([usage.cache_read_tokens, usage.cache_write_tokens]))
                }
                _ => None,
            })[0]
                .clone(),
            "finish" => all(|event| match event {
                ModelEvent::Finish(reason) => Some(json!(reason)),
                _ => None,
            })[0]
                .clone(),
            "end" => json!(if fault.is_some() {
                "failed"
            } else {
                "completed"
            }),
            // Only visible through a host.
            _ => expect[key].clone(),
        };
    }

    found
}

#[test]
fn each_case_is_decoded_right() {
    let mut wrong = Vec::new();

    for case in corpus() {
        let (events, fault) = decode(case.service, [&*case.body]);
        let found = found(&case.expect, &events, fault.as_ref());
        if found != case.expect {
            wrong.push(format!(
                "{}: {found} instead of {}, {fault:?}",
                case.name, case.expect
            ));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let case = &corpus()[0];
    let (events, fault) = decode(case.service, [&*case.body]);

    for wrong in [
        json!({"text": "other"}),
        json!({"calls": []}),
        json!({"end": "failed"}),
    ] {
        assert_ne!(found(&wrong, &events, fault.as_ref()), wrong);
    }
}

/// Cuts each case of a service at every byte, with each kind of line end; and feeds it byte by
/// byte.
fn every_cut(service: Service) {
    for case in corpus().iter().filter(|case| case.service == service) {
        let text = String::from_utf8_lossy(&case.body).replace("\r\n", "\n");
        let whole = decode(service, [text.as_bytes()]);

        for end in ["\n", "\r", "\r\n"] {
            let body = text.replace('\n', end).into_bytes();
            let same = |found, how: &str| {
                assert_eq!(found, whole, "{} with {end:?}, {how}", case.name);
            };
            same(decode(service, body.chunks(1)), "byte by byte");
            for at in 0..=body.len() {
                let (one, other) = body.split_at(at);
                same(decode(service, [one, other]), &format!("cut at {at}"));
            }
        }
    }
}

#[test]
fn every_cut_and_line_end_gives_the_same_on_openais_wire() {
    every_cut(Service::OpenAi);
}

#[test]
fn every_cut_and_line_end_gives_the_same_on_anthropics_wire() {
    every_cut(Service::Anthropic);
}

#[test]
fn every_cut_and_line_end_gives_the_same_on_geminis_wire() {
    every_cut(Service::Gemini);
}

#[test]
fn every_cut_and_line_end_gives_the_same_on_ollamas_wire() {
    every_cut(Service::Ollama);
}
