//! What an agent may do and what it may not: a refusal is a value, never a trap.

use crate::models::{parked, talking};
use lastword::model::{ModelPrice, Models, ModelsConfig, Reply, Scripted, Step};
use lastword::session::Usage;
use lastword::{Capability, Limits, RunState, hint};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::heard::Heard;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn files_are_seen_changed_or_hidden_as_granted() {
    let none = Plan::new().grants([]).build().await;
    std::fs::write(none.files().join("a.txt"), "alpha").unwrap();
    assert!(
        none.run("read /workspace/a.txt")
            .await
            .text()
            .starts_with("error")
    );

    let read = Plan::new().grants([Capability::ReadFiles]).build().await;
    std::fs::write(read.files().join("a.txt"), "alpha").unwrap();
    assert_eq!(read.run("read /workspace/a.txt").await.text(), "alpha");
    assert!(
        read.run("write /workspace/b.txt beta")
            .await
            .text()
            .starts_with("error")
    );
    assert!(!read.files().join("b.txt").exists());

    let write = Plan::new().grants([Capability::WriteFiles]).build().await;
    write.run("write /workspace/b.txt beta").await;
    assert_eq!(
        std::fs::read_to_string(write.files().join("b.txt")).unwrap(),
        "beta"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_manifest_does_not_ask_for_is_told_as_that() {
    let grants = [Capability::State, Capability::ReadFiles];
    let granted = Plan::new().agent("narrow-probe").grants(grants);
    let fixture = granted.build().await;
    std::fs::write(fixture.files().join("a.txt"), "alpha").unwrap();
    let detail = fixture.run("state a").await.receipt.detail.unwrap();
    assert_eq!(hint::unwanted(&detail), Some(Capability::State), "{detail}");
    assert_eq!(
        hint::missing_rule(&detail),
        None,
        "a grant is no remedy: {detail}"
    );

    // The guest itself learns only that there is no such file.
    let detail = fixture.run("file /workspace/a.txt").await.receipt.detail;
    let detail = detail.unwrap();
    assert!(
        detail.contains("does not see `/workspace`: only a part"),
        "{detail}"
    );

    let heard = Heard::listen(vec!["a request of the agent was refused".to_owned()]);
    let ungranted = Plan::new().grants([]).build().await;
    ungranted.run("http GET http://a.example/").await;
    let told = heard.found().join("\n");
    assert!(told.contains("`network` is not granted"), "{told}");

    let said = ungranted.run("state-get session a").await.text();
    assert!(hint::missing_rule(&said).is_some(), "{said}");
    assert_eq!(hint::unwanted(&said), None, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_model_says_so() {
    let plan = Plan::new().grants([Capability::Model]);
    let fixture = plan.build().await;
    let detail = fixture.run("model hello").await.receipt.detail.unwrap();
    assert!(detail.contains("the host has no model"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_cannot_be_left() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.folder.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", fixture.files().join("link")).unwrap();
    for path in [
        "/workspace/../secret",
        "/workspace/link",
        "/etc/passwd",
        "/proc/self/environ",
    ] {
        let said = fixture.run(&format!("read {path}")).await.text();
        assert!(said.starts_with("error"), "{path}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_block_for_ever_is_not_opened() {
    let fixture = Fixture::new().await;
    let fifo = fixture.files().join("fifo");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap();
    assert!(made.success());
    let outcome = fixture.run("open /workspace/fifo").await;
    assert!(outcome.text().starts_with("error"), "{}", outcome.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn tmp_is_private_and_bounded() {
    let limits = Limits::default().written_bytes(1 << 20);
    let fixture = Plan::new().limits(limits).build().await;
    assert!(!fixture.run("tmp 1000").await.text().starts_with("error"));
    assert!(
        fixture.run("read /tmp/x").await.text().starts_with("error"),
        "from run to run"
    );
    assert!(fixture.run("tmp 4000000").await.text().starts_with("error"));
    fixture.host.shutdown().await;
    let left = std::fs::read_dir(fixture.data().join("tmp")).map_or(0, Iterator::count);
    assert!(left <= 1, "what is left is removed in the background");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_counts_as_what_is_written_does() {
    let limits = Limits::default().written_bytes(1 << 20);
    let fixture = Plan::new().limits(limits).build().await;
    for (kind, made) in [
        ("file", "made 256, then quota"),
        ("directory", "made 256, then quota"),
        ("symlink", "made 256, then quota"),
        ("link", "made 255, then quota"),
        ("nest", "made 256, then quota"),
        ("again", "made 1000"),
    ] {
        let outcome = fixture.run(&format!("make {kind} 1000")).await;
        assert_eq!(outcome.text(), made, "{kind}");
        assert_eq!(outcome.receipt.state, RunState::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_holds_a_bounded_number_of_descriptors() {
    let limits = Limits::default().descriptors(20);
    let fixture = Plan::new().grants([]).limits(limits).build().await;
    for (kind, held) in [
        ("file", "held 19, then insufficient-memory"),
        ("directory", "held 19, then insufficient-memory"),
        ("stream", "held 19, then insufficient-memory"),
        ("preopens", "held all"),
    ] {
        let outcome = fixture.run(&format!("hold-and-end {kind}")).await;
        assert_eq!(outcome.text(), held, "{kind}");
        assert_eq!(outcome.receipt.state, RunState::Completed);
    }
    // What is closed again is not held.
    let closed = fixture.run("make file 1000").await;
    assert_eq!(closed.text(), "made 1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_nested_deep_is_removed_and_the_host_goes_on() {
    let fixture = Plan::new().grants([]).build().await;
    assert_eq!(fixture.run("make nest 15000").await.text(), "made 15000");
    let tmp = fixture.data().join("tmp");
    let gone = async {
        while std::fs::read_dir(&tmp).is_ok_and(|left| left.count() > 0) {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(120), gone).await;
    assert!(gone.is_ok(), "it is left behind");
    assert_eq!(fixture.run("echo still here").await.text(), "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_tells_a_guest_nothing() {
    let fixture = Fixture::new().await;
    assert!(fixture.run("net").await.text().starts_with("error"));
    let env = fixture.run("env").await.text();
    assert!(!env.contains("PATH"), "{env}");
    assert_eq!(
        fixture.run("stdin").await.receipt.state,
        RunState::Completed
    );
    assert_eq!(
        fixture.run("stdout 5000").await.text(),
        "done",
        "printing never fails"
    );
    assert_eq!(fixture.run("log 5000").await.text(), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_lasts_and_is_bounded() {
    let fixture = Plan::new()
        .limits(Limits::default().state_bytes(100))
        .build()
        .await;
    assert_eq!(fixture.run("state-get session k").await.text(), "none");
    assert_eq!(fixture.run("state-set session k one").await.text(), "done");
    assert_eq!(fixture.run("state-get session k").await.text(), "one");
    assert_eq!(fixture.run("state-get workspace k").await.text(), "none");
    assert_eq!(
        fixture.run("state-cas session k two three").await.text(),
        "false"
    );
    assert_eq!(
        fixture.run("state-cas session k one two").await.text(),
        "true"
    );
    assert_eq!(fixture.run("state-keys session k").await.text(), "k");
    let long = "x".repeat(200);
    let said = fixture
        .run(&format!("state-set session big {long}"))
        .await
        .text();
    assert!(said.starts_with("error limit"), "{said}");
    assert_eq!(fixture.run("state-get session big").await.text(), "none");
    fixture.run("state-delete session k").await;
    assert_eq!(fixture.run("state-get session k").await.text(), "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_named() {
    let fixture = Plan::new()
        .grants([])
        .host(|host| host.model(talking()))
        .build()
        .await;
    let said = fixture.run("state-get session k").await.text();
    assert!(
        said.contains("denied") && said.contains("the rule `state`"),
        "{said}"
    );
    let receipt = fixture.run("model hello").await.receipt;
    let detail = receipt.detail.unwrap();
    assert!(
        detail.contains("denied") && detail.contains("the rule `model`"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_streams_through_the_guest_and_past_it() {
    let fixture = Plan::new().host(|host| host.model(talking())).build().await;
    assert_eq!(fixture.run("model hello").await.text(), "some words");
    let outcome = fixture.run("model-transcript hello").await;
    assert_eq!(outcome.text(), "some words");
    let written = outcome.messages.last().unwrap();
    assert_eq!(
        (written.model.as_deref(), written.provider.as_deref()),
        (Some("talking"), Some("test"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_error_and_is_kept() {
    let cut = Scripted::new([Reply::new([
        Step::Text("half a sen".to_owned()),
        Step::Truncate,
    ])]);
    let fixture = Plan::new().host(|host| host.model(cut)).build().await;
    let outcome = fixture.run("model-transcript hello").await;
    assert_eq!(
        (outcome.receipt.state, &*outcome.receipt.cause.name()),
        (RunState::Failed, "agent-error")
    );
    assert!(
        outcome
            .receipt
            .detail
            .clone()
            .unwrap()
            .contains("(unavailable)"),
        "{outcome:?}"
    );
    assert_eq!(outcome.text(), "half a sen");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_turn_sees_what_was_cut_off_and_that_it_was() {
    let model = Scripted::new([Reply::text("fine")]);
    let fixture = Plan::new()
        .agent("assistant")
        .grants([Capability::Model, Capability::ReadFiles]);
    let fixture = fixture.host(|host| host.model(model.clone())).build().await;
    fixture.run("one").await;
    fixture.run("two").await;
    let requests = model.requests();
    let second = requests.last().unwrap();
    let texts: Vec<String> = second
        .messages
        .iter()
        .map(|m| {
            format!(
                "{}: {}",
                m.role.as_str(),
                m.parts
                    .iter()
                    .filter_map(|p| p.as_text())
                    .collect::<String>()
            )
        })
        .collect();
    assert_eq!(texts, ["user: one", "assistant: fine", "user: two"]);
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_answer_is_labelled_for_the_model() {
    let hanging = Reply::new([Step::Text("half an ans".to_owned()), Step::Hang]);
    let model = Scripted::new([hanging, Reply::text("whole")]);
    let plan = Plan::new()
        .agent("assistant")
        .grants([Capability::Model, Capability::ReadFiles]);
    let fixture = plan.host(|host| host.model(model.clone())).build().await;
    let run = fixture.start_until("one", "half an ans").await;
    run.cancel().await.unwrap();
    assert_eq!(model.abandoned(), 1, "the cancel reached the model");
    fixture.run("two").await;
    let requests = model.requests();
    let history = format!("{:?}", requests.last().unwrap().messages);
    assert!(
        history.contains("half an ans") && history.contains("cut off: cancelled"),
        "{history}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn titles_data_configuration_and_summaries_are_kept() {
    let fixture = Plan::new().host(|host| host.model(parked())).build().await;
    fixture.run("title A new title").await;
    assert_eq!(
        fixture.session.record().await.unwrap().title.as_deref(),
        Some("A new title")
    );
    let outcome = fixture.run("data 1000").await;
    assert_eq!(outcome.receipt.state, RunState::Completed);
    assert!(format!("{:?}", outcome.messages).contains("image/png"));
    let prompt = lastword::Prompt::text("config").config(r#"{"a":1}"#);
    let run = fixture.session.prompt(prompt).await.unwrap();
    let receipt = run.ended().await.unwrap();
    assert_eq!(fixture.outcome(&run, receipt).await.text(), r#"{"a":1}"#);
    assert_eq!(fixture.run("summarise in short").await.text(), "done");
    let told = fixture.run("history").await.text();
    let summarised = "user: summarise in short [summarised-as=\"in short\"]\n";
    assert!(told.contains(summarised), "{told}");
    assert_eq!(told.matches("summarised-as").count(), 1, "{told}");
    assert_eq!(violations(&fixture.data()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_costs_is_in_the_record_and_the_receipt() {
    let counted = Step::Usage(Usage {
        input_tokens: 1000,
        output_tokens: 10,
        cost_micros: 0,
        ..Usage::default()
    });
    let price = ModelPrice {
        input: 0.15,
        output: 0.60,
    };
    let config = ModelsConfig {
        prices: [("cheap".to_owned(), price)].into(),
        ..ModelsConfig::default()
    };
    let script = Scripted::new([Reply::new([Step::Text("fine".to_owned()), counted])]);
    let models = Models::with_config(&config).unwrap();
    let models = models.provider("demo", script).model("demo:cheap").unwrap();
    let fixture = Plan::new().host(|host| host.model(models)).build().await;
    for (prompt, spent) in [("model how", 156), ("model-transcript how", 312)] {
        let outcome = fixture.run(prompt).await;
        assert_eq!(outcome.receipt.usage.cost_micros, 156, "{prompt}");
        let record = fixture.session.record().await.unwrap();
        assert_eq!(record.usage.cost_micros, spent, "{prompt}");
    }
}
