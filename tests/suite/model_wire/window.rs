//! Conversations longer than a model's window, on each wire: where the service tells the size,
//! where a setting has it, and where only the service's refusal shows that there is one. The
//! summary comes, every prompt is answered, and nothing of the stored history is lost.

use super::service::{Answer, Asked, Service, model};
use lastword::event::EventBody;
use lastword::model::{ContextTokens, ServiceConfig};
use lastword::session::Role;
use lastword::{Capability, RunState};
use lastword_tests::fixture::{Fixture, Plan};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tokens of the model's window.
const WINDOW: u32 = 4_000;
/// Prompts of the conversation: together several windows.
const PROMPTS: usize = 12;

/// How the host gets to know the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Told,
    Set,
    Refused,
}

/// What the service counts of a request, four bytes a token.
fn tokens(asked: &Asked) -> u32 {
    let messages = asked
        .body
        .get("messages")
        .or_else(|| asked.body.get("contents"));
    let bytes = messages.map_or(0, |messages| messages.to_string().len());
    u32::try_from(bytes / 4).expect("a size")
}

/// An answer on a wire, which counts.
fn answer(wire: &str, text: &str, read: u32) -> Answer {
    let sse = |documents: &[Value]| {
        let events = documents
            .iter()
            .map(|document| format!("data: {document}\n\n"));
        Answer::ok("text/event-stream", events.collect::<String>())
    };
    match wire {
        "openai" => sse(&[
            json!({"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": 50}}),
        ]),
        "anthropic" => sse(&[
            json!({"type": "message_start", "message": {"usage": {"input_tokens": read}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": text}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 50}}),
            json!({"type": "message_stop"}),
        ]),
        "gemini" => sse(&[json!({
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": read, "candidatesTokenCount": 50},
        })]),
        _ => {
            let line = json!({
                "message": {"content": text}, "done": true, "done_reason": "stop",
                "prompt_eval_count": read, "eval_count": 50,
            });
            Answer::ok("application/x-ndjson", format!("{line}\n"))
        }
    }
}

/// The refusal of a request that does not fit, in a service's own words.
fn refusal(wire: &str, read: u32) -> Answer {
    let (status, body) = match wire {
        "openai" => (
            400,
            json!({"error": {
                "code": "context_length_exceeded",
                "message": format!("This model's maximum context length is {WINDOW} tokens. However, your messages resulted in {read} tokens."),
            }}),
        ),
        "anthropic" => (
            400,
            json!({"type": "error", "error": {
                "type": "invalid_request_error",
                "message": format!("prompt is too long: {read} tokens > {WINDOW} maximum"),
            }}),
        ),
        "gemini" => (
            400,
            json!({"error": {
                "code": 400, "status": "INVALID_ARGUMENT",
                "message": format!("The input token count ({read}) exceeds the maximum number of tokens allowed ({WINDOW})."),
            }}),
        ),
        // It does not say how long it is.
        _ => (
            400,
            json!({"error": "the input length exceeds the context length"}),
        ),
    };
    Answer::refusal(status, &body)
}

/// What a service says of its models.
fn told(wire: &str, asked: &Asked) -> Answer {
    let body = match (wire, asked.line.as_str()) {
        ("openai", "GET /v1/models") => json!({"data": [{"id": "m", "max_model_len": WINDOW}]}),
        ("anthropic", "GET /v1/models/m") => json!({"id": "m", "max_input_tokens": WINDOW}),
        ("gemini", "GET /v1beta/models/m") => json!({"inputTokenLimit": WINDOW}),
        ("ollama", "GET /api/ps") => json!({"models": [{"name": "m", "context_length": WINDOW}]}),
        _ => return Answer::refusal(404, &json!({"error": "no such page"})),
    };
    Answer::refusal(200, &body)
}

async fn fixture(
    wire: &'static str,
    source: Source,
    refused: Arc<AtomicUsize>,
) -> (Fixture, Service) {
    let respond = move |asked: &Asked| {
        if !asked.is_for_completion() {
            return match source {
                Source::Told => told(wire, asked),
                Source::Set | Source::Refused => Answer::refusal(404, &json!({"error": "no"})),
            };
        }
        let read = tokens(asked);
        if read > WINDOW {
            refused.fetch_add(1, Ordering::SeqCst);
            return refusal(wire, read);
        }
        let text = format!("An answer. {}", "It goes on. ".repeat(30));
        answer(wire, &text, read)
    };
    let service = Service::serve(respond, ()).await;
    let size = NonZeroU32::new(WINDOW).map(ContextTokens::All);
    let table = ServiceConfig {
        context_tokens: size.filter(|_| source == Source::Set),
        ..ServiceConfig::default()
    };
    let models = model(wire, &service.url, table);
    let plan = Plan::new().agent("workbench");
    let plan = plan.grants([Capability::ReadFiles, Capability::Model]);
    (plan.host(|host| host.model(models)).build().await, service)
}

async fn converse(wire: &'static str, source: Source) {
    let refused = Arc::new(AtomicUsize::new(0));
    let (fixture, service) = fixture(wire, source, Arc::clone(&refused)).await;
    let mut summaries = 0;
    let prompt = |number: usize| format!("Prompt {number}: {}", "say a word more. ".repeat(120));
    for number in 0..PROMPTS {
        let outcome = fixture.run(&prompt(number)).await;
        let receipt = &outcome.receipt;
        assert_eq!(
            receipt.state,
            RunState::Completed,
            "{wire} {source:?} {number}: {receipt:?}"
        );
        assert!(
            outcome.streamed().starts_with("An answer."),
            "{wire} {source:?} {number}"
        );
        let summary = |event: &&lastword::event::Event| {
            matches!(event.body, EventBody::HistorySummarised { .. })
        };
        summaries += outcome.events.iter().filter(summary).count();
    }
    let refused = refused.load(Ordering::SeqCst);
    assert!(
        summaries > 0,
        "{wire} {source:?}: no summary came, {refused} were refused"
    );
    match source {
        Source::Told | Source::Set => assert_eq!(refused, 0, "{wire} {source:?}"),
        Source::Refused => assert!(refused > 0, "{wire}"),
    }
    let history = fixture
        .session
        .messages()
        .await
        .expect("the history is read");
    let prompts = history.iter().filter(|message| message.role == Role::User);
    let prompts: Vec<String> = prompts.map(lastword::session::Message::text).collect();
    assert_eq!(
        prompts,
        (0..PROMPTS).map(prompt).collect::<Vec<_>>(),
        "{wire} {source:?}"
    );
    let answers = history
        .iter()
        .filter(|message| message.role == Role::Assistant);
    assert_eq!(answers.count(), PROMPTS, "{wire} {source:?}");
    // What was asked last fits, and begins with what the summary says.
    let asked = service.completions();
    let last = asked.last().expect("it was asked");
    let shown = last.body.to_string();
    assert!(tokens(last) <= WINDOW && shown.contains("Summary of the conversation"));
    assert!(!shown.contains("Prompt 0:") && shown.contains(&format!("Prompt {}:", PROMPTS - 1)));
}

#[tokio::test]
async fn a_size_that_the_service_tells_brings_the_summary_in_time() {
    for wire in ["openai", "anthropic", "gemini", "ollama"] {
        converse(wire, Source::Told).await;
    }
}

#[tokio::test]
async fn a_size_that_is_set_brings_the_summary_in_time() {
    for wire in ["openai", "anthropic", "gemini", "ollama"] {
        converse(wire, Source::Set).await;
    }
}

#[tokio::test]
async fn a_refusal_brings_the_summary_and_the_prompt_is_answered() {
    for wire in ["openai", "anthropic", "gemini", "ollama"] {
        converse(wire, Source::Refused).await;
    }
}
