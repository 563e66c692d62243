//! A run at another host: from a plan to the run's end, over its API. The run belongs to that
//! host; what is lost with the connection is asked for again. Knows neither how events look nor
//! how signals arrive.

use crate::agent::{self, Found};
use crate::attachments::Attachment;
use crate::client::{AgentView, Api, CallError, Feed, RunView, WorkspaceView, ask, escaped};
use crate::desk::{Answerer, Desk};
use crate::failure::{Exit, Failure};
use crate::follow::{self, Met};
use crate::place;
use crate::plan::Plan;
use crate::printer::printer;
use crate::reading::Source;
use crate::run::{conclude, has_default, may_run};
use crate::signals::Stops;
use crate::terminal::{Terminal, to_stdout};
use crate::view::View;
use lastword::event::{Event, EventBody};
use lastword::file;
use lastword::id::{RunId, SessionId, WorkspaceId};
use lastword::permission::{Grants, Manifest};
use lastword::session::SessionRecord;
use lastword::{HostError, Receipt, WorkspaceKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::pending;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// Runs an agent there, and stays until its end is told.
///
/// An owner that leaves before the prompt is accepted is a failure that says so; the plan then
/// names the session and the key that the prompt has, wherever it is asked next.
pub(crate) async fn run(
    api: &Api,
    plan: &mut Plan,
    found: &Found,
    stops: &mut Stops,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let name = plan.name.clone().unwrap_or_else(|| found.name.clone());
    let manifest = tokio::select! {
        loaded = load(api, &name, found, terminal) => loaded?,
        _ = stops.recv() => {
            terminal.note("stopped before the agent was loaded; nothing was run");
            return Ok(Exit::Cancelled);
        }
    };
    let Some(notes) = may_run(&name, &manifest, &plan.grants, plan.asks, terminal) else {
        return Ok(Exit::Denied);
    };
    if plan.is_blank() && !has_default(&manifest) {
        return Err(Failure::empty_prompt(&name));
    }
    let going_on = match &plan.session {
        None => None,
        Some(word) => Some(Source::Server(api.clone()).session(word).await?.record),
    };
    let client = Client::new(api);
    let key = plan.directory.clone();
    let key = key.unwrap_or_else(|| WorkspaceKey::name(&name));
    let workspace = client.claim(&key, &plan.grants, plan.asks).await?;
    let run = async {
        let session = match going_on {
            Some(record) => fitting(api, record, &workspace, &name).await?,
            None => {
                let path = format!("/workspaces/{}/sessions", workspace.id);
                let begun = api.post(&path, &json!({ "agent": name })).await;
                let begun: SessionRecord = begun.map_err(on_the_way)?;
                begun.id
            }
        };
        plan.session = Some(session.to_string());
        let key = plan.key.take();
        plan.key = Some(key.unwrap_or_else(|| Uuid::now_v7().to_string()));
        prompt(api, plan, session).await
    };
    let run = match run.await {
        Ok(run) => run,
        Err(failure) => {
            client.retire().await;
            return Err(failure);
        }
    };
    // Not before: until then another host may be asked, with the same to tell.
    for note in &notes {
        terminal.note(note);
    }
    if plan.detach {
        return detached(&run, plan.json, terminal);
    }
    let exit = client
        .see_through(&run, workspace.id, (plan.json, plan.asks), stops, terminal)
        .await;
    client.retire().await;
    exit
}

/// Has the host know the agent under this name, by these very bytes.
pub(crate) async fn load(
    api: &Api,
    name: &str,
    found: &Found,
    terminal: &Terminal,
) -> Result<Manifest, Failure> {
    let wasm = file::read(&found.file, file::COMPONENT_BYTES_MAX).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", found.file.display()))
    })?;
    let digest = Sha256::digest(&wasm);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(loaded) = loaded(api, name).await? {
        if loaded.digest == digest {
            return Ok(loaded.into_manifest());
        }
        let place = api.place();
        terminal.note(&format!(
            "the agent `{name}` at {place} is replaced by this one"
        ));
    }
    let path = format!("/agents?name={}", escaped(name));
    let uploading = api.upload(&path, wasm);
    let uploaded: Result<AgentView, CallError> = agent::loading(name, uploading, terminal).await;
    uploaded.map(AgentView::into_manifest).map_err(|error| {
        let mut failure = Failure::from(error);
        // The host was sent bytes, and knows no file.
        failure.message = format!("{}: {}", found.file.display(), failure.message);
        failure
    })
}

