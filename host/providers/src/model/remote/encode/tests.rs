//! One conversation in each wire format: thoughts, calls, results with images and without, in both
//! directions, as the services document them.

use super::{Target, encode};
use crate::model::ModelEvent;
use crate::model::endpoint::Service;
use crate::model::provider::{ModelErrorKind, ModelMessage, ModelRequest, ToolChoice, ToolSpec};
use crate::model::remote::decode::Decoder;
use crate::model::remote::names::Names;
use crate::model::testing::message;
use lastword_types::session::{BlobId, Content, Part, PartBody, Role, ToolResult};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

fn target(service: Service, model: &str) -> Target<'_> {
    Target {
        service,
        model,
        compatible: service == Service::OpenAi,
        window: None,
    }
}

/// The body of a request, and its path.
fn body(service: Service, model: &str, request: &ModelRequest) -> (String, Value) {
    let encoded = encode(target(service, model), &Names::of(request), request).unwrap();
    (encoded.path.join("/"), encoded.body)
}

/// The message that a host stores for a response.
fn stored_message(service: Service, answer: &str) -> ModelMessage {
    let mut decoder = Decoder::new(service, HashSet::new());
    let mut events = Vec::new();
    decoder.feed(answer.as_bytes(), &mut events).unwrap();
    decoder.end(&mut events).unwrap_or(());

    let parts = events.into_iter().filter_map(|event| match event {
        ModelEvent::Text(text) => Some(Part::text(text)),
        ModelEvent::Reasoning(text) => Some(
            PartBody::Reasoning {
                text,
                started_ms: lastword_types::clock::UnixMillis(0),
                ended_ms: None,
            }
            .into(),
        ),
        ModelEvent::Part(part) => Some(part),
        _ => None,
    });
    message(Role::Assistant, parts)
}

/// A conversation: a prompt, this response, and an image as the result of its first call.
fn after(answer: ModelMessage) -> ModelRequest {
    let call = answer.parts.iter().find_map(|part| match &part.body {
        PartBody::ToolCall(call) => Some(call.clone()),
        _ => None,
    });
    let call = call.unwrap();

    let image = Content::Data {
        media_type: "image/png".to_owned(),
        name: Some("a.png".to_owned()),
        blob: BlobId("b".to_owned()),
        bytes: 3,
    };

    let words = Content::Text {
        text: "fog".to_owned(),
    };
    let result = PartBody::ToolResult(ToolResult {
        call_id: call.id,
        name: call.name,
        content: vec![words, image],
        structured: None,
        metadata: None,
        is_error: true,
    });

    ModelRequest {
        model: Some("m".to_owned()),
        messages: vec![
            message(Role::User, [Part::text("look")]),
            answer,
            message(Role::Tool, [result.into()]),
        ],
        blobs: [(BlobId("b".to_owned()), Arc::from(*b"foo"))].into(),
        ..ModelRequest::default()
    }
}

const FOO: &str = "Zm9v";

#[test]
fn anthropic_gets_its_blocks_back_and_results_with_their_images() {
    let events = [
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "SIG"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "XYZ"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "Looking."}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sea"}}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        json!({"type": "message_stop"}),
    ];
    let answer: String = events.map(|event| format!("data: {event}\n\n")).concat();
    let request = after(stored_message(Service::Anthropic, &answer));
    let (path, body) = body(Service::Anthropic, "m", &request);

    assert_eq!(path, "messages");
    let source = json!({"type": "base64", "media_type": "image/png", "data": FOO});

    let expected = json!([
        {"role": "user", "content": [{"type": "text", "text": "look"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "SIG"},
            {"type": "redacted_thinking", "data": "XYZ"},
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sea"}},
        ]},
        {"role": "user", "content": [{
            "type": "tool_result",
            "tool_use_id": "t1",
            "is_error": true,
            "content": [
                {"type": "text", "text": "fog\n[file a.png: image/png, shown below]"},
                {"type": "image", "source": source},
            ],
        }]},
    ]);
    assert_eq!(body["messages"], expected);

    // Another service gets the call without the thoughts, which only their own service can read.
    let (_, other) = self::body(Service::OpenAi, "m", &request);
    assert!(!other.to_string().contains("SIG"), "{other}");
}

