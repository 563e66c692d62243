//! Runs that a time or an answer continues: exactly once, even with concurrent callers and callers
//! that disconnect, and for any number of runs.

use lastword::HostError;
use lastword::clock::SystemClock;
use lastword::event::{EventBody, Position};
use lastword::id::{QuestionId, RunId, SessionId};
use lastword::session::{Answer, Question, QuestionState};
use lastword::store::{Accept, Accepted, Continuation, Due, Refusal, Store, StoreError};
use lastword_tests::clock::ManualClock;
use lastword_tests::fixture::{Fixture, Plan, drop_at};
use lastword_tests::guests::guest;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many wait; more than the store lists at a time.
const MANY: usize = 101;

fn database(fixture: &Fixture) -> Connection {
    let database = Connection::open(fixture.data().join("lastword.db")).expect("the database");
    database.busy_timeout(PATIENCE).expect("it waits its turn");
    database
}

/// Has the time come of all that wait.
fn let_all_be_due(fixture: &Fixture) {
    let changed = database(fixture).execute("UPDATE wake SET due_ms = 0", []);
    assert_eq!(changed.expect("it is written"), 1);
}

/// Who asked for the runs after the first, in the order of acceptance.
fn gone_on(fixture: &Fixture, session: SessionId) -> Vec<String> {
    let database = database(fixture);
    let mut query = database
        .prepare(
            "SELECT json_extract(prompt, '$.origin') FROM run
             WHERE session = (SELECT no FROM session WHERE id = ?1) ORDER BY no",
        )
        .expect("a query");
    let origins = query.query_map([session.as_bytes()], |row| row.get(0));
    let origins: Result<Vec<String>, _> = origins.expect("the runs").collect();
    origins.expect("the runs").split_off(1)
}

/// A run of a session of its own that ended waiting for the answer to this.
async fn asked(fixture: &Fixture) -> Question {
    let session = fixture.workspace.new_session(&fixture.agent).await;
    let session = session.expect("a session");
    let run = session
        .prompt("wait-for Which?")
        .await
        .expect("it is taken");
    run.ended().await.expect("it ends");
    let mut open = session.questions().await.expect("the questions");
    assert_eq!(open.len(), 1);
    open.remove(0)
}

fn text(text: &str) -> Answer {
    Answer::Text {
        text: text.to_owned(),
    }
}

async fn accept(store: &Store, due: &Due, answer: Option<Answer>) -> Result<Accepted, StoreError> {
    let goes_on = Continuation {
        run: due.run,
        answer,
    };
    let accept = Accept {
        run: RunId::generate(),
        session: due.session,
        prompt: due.prompt.clone(),
        attached: Vec::new(),
        digest: String::new(),
        key: None,
        goes_on: Some(goes_on),
        queue_max: 8,
        start: false,
        resumes: None,
        parent: None,
    };
    store.execute(accept).await
}

