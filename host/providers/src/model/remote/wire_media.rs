//! Tests images and files in the requests to every service, against a server on loopback.

use super::loopback::{Loopback, ok};
use super::tests::remote;
use crate::model::endpoint::Service;
use crate::model::testing::{context, drain, message, request};
use crate::model::{ModelProvider, ModelRequest};
use lastword_types::session::{BlobId, Content, PartBody, Role, ToolCall, ToolResult};
use serde_json::{Value, json};
use std::sync::Arc;

/// `image/png` bytes whose base64 is easily known.
const BYTES: &[u8] = b"foobar";
const BASE64: &str = "Zm9vYmFy";

fn data(media_type: &str) -> PartBody {
    PartBody::Data {
        media_type: media_type.to_owned(),
        name: None,
        blob: BlobId("b".to_owned()),
        bytes: 6,
    }
}

/// A user's message with data of these types.
fn with(types: &[&str]) -> ModelRequest {
    let mut request = request("look");
    let parts = types.iter().map(|media_type| data(media_type).into());
    request.messages[0].parts.extend(parts);
    request.blobs = [(BlobId("b".to_owned()), Arc::from(BYTES))].into();
    request
}

/// Two results of one step, the first of them an image.
fn with_results() -> ModelRequest {
    let call = |id: &str| {
        let call = PartBody::ToolCall(ToolCall {
            id: id.to_owned(),
            name: "shot".to_owned(),
            input: "{}".to_owned(),
            finished: true,
            started: true,
        });
        call.into()
    };

    let result = |id: &str, content: Content| {
        let result = PartBody::ToolResult(ToolResult {
            call_id: id.to_owned(),
            name: "shot".to_owned(),
            content: vec![content],
            structured: None,
            metadata: None,
            is_error: false,
        });
        message(Role::Tool, [result.into()])
    };

    let image = Content::Data {
        media_type: "image/png".to_owned(),
        name: Some("a.png".to_owned()),
        blob: BlobId("b".to_owned()),
        bytes: 6,
    };

    let text = Content::Text {
        text: "fog".to_owned(),
    };
    let mut request = with(&[]);

    request.messages.extend([
        message(Role::Assistant, [call("c1"), call("c2")]),
        result("c1", image),
        result("c2", text),
    ]);

    request
}

/// The body of the request to a service.
async fn body(service: Service, request: ModelRequest) -> Value {
    // The response does not matter here.
    let server = Loopback::serve([ok("")]).await;
    let remote = remote(service, &server.url);
    if let Ok(stream) = remote.complete(context(), request).await {
        drain(stream).await;
    }
    server.asked()[0].body.clone()
}

#[tokio::test]
async fn openai_gets_images_and_files() {
    let types = ["image/png", "application/pdf", "application/zip"];
    let body = body(Service::OpenAi, with(&types)).await;
    let url = |media_type: &str| format!("data:{media_type};base64,{BASE64}");

    let expected = json!([
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": url("image/png")}},
        {"type": "file", "file": {"filename": "file.pdf", "file_data": url("application/pdf")}},
        {"type": "text", "text": "[file unnamed: application/zip, 6 bytes, not shown]"},
    ]);
    assert_eq!(body["messages"][0]["content"], expected);
}

#[tokio::test]
async fn ollama_gets_only_images() {
    let body = body(Service::Ollama, with(&["image/jpeg", "application/pdf"])).await;
    let message = &body["messages"][0];
    assert_eq!(message["images"], json!([BASE64]));
    let line = "look\n\n[file unnamed: application/pdf, 6 bytes, not shown]";
    assert_eq!(message["content"], line);
}

#[tokio::test]
async fn anthropic_gets_images_and_documents() {
    let body = body(
        Service::Anthropic,
        with(&["image/png", "application/pdf", "image/svg+xml"]),
    )
    .await;

    let source =
        |media_type: &str| json!({"type": "base64", "media_type": media_type, "data": BASE64});
    let content = &body["messages"][0]["content"];
    let image = json!({"type": "image", "source": source("image/png")});

    assert_eq!(content[1], image);
    let document = json!({"type": "document", "source": source("application/pdf")});
    assert_eq!(content[2], document);
    assert_eq!(content[3]["type"], "text");
}

#[tokio::test]
async fn gemini_gets_images_and_documents() {
    let types = ["image/png", "application/pdf", "image/gif"];
    let body = body(Service::Gemini, with(&types)).await;
    let parts = &body["contents"][0]["parts"];

    for (place, media_type) in types[..2].iter().enumerate() {
        let expected = json!({"inline_data": {"mime_type": media_type, "data": BASE64}});
        assert_eq!(parts[place + 1], expected);
    }

    let line = "[file unnamed: image/gif, 6 bytes, not shown]";
    assert_eq!(parts[3], json!({"text": line}));
}

#[tokio::test]
async fn missing_bytes_become_a_line() {
    let mut request = with(&["image/png"]);
    request.blobs.clear();
    let body = body(Service::OpenAi, request).await;
    let text = body["messages"][0]["content"].as_str().unwrap();
    assert!(text.contains("not shown"), "{text}");
}

#[tokio::test]
async fn the_bytes_of_a_result_follow_all_results_of_the_step() {
    let openai = body(Service::OpenAi, with_results()).await;
    let messages = openai["messages"].as_array().unwrap();
    let roles: Vec<_> = messages.iter().map(|m| m["role"].as_str()).collect();
    let expected = ["user", "assistant", "tool", "tool", "user"];

    assert_eq!(roles, expected.map(Some));
    assert_eq!(
        messages[2]["content"],
        "[file a.png: image/png, shown below]"
    );

    assert_eq!(
        messages[4]["content"][0]["text"],
        "[file a.png, from the result of `shot`]"
    );

    assert_eq!(messages[4]["content"][1]["type"], "image_url");

    let anthropic = body(Service::Anthropic, with_results()).await;
    let messages = anthropic["messages"].as_array().unwrap();

    // Anthropic's results can hold bytes themselves.
    let last = &messages.last().unwrap()["content"];
    assert_eq!(
        last[0]["content"][1]["source"]["data"], BASE64,
        "{messages:?}"
    );

    assert_eq!(last[1]["tool_use_id"], "c2");
    let gemini = body(Service::Gemini, with_results()).await;
    let contents = gemini["contents"].as_array().unwrap();
    let last = &contents.last().unwrap()["parts"];

    assert_eq!(last[1]["inline_data"]["data"], BASE64, "{contents:?}");
}
