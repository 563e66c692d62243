//! Routes about questions of runs to people, and about the grants of answers: listing, answering,
//! revoking.

use super::App;
use super::extract::{Asked, At, Caller, Json};
use super::runs::key;
use crate::access::{Action, Principal};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use lastword::HostError;
use lastword::id::{GrantId, QuestionId, SessionId, WorkspaceId};
use lastword::permission::Rule;
use lastword::session::{Answer, Asked as What, Granted, Question, QuestionState};
use lastword_api::{AnsweredView, PageView, QuestionStatus, QuestionView};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list_questions))
        .routes(routes!(show_question, answer_question))
        .routes(routes!(list_grants))
        .routes(routes!(revoke_grant))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only questions in this workspace.
    workspace: Option<WorkspaceId>,
    /// Only questions of this session and its descendants.
    session: Option<SessionId>,
}

/// List the unanswered questions
///
/// The oldest first: at most 1,000 of those that you may see. With a filter, at most 1,000 of that
/// workspace or session.
#[utoipa::path(
    get,
    path = "/permissions",
    tag = "permissions",
    params(Which),
    responses((status = 200, description = "All of them.", body = PageView<Question>))
)]
async fn list_questions(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Asked(which): Asked<Which>,
) -> Result<axum::Json<PageView<Question>>, Problem> {
    if let Some(workspace) = which.workspace {
        app.workspace(&who, Action::Read, workspace).await?;
    }

    let items = match which.session {
        Some(session) => {
            let session = app.session(&who, Action::Read, session).await?;
            match which.workspace {
                Some(only) if only != session.workspace_id() => Vec::new(),
                _ => session.questions().await?,
            }
        }
        None => {
            let asking = match which.workspace {
                Some(workspace) => vec![workspace],
                None => seen(&app, &who).await?,
            };
            app.host.questions_in(asking).await?
        }
    };

    let mut page = PageView::whole(items);
    page.damaged = app.damaged(&who, "question").await;
    Ok(axum::Json(page))
}

/// Returns the workspaces with open questions that the caller may see, so that hidden questions do
/// not count towards the bound of a list.
async fn seen(app: &App, who: &Principal) -> Result<Vec<WorkspaceId>, Problem> {
    let mut seen = Vec::new();
    for workspace in app.host.asking_workspaces().await? {
        if app.sees(who, workspace).await? {
            seen.push(workspace);
        }
    }
    Ok(seen)
}

/// Show a question with its status
#[utoipa::path(
    get,
    path = "/permissions/{q}",
    tag = "permissions",
    params(("q" = QuestionId, Path, description = "The question.")),
    responses((status = 200, description = "How it stands.", body = QuestionView))
)]
async fn show_question(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<QuestionId>,
) -> Result<axum::Json<QuestionView>, Problem> {
    let (workspace, question, state) = app.question(&who, Action::Read, id).await?;
    let (state, answer) = match state {
        QuestionState::Open => (QuestionStatus::Open, None),
        QuestionState::Answered(answer) => (QuestionStatus::Answered, Some(answer)),
        QuestionState::Dismissed => (QuestionStatus::Dismissed, None),
    };

    Ok(axum::Json(QuestionView {
        question,
        workspace,
        state,
        answer,
    }))
}

