//! Routes about runs: prompting, showing, cancelling and resuming them.

use super::App;
use super::extract::{Arrived, Asked, At, Caller, Json};
use super::prompts::{decoded, one_of_two, said};
use super::workspaces::{Paging, deadline, limit};
use crate::access::{Action, Arrival};
use crate::problem::Problem;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use lastword::id::{RunId, SessionId};
use lastword::{Prompt, Receipt, Resume};
use lastword_api::{NewRun, PageView, RunSummary};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

/// The largest number of characters of an idempotency key.
const KEY_CHARS_MAX: usize = 255;

pub(super) fn routes(bytes_max: usize) -> OpenApiRouter<Arc<App>> {
    let asking = routes!(prompt_session, list_runs).layer(DefaultBodyLimit::max(bytes_max));
    OpenApiRouter::new()
        .routes(asking)
        .routes(routes!(cancel_session))
        .routes(routes!(show_run))
        .routes(routes!(cancel_run))
        .routes(routes!(resume_run))
}

/// Returns the caller's idempotency key, if there is one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let wrong = || {
        Problem::new(
            "invalid-key",
            format!(
                "send one `Idempotency-Key` of 1 to {KEY_CHARS_MAX} printable ASCII characters"
            ),
        )
    };

    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => {
            let key = key.to_str().map_err(|_| wrong())?;
            let printable = |c: u8| c.is_ascii_graphic() || c == b' ';
            let fits = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(printable);
            fits.then(|| Some(key.to_owned())).ok_or_else(wrong)
        }
        (Some(_), Some(_)) => Err(wrong()),
    }
}

/// The response with a run and its address.
type Going = (
    StatusCode,
    [(HeaderName, String); 1],
    axum::Json<RunSummary>,
);

fn going(view: RunSummary) -> Going {
    let location = format!("/v1/runs/{}", view.run);
    (
        StatusCode::ACCEPTED,
        [(LOCATION, location)],
        axum::Json(view),
    )
}

/// Send a prompt
///
/// Returns once the prompt is durable; the events report its run. If the session is busy, the
/// prompt is queued. The run belongs to the workspace: it does not depend on this connection. The
/// same `Idempotency-Key` with the same content returns the same run and starts nothing; with other
/// content it is refused.
#[utoipa::path(
    post,
    path = "/sessions/{s}/runs",
    tag = "runs",
    params(
        ("s" = SessionId, Path, description = "The session."),
        ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The caller's name for this very request, in printable ASCII."),
    ),
    request_body(content = NewRun, description = "At most 28 MiB, unless the server says \
        otherwise, and at most 1 MiB of it beside the attachments."),
    responses((status = 202, description = "It is accepted and durable.", body = RunSummary))
)]
async fn prompt_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    Arrived(arrival): Arrived,
    At(id): At<SessionId>,
    headers: HeaderMap,
    Json(new): Json<NewRun>,
) -> Result<Going, Problem> {
    let key = key(&headers)?;
    let attachments = new.attachments.unwrap_or_default();
    let said = match said(new.prompt, new.parts)? {
        Some(said) => said,
        None if !attachments.is_empty() => Vec::new(),
        None => return Err(one_of_two()),
    };

    let config = new.config.as_deref().map(RawValue::get);
    if arrival != Arrival::InProcess && config.is_some_and(|json| !json.starts_with('{')) {
        return Err(Problem::new(
            "invalid-body",
            "the body is not what this route takes: `config` is a JSON object",
        ));
    }

    app.bound(&said, config)?;
    let mut prompt = Prompt::parts(said);
    for (at, sent) in attachments.into_iter().enumerate() {
        let bytes = decoded(at, &sent)?;
        prompt = prompt.attach(sent.media_type, sent.name, bytes);
    }

    if let Some(key) = key {
        prompt = prompt.key(key);
    }

    if let Some(deadline) = deadline(new.deadline_ms)? {
        prompt = prompt.deadline(deadline);
    }

    if let Some(config) = config {
        prompt = prompt.config(config);
    }

    if let Some(client) = new.bound_to {
        prompt = prompt.bound_to(client);
    }

    let work = {
        let app = Arc::clone(&app);
        async move {
            let session = app.session(&who, Action::Prompt, id).await?;
            let asked = session.prompt(prompt).await;
            let run = asked.map_err(|error| app.now(error))?;
            Ok(run.summary().await?)
        }
    };

    // The request was read completely: from now on the client may disconnect.
    Ok(going(app.finish_request(work).await?))
}

