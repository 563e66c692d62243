//! A run at a host, in this process or another, over its API: from a plan to the run's end.
//! Requests whose connection is lost are repeated. `run.rs` and `resume.rs` choose the host;
//! `follow.rs` shows the run.

use crate::agent::{self, Found};
use crate::failure::{Exit, Failure};
use crate::follow::{Follow, FollowEnd, RunHost};
use crate::hints::{self, Place};
use crate::owner::Connection;
use crate::paths::Paths;
use crate::plan::Plan;
use crate::question_ui::QuestionUi;
use crate::reading::Source;
use crate::requirements::{has_default, may_run};
use crate::signals::Stops;
use crate::terminal::{Terminal, to_stdout};
use crate::units;
use crate::view::View;
use lastword::id::{ClientId, SessionId, WorkspaceId};
use lastword::permission::{Grants, Manifest};
use lastword::session::{FinishReason, SessionRecord};
use lastword::{Cause, Hint, Receipt, RunState, WorkspaceKey, file};
use lastword_client::api::{AgentFile, NewSession, NewWorkspace, RunSummary, WorkspaceView};
use lastword_client::{Client, ClientError};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How a run is shown, and whether people are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) json: bool,
    pub(crate) asks: bool,
}

/// The agent of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// A component on disk, which is loaded at the host.
    File(Found),
    /// One that the host has under this name.
    Loaded(String),
}

impl Chosen {
    fn name(&self) -> &str {
        match self {
            Self::File(found) => &found.name,
            Self::Loaded(name) => name,
        }
    }
}

/// This process as a client of a host.
pub(crate) struct RemoteRun<'a> {
    client: &'a Client,
    host: RunHost<'a>,
    id: ClientId,
    terminal: &'a Terminal,
}

impl<'a> RemoteRun<'a> {
    /// Of the host that answers there.
    pub(crate) fn at(connection: &'a Connection, paths: &'a Paths, terminal: &'a Terminal) -> Self {
        let data = connection.keeps().then_some(paths.data.as_path());
        let other = || RunHost::Other(connection.server.holder.as_ref());
        let own = connection.host().map(|host| RunHost::Own { host, data });
        Self {
            client: &connection.server.client,
            host: own.unwrap_or_else(other),
            id: ClientId::generate(),
            terminal,
        }
    }

    /// Runs an agent at the host, and returns once its end is shown.
    ///
    /// If the owner shuts down before the prompt is accepted, the failure says so; the plan then
    /// names the session and the key of the prompt, with which it can be sent to the next owner.
    pub(crate) async fn run(
        &self,
        plan: &mut Plan,
        agent: &Chosen,
        stops: &mut Stops,
    ) -> Result<Exit, Failure> {
        let name = match &plan.name {
            Some(name) => name.clone(),
            None => agent.name().to_owned(),
        };
        let manifest = tokio::select! {
            manifest = self.manifest(&name, agent) => manifest?,
            _ = stops.recv() => {
                self.terminal.note("stopped before the agent was loaded; nothing was run");
                return Ok(Exit::Cancelled);
            }
        };

        let (grants, place) = (&plan.grants, self.place());
        let notes = may_run(&name, &manifest, grants, plan.asks, place, self.terminal);
        let Some(notes) = notes else {
            return Ok(Exit::Denied);
        };

        if plan.is_blank() && !has_default(&manifest) {
            return Err(Failure::empty_prompt(&name));
        }

        // Looks up the session first, so that a wrong word leaves no workspace behind.
        let going_on = match &plan.session {
            None => None,
            Some(word) => Some(Source::server(self.client).session(word).await?.record),
        };

        let key = plan.directory.clone();
        let key = key.unwrap_or_else(|| WorkspaceKey::name(&name));
        let workspace = self.claim(&key, &plan.grants, plan.asks).await?;
        let run = match self.ask(plan, going_on, &workspace, &name).await {
            Ok(run) => run,
            Err(failure) => {
                self.retire().await;
                return Err(failure);
            }
        };

        plan.run = Some(run.run);
        // Only now: otherwise another host could be asked afterwards, and would print the same.
        for note in &notes {
            self.terminal.note(note);
        }

        if plan.detach {
            return Ok(detached(&run, plan.json, self.terminal));
        }

        let shown = Shown {
            json: plan.json,
            asks: plan.asks,
        };

        let exit = self.follow(&run, workspace.id, shown, stops).await;
        self.retire().await;
        exit
    }

