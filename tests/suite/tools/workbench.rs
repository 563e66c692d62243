//! An agent that really works in a directory, over the wires of OpenAI and Anthropic as an
//! implementation speaks them that knows nothing of lastword. Without npm these tests say so
//! and check nothing, except in CI.

use super::questions::allow;
use super::results;
use lastword::event::EventBody;
use lastword::model::{Models, ModelsConfig, ServiceConfig};
use lastword::session::PartBody;
use lastword::{Capability, Run, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, Outcome, Plan};
use lastword_tests::guests::root;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const TASK: &str = "Show the model 8 KiB instead of 6 KiB.";

/// The mock, which ends with this value.
struct Mock {
    child: Child,
    address: String,
}

impl Mock {
    /// Starts it; `None` without npm.
    fn start() -> Option<Self> {
        let npm = Command::new("npm").arg("--version").output();
        if npm.is_err() && std::env::var("CI").is_err() {
            eprintln!("SKIPPED: workbench is not tried over the wire, since npm is missing");
            return None;
        }
        let mut child = Command::new(root().join("tests/tools/aimock.sh"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mock starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        let read = BufReader::new(stdout).read_line(&mut address);
        read.expect("it says where it listens");
        let address = address.trim().to_owned();
        assert!(address.starts_with("http"), "its first line is its address");
        Some(Self { child, address })
    }

    /// A model of one of the services that it speaks for.
    fn model(&self, service: &str) -> Models {
        let at = ServiceConfig {
            base_url: Some(format!("{}/v1", self.address)),
            ..ServiceConfig::default()
        };
        let mut config = ModelsConfig::default();
        match service {
            "openai" => config.openai = at,
            _ => config.anthropic = at,
        }
        let models = Models::with_config(&config).expect("the address is one");
        models.model(&format!("{service}:any")).expect("a model")
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _is_gone = self.child.kill();
        let _is_buried = self.child.wait();
    }
}

/// A copy of a real crate, a person who answers, and a model over HTTP.
async fn bench(model: Models) -> Fixture {
    let grants = [Capability::ReadFiles, Capability::Model];
    let plan = Plan::new()
        .agent("workbench")
        .host(|host| host.model(model));
    let plan = plan.grants(grants).options(|options| options.ask(true));
    let fixture = plan.build().await;
    copy(&root().join("examples/assistant"), &fixture.files());
    fixture
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match source.is_dir() {
            true => copy(&source, &target),
            false => drop(std::fs::copy(source, target).expect("it is copied")),
        }
    }
}

/// The point at which a run is stopped.
#[derive(Clone, Copy)]
enum Stop<'s> {
    Never,
    /// When this call is seen.
    AtCall(&'s str),
    /// When this question is asked, from 0.
    AtQuestion(usize),
}

/// Follows a run and allows what it asks, until it ends or is to be stopped.
async fn attend(fixture: &Fixture, run: &Run, stop: Stop<'_>) -> Outcome {
    let (mut events, mut asked, mut is_over) = (run.events(), 0, false);
    while let Some(event) = events.next().await {
        let stopped = match (event.expect("the log is read").body, stop) {
            (EventBody::QuestionAsked { question }, stop) => {
                asked += 1;
                let here = matches!(stop, Stop::AtQuestion(at) if at + 1 == asked);
                if !here && !is_over {
                    let answered = fixture.host.answer(question.id, allow()).await;
                    answered.expect("somebody waits for it");
                }
                here
            }
            (EventBody::PartAdded { part, .. }, Stop::AtCall(id)) => {
                matches!(&part.body, PartBody::ToolCall(call) if call.id == id)
            }
            _ => false,
        };
        if stopped {
            run.cancel().await.expect("the run ends");
            is_over = true;
        }
    }
    let receipt = run.ended().await.expect("the run ends");
    fixture.outcome(run, receipt).await
}

#[tokio::test]
async fn it_edits_a_crate_by_calls_over_the_wire_and_asks_before() {
    let Some(mock) = Mock::start() else { return };
    for service in ["openai", "anthropic"] {
        let fixture = bench(mock.model(service)).await;
        let run = fixture.start(TASK).await;
        let outcome = attend(&fixture, &run, Stop::Never).await;
        assert_eq!(
            outcome.receipt.state,
            RunState::Completed,
            "{:?}",
            outcome.receipt
        );
        let code = std::fs::read_to_string(fixture.files().join("src/excerpt.rs"));
        assert!(
            code.expect("it is there")
                .contains("TOTAL_MAX: usize = 8 * 1024")
        );
        let diffs: Vec<String> = results(&outcome)
            .into_iter()
            .filter_map(|result| result.metadata)
            .filter(|metadata| metadata.contains("+pub(crate) const TOTAL_MAX: usize = 8 * 1024;"))
            .collect();
        assert_eq!(diffs.len(), 1, "{service}: the diff is in the transcript");
        let kinds = outcome.kinds();
        let count = |kind| kinds.iter().filter(|k| **k == kind).count();
        assert_eq!(
            (count("question.asked"), count("question.answered")),
            (2, 2)
        );
        assert!(outcome.text().contains("8 KiB"), "{}", outcome.text());
    }
}

#[tokio::test]
async fn cancelled_in_any_call_and_any_question_it_leaves_a_whole_transcript() {
    let Some(mock) = Mock::start() else { return };
    let stops = [
        Stop::AtCall("call_find_limit"),
        Stop::AtCall("call_list_all"),
        Stop::AtCall("call_read_code"),
        Stop::AtCall("call_read_page"),
        Stop::AtCall("call_edit_code"),
        Stop::AtCall("call_edit_page"),
        Stop::AtQuestion(0),
        Stop::AtQuestion(1),
    ];
    for stop in stops {
        let fixture = bench(mock.model("openai")).await;
        let run = fixture.start(TASK).await;
        let outcome = attend(&fixture, &run, stop).await;
        assert_eq!(outcome.receipt.state, RunState::Cancelled);
        assert!(
            outcome
                .messages
                .last()
                .is_some_and(|message| message.finish.is_some())
        );
        assert!(
            fixture
                .host
                .questions()
                .await
                .expect("the questions")
                .is_empty()
        );
        if let Stop::AtQuestion(0) = stop {
            let code = std::fs::read_to_string(fixture.files().join("src/excerpt.rs"));
            assert!(
                code.expect("it is there").contains("6 * 1024"),
                "nothing is done unasked"
            );
            let synthetic = results(&outcome);
            let synthetic = synthetic.iter().filter(|result| result.is_error);
            assert_eq!(synthetic.count(), 2, "both calls have a result");
        }
        assert!(fixture.host.shutdown().await.is_empty());
        assert_eq!(violations(&fixture.data()), [""; 0]);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_call_is_made_again_or_told() {
    let Some(mock) = Mock::start() else { return };
    let fixture = bench(mock.model("openai")).await;
    let again = fixture.run("break off once").await;
    assert_eq!(
        again.receipt.state,
        RunState::Completed,
        "{:?}",
        again.receipt
    );
    assert!(again.text().contains("It begins with"), "{}", again.text());
    let told = fixture.run("break off always").await;
    assert_eq!(told.receipt.state, RunState::Failed);
    assert!(
        told.text().contains("I read it at once."),
        "what was said stays"
    );
}
