//! An answer that grants settles every question that it covers and no other, in one transaction;
//! and what a child asks is seen, and told settled, where its parent is watched.

use super::questions::{CHANGE, allow, asked, remember};
use futures_util::future::{BoxFuture, poll_immediate};
use lastword::event::{Event, EventBody, Position, Seq};
use lastword::id::QuestionId;
use lastword::model::CallContext;
use lastword::permission::Access;
use lastword::permits::{Decision, PermissionPolicy};
use lastword::session::{Answer, Question, Within};
use lastword::{Capability, Run, RunState};
use lastword_tests::check::violations;
use lastword_tests::fixture::{Fixture, Plan};
use lastword_tests::locked::Locked;
use lastword_tests::tools::TestTools;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

async fn asking() -> Fixture {
    Plan::new()
        .host(|host| host.tools(TestTools::default()))
        .options(|options| options.ask(true).grant(Capability::RunAgents))
        .build()
        .await
}

/// The questions that a run asks, until there are as many.
async fn all_asked(run: &Run, count: usize) -> Vec<Question> {
    let mut events = run.events();
    let mut questions = Vec::new();
    while questions.len() < count {
        let event = events.next().await.expect("it asks").expect("a log");
        if let EventBody::QuestionAsked { question } = event.body {
            questions.push(*question);
        }
    }
    questions
}

async fn log(fixture: &Fixture) -> Vec<Event> {
    let mut events = fixture.host.events(Position(0)).stored();
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event.expect("the log is read"));
    }
    all
}

/// Which questions were answered by which, in the order of the log, each in its own run's.
async fn answered(fixture: &Fixture) -> Vec<(QuestionId, Option<QuestionId>, Position)> {
    let told = log(fixture).await.into_iter();
    let told = told.filter_map(|event| match event.body {
        EventBody::QuestionAnswered { question, by, .. } => Some((question, by, event.pos)),
        _ => None,
    });
    told.collect()
}

/// A prompt in a session of its own.
async fn elsewhere(fixture: &Fixture, prompt: &str) -> Run {
    let session = fixture.workspace.new_session(&fixture.agent).await;
    let session = session.expect("a session");
    session.prompt(prompt).await.expect("it is accepted")
}