    /// Returns where the run is.
    pub(crate) fn place(&self) -> Place {
        match self.host {
            RunHost::Own { .. } => Place::Here,
            RunHost::Other(_) => Place::Elsewhere,
        }
    }

    /// The manifest of the agent, once the host has it under this name.
    async fn manifest(&self, name: &str, agent: &Chosen) -> Result<Manifest, Failure> {
        match agent {
            Chosen::File(found) => self.load(name, found).await,
            Chosen::Loaded(agent) if agent != name => Err(Failure::usage(format!(
                "the host has the agent `{agent}` under that name already; leave out `--name`, or \
                 name the agent's file or crate"
            ))),
            Chosen::Loaded(agent) => match self.client.agent(agent).await? {
                Some(loaded) => Ok(loaded.manifest.into()),
                None => Err(not_there(agent, self.client.server())),
            },
        }
    }

    /// Loads exactly these bytes as the agent of this name. A host of this process reads the file
    /// itself, and does not keep it.
    pub(crate) async fn load(&self, name: &str, found: &Found) -> Result<Manifest, Failure> {
        if let RunHost::Own { .. } = self.host {
            let file = AgentFile {
                name: name.to_owned(),
                path: found.file.clone().into(),
            };
            let loading = self.client.load_agent(&file);
            let loaded = agent::loading(name, loading, self.terminal).await?;
            return Ok(loaded.manifest.into());
        }

        let wasm = file::read(&found.file, file::COMPONENT_BYTES_MAX).map_err(|error| {
            Failure::usage(format!("cannot read {}: {error}", found.file.display()))
        })?;
        let digest = format!("{:x}", Sha256::digest(&wasm));
        if let Some(loaded) = self.client.agent(name).await? {
            if loaded.digest == digest {
                return Ok(loaded.manifest.into());
            }
            let server = self.client.server();
            self.terminal.note(&format!(
                "the agent `{name}` at {server} is replaced by this one"
            ));
        }

        let uploading = self.client.upload_agent(name, wasm);
        let uploaded = agent::loading(name, uploading, self.terminal).await;
        let uploaded = uploaded.map_err(|error| {
            let mut failure = Failure::from(error);
            // The host got only bytes, so that its message does not name the file.
            failure.message = format!("{}: {}", found.file.display(), failure.message);
            failure
        })?;
        Ok(uploaded.manifest.into())
    }

    /// Opens a workspace and holds it for a while.
    pub(crate) async fn claim(
        &self,
        key: &WorkspaceKey,
        grants: &Grants,
        asks: bool,
    ) -> Result<WorkspaceView, Failure> {
        let is_own = matches!(self.host, RunHost::Own { .. });
        if let WorkspaceKey::Directory(path) = key
            && !is_own
            && path.to_str().is_none()
        {
            return Err(Failure::usage(format!(
                "the path {} is not UTF-8, which a server cannot be sent; end the server and run the \
                 agent without it, or give the directory another name",
                path.display()
            )));
        }
        let new = NewWorkspace {
            grants: Some(grants.allowed().map(ToString::to_string).collect()),
            deny: Some(grants.denied().map(ToString::to_string).collect()),
            ask: Some(asks),
            ..NewWorkspace::new(self.id, key)
        };

        self.client.open_workspace(&new).await.map_err(|error| {
            let can_move = is_own && error.name() == Some("invalid-directory");
            let mut failure = Failure::from(error);
            if can_move {
                let hint = hints::of(&Hint::OtherDataDirectory).unwrap_or_default();
                failure.message = format!("{}; {hint}", failure.message);
            }
            failure
        })
    }