#[test]
fn gemini_gets_signatures_and_its_own_ids_back() {
    let call = json!({"name": "look", "args": {"at": "sea"}, "id": "g1"});
    let piece = json!({"candidates": [{
        "content": {"parts": [{"functionCall": call, "thoughtSignature": "SIG"}]},
        "finishReason": "STOP",
    }]});

    let request = after(stored_message(
        Service::Gemini,
        &format!("data: {piece}\n\n"),
    ));
    let (path, body) = body(Service::Gemini, "m", &request);
    assert_eq!(path, "models/m:streamGenerateContent");

    let text = "fog\n[file a.png: image/png, shown below]";
    let image = json!({"inline_data": {"mime_type": "image/png", "data": FOO}});

    let expected = json!([
        {"role": "user", "parts": [{"text": "look"}]},
        {"role": "model", "parts": [{"functionCall": call, "thoughtSignature": "SIG"}]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "look", "response": {"error": text}, "id": "g1"}},
        ]},
        {"role": "user", "parts": [{"text": "[file a.png, from the result of `look`]"}, image]},
    ]);
    assert_eq!(body["contents"], expected);

    let thinking = &body["generationConfig"]["thinkingConfig"]["includeThoughts"];
    assert_eq!(*thinking, true);
}

#[test]
fn a_call_of_another_model_stands_for_itself_with_gemini_3() {
    let answer = r#"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"look","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    let request = after(stored_message(
        Service::OpenAi,
        &format!("{answer}\n\ndata: [DONE]\n\n"),
    ));
    let (_, new) = body(Service::Gemini, "gemini-3-pro", &request);
    let signature = &new["contents"][1]["parts"][0]["thoughtSignature"];

    assert_eq!(*signature, "skip_thought_signature_validator");
    let (_, old) = body(Service::Gemini, "gemini-2.5-pro", &request);
    assert_eq!(old["contents"][1]["parts"][0].get("thoughtSignature"), None);
}

#[test]
fn openai_gets_reasoning_back_while_a_call_waits() {
    let chunk = |delta: Value| format!("data: {}\n\n", json!({"choices": [{"delta": delta}]}));
    let detail = |text: &str| json!([{"type": "reasoning.text", "text": text, "index": 0}]);
    let call = json!([{"index": 0, "id": "c", "function": {"name": "look", "arguments": "{}"}}]);
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n";
    let plain = [
        chunk(json!({"reasoning_content": "Hm."})),
        chunk(json!({"tool_calls": call})),
    ];
    let request = after(stored_message(Service::OpenAi, &(plain.concat() + end)));
    let (_, told) = body(Service::OpenAi, "m", &request);

    assert_eq!(told["messages"][1]["reasoning_content"], "Hm.");
    assert_eq!(told["messages"][1]["content"], Value::Null);

    let detailed = [
        chunk(json!({"reasoning": "H", "reasoning_details": detail("H")})),
        chunk(json!({"reasoning": "m.", "reasoning_details": detail("m.")})),
        chunk(json!({"tool_calls": call})),
    ];
    let request = after(stored_message(Service::OpenAi, &(detailed.concat() + end)));
    let (_, told) = body(Service::OpenAi, "m", &request);

    assert_eq!(told["messages"][1]["reasoning_details"], detail("Hm."));
    let parts = &told["messages"][3]["content"];
    let url = format!("data:image/png;base64,{FOO}");

    assert_eq!(
        parts[1],
        json!({"type": "image_url", "image_url": {"url": url}})
    );

    let result = told["messages"][2]["content"].as_str().unwrap();
    assert!(result.starts_with("Error: fog"), "{result}");
}