fn nested(prompt: &str) -> String {
    let arguments = json!({ "agent": "probe", "prompt": prompt });
    format!("run_agent {arguments}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_the_session_settles_what_it_covers_there() {
    let fixture = asking().await;
    let change = r#"test.change {"text":"done"}"#;
    let calls = format!("tools-all {change}\ntest.flood {{\"text\":\"\"}}\n{change}\n{change}");
    let (run, other) = (
        fixture.start(&calls).await,
        elsewhere(&fixture, CHANGE).await,
    );
    let questions = all_asked(&run, 4).await;
    let apart = asked(&other).await;
    let changes = |question: &&Question| json!(question.asked)["target"] == "test.change";
    let covered: Vec<_> = questions.iter().filter(changes).map(|q| q.id).collect();
    assert_eq!(covered.len(), 3);
    let answer = remember(Within::Session, None);
    let answered_first = fixture.host.answer(covered[0], answer).await;
    let first = answered_first.expect("it counts");
    let grant = first.grant.expect("a grant");
    let mut settled = first.settled;
    settled.sort();
    let mut expected = covered[1..].to_vec();
    expected.sort();
    assert_eq!(settled, expected);
    let open = fixture.workspace.questions().await.expect("the questions");
    let mut left: Vec<_> = open.iter().map(|question| question.id).collect();
    let flood = questions.iter().find(|question| !changes(question));
    let mut expected = vec![flood.expect("another tool").id, apart.id];
    left.sort();
    expected.sort();
    assert_eq!(left, expected, "another tool's and another session's wait");
    // Each is told by which answer, one behind the other: they were written together.
    let told = answered(&fixture).await;
    assert_eq!((told[0].0, told[0].1), (covered[0], None));
    for (at, (id, by, pos)) in told.iter().enumerate().skip(1) {
        assert!(covered[1..].contains(id));
        assert_eq!(*by, Some(covered[0]));
        assert_eq!(pos.0, told[0].2.0 + at as u64);
    }
    for event in log(&fixture).await {
        if let EventBody::QuestionAnswered { grant: by, .. } = event.body {
            assert_eq!(by, Some(grant.id));
        }
    }
    let late = fixture
        .host
        .answer(covered[1], Answer::Deny { reason: None });
    assert_eq!(
        late.await.err().expect("it lost").name(),
        "already-answered"
    );
    for id in left {
        fixture.host.answer(id, allow()).await.expect("it counts");
    }
    run.ended().await.expect("the run ends");
    other.ended().await.expect("the run ends");
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_the_workspace_settles_every_session_of_the_agent() {
    let fixture = asking().await;
    let agent = lastword_tests::guests::guest("probe");
    let agent = fixture.host.load_agent("other", agent).await.expect("it");
    let session = fixture.workspace.new_session(&agent).await.expect("one");
    let stranger = session.prompt(CHANGE).await.expect("it is accepted");
    let not_its = asked(&stranger).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(elsewhere(&fixture, CHANGE).await);
    }
    let mut questions = Vec::new();
    for run in &runs {
        questions.push(asked(run).await.id);
    }
    let cancelled = runs[4].cancel().await.expect("it ends");
    assert_eq!(cancelled.state, RunState::Cancelled);
    let answer = remember(Within::Workspace, None);
    let answer = fixture.host.answer(questions[2], answer).await;
    assert_eq!(answer.expect("it counts").settled.len(), 3);
    for run in &runs[..4] {
        let receipt = run.ended().await.expect("the run ends");
        assert_eq!(receipt.state, RunState::Completed);
    }
    let open = fixture.workspace.questions().await.expect("the questions");
    assert_eq!(open, [not_its], "another agent's question waits");
    stranger.cancel().await.expect("it ends");
    assert_eq!(fixture.violations(), [""; 0]);
}

/// Holds a decision up, once it is shut, between looking for what was granted and asking.
struct Gate {
    shut: AtomicBool,
    entered: Semaphore,
    open: Semaphore,
}

struct Gated(Arc<Gate>);

impl PermissionPolicy for Gated {
    fn decide(&self, _: CallContext, _: Access) -> BoxFuture<'static, Decision> {
        let gate = Arc::clone(&self.0);
        Box::pin(async move {
            if gate.shut.load(Ordering::SeqCst) {
                gate.entered.add_permits(1);
                gate.open.acquire().await.expect("it opens").forget();
            }
            Decision::Ask
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_grants_meanwhile_is_not_asked() {
    for on_its_way in [false, true] {
        let gate = Arc::new(Gate {
            shut: AtomicBool::new(false),
            entered: Semaphore::new(0),
            open: Semaphore::new(0),
        });
        let policy = Gated(Arc::clone(&gate));
        let plan = Plan::new().host(|host| {
            let host = host.tools(TestTools::default());
            host.permission_policy(policy)
        });
        let fixture = plan.options(|options| options.ask(true)).build().await;
        let first = elsewhere(&fixture, CHANGE).await;
        let question = asked(&first).await.id;
        gate.shut.store(true, Ordering::SeqCst);
        let second = elsewhere(&fixture, CHANGE).await;
        gate.entered.acquire().await.expect("it enters").forget();
        let locked = on_its_way.then(|| Locked::hold(&fixture.data()));
        let answer = remember(Within::Workspace, None);
        let mut answering = Box::pin(fixture.host.answer(question, answer));
        if let Some(locked) = locked {
            assert!(poll_immediate(&mut answering).await.is_none());
            gate.open.add_permits(1);
            locked.release();
            answering.await.expect("it counts");
        } else {
            answering.await.expect("it counts");
            gate.open.add_permits(1);
        }
        let mut events = second.events();
        while let Some(event) = events.next().await {
            let kind = event.expect("the log is read").body.kind();
            assert_ne!(kind, "question.asked", "on its way: {on_its_way}");
        }
        first.ended().await.expect("the run ends");
        assert_eq!(fixture.violations(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_asks_is_seen_and_answered_where_its_parent_is_watched() {
    let fixture = asking().await;
    let deep = nested(&format!("tool {}", nested(CHANGE)));
    let run = fixture.start(&format!("tool {deep}")).await;
    let question = asked(&run).await;
    assert_ne!(question.run, run.id(), "it is a child's of a child");
    assert_ne!(question.session, fixture.session.id());
    let open = fixture.session.questions().await.expect("the questions");
    assert_eq!(open, std::slice::from_ref(&question));
    fixture
        .host
        .answer(question.id, allow())
        .await
        .expect("it counts");
    let receipt = run.ended().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Completed);
    // In the child's own log, in its parent's, and in that of the run that a user asked.
    let told = answered(&fixture).await;
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(id, ..)| *id == question.id));
    let outcome = fixture.outcome(&run, receipt).await;
    let kinds = outcome.kinds();
    let at = |kind| kinds.iter().position(|k| *k == kind).expect(kind);
    assert!(at("question.asked") < at("question.answered"));
    assert!(at("question.answered") < at("tool.result"));
    let mut events = fixture.session.events(Seq(0)).stored();
    let mut last = 0;
    while let Some(event) = events.next().await {
        let event = event.expect("the log is read");
        assert_eq!(event.seq.0, last + 1, "without a gap");
        last = event.seq.0;
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_reaches_the_children_of_the_session_and_their_ends_are_told_above() {
    let fixture = asking().await;
    let change = nested(CHANGE);
    let run = fixture
        .start(&format!("tools-all {change}\n{change}"))
        .await;
    let questions = all_asked(&run, 2).await;
    assert_ne!(questions[0].session, questions[1].session);
    let answer = remember(Within::Session, None);
    let answer = fixture.host.answer(questions[0].id, answer).await;
    assert_eq!(answer.expect("it counts").settled, [questions[1].id]);
    let receipt = run.ended().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Completed);

    // What a child takes back is taken back above it, if not in its run then in its session.
    let flood = nested(r#"tool test.flood {"text":""}"#);
    let run = fixture.start(&format!("tool {flood}")).await;
    let question = asked(&run).await;
    let mut events = fixture.session.events(Seq(0));
    run.cancel().await.expect("it ends");
    while let Some(event) = events.next().await {
        let event = event.expect("the log is read");
        if matches!(event.body, EventBody::QuestionDismissed { question: id } if id == question.id)
        {
            break;
        }
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_died_takes_a_child_s_question_back_once_in_each_log() {
    let fixture = asking().await;
    let run = fixture.start(&format!("tool {}", nested(CHANGE))).await;
    let question = asked(&run).await;
    let data = fixture.data();
    let copy = tempfile::tempdir().expect("a folder");
    let target = copy.path().join("data");
    std::fs::create_dir(&target).expect("a folder");
    for name in ["lastword.db", "lastword.db-wal"] {
        std::fs::copy(data.join(name), target.join(name)).expect("it is copied");
    }
    run.cancel().await.expect("it ends");
    let host = lastword_tests::fixture::builder(copy.path());
    let host = host.build().await.expect("it starts");
    assert_eq!(host.recovered().ended, 2);
    let mut events = host.events(Position(0)).stored();
    let mut dismissed = Vec::new();
    while let Some(event) = events.next().await {
        let event = event.expect("the log is read");
        if matches!(event.body, EventBody::QuestionDismissed { question: id } if id == question.id)
        {
            dismissed.push(event.session);
        }
    }
    dismissed.sort();
    let mut expected = [fixture.session.id(), question.session];
    expected.sort();
    assert_eq!(dismissed, expected);
    assert_eq!(violations(&target), [""; 0]);
    host.shutdown().await;
}

lastword_tests::also_in_memory![
    an_answer_for_the_session_settles_what_it_covers_there,
    an_answer_for_the_workspace_settles_every_session_of_the_agent,
    what_a_child_asks_is_seen_and_answered_where_its_parent_is_watched,
    a_grant_reaches_the_children_of_the_session_and_their_ends_are_told_above,
];
