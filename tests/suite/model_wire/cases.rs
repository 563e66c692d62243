//! The corpus of what services send, each case as the first answer of a run whose agent has a
//! tool loop and the host's own tools: what was sent is in the transcript once, each call is
//! carried out once or never, and the run ends as it must, in the service's own words.

use super::service::{Answer, Asked, Pause, Piece, Service, model};
use lastword::event::EventBody;
use lastword::model::ServiceConfig;
use lastword::session::{Part, PartBody};
use lastword::{Capability, Run};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const CORPUS: &str = include_str!("../../data/model-wire.json");

/// What every later answer says.
const OVER: &str = "That is over.";

/// How much silence the host bears, by its own clock.
const SILENCE: Duration = Duration::from_secs(2);

/// Pauses of a service pass by the host's clock, each once the host has taken what came before
/// and waits again.
#[derive(Clone)]
struct HostsTime(ManualClock);

impl Pause for HostsTime {
    fn begun(&self) -> usize {
        self.0.begun_for(SILENCE)
    }

    async fn pass(&self, length: Duration, begun: usize) {
        self.0.asleep_for(SILENCE, begun).await;
        self.0.advance(length);
    }
}

/// A later answer of a service.
fn over(wire: &str) -> Answer {
    let sse = |documents: &[Value]| {
        let events = documents
            .iter()
            .map(|document| format!("data: {document}\n\n"));
        Answer::ok("text/event-stream", events.collect::<String>())
    };
    match wire {
        "openai" => {
            sse(&[json!({"choices": [{"delta": {"content": OVER}, "finish_reason": "stop"}]})])
        }
        "anthropic" => sse(&[
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": OVER}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            json!({"type": "message_stop"}),
        ]),
        "gemini" => sse(&[
            json!({"candidates": [{"content": {"parts": [{"text": OVER}]}, "finishReason": "STOP"}]}),
        ]),
        _ => {
            let line = json!({"message": {"content": OVER}, "done": true, "done_reason": "stop"});
            Answer::ok("application/x-ndjson", format!("{line}\n"))
        }
    }
}

