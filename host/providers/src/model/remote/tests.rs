//! Tests the services against a server on loopback: their requests, and the events of whole and
//! broken responses.

use super::Remote;
use super::loopback::{Loopback, cut_short, ok, sse, status, without_end};
use crate::model::config::ServiceConfig;
use crate::model::endpoint::{Endpoint, Service};
use crate::model::guard::{Guard, GuardLimits};
use crate::model::testing::{ask, context, drain, message, request};
use crate::model::{
    ModelError, ModelErrorKind, ModelEvent, ModelProvider, ModelRequest, ToolChoice, ToolSpec,
};
use lastword_os::clock::SystemClock;
use lastword_types::session::{Content, Part, PartBody, Role, ToolCall, ToolResult, Usage};
use serde_json::json;
use std::sync::Arc;

const KEY: &str = "sk-secret-0123456789";

const HELLO: [&str; 5] = [
    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#,
];

fn hello() -> String {
    ok(&sse(HELLO.into_iter().chain(["[DONE]"])))
}

pub(super) fn remote(service: Service, url: &str) -> Remote {
    let table = ServiceConfig {
        base_url: Some(url.to_owned()),
        api_key_env: Some("SOME_KEY".to_owned()),
        ..ServiceConfig::default()
    };
    let endpoint = Endpoint::new(service, &table, &|_| Some(KEY.to_owned()));
    Remote::new(endpoint.unwrap())
}