    /// Sends the prompt to the session that was named, or to a new one. The plan remembers the
    /// session and the key.
    async fn ask(
        &self,
        plan: &mut Plan,
        going_on: Option<SessionRecord>,
        workspace: &WorkspaceView,
        name: &str,
    ) -> Result<RunSummary, Failure> {
        let session = match going_on {
            Some(record) => {
                let has_directory = plan.directory.is_some();
                self.fitting(record, workspace, name, has_directory).await?
            }
            None => {
                let begun = NewSession::with(name);
                let begun = self.client.new_session(workspace.id, &begun).await;
                begun.map_err(on_the_way)?.id
            }
        };

        plan.session = Some(session.to_string());
        let key = plan.key.take();
        let key = key.unwrap_or_else(|| Uuid::now_v7().to_string());
        plan.key = Some(key.clone());
        let asked = self.client.prompt(session, &plan.new_run(), &key).await;
        asked.map_err(|error| {
            if self.host.keeps() {
                unknown(error, session, &key)
            } else {
                error.into()
            }
        })
    }

    /// Returns the session to continue, which must be of this agent and workspace.
    async fn fitting(
        &self,
        record: SessionRecord,
        workspace: &WorkspaceView,
        name: &str,
        has_directory: bool,
    ) -> Result<SessionId, Failure> {
        let session = record.id;
        // Before the workspace, which has the agent's name where no directory was given.
        if record.agent.as_str() != name {
            return Err(Failure::other_agent(session, record.agent.as_str()));
        }

        if record.workspace != workspace.id {
            let other = self.client.workspace(record.workspace).await?;
            let key = other.stored_key();
            let is_default = has_directory && key == WorkspaceKey::name(name).stored();
            return Err(Failure::other_workspace(session, &key, is_default));
        }

        if let RunHost::Own { .. } = self.host {
            self.tell_held(session).await?;
        }

        Ok(session)
    }

    /// Prints a note about held prompts, which a host for a single run does not resume.
    async fn tell_held(&self, session: SessionId) -> Result<(), Failure> {
        let runs = self.client.runs(session).await?.items;
        let held = runs.iter().filter(|run| run.state == RunState::Held);
        let held = held.count() as u64;
        if held > 0 {
            let prompts = units::count(held, "earlier prompt");
            self.terminal.note(&format!(
                "{prompts} of this session never began and stay held; `lastword resume {session}` \
                 goes on with them, and this prompt goes before them"
            ));
        }

        Ok(())
    }

    /// Shows a run of this command until its end, and prints how it ended.
    pub(crate) async fn follow(
        &self,
        run: &RunSummary,
        workspace: WorkspaceId,
        shown: Shown,
        stops: &mut Stops,
    ) -> Result<Exit, Failure> {
        let claim = Some((self.id, workspace));
        self.show(run, claim, shown, stops).await
    }

    /// The same for a run that another command began, and that goes on without this one.
    pub(crate) async fn watch(
        &self,
        run: &RunSummary,
        shown: Shown,
        stops: &mut Stops,
    ) -> Result<Exit, Failure> {
        self.show(run, None, shown, stops).await
    }

    async fn show(
        &self,
        run: &RunSummary,
        claim: Option<(ClientId, WorkspaceId)>,
        shown: Shown,
        stops: &mut Stops,
    ) -> Result<Exit, Failure> {
        let mut view = View::new(shown.json, self.place(), self.terminal);
        let mut questions = QuestionUi::new(self.client, self.host.keeps(), shown, self.terminal);
        let follow = Follow {
            client: self.client,
            host: self.host,
            claim,
            run,
            terminal: self.terminal,
        };

        let end = follow.to_the_end(&mut view, &mut questions, stops).await?;
        questions.close();
        Ok(self.conclude(&end, &view, run))
    }