#[tokio::test]
async fn what_was_due_is_refused_once_it_was_answered_and_the_other_way_round() {
    let blue = text("blue");
    for (first, second) in [(Some(blue.clone()), None), (None, Some(blue))] {
        let fixture = Plan::new().build().await;
        let question = asked(&fixture).await.id;
        fixture.host.shutdown().await;
        let_all_be_due(&fixture);

        let clock = SystemClock::shared();
        let store = Store::open(&fixture.data(), Arc::clone(&clock)).expect("the store");
        let due = store.due(clock.now(), None).await.expect("it is read");
        let [due] = &due.due[..] else {
            panic!("one is due: {due:?}");
        };
        let fate = match &first {
            Some(answer) => QuestionState::Answered(answer.clone()),
            None => QuestionState::Dismissed,
        };
        assert!(accept(&store, due, first).await.is_ok());
        let late = accept(&store, due, second).await;
        assert_eq!(late, Err(StoreError::Refused(Refusal::WrongState)));
        let at = store.question(question).await.expect("it is read");
        assert_eq!(at.expect("the question").state, fate);
        assert_eq!(gone_on(&fixture, due.session).len(), 1);
        store.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_at_a_time_the_second_learns_the_first() {
    let fixture = Plan::new().build().await;
    for _ in 0..10 {
        let question = asked(&fixture).await;
        let (blue, red) = tokio::join!(
            fixture.host.answer(question.id, text("origin blue")),
            fixture.host.answer(question.id, text("origin red")),
        );
        let (counts, late) = match blue {
            Ok(_) => ("origin blue", red),
            Err(error) => {
                assert!(red.is_ok(), "one of them counts");
                ("origin red", Err(error))
            }
        };
        let Some(HostError::AlreadyAnswered { answer, .. }) = late.err() else {
            panic!("the second learns");
        };
        assert_eq!(answer, text(counts));
        assert_eq!(gone_on(&fixture, question.session), ["answer"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_and_the_time_at_once_are_one_run_and_one_fate() {
    let fixture = Plan::new().build().await;
    for _ in 0..10 {
        let question = asked(&fixture).await;
        let_all_be_due(&fixture);
        // An agent that is loaded has the host look who is due.
        let (answered, loaded) = tokio::join!(
            fixture.host.answer(question.id, text("origin blue")),
            fixture.host.load_agent("other", guest("probe")),
        );
        loaded.expect("it loads");
        let fate = fixture.host.question(question.id).await.expect("it is").2;
        match answered {
            Ok(_) => {
                assert_eq!(fate, QuestionState::Answered(text("origin blue")));
                assert_eq!(gone_on(&fixture, question.session), ["answer"]);
            }
            Err(error) => {
                assert_eq!(
                    (error.name(), fate),
                    ("question-dismissed", QuestionState::Dismissed)
                );
                assert_eq!(gone_on(&fixture, question.session), ["wake"]);
            }
        }
    }
}

/// Sends an answer to a question, once its workspace is not closing.
async fn answer(fixture: &Fixture, question: QuestionId) -> Result<(), HostError> {
    loop {
        match fixture.host.answer(question, text("origin red")).await {
            Err(HostError::WorkspaceClosing(_)) => tokio::task::yield_now().await,
            answered => return answered.map(drop),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_dropped_at_any_await_counts_or_leaves_the_question_open() {
    let fixture = Plan::new().build().await;
    let mut questions = Vec::new();
    for _ in 0..12 {
        questions.push(asked(&fixture).await);
    }
    // From here on the host opens it for each answer.
    assert!(fixture.workspace.close().await.is_empty());
    for (times, question) in questions.into_iter().enumerate() {
        drop_at(times, fixture.host.answer(question.id, text("origin blue"))).await;
        let counts = match answer(&fixture, question.id).await {
            Ok(()) => text("origin red"),
            Err(HostError::AlreadyAnswered { answer, .. }) => {
                assert_eq!(answer, text("origin blue"));
                answer
            }
            Err(error) => panic!("after {times} awaits: {error}"),
        };
        let fate = fixture.host.question(question.id).await.expect("it is").2;
        assert_eq!(fate, QuestionState::Answered(counts));
        assert_eq!(gone_on(&fixture, question.session), ["answer"]);
        let closed = fixture.host.idle(Duration::ZERO);
        let closed = tokio::time::timeout(PATIENCE, closed).await;
        assert!(closed.is_ok(), "open after {times} awaits");
    }
    assert_eq!(fixture.violations(), [""; 0]);
}

/// The sessions of the runs of the origin `wake`, once there are so many.
async fn woken(fixture: &Fixture, count: usize) -> BTreeSet<SessionId> {
    let mut events = fixture.host.events(Position(0));
    let all = async {
        let mut woken = BTreeSet::new();
        while woken.len() < count {
            let event = events.next().await.expect("it goes on").expect("the log");
            if matches!(&event.body, EventBody::RunQueued { origin, .. } if origin == "wake") {
                woken.insert(event.session);
            }
        }
        woken
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all wake")
}

/// So many sessions of an agent whose run ended waiting for a minute.
async fn waiting(fixture: &Fixture, agent: &lastword::Agent, count: usize) -> BTreeSet<SessionId> {
    let mut sessions = BTreeSet::new();
    let mut runs = Vec::new();
    for _ in 0..count {
        let session = fixture.workspace.new_session(agent).await;
        let session = session.expect("a session");
        runs.push(session.prompt("wait 60000").await.expect("it is taken"));
        sessions.insert(session.id());
    }
    for run in runs {
        run.ended().await.expect("it ends");
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wake_that_are_due_at_once_however_many() {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let fixture = Plan::new().host(|host| host.clock(time)).build().await;
    let sessions = waiting(&fixture, &fixture.agent, MANY).await;
    clock.advance(Duration::from_secs(61));
    assert_eq!(woken(&fixture, MANY).await, sessions);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_whose_agent_is_not_loaded_hold_up_nobody() {
    let clock = ManualClock::default();
    let time = Arc::new(clock.clone());
    let fixture = Plan::new().host(|host| host.clock(time)).build().await;
    let other = fixture.host.load_agent("other", guest("probe")).await;
    let other = other.expect("it loads");
    waiting(&fixture, &other, MANY - 1).await;
    assert!(fixture.host.unload_agent(other.id()));
    let session = waiting(&fixture, &fixture.agent, 1).await;
    clock.advance(Duration::from_secs(61));
    assert_eq!(woken(&fixture, 1).await, session);
}

lastword_tests::also_in_memory![
    all_wake_that_are_due_at_once_however_many,
    those_whose_agent_is_not_loaded_hold_up_nobody,
];