/// A conversation with everything that a request may have.
fn full() -> ModelRequest {
    let answer = json!({
        "message": {"thinking": "Hm.", "content": "Looking.", "tool_calls": [
            {"function": {"name": "look", "arguments": {"at": "sea"}}},
        ]},
        "done": true,
        "done_reason": "stop",
    });

    let mut request = after(stored_message(Service::Ollama, &format!("{answer}\n")));
    request.system = Some("Be brief.".to_owned());
    request.output_schema = Some(r#"{"type":"object"}"#.to_owned());
    request.max_output_tokens = Some(50);
    request.temperature = Some(0.7);
    request.stop = vec!["END".to_owned()];

    for (name, value) in [
        ("seed", "7"),
        ("keep_alive", "60"),
        ("options", r#"{"top_k":5}"#),
    ] {
        request.extra.insert(name.to_owned(), value.to_owned());
    }

    let effort = ("reasoning_effort".to_owned(), "high".to_owned());
    request.extra.extend([effort]);
    request.tools = ["look", "go"].map(tool).into();

    request
}

#[test]
fn ollama_requests_have_its_own_format() {
    let request = full();
    let names = Names::of(&request);
    let own = Target {
        window: Some(8192),
        ..target(Service::Ollama, "m")
    };
    let encoded = encode(own, &names, &request).unwrap();

    assert_eq!(encoded.path.join("/"), "api/chat");
    let body = encoded.body;
    assert_eq!(
        (&body["truncate"], &body["shift"]),
        (&json!(false), &json!(false))
    );

    assert_eq!(
        (&body["think"], &body["keep_alive"]),
        (&json!("high"), &json!(60))
    );

    assert_eq!(body["format"], json!({"type": "object"}));
    let options = json!({
        "num_predict": 50, "temperature": 0.7, "stop": ["END"], "num_ctx": 8192, "seed": 7,
        "top_k": 5,
    });
    assert_eq!(body["options"], options);

    let messages = body["messages"].as_array().unwrap();
    assert_eq!(
        messages[0],
        json!({"role": "system", "content": "Be brief."})
    );

    assert_eq!(messages[2]["thinking"], "Hm.");
    assert_eq!(
        messages[2]["tool_calls"][0]["function"]["arguments"],
        json!({"at": "sea"})
    );

    assert_eq!(messages[3]["tool_name"], "look");
    assert_eq!(messages[4]["images"], json!([FOO]));
}

#[test]
fn ollama_gets_only_the_tools_that_it_may_choose() {
    let mut request = full();
    let names = Names::of(&request);
    let own = target(Service::Ollama, "m");

    for (choice, expected) in [("required", 2), ("look", 1), ("auto", 2)] {
        request.tool_choice = Some(choice.into());
        let body = encode(own, &names, &request).unwrap().body;
        assert_eq!(
            body["tools"].as_array().unwrap().len(),
            expected,
            "{choice}"
        );
    }

    request.tool_choice = Some(ToolChoice::None);
    assert_eq!(
        encode(own, &names, &request).unwrap().body.get("tools"),
        None
    );
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        parameters: String::new(),
    }
}

#[test]
fn effort_is_encoded_for_each_service() {
    let think = |service, model: &str, effort: &str| {
        let mut request = ModelRequest::default();
        let effort = effort.to_owned();
        request.extra.insert("reasoning_effort".to_owned(), effort);
        body(service, model, &request).1
    };
    let openai = think(Service::OpenAi, "gpt-5", "high");
    assert_eq!(openai["reasoning_effort"], "high");

    let old = think(Service::Anthropic, "claude-sonnet-4-5", "medium");
    assert_eq!(
        old["thinking"],
        json!({"type": "enabled", "budget_tokens": 8000})
    );

    let new = think(Service::Anthropic, "claude-opus-5", "medium");
    assert_eq!(new["output_config"], json!({"effort": "medium"}));

    let gemini = |model: &str| think(Service::Gemini, model, "low")["generationConfig"].take();
    let (new, old) = (gemini("gemini-3-pro"), gemini("gemini-2.5-flash"));
    assert_eq!(new["thinkingConfig"]["thinkingLevel"], "low");
    assert_eq!(old["thinkingConfig"]["thinkingBudget"], 1024);

    let ollama = think(Service::Ollama, "m", "none");
    assert_eq!(ollama["think"], false);
}

#[test]
fn newer_openai_models_have_another_name_for_the_token_limit() {
    for (model, key) in [
        ("gpt-5-mini", "max_completion_tokens"),
        ("o3", "max_completion_tokens"),
        ("openai/o4-mini", "max_completion_tokens"),
        ("gpt-4.1", "max_tokens"),
        ("gpt-oss:20b", "max_tokens"),
        ("olmo-2", "max_tokens"),
        ("qwen3", "max_tokens"),
    ] {
        let request = ModelRequest {
            max_output_tokens: Some(5),
            ..ModelRequest::default()
        };
        let (_, body) = body(Service::OpenAi, model, &request);
        assert_eq!(body[key], 5, "{model}: {body}");
    }
}

#[test]
fn reserved_settings_are_refused() {
    for (name, text) in [("model", "\"x\""), ("stream", "false"), ("seed", "seven")] {
        let mut request = ModelRequest::default();
        request.extra.insert(name.to_owned(), text.to_owned());
        for service in Service::ALL {
            let encoded = encode(target(service, "m"), &Names::of(&request), &request);
            let error = encoded.err().unwrap();
            assert_eq!(error.kind, ModelErrorKind::Rejected, "{name}");
        }
    }
}
