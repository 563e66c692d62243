//! The way of attached bytes: from the prompt to the agent, to models, and back.

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lastword::model::{
    CallContext, ModelError, ModelEvent, ModelFinish, ModelInfo, ModelProvider, ModelRequest,
    ModelStream, REQUEST_BYTES_MAX, Reply, Scripted,
};
use lastword::session::{BlobId, PartBody};
use lastword::{
    ATTACHED_BYTES_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, Edit, Prompt, QueuedRun, RunState,
};
use lastword_tests::check::open;
use lastword_tests::fixture::{Fixture, Outcome, Plan};

const PNG: &[u8] = b"the bytes";

async fn asked(fixture: &Fixture, prompt: Prompt) -> Outcome {
    let run = fixture.session.prompt(prompt).await.unwrap();
    let receipt = run.ended().await.unwrap();
    fixture.outcome(&run, receipt).await
}

fn attached(text: &str) -> Prompt {
    Prompt::text(text).attach("image/png", Some("a.png".to_owned()), PNG.to_vec())
}

async fn scripted() -> (Fixture, Scripted) {
    let model = Scripted::new([Reply::text("I see")]);
    let plan = Plan::new().host(|host| host.model(model.clone()));
    (plan.build().await, model)
}

/// The bytes that a model was told last.
fn told(model: &Scripted) -> Vec<Vec<u8>> {
    let requests = model.requests();
    let blobs = &requests.last().unwrap().blobs;
    blobs.values().map(|bytes| bytes.to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_what_is_attached() {
    let fixture = Fixture::new().await;
    let prompt = attached("attached").attach("text/plain", None, b"words".to_vec());
    let outcome = asked(&fixture, prompt).await;
    assert_eq!(
        outcome.text(),
        "image/png a.png the bytes\ntext/plain - words\n"
    );
    let PartBody::Data { blob, bytes, .. } = &outcome.messages[0].parts[1].body else {
        panic!("expected data, got {outcome:?}");
    };
    assert_eq!(*bytes, PNG.len() as u64);
    let kept = fixture.session.blob(blob).await.unwrap();
    assert_eq!(kept.as_deref(), Some(PNG));
    let other = fixture.workspace.new_session(&fixture.agent).await.unwrap();
    let foreign = other.blob(blob).await.unwrap();
    assert_eq!(foreign, None, "what another session was given");
    fixture.session.delete().await.unwrap();
    fixture.host.shutdown().await;
    let left: i64 = open(&fixture.data())
        .query_row("select count(*) from blob", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0, "nobody names them any more");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_waits_keeps_its_bytes() {
    let fixture = Fixture::new().await;
    let busy = fixture.start_until("spin before", "before").await;
    let waiting = fixture.session.prompt(attached("attached")).await.unwrap();
    busy.cancel().await.unwrap();
    let receipt = waiting.ended().await.unwrap();
    let outcome = fixture.outcome(&waiting, receipt).await;
    assert_eq!(outcome.text(), "image/png a.png the bytes\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_the_attachments_too() {
    let fixture = Fixture::new().await;
    let first = fixture.session.prompt(attached("attached").key("k"));
    let first = first.await.unwrap();
    let again = fixture.session.prompt(attached("attached").key("k"));
    assert_eq!(again.await.unwrap().id(), first.id());
    first.ended().await.unwrap();
    let none = Prompt::text("attached");
    let other = none
        .clone()
        .attach("image/png", Some("a.png".to_owned()), b"others".to_vec());
    for different in [none, other] {
        let refused = fixture
            .session
            .prompt(different.key("k"))
            .await
            .unwrap_err();
        assert_eq!(refused.name(), "key-conflict");
    }
    let stored: i64 = open(&fixture.data())
        .query_row("select count(*) from blob", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, 1, "what is refused stores nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_bounded() {
    let fixture = Fixture::new().await;
    let large = vec![0; ATTACHMENT_BYTES_MAX + 1];
    let large = Prompt::text("attached").attach("image/png", None, large);
    let mut heavy = Prompt::text("attached");
    for byte in 0..3 {
        heavy = heavy.attach("image/png", None, vec![byte; ATTACHED_BYTES_MAX / 3 + 1]);
    }
    let mut many = Prompt::text("attached");
    for _ in 0..=ATTACHMENTS_MAX {
        many = many.attach("image/png", None, Vec::new());
    }
    let unclear = Prompt::text("attached").attach("png", None, Vec::new());
    let long = Prompt::text("attached").attach("a/b", Some("x".repeat(256)), Vec::new());
    for prompt in [large, heavy, many, unclear, long] {
        let refused = fixture.session.prompt(prompt).await.unwrap_err();
        assert_eq!(refused.name(), "invalid-value");
    }
    assert!(fixture.session.messages().await.unwrap().is_empty());
}

/// What a prompt that waits says and has attached, in the order of its parts.
fn asks(queued: &QueuedRun) -> Vec<String> {
    let parts = queued.parts.iter().map(|part| match &part.body {
        PartBody::Text { text } => text.clone(),
        PartBody::Data { name, .. } => name.clone().unwrap_or_default(),
        other => panic!("unexpected {other:?}"),
    });
    parts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_keeps_what_it_does_not_name() {
    let fixture = Fixture::new().await;
    let busy = fixture.start_until("spin before", "before").await;
    let waiting = fixture.session.prompt(attached("first")).await.unwrap();
    let edit = |edit: Edit| fixture.session.edit_queued(waiting.id(), edit);
    let named = |name: &str| Some(name.to_owned());

    let now = edit(Edit::text("attached")).await.unwrap();
    assert_eq!(asks(&now), ["attached", "a.png"]);
    let other = Edit::default()
        .attach("text/plain", named("b.txt"), b"words".to_vec())
        .attach("text/plain", named("c.txt"), b"more".to_vec());
    assert_eq!(
        asks(&edit(other).await.unwrap()),
        ["attached", "b.txt", "c.txt"]
    );
    let large = Edit::default().attach("a/b", None, vec![0; ATTACHMENT_BYTES_MAX + 1]);
    assert_eq!(edit(large).await.unwrap_err().name(), "invalid-value");
    let blank = Edit::text(" ");
    assert_eq!(
        asks(&edit(blank.clone()).await.unwrap()),
        [" ", "b.txt", "c.txt"]
    );
    let empty = blank.detach();
    assert_eq!(edit(empty).await.unwrap_err().name(), "empty-prompt");
    let last = edit(Edit::text("attached")).await.unwrap();
    assert_eq!(asks(&last), ["attached", "b.txt", "c.txt"]);

    busy.cancel().await.unwrap();
    let receipt = waiting.ended().await.unwrap();
    let outcome = fixture.outcome(&waiting, receipt).await;
    assert_eq!(
        outcome.text(),
        "text/plain b.txt words\ntext/plain c.txt more\n"
    );
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_see_what_users_attach_tools_give_and_agents_bring() {
    let (fixture, model) = scripted().await;
    let prompt = attached("model-session").attach("text/plain", None, b"words".to_vec());
    assert_eq!(asked(&fixture, prompt).await.text(), "I see");
    assert_eq!(told(&model), [PNG], "and not what a model cannot take");

    assert_eq!(fixture.run("model-image 3").await.text(), "I see");
    assert_eq!(told(&model), [[0x89; 3]]);

    assert_eq!(fixture.run("model-shot 5").await.text(), "I see");
    let mut told = told(&model);
    told.sort_by_key(Vec::len);
    assert_eq!(told, [vec![0x89; 5], PNG.to_vec()], "the history's as well");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_one_request_are_bounded() {
    let (fixture, model) = scripted().await;
    let mut prompt = Prompt::text("model-session");
    for byte in 0..2 {
        prompt = prompt.attach("image/png", None, vec![byte; REQUEST_BYTES_MAX / 3]);
    }
    assert_eq!(asked(&fixture, prompt).await.text(), "I see");
    let size = REQUEST_BYTES_MAX / 3 + 3;
    let outcome = fixture.run(&format!("model-shot {size}")).await;
    assert_eq!(outcome.receipt.state, RunState::Failed);
    let detail = outcome.receipt.detail.unwrap();
    assert!(
        detail.contains("(limit)") && detail.contains("summarise"),
        "{detail}"
    );
    assert_eq!(model.requests().len(), 1);
}

/// A model that answers with an image.
struct Drawing;

impl ModelProvider for Drawing {
    fn complete(
        &self,
        _: CallContext,
        _: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ModelError>> {
        let image = ModelEvent::Data {
            media_type: "image/png".to_owned(),
            name: None,
            bytes: PNG.into(),
        };
        let end = ModelEvent::Finish(ModelFinish::EndTurn);
        let answer = futures_util::stream::iter([Ok(image), Ok(end)]).boxed();
        futures_util::future::ready(Ok(answer)).boxed()
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            name: "drawing".to_owned(),
            provider: "test".to_owned(),
            context_tokens: None,
        }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_draws_is_kept() {
    let fixture = Plan::new().host(|host| host.model(Drawing)).build().await;
    let outcome = fixture.run("model-transcript draw").await;
    let parts = outcome.messages.iter().flat_map(|message| &message.parts);
    let blobs: Vec<&BlobId> = parts
        .filter_map(|part| match &part.body {
            PartBody::Data { blob, .. } => Some(blob),
            _ => None,
        })
        .collect();
    let [blob] = blobs.as_slice() else {
        panic!("expected one, got {outcome:?}");
    };
    let kept = fixture.session.blob(blob).await.unwrap();
    assert_eq!(kept.as_deref(), Some(PNG));
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_sees_more_than_a_page_of_history() {
    let (fixture, model) = scripted().await;
    for turn in 0..130 {
        fixture.run(&format!("echo {turn}")).await;
    }
    fixture.run("model-session").await;
    let requests = model.requests();
    let messages = &requests.last().unwrap().messages;
    assert_eq!(messages.len(), 261);
    assert_eq!(messages[0].parts[0].as_text(), Some("echo 0"));
}

lastword_tests::also_in_memory![
    a_prompt_that_waits_keeps_its_bytes,
    attachments_are_bounded,
    an_edit_keeps_what_it_does_not_name,
    models_see_what_users_attach_tools_give_and_agents_bring,
    the_bytes_of_one_request_are_bounded,
    what_a_model_draws_is_kept,
    a_model_sees_more_than_a_page_of_history,
];