/// Answer a question
///
/// The first answer counts, and is on disk with its grant when the response is sent. Other open
/// questions that the grant covers are answered with it, as their `question.answered` says. A
/// second answer is refused with `already-answered` and the answer that counts. To allow something,
/// even only once, requires the right to grant it. If the run that asked has ended and the answer
/// queues another run, the same answer with the same `Idempotency-Key` returns that run again.
#[utoipa::path(
    post,
    path = "/permissions/{q}",
    tag = "permissions",
    params(
        ("q" = QuestionId, Path, description = "The question."),
        ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The caller's name for this very request, in printable ASCII."),
    ),
    request_body = Answer,
    responses((status = 200, description = "The answer counts.", body = AnsweredView))
)]
async fn answer_question(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<QuestionId>,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<axum::Json<AnsweredView>, Problem> {
    let (answer, key) = (answer(body)?, key(&headers)?);
    let work = {
        let app = Arc::clone(&app);
        async move {
            let (workspace, question, _) = app.question(&who, Action::Answer, id).await?;
            if let Some(rule) = allowed(&question, &answer) {
                let unknown = || HostError::UnknownQuestion(id).into();
                app.demand_at(&who, Action::Grant(&rule), workspace, unknown)
                    .await?;
            }
            let answered = match key {
                Some(key) => app.host.answer_with_key(id, answer, key).await,
                None => app.host.answer(id, answer).await,
            };
            let answered = answered.map_err(|error| app.now(error))?;
            Ok(AnsweredView {
                resolved: true,
                grant: answered.grant,
                settled: answered.settled,
                run: answered.run.map(|run| run.id()),
            })
        }
    };

    // The request was read completely: from now on the client may disconnect.
    Ok(axum::Json(app.finish_request(work).await?))
}

/// Parses an answer, strictly.
fn answer(body: Map<String, Value>) -> Result<Answer, Problem> {
    let invalid = |why: String| {
        let detail = format!("the body is no answer: {why}");
        Problem::new("invalid-body", detail)
    };

    // Serde would also accept a list of the record's values without their names.
    if let Some(Value::Array(_)) = body.get("remember") {
        return Err(invalid("`remember` is an object".to_owned()));
    }

    serde_json::from_value(Value::Object(body)).map_err(|error| invalid(error.to_string()))
}

/// Returns the rule that an answer allows: the one that it grants, or the access that the question
/// asked for.
fn allowed(question: &Question, answer: &Answer) -> Option<Rule> {
    let asked = &question.asked;
    let (
        What::Permission {
            offers, capability, ..
        },
        Answer::Allow { remember },
    ) = (asked, answer)
    else {
        return None;
    };

    let named = remember
        .as_ref()
        .and_then(|remember| remember.rule.as_ref());
    // The host refuses rules that are not among the offers, from every client.
    let rule = named.or(offers.first()).and_then(|rule| rule.parse().ok());
    rule.or_else(|| capability.parse().ok())
}

/// List the grants of answers in a workspace
#[utoipa::path(
    get,
    path = "/workspaces/{w}/grants",
    tag = "permissions",
    params(("w" = WorkspaceId, Path, description = "The workspace.")),
    responses((status = 200, description = "All that is not revoked, the oldest first.", body = PageView<Granted>))
)]
async fn list_grants(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<WorkspaceId>,
) -> Result<axum::Json<PageView<Granted>>, Problem> {
    app.workspace(&who, Action::Read, id).await?;
    let items = app.host.grants(id).await?;
    let mut page = PageView::whole(items);
    page.damaged = app.damaged(&who, "granted").await;
    Ok(axum::Json(page))
}

/// Revoke the grant of an answer
///
/// Takes effect for every decision from now on.
#[utoipa::path(
    delete,
    path = "/grants/{g}",
    tag = "permissions",
    params(("g" = GrantId, Path, description = "The grant.")),
    responses((status = 204, description = "It is taken back."))
)]
async fn revoke_grant(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<GrantId>,
) -> Result<StatusCode, Problem> {
    let (workspace, _) = app.host.grant(id).await?;
    let unknown = || HostError::UnknownGrant(id).into();
    app.demand_at(&who, Action::Revoke, workspace, unknown)
        .await?;
    let host = app.host.clone();
    app.finish_request(async move { Ok(host.revoke(id).await?) })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_what_it_says_and_nothing_else() {
        let read = |body: Value| match body {
            Value::Object(body) => answer(body).map_err(|problem| problem.name()),
            _ => Err("no object"),
        };
        assert_eq!(
            read(json!({ "answer": "allow" })),
            Ok(Answer::Allow { remember: None })
        );
        assert_eq!(
            read(json!({ "answer": "deny", "reason": "no" })),
            Ok(Answer::Deny {
                reason: Some("no".to_owned())
            })
        );
        for wrong in [
            json!({}),
            json!({ "answer": "maybe" }),
            json!({ "answer": "allow", "typo": 1 }),
            json!({ "answer": "allow", "remember": ["session"] }),
            json!({ "answer": "allow", "remember": { "within": "for ever" } }),
            json!({ "answer": "allow", "remember": { "within": "session", "typo": 1 } }),
            json!({ "answer": "text" }),
        ] {
            assert_eq!(read(wrong.clone()), Err("invalid-body"), "{wrong}");
        }
    }
}
