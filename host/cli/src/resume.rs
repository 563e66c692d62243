//! `lastword resume`: continues prompts that are held and runs that ended early, at the data
//! directory's owner or at a host of this process. `remote_run.rs` follows the runs.

use crate::agent::{self, Found};
use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::owner::{self, Connection, Patience, comes_again};
use crate::paths::{self, Paths};
use crate::plan;
use crate::reading::{Named, Source};
use crate::remote_run::{RemoteRun, Shown};
use crate::requirements::may_run;
use crate::settings::Settings;
use crate::signals::Stops;
use crate::terminal::Terminal;
use lastword::id::RunId;
use lastword::permission::{Grants, Manifest};
use lastword::{Capability, RunState, WorkspaceKey};
use lastword_client::api::{RunSummary, WorkspaceView};
use lastword_client::{Client, ClientError};
use uuid::Uuid;

/// Resumes the runs, and returns once their ends are shown.
pub(crate) async fn resume(
    arguments: arguments::Resume,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let terminal = &terminal.raw(arguments.raw);
    let elsewhere = owner::reach(&shared, &paths).await?;
    if let Some(server) = &elsewhere
        && arguments.model.is_some()
    {
        return Err(Failure::usage(format!(
            "`--model` is for the host at {} to decide, to which this command goes; to let the \
             agent ask its model, `--allow model`",
            server.client.server()
        )));
    }
    if elsewhere.is_none() {
        let source = Source::on_disk(&paths)?;
        source.refuse_unknown(&arguments.what).await?;
    }

    let model = arguments
        .model
        .clone()
        .or_else(|| settings.run.model.clone());
    let directory = arguments.workspace.is_some();
    let rules = &arguments.permissions;
    let grants = plan::grants(rules, &settings, directory, model.is_some())?;
    let asks = plan::asks(rules, &settings, !arguments.json, terminal);
    let mut builder = settings.host();
    if elsewhere.is_none() && grants.has(Capability::Model) {
        builder = builder.model(plan::models(&settings, model.as_deref())?);
    }

    if elsewhere.is_none() {
        builder = settings.external().equip(builder)?;
    }

    let found = arguments.agent.as_deref();
    let found = found.map(|path| agent::find(path, terminal)).transpose()?;
    let mut stops = Stops::listen()?;
    let mut patience = Patience::default();
    let mut resumed = Vec::new();
    loop {
        let connection = Connection::open(&shared, &paths, &builder, terminal).await?;
        let going_on = GoingOn {
            client: &connection.server.client,
            there: RemoteRun::at(&connection, &paths, terminal),
            arguments: &arguments,
            grants: grants.clone(),
            asks,
            terminal,
        };
        let exit = going_on.on(found.as_ref(), &mut stops, &mut resumed).await;
        connection
            .wait_for_others(&resumed, &mut stops, terminal)
            .await;
        let server = connection.server.clone();
        connection.close(terminal).await;
        match exit {
            Err(failure) if comes_again(&failure, &server, &mut patience, terminal).await => {}
            exit => return exit,
        }
    }
}

struct GoingOn<'a> {
    client: &'a Client,
    there: RemoteRun<'a>,
    arguments: &'a arguments::Resume,
    grants: Grants,
    asks: bool,
    terminal: &'a Terminal,
}

