//! A client of a server is told the same as an embedder of its host: whether the same request may
//! succeed later.

use axum::body::to_bytes;
use axum::response::IntoResponse;
use lastword::id::{
    AgentId, ClientId, GrantId, MessageId, QuestionId, RunId, SessionId, WorkspaceId,
};
use lastword::session::Answer;
use lastword::{Damage, ERROR_NAMES, HostError, OpenError, RunState, WorkspaceKey};
use lastword_client::{ClientError, Refusal};
use lastword_server::problem::Problem;
use std::collections::BTreeSet;

/// At least one error of every name.
fn errors() -> Vec<HostError> {
    let agent = || AgentId::new("a").expect("a name");
    let (run, session) = (RunId::generate(), SessionId::generate());
    let (workspace, question) = (WorkspaceId::generate(), QuestionId::generate());
    let client = ClientId::generate();
    vec![
        HostError::Open(OpenError::InUse {
            directory: "/data".into(),
            pid: "1".to_owned(),
        }),
        HostError::NoRuntime,
        HostError::UnknownDirectory(workspace),
        HostError::Internal {
            doing: "answer",
            why: "it could not".to_owned(),
        },
        HostError::UnreadableOptions(WorkspaceKey::name("w")),
        HostError::ProvidersUnavailable {
            workspace: WorkspaceKey::name("w"),
            why: "no account".to_owned(),
        },
        HostError::AgentId(AgentId::new("").expect_err("no name")),
        HostError::EmptyPrompt(agent()),
        HostError::QueueFull(session),
        HostError::KeyConflict(session),
        HostError::UnknownSession(session),
        HostError::UnknownRun(run),
        HostError::WorkspaceClosing(workspace),
        HostError::UnknownWorkspace(workspace),
        HostError::UnknownAgent(agent()),
        HostError::ClientRetired(client),
        HostError::ClientNotAttached { client, workspace },
        HostError::CursorExpired { resume_after: 7 },
        HostError::InvalidCursor { last: 7 },
        HostError::RunStarted(run),
        HostError::Held(run),
        HostError::NotEnded {
            run,
            state: RunState::Running,
        },
        HostError::BegunByRun(run),
        HostError::AlreadyResumed { run, by: run },
        HostError::UnknownMessage(MessageId::generate()),
        HostError::UnknownQuestion(question),
        HostError::AlreadyAnswered {
            question,
            answer: Answer::Allow { remember: None },
        },
        HostError::QuestionDismissed(question),
        HostError::UnknownGrant(GrantId::generate()),
        HostError::Invalid("too long".to_owned()),
        HostError::HostClosing,
        HostError::StoreUnavailable("full".to_owned()),
        HostError::Damaged(Box::<Damage>::default()),
    ]
}

#[tokio::test]
async fn a_client_and_an_embedder_agree_about_every_error() {
    let mut names = BTreeSet::new();
    let mut retryable = 0;
    for error in errors() {
        let (name, again) = (error.name(), error.is_retryable());
        names.insert(name);
        retryable += usize::from(again);

        let answer = Problem::from(error).into_response();
        let body = to_bytes(answer.into_body(), usize::MAX).await;
        let problem = serde_json::from_slice(&body.expect("a body")).expect("a problem");
        let told = ClientError::Refused(Box::new(Refusal {
            address: "http://a".to_owned(),
            problem,
        }));
        assert_eq!(told.name(), Some(name));
        assert_eq!(told.is_retryable(), again, "{name}");
    }

    let listed: BTreeSet<_> = ERROR_NAMES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
    assert!((3..names.len()).contains(&retryable), "both kinds occur");
}