/// Sends a request to a server with this response; returns the events, and the error that ended
/// them.
async fn answer_of(service: Service, answer: String) -> (Vec<ModelEvent>, Option<ModelError>) {
    let server = Loopback::serve([answer]).await;
    match ask(&remote(service, &server.url), "hi").await {
        Ok(stream) => drain(stream).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}

async fn failure_of(answer: String) -> ModelError {
    let (events, error) = answer_of(Service::OpenAi, answer).await;
    error.unwrap_or_else(|| panic!("expected a failure, got {events:?}"))
}

fn spoken(events: &[ModelEvent]) -> Vec<ModelEvent> {
    let silent = |event: &&ModelEvent| matches!(event, ModelEvent::Text(text) if text.is_empty());
    events
        .iter()
        .filter(|event| !silent(event))
        .cloned()
        .collect()
}

fn text(text: &str) -> ModelEvent {
    ModelEvent::Text(text.to_owned())
}

fn finish(reason: &str) -> ModelEvent {
    ModelEvent::Finish(reason.into())
}

fn usage(input_tokens: u64, output_tokens: u64) -> ModelEvent {
    ModelEvent::Usage(Usage {
        input_tokens,
        output_tokens,
        ..Usage::default()
    })
}

pub(super) fn only_call(events: &[ModelEvent]) -> (Part, ToolCall) {
    let parts = events.iter().filter_map(|event| match event {
        ModelEvent::Part(part) => Some(part.clone()),
        _ => None,
    });
    let parts: Vec<Part> = parts.collect();
    let [part] = parts.as_slice() else {
        panic!("expected one part, got {events:?}");
    };
    let PartBody::ToolCall(call) = &part.body else {
        panic!("expected a call, got {part:?}");
    };

    (part.clone(), call.clone())
}

#[tokio::test]
async fn openai_answers() {
    for service in [Service::OpenAi, Service::Ollama] {
        let server = Loopback::serve([hello()]).await;
        // The path selects `OpenAI`'s format for Ollama.
        let url = format!("{}/v1", server.url);
        let stream = ask(&remote(service, &url), "hi").await.unwrap();
        let (events, error) = drain(stream).await;

        assert_eq!(error, None);
        let expected = [text("Hel"), text("lo"), usage(7, 2), finish("end_turn")];
        assert_eq!(spoken(&events), expected);

        let asked = &server.asked()[0];
        assert!(
            asked.head.starts_with("post /v1/chat/completions "),
            "{}",
            asked.head
        );

        assert!(asked.head.contains(&format!("authorization: bearer {KEY}")));

        let expected = json!({
            "model": "m",
            "stream": true,
            "messages": [{"role": "user", "content": "hi"}],
            "stream_options": {"include_usage": true},
        });
        assert_eq!(asked.body, expected);
    }
}

#[tokio::test]
async fn a_whole_request_reaches_the_wire() {
    let server = Loopback::serve([hello()]).await;

    let call = PartBody::ToolCall(ToolCall {
        id: "call_a".to_owned(),
        name: "look".to_owned(),
        input: r#"{"at":"sea"}"#.to_owned(),
        finished: true,
        started: true,
    });

    let result = PartBody::ToolResult(ToolResult {
        call_id: "call_a".to_owned(),
        name: "look".to_owned(),
        content: vec![Content::Text {
            text: "fog".to_owned(),
        }],
        structured: None,
        metadata: None,
        is_error: true,
    });

    let request = ModelRequest {
        model: Some("qwen3-max".to_owned()),
        system: Some("Be brief.".to_owned()),
        messages: vec![
            message(Role::User, [Part::text("look")]),
            message(Role::Assistant, [Part::text("Looking."), call.into()]),
            message(Role::Tool, [result.into()]),
        ],
        blobs: Default::default(),
        tools: vec![ToolSpec {
            name: "look".to_owned(),
            description: "Looks.".to_owned(),
            parameters: r#"{"type":"object"}"#.to_owned(),
        }],
        tool_choice: Some(ToolChoice::Required),
        output_schema: Some(r#"{"type":"object","properties":{}}"#.to_owned()),
        stop: vec!["END".to_owned()],
        max_output_tokens: Some(50),
        temperature: Some(0.7),
        extra: [("seed".to_owned(), "7".to_owned())].into(),
    };

    let remote = remote(Service::OpenAi, &server.url);
    let stream = remote.complete(context(), request).await.unwrap();
    assert_eq!(drain(stream).await.1, None);

    let body = &server.asked()[0].body;
    assert_eq!(body["model"], "qwen3-max");
    assert_eq!(body.get("reasoning_effort"), None);
    assert_eq!(body["temperature"], 0.7);
    assert_eq!(body["max_tokens"], 50);
    assert_eq!(body["stop"], json!(["END"]));
    assert_eq!(body["seed"], 7);
    assert_eq!(body["tool_choice"], "required");
    assert_eq!(body["response_format"]["type"], "json_schema");
    assert_eq!(body["tools"][0]["function"]["name"], "look");

    let messages = body["messages"].as_array().unwrap();
    assert_eq!(
        messages[0],
        json!({"role": "system", "content": "Be brief."})
    );

    assert_eq!(messages[2]["content"], "Looking.");
    let arguments = &messages[2]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(arguments, r#"{"at":"sea"}"#);

    let result = json!({"role": "tool", "content": "Error: fog", "tool_call_id": "call_a"});
    assert_eq!(messages[3], result);
}

#[tokio::test]
async fn an_invalid_request_is_not_sent() {
    let server = Loopback::serve([hello()]).await;
    let remote = remote(Service::OpenAi, &server.url);

    for (name, text, expected) in [
        ("model", "\"other\"", "cannot be set"),
        ("seed", "seven", "not JSON"),
        ("reasoning_effort", "\"huge\"", "no reasoning_effort"),
    ] {
        let mut request = request("hi");
        request.extra.insert(name.to_owned(), text.to_owned());
        let error = remote.complete(context(), request).await.err().unwrap();
        assert_eq!(error.kind, ModelErrorKind::Rejected);
        assert!(error.message.contains(expected), "{error}");
    }

    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_call_in_fragments_comes_whole() {
    let (events, error) = answer_of(
        Service::OpenAi,
        ok(&sse([
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_x","function":{"name":"look","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"at\":"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"sea\"}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ])),
    )
    .await;

    assert_eq!(error, None);
    let (_, call) = only_call(&events);
    let known = (call.id.as_str(), call.name.as_str(), call.input.as_str());

    assert_eq!(known, ("call_x", "look", r#"{"at":"sea"}"#));
    assert!(call.finished && !call.started);
    assert_eq!(events.last(), Some(&finish("tool_use")));
}

#[tokio::test]
async fn a_call_without_an_id_gets_one_and_garbled_arguments_stay_as_they_are() {
    let (events, _) = answer_of(
        Service::OpenAi,
        ok(&sse([
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"{\"at\""}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            "[DONE]",
        ])),
    )
    .await;

    let (_, call) = only_call(&events);
    assert!(call.id.len() > 20, "{}", call.id);
    assert_eq!((call.input.as_str(), call.finished), (r#"{"at""#, false));
    assert_eq!(events.last(), Some(&finish("max_tokens")));
}

/// Thoughts, a text, a ping and a call, as Anthropic sends them.
fn anthropic_turn() -> String {
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
    let body = [
        event(
            "message_start",
            r#"{"message":{"usage":{"input_tokens":10,"output_tokens":1}}}"#,
        ),
        event(
            "content_block_start",
            r#"{"content_block":{"type":"thinking","thinking":""}}"#,
        ),
        event(
            "content_block_delta",
            r#"{"delta":{"type":"thinking_delta","thinking":"Hm."}}"#,
        ),
        event(
            "content_block_delta",
            r#"{"delta":{"type":"signature_delta","signature":"SIG"}}"#,
        ),
        event("content_block_stop", "{}"),
        event(
            "content_block_start",
            r#"{"content_block":{"type":"text","text":""}}"#,
        ),
        event(
            "content_block_delta",
            r#"{"delta":{"type":"text_delta","text":"Looking."}}"#,
        ),
        event("content_block_stop", "{}"),
        event("ping", "{}"),
        event(
            "content_block_start",
            r#"{"content_block":{"type":"tool_use","id":"toolu_1","name":"look"}}"#,
        ),
        event(
            "content_block_delta",
            r#"{"delta":{"partial_json":"{\"at\":"}}"#,
        ),
        event(
            "content_block_delta",
            r#"{"delta":{"partial_json":"\"sea\"}"}}"#,
        ),
        event("content_block_stop", "{}"),
        event(
            "message_delta",
            r#"{"delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":20}}"#,
        ),
        event("message_stop", "{}"),
    ];
    ok(&body.concat())
}

#[tokio::test]
async fn anthropic_answers_and_gets_its_thoughts_back() {
    let server = Loopback::serve([anthropic_turn()]).await;
    let remote = remote(Service::Anthropic, &server.url);
    let (events, error) = drain(ask(&remote, "look").await.unwrap()).await;

    assert_eq!(error, None);
    let (part, call) = only_call(&events);
    assert_eq!(
        (call.id.as_str(), call.input.as_str()),
        ("toolu_1", r#"{"at":"sea"}"#)
    );

    let spoken = spoken(&events);
    assert_eq!(
        spoken[..2],
        [ModelEvent::Reasoning("Hm.".to_owned()), text("Looking.")]
    );

    assert_eq!(spoken[3..], [usage(10, 20), finish("tool_use")]);

    let mut request = request("look");
    request
        .messages
        .push(message(Role::Assistant, [Part::text("Looking."), part]));
    drain(remote.complete(context(), request).await.unwrap()).await;

    let asked = &server.asked()[1];
    assert!(
        asked.head.starts_with("post /v1/messages "),
        "{}",
        asked.head
    );

    assert!(asked.head.contains(&format!("x-api-key: {KEY}")));
    let content = &asked.body["messages"][1]["content"];
    let thinking = json!({"type": "thinking", "thinking": "Hm.", "signature": "SIG"});

    assert_eq!(content[0], thinking);
    assert_eq!(content[1], json!({"type": "text", "text": "Looking."}));
    assert_eq!(content[2]["input"], json!({"at": "sea"}));
}

#[tokio::test]
async fn gemini_answers_and_its_silent_end_is_truncated() {
    let part = r#"{"candidates":[{"content":{"parts":[{"text":"Hello"}]}}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}"#;
    let end = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{"at":"sea"}},"thoughtSignature":"SIG"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}"#;
    let server = Loopback::serve([ok(&sse([part, end]))]).await;
    let remote = remote(Service::Gemini, &server.url);
    let (events, error) = drain(ask(&remote, "hi").await.unwrap()).await;

    assert_eq!(error, None);
    let (sent, call) = only_call(&events);
    assert!(!call.id.contains('#'), "{}", call.id);

    let spoken = spoken(&events);
    assert_eq!(spoken[0], text("Hello"));
    assert_eq!(spoken[2..], [usage(3, 2), finish("tool_use")]);

    let mut request = request("look");
    request.messages.push(message(Role::Assistant, [sent]));
    drain(remote.complete(context(), request).await.unwrap()).await;

    let asked = &server.asked()[1];
    assert!(
        asked
            .head
            .contains("/v1beta/models/m:streamgeneratecontent?alt=sse")
    );

    let back = &asked.body["contents"][1]["parts"][0];
    assert_eq!(back["thoughtSignature"], "SIG");

    let (events, error) = answer_of(Service::Gemini, ok(&sse([part]))).await;
    assert_eq!(error.unwrap().kind, ModelErrorKind::Truncated);

    assert!(
        !events
            .iter()
            .any(|event| matches!(event, ModelEvent::Finish(_)))
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_truncated() {
    let half = sse(HELLO.into_iter().take(3));
    let mut cut_event = half.clone();
    cut_event.push_str("data: {\"choices\":[{\"delta\":{\"cont");

    let no_reason = sse(HELLO.into_iter().take(3).chain(["[DONE]"]));
    for body in [ok(&half), ok(&cut_event), ok(&no_reason), cut_short(&half)] {
        let (events, error) = answer_of(Service::OpenAi, body.clone()).await;
        let error = error.unwrap_or_else(|| panic!("{body} passed for whole"));
        assert_eq!(error.kind, ModelErrorKind::Truncated, "{body}: {error}");
        assert_eq!(spoken(&events)[..2], [text("Hel"), text("lo")]);
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, ModelEvent::Finish(_)))
        );
    }
}

#[tokio::test]
async fn a_response_with_a_finish_reason_is_whole_however_it_ends() {
    let no_done = sse(HELLO);
    for answer in [ok(&no_done), cut_short(&no_done), without_end(&no_done)] {
        let (events, error) = answer_of(Service::OpenAi, answer).await;
        assert_eq!(error, None);
        let expected = [text("Hel"), text("lo"), usage(7, 2), finish("end_turn")];
        assert_eq!(spoken(&events), expected);
    }
}

#[tokio::test]
async fn statuses_are_explained() {
    let error_body = format!(r#"{{"error":{{"message":"Bad key {KEY} or sk-secr***89."}}}}"#);

    for (code, kind, expected) in [
        (401, ModelErrorKind::Unauthorized, "check SOME_KEY"),
        (403, ModelErrorKind::Unauthorized, "check SOME_KEY"),
        (404, ModelErrorKind::UnknownModel, "the model `m`"),
        (
            400,
            ModelErrorKind::Rejected,
            "refused the request (400): Bad",
        ),
        (422, ModelErrorKind::Rejected, "(422)"),
        (302, ModelErrorKind::Rejected, "redirects"),
        (500, ModelErrorKind::Unavailable, "cannot answer now (500)"),
        (529, ModelErrorKind::Unavailable, "(529)"),
    ] {
        let error = failure_of(status(code, "location: /x\r\n", &error_body)).await;
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.message.contains(expected), "{error}");
        assert!(!error.message.contains("sk-secr"), "{error}");
    }

    let error = failure_of(status(429, "retry-after: 7\r\n", "{}")).await;
    assert_eq!(error.kind, ModelErrorKind::RateLimited);
    assert_eq!(error.retry_after.unwrap().as_secs(), 7);
}

#[tokio::test]
async fn garbage_is_garbled() {
    for body in ["data: <html>\n\n", "<html>It works!</html>", ""] {
        let error = failure_of(ok(body)).await;
        assert_eq!(error.kind, ModelErrorKind::Garbled, "{body}: {error}");
    }
}

#[tokio::test]
async fn an_error_in_the_stream_is_told_apart() {
    for (body, kind) in [
        (
            r#"{"error":{"message":"x","type":"server_error"}}"#,
            ModelErrorKind::Unavailable,
        ),
        (
            r#"{"error":{"message":"x","type":"overloaded_error"}}"#,
            ModelErrorKind::Unavailable,
        ),
        (
            r#"{"error":{"message":"x","code":"rate_limit"}}"#,
            ModelErrorKind::RateLimited,
        ),
        (
            r#"{"error":{"message":"x","code":400}}"#,
            ModelErrorKind::Rejected,
        ),
    ] {
        let error = failure_of(ok(&sse([body]))).await;
        assert_eq!(error.kind, kind, "{body}");
        assert!(error.message.ends_with("gave up: x"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_unavailable() {
    // Bound and closed again, so that no server listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);

    let error = ask(&remote(Service::OpenAi, &url), "hi")
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, ModelErrorKind::Unavailable);

    let expected = format!("cannot reach {url}/v1/: ");
    assert!(error.message.starts_with(&expected), "{error}");
    assert!(
        error.message.ends_with("is the model server running?"),
        "{error}"
    );
}

#[tokio::test]
async fn a_transient_limit_is_waited_for() {
    let limited = status(429, "retry-after-ms: 1\r\n", "{}");
    let server = Loopback::serve([limited, hello()]).await;
    let remote = Arc::new(remote(Service::OpenAi, &server.url));
    let guard = Guard::new(remote, SystemClock::shared(), GuardLimits::default());
    let (events, error) = drain(ask(&guard, "hi").await.unwrap()).await;

    assert_eq!(error, None);
    let expected = [text("Hel"), text("lo"), usage(7, 2), finish("end_turn")];
    assert!(matches!(&events[0], ModelEvent::Retrying(told) if told.attempt == 1));
    assert_eq!(events[1..], expected);
    assert_eq!(server.asked().len(), 2);
}