impl GoingOn<'_> {
    async fn on(
        &self,
        found: Option<&Found>,
        stops: &mut Stops,
        resumed: &mut Vec<RunId>,
    ) -> Result<Exit, Failure> {
        let client = self.client;
        let source = Source::server(client);
        let (session, runs) = match source.named(&self.arguments.what).await? {
            Named::Run(run) => {
                let session = source.session(&run.session.to_string()).await?;
                (session, vec![client.run(run.run).await?])
            }
            Named::Session(session) => {
                let id = session.record.id;
                let runs = client.runs(id).await?.items;
                (*session, resumable(runs))
            }
        };

        if runs.is_empty() {
            return Err(Failure::usage(format!(
                "there is nothing to go on with in session {}: no prompt is held, and the last run \
                 did not end early; ask something new with `lastword run AGENT --session`",
                session.record.id
            )));
        }

        self.same_place(&session.workspace_key)?;
        let name = session.record.agent.as_str();
        let manifest = self.manifest(name, found).await?;
        let notes = may_run(
            name,
            &manifest,
            &self.grants,
            self.asks,
            self.there.place(),
            self.terminal,
        );
        let Some(notes) = notes else {
            return Ok(Exit::Denied);
        };

        for note in &notes {
            self.terminal.note(note);
        }

        let key = WorkspaceKey::from_stored(&session.workspace_key).ok_or_else(|| {
            let place = paths::workspace(&session.workspace_key);
            let how = paths::how_to_name(&session.workspace_key, false);
            Failure::usage(format!("the session belongs to {place}; {how}"))
        })?;
        let workspace = self.there.claim(&key, &self.grants, self.asks).await?;
        let exit = self.each(&workspace, runs, stops, resumed).await;
        self.there.retire().await;
        exit
    }

    /// The directory that is granted must be the session's own.
    fn same_place(&self, key: &str) -> Result<(), Failure> {
        match &self.arguments.workspace {
            Some(directory) if !paths::is_directory(key, directory) => {
                Err(Failure::usage(format!(
                    "the session belongs to {}, and not to {}; {}",
                    paths::workspace(key),
                    directory.display(),
                    paths::how_to_name(key, true),
                )))
            }
            _ => Ok(()),
        }
    }

    async fn manifest(&self, name: &str, found: Option<&Found>) -> Result<Manifest, Failure> {
        if let Some(found) = found {
            return self.there.load(name, found).await;
        }

        match self.client.agent(name).await? {
            Some(loaded) => Ok(loaded.manifest.into()),
            None => Err(Failure::usage(format!(
                "the session talks to the agent `{name}`, which is not loaded; name its file or \
                 crate with `--agent`"
            ))),
        }
    }

    /// Resumes one after the other, in the order of acceptance. The first one that does not
    /// complete determines the exit code.
    async fn each(
        &self,
        workspace: &WorkspaceView,
        runs: Vec<RunSummary>,
        stops: &mut Stops,
        resumed: &mut Vec<RunId>,
    ) -> Result<Exit, Failure> {
        let mut queued = Vec::with_capacity(runs.len());
        for run in runs {
            queued.push(self.put_back(run).await?);
        }

        resumed.extend(queued.iter().map(|run| run.run));
        for run in queued {
            let shown = Shown {
                json: self.arguments.json,
                asks: self.asks,
            };
            match self.there.follow(&run, workspace.id, shown, stops).await? {
                Exit::Completed => {}
                exit => return Ok(exit),
            }
        }

        Ok(Exit::Completed)
    }

    async fn put_back(&self, run: RunSummary) -> Result<RunSummary, Failure> {
        let key = Uuid::now_v7().to_string();
        let resumed: Result<_, ClientError> = self.client.resume(run.run, &key).await;
        match resumed {
            // The host resumes held prompts as soon as the workspace is open, so that this one may
            // have ended by now.
            Err(error) if error.name() == Some("not-resumable") && run.state == RunState::Held => {
                Ok(run)
            }
            resumed => Ok(resumed?),
        }
    }
}

/// Returns the held runs of a session, or else the last run if it ended early.
fn resumable(runs: Vec<RunSummary>) -> Vec<RunSummary> {
    use RunState::{Cancelled, Failed, Held, Interrupted};
    let (held, mut others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.state == Held);
    if !held.is_empty() {
        return held;
    }
    let last = others.pop();
    let early = last.filter(|run| matches!(run.state, Cancelled | Failed | Interrupted));
    early.into_iter().collect()
}
