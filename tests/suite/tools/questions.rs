//! Permissions: what is granted goes on, what is not is asked or denied; the first answer
//! counts, and grants what was asked for and nothing else.

use super::{calls, results, text};
use lastword::event::EventBody;
use lastword::id::QuestionId;
use lastword::session::{Answer, Asked, Question, QuestionState, Remember, Within};
use lastword::{HostError, Run, RunState};
use lastword_tests::fixture::{Fixture, Plan, wait_until_said};
use lastword_tests::tools::TestTools;
use std::time::Duration;

pub(crate) const CHANGE: &str = r#"tool test.change {"text":"done"}"#;

/// A host whose tools are not granted, and whose questions a person can answer.
async fn asking(tools: &TestTools) -> Fixture {
    let tools = tools.clone();
    Plan::new()
        .host(|host| host.tools(tools))
        .options(|options| options.ask(true))
        .build()
        .await
}

/// The question that a run asks next, as a client sees it.
pub(crate) async fn asked(run: &Run) -> Question {
    let mut events = run.events();
    while let Some(event) = events.next().await {
        if let EventBody::QuestionAsked { question } = event.expect("the log is read").body {
            return *question;
        }
    }
    panic!("the run ended without a question");
}

pub(super) fn allow() -> Answer {
    Answer::Allow { remember: None }
}

fn deny() -> Answer {
    Answer::Deny { reason: None }
}

pub(crate) fn remember(within: Within, rule: Option<&str>) -> Answer {
    Answer::Allow {
        remember: Some(Remember {
            within,
            rule: rule.map(str::to_owned),
        }),
    }
}

#[tokio::test]
async fn what_is_allowed_goes_on_and_what_is_not_does_not() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let question = asked(&run).await;
    let Asked::Permission {
        target,
        offers,
        details,
        ..
    } = &question.asked
    else {
        panic!("a permission: {question:?}");
    };
    assert_eq!(target, "test.change");
    let arguments = "{\n  \"text\": \"done\"\n}";
    assert_eq!(details.as_deref(), Some(arguments));
    assert_eq!(offers, &["tools=test.change", "tools=test.*"]);
    let open = fixture.workspace.questions().await.expect("the questions");
    assert_eq!(open, std::slice::from_ref(&question));
    fixture
        .host
        .answer(question.id, allow())
        .await
        .expect("it counts");
    let receipt = run.ended().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert_eq!(outcome.text(), "done");
    assert_eq!(calls(&outcome)[0].id, question.call.expect("a call's"));
    assert!(
        fixture
            .workspace
            .questions()
            .await
            .expect("the questions")
            .is_empty()
    );

    let run = fixture.start(CHANGE).await;
    let question = asked(&run).await;
    let why = Answer::Deny {
        reason: Some("not on a Friday".to_owned()),
    };
    fixture
        .host
        .answer(question.id, why)
        .await
        .expect("it counts");
    let receipt = run.ended().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert!(
        outcome.text().starts_with("error denied"),
        "{}",
        outcome.text()
    );
    assert!(text(&results(&outcome)[0]).contains("not on a Friday"));
    assert!(!calls(&outcome)[0].started, "what was denied never began");
}

