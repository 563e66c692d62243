//! `lastword run`: chooses the host for a run, in this process or another, and plans it.
//! `remote_run.rs` then performs the run, wherever the host is.

use crate::agent;
use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::owner::{self, Connection, Patience, Server, Taken};
use crate::paths::Paths;
use crate::plan::{Given, Plan};
use crate::remote_run::{Chosen, RemoteRun, not_there};
use crate::serving::Held;
use crate::settings::Settings;
use crate::signals::Stops;
use crate::terminal::Terminal;
use lastword::{Host, HostBuilder};
use lastword_client::Client;
use std::path::Path;
use tracing::Instrument;

/// Runs at the same time in a host of this process: its own, and those of commands in other
/// terminals.
const CONCURRENT_RUNS: u32 = 8;

/// Runs an agent and returns once its end is shown. The host is the named server, the data
/// directory's owner, or this process. If the owner shuts down before it accepts the run, the
/// choice starts again.
pub(crate) async fn run(
    arguments: arguments::Run,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let terminal = &terminal.raw(arguments.raw);
    let mut command = RunCommand {
        arguments,
        settings: &settings,
        paths: &paths,
        terminal,
        given: None,
        begun: None,
        here: None,
    };

    if command.arguments.ephemeral {
        return command.ephemeral(&shared).await;
    }

    if let Some(server) = owner::named(&shared, &paths)? {
        return command.elsewhere(&server).await;
    }

    let mut patience = Patience::default();
    loop {
        let (pid, failure) = match owner::by_socket(&paths).await? {
            Some(server) => match (command.elsewhere(&server).await, &server.holder) {
                (Err(failure), Some(holder)) if failure.handover => (holder.pid.clone(), failure),
                (outcome, _) => return outcome,
            },
            None => match command.take().await? {
                Taken::Ours(host) => return command.here(host).await,
                Taken::InUse { pid, failure } => (pid, failure),
            },
        };
        tokio::select! {
            again = patience.wait(&pid, terminal) => if !again {
                return Err(failure);
            },
            () = command.stopped() => {
                terminal.note("stopped while another process had the data directory; nothing was run");
                return Ok(Exit::Cancelled);
            }
        }
    }
}

/// One `lastword run`, whichever host it runs at.
struct RunCommand<'a> {
    arguments: arguments::Run,
    settings: &'a Settings,
    paths: &'a Paths,
    terminal: &'a Terminal,
    given: Option<Given>,
    /// The agent, once it is built, and the signals since then.
    begun: Option<(Chosen, Stops)>,
    /// The plan and the host for a run in this process, kept from an earlier attempt.
    here: Option<(Plan, HostBuilder)>,
}