/// The answer of a case.
fn answer(case: &Value) -> Answer {
    let headers = case.get("headers").and_then(Value::as_object);
    let headers = headers.into_iter().flatten().map(|(name, value)| {
        let value = match value.get("date_in_s").and_then(Value::as_u64) {
            Some(seconds) => {
                httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
            }
            None => value.as_str().expect("a text").to_owned(),
        };
        format!("{name}: {value}")
    });
    let pieces = case["chunks"]
        .as_array()
        .expect("chunks")
        .iter()
        .map(|chunk| {
            match (
                chunk.as_str(),
                chunk["base64"].as_str(),
                chunk["pause_ms"].as_u64(),
            ) {
                (Some(text), ..) => Piece::Bytes(text.as_bytes().to_vec()),
                (_, Some(base64), _) => Piece::Bytes(from_base64(base64)),
                (_, _, Some(millis)) => Piece::Pause(Duration::from_millis(millis)),
                _ => panic!("a chunk is none: {chunk}"),
            }
        });
    Answer {
        status: case["status"].as_u64().map_or(200, |status| status as u16),
        content_type: case["content_type"].as_str().expect("a type").to_owned(),
        headers: headers.collect(),
        pieces: pieces.collect(),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.expect("base64")
}

/// A host whose model is on one wire.
struct Bench {
    wire: &'static str,
    fixture: Fixture,
    service: Service,
    clock: ManualClock,
    case: Arc<Mutex<Value>>,
}

impl Bench {
    async fn new(wire: &'static str) -> Self {
        let case = Arc::new(Mutex::new(Value::Null));
        let now = Arc::clone(&case);
        let respond = move |asked: &Asked| {
            if !asked.is_for_completion() {
                return Answer::refusal(404, &json!({"error": {"message": "no such page"}}));
            }
            let mut case = now.lock().expect("no panic");
            let is_first = case["served"] != json!(true);
            case["served"] = json!(true);
            // What ends the run is the answer to every attempt.
            let repeats = case["expect"]["end"] == "failed";
            if is_first || repeats {
                answer(&case)
            } else {
                over(wire)
            }
        };
        let clock = ManualClock::default();
        let service = Service::serve(respond, HostsTime(clock.clone())).await;
        let table = ServiceConfig {
            first_event_timeout_s: Some(SILENCE.as_secs()),
            idle_timeout_s: Some(SILENCE.as_secs()),
            ..ServiceConfig::default()
        };
        let models = model(wire, &service.url, table);
        let models = models.clock(Arc::new(clock.clone()));
        let grants = [
            Capability::ReadFiles,
            Capability::WriteFiles,
            Capability::Model,
        ];
        let plan = Plan::new().agent("workbench").grants(grants);
        let fixture = plan.host(|host| host.model(models)).build().await;
        for name in ["a.txt", "b.txt"] {
            std::fs::write(fixture.files().join(name), name).expect("a file");
        }
        Self {
            wire,
            fixture,
            service,
            clock,
            case,
        }
    }

    /// Plays a case, and returns what of its expectations came.
    async fn play(&self, case: &Value) -> Value {
        *self.case.lock().expect("no panic") = case.clone();
        let before = self.service.completions().len();
        let session = self
            .fixture
            .workspace
            .new_session(&self.fixture.agent)
            .await;
        let run = session
            .expect("a session")
            .prompt("go")
            .await
            .expect("a run");
        let waits = self.attend(&run).await;
        let receipt = run.ended().await.expect("the run ends");
        let mut events = Vec::new();
        let mut stream = run.events();
        while let Some(event) = stream.next().await {
            events.push(event.expect("the log is read").body);
        }
        let seen = Seen {
            events,
            state: receipt.state.to_string(),
            finish: receipt.finish_reason.to_string(),
            detail: receipt.detail.unwrap_or_default(),
            waits,
            requests: self.service.completions().len() - before,
        };
        seen.of(&case["expect"])
    }

    /// Follows a run to its end and lets the waits of the host pass. Returns them.
    async fn attend(&self, run: &Run) -> Vec<Duration> {
        let mut waits = Vec::new();
        let mut begun: HashMap<u128, usize> = HashMap::new();
        let mut events = run.events();
        while let Some(event) = events.next().await {
            if let EventBody::ModelRetrying { wait_ms, .. } = event.expect("the log").body {
                let wait = Duration::from_millis(wait_ms);
                let count = begun.entry(wait.as_millis()).or_default();
                *count += 1;
                self.clock.asleep_for(wait, *count).await;
                self.clock.advance(wait + Duration::from_millis(1));
                waits.push(wait);
            }
        }
        waits
    }
}

/// What a run showed.
struct Seen {
    events: Vec<EventBody>,
    state: String,
    finish: String,
    detail: String,
    waits: Vec<Duration>,
    requests: usize,
}

impl Seen {
    /// The parts that came whole.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.events.iter().filter_map(|event| match event {
            EventBody::PartAdded { part, .. } => Some(part),
            _ => None,
        })
    }

    /// The calls that were carried out: each with its one result that is no refusal.
    fn calls(&self) -> Vec<Value> {
        let mut calls = Vec::new();
        for part in self.parts() {
            let PartBody::ToolCall(call) = &part.body else {
                continue;
            };
            let results = self.events.iter().filter(|event| match event {
                EventBody::ToolResult { part, .. } => match &part.body {
                    PartBody::ToolResult(result) => result.call_id == call.id && !result.is_error,
                    _ => false,
                },
                _ => false,
            });
            let input: Value = serde_json::from_str(&call.input).unwrap_or(Value::Null);
            calls.extend(results.map(|_| json!([call.name, input])));
        }
        calls
    }

    fn of(&self, expect: &Value) -> Value {
        let mut found = json!({});
        for (key, wanted) in expect.as_object().expect("expectations") {
            found[key] = match key.as_str() {
                "text" | "reasoning" => json!(self.said(key)),
                "calls" => json!(self.calls()),
                "not_called" => {
                    let calls = self.calls();
                    let not = wanted.as_array().expect("names").iter();
                    json!(
                        not.filter(|name| !calls.iter().any(|call| call[0] == **name))
                            .collect::<Vec<_>>()
                    )
                }
                "others" | "data" => json!(
                    self.parts()
                        .filter_map(|part| match (&part.body, key.as_str()) {
                            (PartBody::Other { kind, .. }, "others") => Some(kind.clone()),
                            (PartBody::Data { media_type, .. }, "data") => Some(media_type.clone()),
                            _ => None,
                        })
                        .collect::<Vec<_>>()
                ),
                "usage" | "cached" => self.usage(key),
                "end" => json!(self.state),
                // The run goes on behind calls, and knows no words but those of the contract.
                "finish" if wanted == "tool_use" => json!("tool_use"),
                "finish" if self.finish == "unknown" && wanted == "pause_turn" => wanted.clone(),
                "finish" => json!(self.finish),
                "says" => {
                    let words = wanted.as_str().expect("words");
                    if self.detail.contains(words) {
                        wanted.clone()
                    } else {
                        json!(self.detail)
                    }
                }
                "retried_after_s" => {
                    json!(self.waits.first().map(|wait| wait.as_secs_f64().ceil()))
                }
                "requests" => json!(self.requests),
                other => panic!("nothing is known of `{other}`"),
            };
            if key == "retried_after_s" && found[key].as_f64() == wanted.as_f64() {
                found[key] = wanted.clone();
            }
        }
        found
    }

    /// What the first answer said.
    fn said(&self, key: &str) -> String {
        let pieces = self.events.iter().filter_map(|event| match (event, key) {
            (EventBody::TextDelta { text, .. }, "text") => Some(text.as_str()),
            (EventBody::ReasoningDelta { text, .. }, "reasoning") => Some(text.as_str()),
            _ => None,
        });
        let said: String = pieces.collect();
        // What the agent itself adds stands in a paragraph of its own.
        let own = said.split("\n\n(").next().unwrap_or_default();
        own.trim_end_matches(OVER).to_owned()
    }

    fn usage(&self, key: &str) -> Value {
        let usage = self.events.iter().find_map(|event| match event {
            EventBody::UsageAdded { usage } => Some(*usage),
            _ => None,
        });
        usage.map_or(Value::Null, |usage| match key {
            "usage" => json!([usage.input_tokens, usage.output_tokens]),
            _ => json!([usage.cache_read_tokens, usage.cache_write_tokens]),
        })
    }
}