/// List a session's runs
///
/// Without their messages, in the order of acceptance.
#[utoipa::path(
    get,
    path = "/sessions/{s}/runs",
    tag = "runs",
    params(("s" = SessionId, Path, description = "The session."), Paging),
    responses((status = 200, description = "One page of them.", body = PageView<RunSummary>))
)]
async fn list_runs(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
    Asked(paging): Asked<Paging>,
) -> Result<axum::Json<PageView<RunSummary>>, Problem> {
    let limit = limit(paging.limit)?;
    let session = app.session(&who, Action::Read, id).await?;
    let page = session.list_runs(limit, paging.after).await?;
    Ok(axum::Json(PageView {
        items: page.items,
        next: page.next,
        damaged: page.damaged,
    }))
}

/// Show a run
#[utoipa::path(
    get,
    path = "/runs/{r}",
    tag = "runs",
    params(("r" = RunId, Path, description = "The run.")),
    responses((status = 200, description = "How it stands.", body = RunSummary))
)]
async fn show_run(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<RunId>,
) -> Result<axum::Json<RunSummary>, Problem> {
    let (run, _) = app.run(&who, Action::Read, id).await?;
    Ok(axum::Json(run.summary().await?))
}

/// Cancel a run
///
/// Returns once its end is on disk. A repeated request returns the same receipt.
#[utoipa::path(
    post,
    path = "/runs/{r}/cancel",
    tag = "runs",
    params(("r" = RunId, Path, description = "The run.")),
    responses(
        (status = 200, description = "How it ended.", body = Receipt),
        (status = 202, description = "It is stopped, but its end is not on disk yet.", body = Receipt),
    )
)]
async fn cancel_run(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<RunId>,
) -> Result<(StatusCode, axum::Json<Receipt>), Problem> {
    let (run, _) = app.run(&who, Action::Cancel, id).await?;
    let receipt = app
        .finish_request(async move { Ok(run.cancel().await?) })
        .await?;
    Ok((written(receipt.persisted), axum::Json(receipt)))
}

fn written(persisted: bool) -> StatusCode {
    if persisted {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}

/// Cancel all runs and waits of a session
///
/// Stops the current run, withdraws every prompt that was accepted before now, and cancels the
/// waits of the session: no time wakes it any more, and its question is dismissed. A cancelled wait
/// is reported as the end of a run with the origin `wake`.
#[utoipa::path(
    post,
    path = "/sessions/{s}/cancel",
    tag = "runs",
    params(("s" = SessionId, Path, description = "The session.")),
    responses(
        (status = 200, description = "How they ended; of an idle session, nothing.", body = Vec<Receipt>),
        (status = 202, description = "They are stopped, but not every end is on disk yet.", body = Vec<Receipt>),
    )
)]
async fn cancel_session(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<SessionId>,
) -> Result<(StatusCode, axum::Json<Vec<Receipt>>), Problem> {
    let session = app.session(&who, Action::Cancel, id).await?;
    let receipts = app
        .finish_request(async move { Ok(session.cancel().await?) })
        .await?;
    let all = receipts.iter().all(|receipt| receipt.persisted);
    Ok((written(all), axum::Json(receipts)))
}

/// Resume a run
///
/// A held run is put back into the queue. A run that ended early is continued by one new run: until
/// that has ended, a repeated request returns it, and afterwards it is refused with
/// `already-resumed`, which names it. The same `Idempotency-Key` returns the same run and starts
/// nothing.
#[utoipa::path(
    post,
    path = "/runs/{r}/resume",
    tag = "runs",
    params(
        ("r" = RunId, Path, description = "The run."),
        ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "The caller's name for this very request, in printable ASCII."),
    ),
    responses((status = 202, description = "The run that goes on.", body = RunSummary))
)]
async fn resume_run(
    State(app): State<Arc<App>>,
    Caller(who): Caller,
    At(id): At<RunId>,
    headers: HeaderMap,
) -> Result<Going, Problem> {
    let key = key(&headers)?;
    let (_, session) = app.run(&who, Action::Prompt, id).await?;
    let asked = Arc::clone(&app);
    let work = async move {
        let which = Resume::of(id);
        let which = match key {
            Some(key) => which.key(key),
            None => which,
        };
        let resumed = session.resume(which).await;
        let run = resumed.map_err(|error| asked.now(error))?;
        Ok(run.summary().await?)
    };

    Ok(going(app.finish_request(work).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_key_is_one_short_printable_line() {
        let with = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append("idempotency-key", value);
            }
            key(&headers).map_err(|problem| problem.name())
        };
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(with(&[b"a b"]), Ok(Some("a b".to_owned())));
        let longest = [b'k'; KEY_CHARS_MAX];
        assert!(with(&[&longest]).is_ok());
        let longer = [b'k'; KEY_CHARS_MAX + 1];
        for wrong in [
            &[&b""[..]][..],
            &[b"a", b"a"],
            &[&longer],
            &[b"\xff"],
            &[b"a\tb"],
        ] {
            assert_eq!(with(wrong), Err("invalid-key"));
        }
    }
}
