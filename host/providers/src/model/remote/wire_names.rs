//! Tests tool names in the requests to every service, against a server on loopback.

use super::loopback::{Loopback, ok, sse};
use super::tests::{only_call, remote};
use crate::model::endpoint::Service;
use crate::model::testing::{context, drain, message, request};
use crate::model::{ModelProvider, ModelRequest, ToolSpec};
use lastword_types::session::{Content, Part, PartBody, Role, ToolCall, ToolResult};
use serde_json::{Value, json};

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: String::new(),
        parameters: String::new(),
    }
}

/// A request whose history has a call of `files.read` and its result.
fn with_tools() -> ModelRequest {
    let call = PartBody::ToolCall(ToolCall {
        id: "call_a".to_owned(),
        name: "files.read".to_owned(),
        input: "{}".to_owned(),
        finished: true,
        started: true,
    });

    let result = PartBody::ToolResult(ToolResult {
        call_id: "call_a".to_owned(),
        name: "files.read".to_owned(),
        content: vec![Content::Text {
            text: "fog".to_owned(),
        }],
        structured: None,
        metadata: None,
        is_error: false,
    });

    let mut request = request("look");
    let history: [(Role, Part); 2] = [(Role::Assistant, call.into()), (Role::Tool, result.into())];
    let history = history.map(|(role, part)| message(role, [part]));

    request.messages.extend(history);
    request.tools = ["files.read", "look", &"x.".repeat(64)].map(tool).into();
    request.tool_choice = Some("files.read".into());

    request
}

fn names(tools: &Value, at: &str) -> Vec<String> {
    let tools = tools.as_array().unwrap().iter();
    let names = tools.map(|tool| tool.pointer(at).unwrap().as_str().unwrap().to_owned());
    names.collect()
}

fn fit(names: &[String]) {
    assert_eq!(names[..2], ["files__read", "look"]);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for name in names {
        assert!(name.len() <= 64 && name.chars().all(fits), "{name}");
    }
}

#[tokio::test]
async fn openai_gets_valid_names_and_ours_are_restored() {
    let called = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"files__read","arguments":"{}"}}]}}]}"#;
    let end = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#;
    let server = Loopback::serve([ok(&sse([called, end, "[DONE]"]))]).await;
    let remote = remote(Service::OpenAi, &server.url);
    let stream = remote.complete(context(), with_tools()).await.unwrap();
    let (events, error) = drain(stream).await;

    assert_eq!(error, None);
    assert_eq!(only_call(&events).1.name, "files.read");

    let body = &server.asked()[0].body;
    fit(&names(&body["tools"], "/function/name"));

    let call = &body["messages"][1]["tool_calls"][0]["function"]["name"];
    assert_eq!(call, "files__read");
    assert_eq!(body["tool_choice"]["function"]["name"], "files__read");
}

#[tokio::test]
async fn anthropic_and_gemini_get_valid_names() {
    // The responses do not matter here.
    let server = Loopback::serve([ok("")]).await;

    for service in [Service::Anthropic, Service::Gemini] {
        let remote = remote(service, &server.url);
        let stream = remote.complete(context(), with_tools()).await;
        if let Ok(stream) = stream {
            drain(stream).await;
        }
    }

    let asked = server.asked();
    fit(&names(&asked[0].body["tools"], "/name"));
    assert_eq!(
        asked[0].body["messages"][1]["content"][0]["name"],
        "files__read"
    );

    let body = &asked[1].body;
    fit(&names(&body["tools"][0]["functionDeclarations"], "/name"));

    let sent = json!([
        body["contents"][1]["parts"][0]["functionCall"]["name"],
        body["contents"][2]["parts"][0]["functionResponse"]["name"],
    ]);
    assert_eq!(sent, json!(["files__read", "files__read"]));
}