impl RunCommand<'_> {
    /// The agent, built if need be, and signals from then on.
    fn begin(&mut self, agent: &Path) -> Result<&mut (Chosen, Stops), Failure> {
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => {
                let found = agent::find(agent, self.terminal)?;
                (Chosen::File(found), Stops::listen()?)
            }
        };
        Ok(self.begun.insert(begun))
    }

    /// The same for another host, which may have an agent of that name.
    async fn begin_at(
        &mut self,
        client: &Client,
        agent: &Path,
    ) -> Result<&mut (Chosen, Stops), Failure> {
        if self.begun.is_none()
            && let Some(name) = agent::name(agent)
        {
            if client.agent(name).await?.is_none() {
                return Err(not_there(name, client.server()));
            }
            self.begun = Some((Chosen::Loaded(name.to_owned()), Stops::listen()?));
        }

        self.begin(agent)
    }

    /// Completes when a signal asks to stop.
    async fn stopped(&mut self) {
        match &mut self.begun {
            Some((_, stops)) => drop(stops.recv().await),
            None => std::future::pending().await,
        }
    }

    /// Runs it at another host.
    async fn elsewhere(&mut self, server: &Server) -> Result<Exit, Failure> {
        let (settings, terminal) = (self.settings, self.terminal);
        let (run, place) = (self.arguments.clone(), server.client.server());
        let mut plan = Plan::elsewhere(run, &mut self.given, settings, place, terminal)?;
        let (paths, connection) = (self.paths, Connection::to_other(server.clone()));
        let (agent, stops) = self.begin_at(&server.client, &plan.agent).await?;
        let span = tracing::info_span!("command", otel.name = "lastword run", server = place);
        let there = RemoteRun::at(&connection, paths, terminal);
        let outcome = there.run(&mut plan, agent, stops).instrument(span).await;
        // The next host to be asked must know it as the same prompt.
        self.arguments.session = plan.session;
        self.arguments.key = plan.key;
        outcome
    }

    /// Runs it at a host of its own that keeps nothing, and that no other command reaches.
    async fn ephemeral(mut self, shared: &Shared) -> Result<Exit, Failure> {
        if shared.server.is_some() {
            return Err(Failure::usage(
                "`--ephemeral` runs the agent in this process and keeps nothing, and `--server` \
                 runs it elsewhere; leave one of the two out"
                    .to_owned(),
            ));
        }

        let planned = self.plan()?;
        let (plan, builder) = self.here.insert(planned);
        let person = self.terminal.is_attended() && !self.arguments.json;
        if plan.asks && !person {
            return Err(Failure::usage(
                "no other command can answer what an `--ephemeral` run asks, and this one is not \
                 at a terminal; pass `--no-ask`, or leave `--ephemeral` out"
                    .to_owned(),
            ));
        }

        let builder = builder.clone().in_memory().cache_dir(&self.paths.cache);
        let host = builder.build().await?;
        self.own(Connection::of_ephemeral(&host)?).await
    }

    /// Takes the data directory for a host in this process.
    async fn take(&mut self) -> Result<Taken, Failure> {
        let planned = match self.here.take() {
            Some(planned) => planned,
            None => self.plan()?,
        };
        let (_, builder) = self.here.insert(planned);
        owner::take(builder.clone(), self.paths, self.terminal).await
    }

    fn plan(&mut self) -> Result<(Plan, HostBuilder), Failure> {
        let (settings, terminal) = (self.settings, self.terminal);
        let plan = Plan::new(self.arguments.clone(), &mut self.given, settings, terminal)?;
        self.begin(&plan.agent)?;
        let mut builder = settings
            .host()
            .limits(plan.limits)
            .concurrent_runs_max(CONCURRENT_RUNS);
        if let Some(models) = plan.models.clone() {
            builder = builder.model(models);
        }

        Ok((plan, settings.external().equip(builder)?))
    }

    /// Runs it at a host in this process, which other commands can reach too.
    async fn here(self, host: Host) -> Result<Exit, Failure> {
        let connection = Connection::of_own(&host, self.paths, Held::Stays, self.terminal);
        let connection = connection.await?;
        self.own(connection).await
    }

    /// Runs it at a host of this process, which ends once nothing runs there any more.
    async fn own(mut self, connection: Connection) -> Result<Exit, Failure> {
        let (paths, terminal) = (self.paths, self.terminal);
        let (mut plan, _) = match self.here.take() {
            Some(planned) => planned,
            None => self.plan()?,
        };

        plan.session = self.arguments.session.take();
        plan.key = self.arguments.key.take();
        let (agent, stops) = self.begin(&plan.agent)?;
        let span = tracing::info_span!("command", otel.name = "lastword run");
        let there = RemoteRun::at(&connection, paths, terminal);
        let mut outcome = there.run(&mut plan, agent, stops).instrument(span).await;
        if let Err(failure) = &mut outcome
            && plan.run.is_none()
        {
            // Nothing was run, and the person who asked has to change something.
            failure.exit = Exit::Usage;
        }
        connection
            .wait_for_others(plan.run.as_slice(), stops, terminal)
            .await;
        connection.close(terminal).await;
        outcome
    }
}