async fn every_case(wire: &'static str) {
    let bench = Bench::new(wire).await;
    let corpus: Vec<Value> = serde_json::from_str(CORPUS).expect("the corpus is JSON");
    let cases = corpus.iter().filter(|case| case["wire"] == bench.wire);
    let (mut played, mut wrong) = (0, Vec::new());
    for case in cases {
        let found = bench.play(case).await;
        played += 1;
        if found != case["expect"] {
            wrong.push(format!(
                "{}: {found} instead of {}",
                case["name"], case["expect"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {played} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(played >= 9, "{played} cases");
}

#[tokio::test]
async fn what_openais_wire_may_send() {
    every_case("openai").await;
}

#[tokio::test]
async fn what_anthropics_wire_may_send() {
    every_case("anthropic").await;
}

#[tokio::test]
async fn what_geminis_wire_may_send() {
    every_case("gemini").await;
}

#[tokio::test]
async fn what_ollamas_wire_may_send() {
    every_case("ollama").await;
}

/// The control: a case with a wrong value is noticed, whichever it is.
#[tokio::test]
async fn a_wrong_value_is_noticed() {
    let bench = Bench::new("anthropic").await;
    let corpus: Vec<Value> = serde_json::from_str(CORPUS).expect("the corpus is JSON");
    let name = "thinking, a hidden thought and a call";
    let case = corpus
        .iter()
        .find(|case| case["name"] == name)
        .expect("it is there");
    let found = bench.play(case).await;
    assert_eq!(found, case["expect"]);
    for (key, wrong) in [
        ("text", json!("other")),
        ("reasoning", json!("")),
        ("calls", json!([])),
        ("usage", json!([10, 5])),
        ("end", json!("failed")),
        ("says", json!("words that nobody said")),
        ("others", json!(["x"])),
    ] {
        let mut case = case.clone();
        case["expect"] = json!({ key: wrong });
        assert_ne!(bench.play(&case).await, case["expect"], "{key}");
    }
}