    /// Prints how the run ended, and returns the exit code.
    fn conclude(&self, end: &FollowEnd, view: &View, run: &RunSummary) -> Exit {
        let kept = self.host.keeps().then_some(run.session);
        let (receipt, exit) = match end {
            FollowEnd::Ended(receipt) => {
                view.conclude(receipt, kept, self.terminal);
                (receipt, self.exit_of(receipt))
            }
            FollowEnd::ReaderGone(receipt) => (receipt, self.exit_of(receipt)),
            FollowEnd::Unwritable(receipt) => (receipt, Exit::Failed),
            FollowEnd::Left(exit) => {
                if !run.state.is_terminal() {
                    self.terminal.note(&format!(
                        "it goes on without this command · `lastword cancel {}` stops it",
                        run.run
                    ));
                }
                return *exit;
            }
            FollowEnd::Cut(receipt) => {
                view.conclude(receipt, kept, self.terminal);
                let rest = match kept {
                    Some(session) => format!("`lastword show {session}` has it"),
                    None => "the rest is not kept".to_owned(),
                };
                self.terminal.warn(&format!(
                    "the output took nothing, so not all was printed; {rest}"
                ));
                (receipt, self.exit_of(receipt).cut_short(Exit::Cancelled))
            }
        };

        let waits = receipt.finish_reason == FinishReason::Waiting;
        if waits && matches!(self.host, RunHost::Own { .. }) {
            self.terminal.note(match kept {
                Some(_) => {
                    "the session waits, and nothing goes on with it once this command is over: \
                     `lastword serve` does, in time"
                }
                None => "the session waited, and is not kept: nothing goes on with it",
            });
        }

        exit
    }

    /// The exit code for a run's end. A host of this process shuts down only after a signal to this
    /// process; the shutdown of another one interrupts the run.
    fn exit_of(&self, receipt: &Receipt) -> Exit {
        let is_own = matches!(self.host, RunHost::Own { .. });
        match (receipt.state, &receipt.cause) {
            (RunState::Completed, _) => Exit::Completed,
            (RunState::Cancelled, _) | (_, Cause::User) => Exit::Cancelled,
            (_, Cause::Shutdown) if is_own => Exit::Cancelled,
            _ => Exit::Failed,
        }
    }

    /// Ends this process's claims. A host that cannot be notified notices it by itself.
    pub(crate) async fn retire(&self) {
        let _gone = self.client.retire(self.id).await;
    }
}

/// Turns an error of a prompt into a failure. An owner that leaves in between forgets what earlier
/// requests opened or loaded; the next owner may then be asked for all of it.
fn on_the_way(error: ClientError) -> Failure {
    let forgotten = ["workspace-closing", "unknown-workspace", "unknown-agent"];
    let forgotten = error.name().is_some_and(|name| forgotten.contains(&name));
    let mut failure = Failure::from(error);
    failure.handover |= forgotten;
    failure
}

/// Without a response, it is unknown whether the prompt was accepted.
fn unknown(error: ClientError, session: SessionId, key: &str) -> Failure {
    let is_unknown = matches!(error, ClientError::Unreachable { .. });
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

/// The failure for a word that is neither a path nor an agent of the host.
pub(crate) fn not_there(agent: &str, server: &str) -> Failure {
    Failure::usage(format!(
        "there is no file or folder {agent}, and {server} has no agent of that name; name a .wasm \
         file, the folder of an agent's crate, or one that `lastword agents` lists"
    ))
}

/// Says how to find the run again.
fn detached(run: &RunSummary, json: bool, terminal: &Terminal) -> Exit {
    let (id, session) = (run.run, run.session);
    let line = if json {
        format!("{}\n", json!(run))
    } else {
        format!("{id}\n")
    };

    // The run continues even if this cannot be written.
    let _closed = to_stdout(&line);
    terminal.note(&format!(
        "it goes on without this command · `lastword show {session}` · `lastword cancel {id}`"
    ));
    Exit::Completed
}