/// An agent that the host knows.
pub(crate) async fn loaded(api: &Api, name: &str) -> Result<Option<AgentView>, Failure> {
    match api
        .get::<AgentView>(&format!("/agents/{}", escaped(name)))
        .await
    {
        Ok(loaded) => Ok(Some(loaded)),
        Err(error) if matches!(error.name(), Some("unknown-agent" | "invalid-id")) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A session to go on with, which must be of this agent and workspace.
async fn fitting(
    api: &Api,
    record: SessionRecord,
    workspace: &WorkspaceView,
    name: &str,
) -> Result<SessionId, Failure> {
    let session = record.id;
    if record.workspace != workspace.id {
        let path = format!("/workspaces/{}", record.workspace);
        let other: WorkspaceView = api.get(&path).await?;
        return Err(Failure::other_workspace(session, &other.stored_key()));
    }
    if record.agent.as_str() != name {
        let agent = record.agent.to_string();
        return Err(HostError::OtherAgent { session, agent }.into());
    }
    Ok(session)
}

/// Asks, until there is an answer: the key lets the host know the same prompt again.
async fn prompt(api: &Api, plan: &Plan, session: SessionId) -> Result<RunView, Failure> {
    let mut body = json!({ "prompt": plan.text });
    if !plan.attachments.is_empty() {
        body["attachments"] = plan.attachments.iter().map(Attachment::as_json).collect();
    }
    if let Some(config) = &plan.config {
        body["config"] = serde_json::from_str(config).unwrap_or(Value::Null);
    }
    if let Some(deadline) = plan.deadline.and_then(|deadline| deadline.0) {
        let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        body["deadline_ms"] = ms.into();
    }
    let key = plan.key.as_deref().unwrap_or_default();
    let path = format!("/sessions/{session}/runs");
    let asked = ask(api, &path, &body, key).await;
    asked.map_err(|error| unknown(error, session, key))
}

/// A failure on the way to a prompt: what an earlier request asked for is forgotten by an owner
/// that leaves in between.
fn on_the_way(error: CallError) -> Failure {
    let forgotten = ["workspace-closing", "unknown-workspace", "unknown-agent"];
    let forgotten = error.name().is_some_and(|name| forgotten.contains(&name));
    let mut failure = Failure::from(error);
    failure.handover |= forgotten;
    failure
}

/// Without an answer, nobody knows whether the prompt was accepted.
fn unknown(error: CallError, session: SessionId, key: &str) -> Failure {
    let is_unknown = matches!(error, CallError::Unreachable { .. });
    let mut failure = on_the_way(error);
    if is_unknown {
        failure.handover = true;
        failure.exit = Exit::Failed;
        failure.message = format!(
            "it is not known whether the prompt was accepted: {}; ask again with \
             `--session {session} --key {key}`, which starts nothing twice",
            failure.message
        );
    }
    failure
}

/// Says how to find the run again.
fn detached(run: &RunView, json: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let (id, session) = (run.run, run.session);
    let line = match json {
        true => format!(
            "{}\n",
            json!({ "run": id, "session": session, "state": run.state })
        ),
        false => format!("{id}\n"),
    };
    // The run goes on, whoever reads this.
    let _closed = to_stdout(&line);
    terminal.note(&format!(
        "it goes on without this command · `lastword show {session}` · `lastword cancel {id}`"
    ));
    Ok(Exit::Completed)
}

/// This process, as the host knows it.
pub(crate) struct Client<'a> {
    api: &'a Api,
    id: Uuid,
}

impl<'a> Client<'a> {
    pub(crate) fn new(api: &'a Api) -> Self {
        let id = Uuid::now_v7();
        Self { api, id }
    }

    /// Opens a workspace and holds it for a while.
    pub(crate) async fn claim(
        &self,
        key: &WorkspaceKey,
        grants: &Grants,
        asks: bool,
    ) -> Result<WorkspaceView, Failure> {
        let granted: Vec<String> = grants.allowed().map(ToString::to_string).collect();
        let denied: Vec<String> = grants.denied().map(ToString::to_string).collect();
        let mut body = json!({
            "client_id": self.id,
            "grants": granted,
            "deny": denied,
            "ask": asks,
        });
        match key {
            WorkspaceKey::Directory(path) => body["directory"] = json!(place::utf8(path)?),
            WorkspaceKey::Name(name) => body["name"] = json!(name),
        }
        Ok(self.api.post("/workspaces", &body).await?)
    }

    /// Ends its claims. Whoever cannot be told finds out by itself.
    pub(crate) async fn retire(&self) {
        let _gone = self.api.delete(&format!("/clients/{}", self.id)).await;
    }

    /// Shows a run until its end, and tells that.
    pub(crate) async fn see_through(
        &self,
        run: &RunView,
        workspace: WorkspaceId,
        (json, asks): (bool, bool),
        stops: &mut Stops,
        terminal: &Terminal,
    ) -> Result<Exit, Failure> {
        let mut view = View::new(json, terminal);
        let mut desk = Desk::new(Answerer::Server(self.api.clone()), asks, json, terminal);
        let met = self
            .follow(run, workspace, &mut view, &mut desk, stops, terminal)
            .await?;
        desk.close();
        Ok(conclude(&met, &view, run.session, terminal))
    }

    async fn follow(
        &self,
        run: &RunView,
        workspace: WorkspaceId,
        view: &mut View,
        desk: &mut Desk<'_>,
        stops: &mut Stops,
        terminal: &Terminal,
    ) -> Result<Met, Failure> {
        let mut feed = Feed::of_run(self.api, run);
        let watch = follow::watch_reader();
        let mut reader = std::pin::pin!(follow::reader_gone(watch.as_ref()));
        let (mut asked, mut claim, mut ahead) = (Asked::default(), None, None);
        loop {
            let (listening, explain_at) = (!asked.reader_gone, asked.explain_at);
            let (asking, leaving) = (desk.is_asking(), asked.leaving());
            if asking && ahead.is_none() {
                ahead = Some(feed.ahead());
            } else if !asking {
                ahead = None;
            }
            tokio::select! {
                biased;
                _ = stops.recv() => {
                    asked.explain_at = Some(Instant::now() + follow::SILENCE);
                    asked.stop(self.api, run.run);
                }
                () = &mut reader, if listening => asked.leave(self.api, run.run),
                error = printer().out().failed(), if listening => {
                    asked.leave(self.api, run.run);
                    follow::tell_unwritable(&error, terminal);
                }
                receipt = asked.answer() => match receipt? {
                    Some(receipt) if !receipt.persisted => return Ok(asked.met(receipt)),
                    Some(receipt) => asked.ended = Some((receipt, std::time::Instant::now())),
                    None => {}
                },
                frame = next(&mut feed, leaving), if !asking => {
                    let Some(frame) = frame else {
                        return asked.cut();
                    };
                    let frame = frame.map_err(|error| lost(error, run))?;
                    let Ok(event) = serde_json::from_str::<Event>(&frame) else {
                        continue;
                    };
                    claim.get_or_insert_with(|| self.keep(workspace, &event));
                    desk.event(&event, view);
                    if !asked.reader_gone {
                        // Why it cannot be written is said once, where it is noticed.
                        let _unwritable = view.event(&event);
                    }
                    if let EventBody::RunEnded { receipt } = event.body {
                        return Ok(asked.met(receipt));
                    }
                }
                frame = coming(&mut ahead) => {
                    let frame = frame.map_err(|error| lost(error, run))?;
                    if let Ok(event) = serde_json::from_str::<Event>(&frame) {
                        desk.ahead(&event, view);
                    }
                }
                turn = desk.turn(view) => desk.take(turn, view),
                () = follow::at(explain_at) => {
                    asked.explain_at = None;
                    view.interrupt_line();
                    terminal.note("stopping, and waiting for the host; Ctrl-C again leaves at once");
                }
            }
        }
    }

    /// Has a stream of the workspace open, which keeps the claim; it begins where the run does.
    fn keep(&self, workspace: WorkspaceId, first: &Event) -> Keeping {
        let path = format!(
            "/workspaces/{workspace}/events?client_id={}&after={}",
            self.id, first.pos.0
        );
        let mut feed = Feed::kept(self.api, path);
        Keeping(tokio::spawn(
            async move { while feed.next().await.is_ok() {} },
        ))
    }
}

/// The next event, once there is room for it; `None` where the output is to be left alone. May be
/// dropped while it waits.
async fn next(
    feed: &mut Feed,
    leaving: Option<std::time::Instant>,
) -> Option<Result<String, CallError>> {
    if follow::has_room(leaving).await {
        return Some(feed.next().await);
    }
    None
}

/// What the log holds beyond what is shown; never, while nothing is read there.
async fn coming(ahead: &mut Option<Feed>) -> Result<String, CallError> {
    match ahead {
        None => pending().await,
        Some(feed) => feed.next().await,
    }
}

/// A claim's stream, for as long as this lives.
struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The run is out of sight, whatever becomes of it.
fn lost(error: CallError, run: &RunView) -> Failure {
    let mut failure = Failure::from(error);
    failure.exit = Exit::Failed;
    failure.handover = false;
    failure.message = format!(
        "the run {} is out of sight: {}; it has its end on disk or gets it with the host's next \
         start: `lastword show {}`",
        run.run, failure.message, run.session
    );
    failure
}

/// What was asked of the run on the way.
#[derive(Default)]
struct Asked {
    stopping: Option<JoinHandle<Result<Receipt, CallError>>>,
    explain_at: Option<Instant>,
    reader_gone: bool,
    /// The end that is on disk, and since when it is known here.
    ended: Option<(Receipt, std::time::Instant)>,
}

impl Asked {
    fn stop(&mut self, api: &Api, run: RunId) {
        let api = api.clone();
        self.stopping = Some(tokio::spawn(async move { cancel(&api, run).await }));
    }

    /// Nobody reads what the run says: it is of no use any more.
    fn leave(&mut self, api: &Api, run: RunId) {
        if !std::mem::replace(&mut self.reader_gone, true) {
            self.stop(api, run);
        }
    }

    /// What became of the request to stop; never, while there is none.
    async fn answer(&mut self) -> Result<Option<Receipt>, Failure> {
        let Some(stopping) = &mut self.stopping else {
            return pending().await;
        };
        let answer = stopping.await;
        self.stopping = None;
        match answer {
            Ok(Ok(receipt)) => Ok(Some(receipt)),
            // The stream tells what became of the run, or that nobody knows.
            Ok(Err(error)) if error.is_passing() => Ok(None),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Failure::failed(format!("stopping the run failed: {error}"))),
        }
    }

    /// Since when the output is waited for within bounds only.
    fn leaving(&self) -> Option<std::time::Instant> {
        self.ended.as_ref().map(|(_, since)| *since)
    }

    /// The end of a run that was not shown to its end.
    fn cut(self) -> Result<Met, Failure> {
        let ended = self.ended.map(|(receipt, _)| Met::Cut(Box::new(receipt)));
        ended.ok_or_else(|| Failure::failed("the output takes nothing"))
    }

    fn met(&self, receipt: Receipt) -> Met {
        match self.reader_gone {
            true => Met::ReaderGone(Box::new(receipt)),
            false => Met::Ended(Box::new(receipt)),
        }
    }
}

/// Stops a run, and answers its end.
pub(crate) async fn cancel(api: &Api, run: RunId) -> Result<Receipt, CallError> {
    api.post(&format!("/runs/{run}/cancel"), &json!({})).await
}