#[tokio::test]
async fn the_first_answer_counts_and_the_second_learns_it() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let id = asked(&run).await.id;
    let (one, two) = tokio::join!(
        fixture.host.answer(id, allow()),
        fixture.host.answer(id, deny())
    );
    let (first, lost) = match (one, two) {
        (Ok(_), Err(lost)) => (allow(), lost),
        (Err(lost), Ok(_)) => (deny(), lost),
        (one, two) => panic!("one counts: {:?} {:?}", one.err(), two.err()),
    };
    let HostError::AlreadyAnswered { answer, .. } = lost else {
        panic!("the second learns: {lost}");
    };
    assert_eq!(answer, first);
    run.ended().await.expect("the run ends");
    let late = fixture.host.answer(id, deny()).await;
    assert!(matches!(
        late.err(),
        Some(HostError::AlreadyAnswered { .. })
    ));
    let unknown = fixture.host.answer(QuestionId::generate(), deny()).await;
    assert!(matches!(unknown.err(), Some(HostError::UnknownQuestion(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_answers_at_once_one_counts() {
    let fixture = asking(&TestTools::default()).await;
    for turn in 0..20 {
        let run = fixture.start(CHANGE).await;
        let id = asked(&run).await.id;
        let answers = (0..16).map(|n| {
            let host = fixture.host.clone();
            let answer = if (n + turn) % 2 == 0 { allow() } else { deny() };
            tokio::spawn(async move { (host.answer(id, answer.clone()).await, answer) })
        });
        let mut first = None;
        let mut told = Vec::new();
        for answer in futures_util::future::join_all(answers).await {
            match answer.expect("no panic") {
                (Ok(_), answer) => assert_eq!(first.replace(answer), None, "two count"),
                (Err(HostError::AlreadyAnswered { answer, .. }), _) => told.push(answer),
                (Err(error), _) => panic!("it is told of the first: {error}"),
            }
        }
        let first = first.expect("one counts");
        assert_eq!(told, vec![first.clone(); 15]);
        let receipt = run.ended().await.expect("the run ends");
        let outcome = fixture.outcome(&run, receipt).await;
        assert_eq!(
            outcome.text() == "done",
            first == allow(),
            "{}",
            outcome.text()
        );
        let answered = outcome.events.iter().filter_map(|event| match &event.body {
            EventBody::QuestionAnswered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        assert_eq!(answered.collect::<Vec<_>>(), [first]);
    }
}

#[tokio::test]
async fn one_session_s_question_does_not_hold_up_another_s() {
    let fixture = asking(&TestTools::default()).await;
    let other = fixture
        .workspace
        .new_session(&fixture.agent)
        .await
        .expect("a session");
    let (one, two) = (
        fixture.start(CHANGE).await,
        other.prompt(CHANGE).await.expect("accepted"),
    );
    let (first, second) = (asked(&one).await, asked(&two).await);
    fixture
        .host
        .answer(second.id, allow())
        .await
        .expect("it counts");
    let receipt = two.ended().await.expect("the run ends");
    assert_eq!(receipt.state, RunState::Completed);
    let open = fixture.workspace.questions().await.expect("the questions");
    assert_eq!(open, std::slice::from_ref(&first), "the first still waits");
    fixture
        .host
        .answer(first.id, allow())
        .await
        .expect("it counts");
    one.ended().await.expect("the run ends");
}

#[tokio::test]
async fn a_cancelled_run_takes_its_question_back() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let id = asked(&run).await.id;
    let receipt = run.cancel().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert!(outcome.kinds().contains(&"question.dismissed"));
    assert_eq!(
        text(&results(&outcome)[0]),
        "Tool call cancelled by the user"
    );
    assert!(
        fixture
            .workspace
            .questions()
            .await
            .expect("the questions")
            .is_empty()
    );
    let late = fixture.host.answer(id, allow()).await;
    assert!(matches!(late.err(), Some(HostError::QuestionDismissed(_))));
}

#[tokio::test]
async fn an_answer_for_a_session_stands_in_that_session_alone() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let id = asked(&run).await.id;
    let answer = remember(Within::Session, None);
    let answered = fixture.host.answer(id, answer).await.expect("it counts");
    let grant = answered.grant.expect("a grant");
    assert_eq!(grant.rule, "tools=test.change");
    run.ended().await.expect("the run ends");
    assert_eq!(fixture.run(CHANGE).await.text(), "done", "asked once");

    let other = fixture
        .workspace
        .new_session(&fixture.agent)
        .await
        .expect("a session");
    let run = other.prompt(CHANGE).await.expect("accepted");
    fixture
        .host
        .answer(asked(&run).await.id, deny())
        .await
        .expect("asked again");
    run.ended().await.expect("the run ends");

    let grants = fixture
        .host
        .grants(fixture.workspace.id())
        .await
        .expect("the grants");
    assert_eq!(grants, std::slice::from_ref(&grant));
    fixture.host.revoke(grant.id).await.expect("it is revoked");
    let again = fixture.host.revoke(grant.id).await;
    assert!(matches!(again, Err(HostError::UnknownGrant(_))));
    let run = fixture.start(CHANGE).await;
    fixture
        .host
        .answer(asked(&run).await.id, deny())
        .await
        .expect("asked again");
    run.ended().await.expect("the run ends");
}

#[tokio::test]
async fn an_answer_for_a_workspace_outlives_the_host() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let id = asked(&run).await.id;
    let answer = remember(Within::Workspace, Some("tools=test.*"));
    fixture.host.answer(id, answer).await.expect("it counts");
    run.ended().await.expect("the run ends");
    assert!(fixture.host.shutdown().await.is_empty());
    let Fixture { folder, .. } = fixture;
    let again = Plan::again(folder)
        .host(|host| host.tools(TestTools::default()))
        .build()
        .await;
    let outcome = again.run(r#"tool test.echo {"text":"still"}"#).await;
    assert_eq!(
        outcome.text(),
        "still",
        "in another session, with nobody to ask"
    );
}

#[tokio::test]
async fn an_answer_grants_nothing_that_was_not_asked_for() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let id = asked(&run).await.id;
    for rule in ["tools", "write-files", "tools=*", "tools=test.echo"] {
        let answer = remember(Within::Workspace, Some(rule));
        let refused = fixture
            .host
            .answer(id, answer)
            .await
            .err()
            .expect("refused");
        assert_eq!(refused.name(), "invalid-value");
        assert!(
            refused.to_string().contains("nothing else"),
            "{rule}: {refused}"
        );
    }
    let words = Answer::Text {
        text: "yes".to_owned(),
    };
    let refused = fixture.host.answer(id, words).await.err().expect("refused");
    assert_eq!(refused.name(), "invalid-value");
    assert!(
        refused.to_string().contains("`allow` or `deny`"),
        "{refused}"
    );
    let (_, _, state) = fixture.host.question(id).await.expect("the question");
    assert_eq!(state, QuestionState::Open, "a bad answer is none");
    fixture.host.answer(id, allow()).await.expect("it counts");
    run.ended().await.expect("the run ends");
    assert!(
        fixture
            .host
            .grants(fixture.workspace.id())
            .await
            .expect("read")
            .is_empty()
    );
}

#[tokio::test]
async fn with_nobody_to_ask_what_is_not_granted_is_denied_with_what_would_grant_it() {
    let plan = Plan::new().host(|host| host.tools(TestTools::default()));
    let fixture = plan.build().await;
    let outcome = fixture.run(CHANGE).await;
    let said = outcome.text();
    assert!(said.starts_with("error denied"), "{said}");
    assert!(said.contains("the rule `tools=test.change`"), "{said}");
    let outcome = fixture.run(r#"tool ask_user {"question":"Which?"}"#).await;
    assert!(
        outcome.text().starts_with("failed: Nobody is there"),
        "{}",
        outcome.text()
    );
}

#[tokio::test]
async fn what_others_bring_is_looked_at_only_once_it_is_allowed() {
    let plan = Plan::new().host(|host| host.tools(TestTools::default()));
    let fixture = plan.build().await;
    let said = fixture.run(r#"tool test.change {"wrong":1}"#).await.text();
    assert!(said.starts_with("error denied"), "{said}");
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start("tool test.change [1]").await;
    let id = asked(&run).await.id;
    let answered = fixture.host.answer(id, allow()).await;
    answered.expect("it counts");
    let receipt = run.ended().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert!(
        outcome.text().starts_with("error invalid"),
        "{}",
        outcome.text()
    );
    assert!(!outcome.kinds().contains(&"tool.started"), "it never began");
}

#[tokio::test]
async fn questions_that_are_dropped_are_taken_back_and_have_an_end() {
    let fixture = asking(&TestTools::default()).await;
    let other = fixture.workspace.new_session(&fixture.agent).await;
    let other = other.expect("a session").prompt(CHANGE).await;
    let other = asked(&other.expect("accepted")).await;
    let run = fixture.start("http-begin https://a.example/").await;
    wait_until_said(&run, "at last").await;
    let open = async {
        loop {
            let open = fixture.workspace.questions().await.expect("the questions");
            assert!(open.contains(&other), "another session's is listed");
            if open.len() == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let taken_back = tokio::time::timeout(Duration::from_secs(60), open).await;
    assert!(
        taken_back.is_ok(),
        "questions stay open that nobody waits for"
    );
    let receipt = run.cancel().await.expect("the run ends");
    let outcome = fixture.outcome(&run, receipt).await;
    assert_eq!(outcome.streamed(), "denied at last");
    let count = |kind| {
        outcome
            .kinds()
            .iter()
            .filter(|found| **found == kind)
            .count()
    };
    assert_eq!(count("question.asked"), 1_000);
    assert_eq!(count("question.dismissed"), 1_000);
}

#[tokio::test]
async fn a_user_is_asked_and_answers_in_words() {
    let fixture = asking(&TestTools::default()).await;
    let call = r#"tool ask_user {"question":"Which?","choices":["a","b"]}"#;
    let run = fixture.start(call).await;
    let question = asked(&run).await;
    let refused = fixture
        .host
        .answer(question.id, allow())
        .await
        .err()
        .expect("refused");
    assert_eq!(refused.name(), "invalid-value");
    assert!(
        refused.to_string().contains("answer with `text`"),
        "{refused}"
    );
    let answer = Answer::Text {
        text: "the second".to_owned(),
    };
    fixture
        .host
        .answer(question.id, answer)
        .await
        .expect("it counts");
    let receipt = run.ended().await.expect("the run ends");
    assert_eq!(fixture.outcome(&run, receipt).await.text(), "the second");
}

#[tokio::test]
async fn an_answer_whose_sender_hangs_up_counts_all_the_same() {
    let fixture = asking(&TestTools::default()).await;
    let run = fixture.start(CHANGE).await;
    let id = asked(&run).await.id;
    let sent = Box::pin(fixture.host.answer(id, allow()));
    // Polled once and dropped: the answer is submitted without a waiting caller, unless the disk
    // was faster.
    let _handed_over = futures_util::future::poll_immediate(sent).await;
    let receipt = run.ended().await.expect("the run ends");
    assert_eq!(fixture.outcome(&run, receipt).await.text(), "done");
}

#[tokio::test]
async fn another_agent_is_asked_about_with_its_prompt() {
    let fixture = asking(&TestTools::default()).await;
    let call = r#"tool run_agent {"agent":"probe","prompt":"echo this","config":{"a":1}}"#;
    let run = fixture.start(call).await;
    let Asked::Permission { details, .. } = asked(&run).await.asked else {
        panic!("a permission");
    };
    let shown = "prompt:\necho this\nconfig:\n{\"a\":1}";
    assert_eq!(details.as_deref(), Some(shown));
    run.cancel().await.expect("the run ends");
}

lastword_tests::also_in_memory![
    what_is_allowed_goes_on_and_what_is_not_does_not,
    the_first_answer_counts_and_the_second_learns_it,
    of_many_answers_at_once_one_counts,
    one_session_s_question_does_not_hold_up_another_s,
    a_cancelled_run_takes_its_question_back,
    an_answer_for_a_session_stands_in_that_session_alone,
    an_answer_grants_nothing_that_was_not_asked_for,
    with_nobody_to_ask_what_is_not_granted_is_denied_with_what_would_grant_it,
    what_others_bring_is_looked_at_only_once_it_is_allowed,
    questions_that_are_dropped_are_taken_back_and_have_an_end,
    a_user_is_asked_and_answers_in_words,
    an_answer_whose_sender_hangs_up_counts_all_the_same,
    another_agent_is_asked_about_with_its_prompt,
];
