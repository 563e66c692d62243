//! A host in a folder of its own, with the probe guest loaded and a session begun.

use crate::check::violations;
use crate::guests::{guest, root};
use lastword::event::{Event, EventBody};
use lastword::{
    Agent, Capability, Host, HostBuilder, Limits, Receipt, Run, Session, Workspace, WorkspaceKey,
    WorkspaceOptions,
};
use std::cell::Cell;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;
use tempfile::TempDir;

/// A host, its folders, and a session with one agent.
pub struct Fixture {
    /// The host.
    pub host: Host,
    /// The agent.
    pub agent: Agent,
    /// The workspace, over [`Fixture::files`].
    pub workspace: Workspace,
    /// The session.
    pub session: Session,
    /// Everything lies in here and goes with it.
    pub folder: TempDir,
    in_memory: bool,
}

/// How a fixture is made.
pub struct Plan {
    builder: HostBuilder,
    agent: &'static str,
    options: WorkspaceOptions,
    folder: TempDir,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// A plan with the probe guest, all capabilities that it wants, and few slots.
    ///
    /// # Panics
    /// When there is no folder for temporary files.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        std::fs::create_dir(folder.path().join("files")).expect("a folder can be made");
        Self {
            builder: builder(folder.path()),
            agent: "probe",
            options: WorkspaceOptions::new()
                .grant(Capability::WriteFiles)
                .grant(Capability::Model)
                .grant(Capability::State),
            folder,
        }
    }

    /// A plan over the folder of an earlier host that has ended. Grants nothing.
    #[must_use]
    pub fn again(folder: TempDir) -> Self {
        Self {
            builder: builder(folder.path()),
            agent: "probe",
            options: WorkspaceOptions::new(),
            folder,
        }
    }

    /// Sets the guest.
    #[must_use]
    pub fn agent(mut self, package: &'static str) -> Self {
        self.agent = package;
        self
    }

    /// Replaces the grants.
    #[must_use]
    pub fn grants(mut self, grants: impl Into<Vec<Capability>>) -> Self {
        let grant = |options: WorkspaceOptions, capability| options.grant(capability);
        let grants = grants.into().into_iter();
        self.options = grants.fold(WorkspaceOptions::new(), grant);
        self
    }

    /// Changes the options of the workspace.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(WorkspaceOptions) -> WorkspaceOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// Changes the settings of the host.
    #[must_use]
    pub fn host(mut self, change: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// Sets the limits of runs.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.host(|builder| builder.limits(limits))
    }

    /// Starts the host, loads the agent, opens the workspace and begins a session.
    ///
    /// # Panics
    /// When any of these fails.
    pub async fn build(self) -> Fixture {
        let host = self.builder.build().await.expect("the host starts");
        let agent = host
            .load_agent(self.agent, guest(self.agent))
            .await
            .expect("the agent loads");
        let key = WorkspaceKey::directory(self.folder.path().join("files")).expect("a path");
        let workspace = host
            .open_workspace(key, self.options)
            .await
            .expect("the workspace opens");
        let session = workspace
            .new_session(&agent)
            .await
            .expect("a session begins");
        Fixture {
            host,
            agent,
            workspace,
            session,
            folder: self.folder,
            in_memory: IN_MEMORY.get(),
        }
    }
}

/// A host's builder over a folder, with the compiled guests of all tests in one cache.
#[must_use]
pub fn builder(folder: &Path) -> HostBuilder {
    let builder = if IN_MEMORY.get() {
        Host::builder().in_memory()
    } else {
        Host::builder().data_dir(folder.join("data"))
    };
    builder
        .cache_dir(root().join("target/lastword-test-cache"))
        .concurrent_runs(16)
}

thread_local! {
    /// Whether the hosts of the test on this thread keep everything in memory.
    static IN_MEMORY: Cell<bool> = const { Cell::new(false) };
}

/// Runs a whole test whose hosts keep everything in memory, those that are built on its own thread.
pub fn in_memory(test: fn()) {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_MEMORY.set(false);
        }
    }
    IN_MEMORY.set(true);
    let _reset = Reset;
    test();
}

/// Has tests of this module run once more with a host that keeps everything in memory:
/// `name::in_memory` beside `name`.
#[macro_export]
macro_rules! also_in_memory {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn in_memory() {
                    $crate::fixture::in_memory(super::$name);
                }
            }
        )+
    };
}

impl Fixture {
    /// The probe, and everything that it may want.
    pub async fn new() -> Self {
        Plan::new().build().await
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What is wrong with the database, if there is one: see [`violations`]. What a host in memory
    /// keeps is held to what one with a database would by the suite's differential test.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        if self.in_memory {
            Vec::new()
        } else {
            violations(&self.data())
        }
    }

    /// The workspace's directory.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Prompts, and waits for the end.
    ///
    /// # Panics
    /// When the prompt is not accepted or its end is lost.
    pub async fn run(&self, prompt: &str) -> Outcome {
        let run = self.start(prompt).await;
        let receipt = run.ended().await.expect("the run ends");
        self.outcome(&run, receipt).await
    }

    /// Prompts.
    ///
    /// # Panics
    /// When the prompt is not accepted.
    pub async fn start(&self, prompt: &str) -> Run {
        self.session
            .prompt(prompt)
            .await
            .expect("the prompt is accepted")
    }

    /// Prompts, and waits until the agent has said this.
    pub async fn start_until(&self, prompt: &str, said: &str) -> Run {
        let run = self.start(prompt).await;
        wait_until_said(&run, said).await;
        run
    }

    /// Everything about a run that has ended.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub async fn outcome(&self, run: &Run, receipt: Receipt) -> Outcome {
        let mut events = Vec::new();
        let mut stream = run.events();
        while let Some(event) = stream.next().await {
            events.push(event.expect("the log is read"));
        }
        let messages = self.session.messages().await.expect("the history is read");
        let messages = messages
            .into_iter()
            .filter(|message| message.run == run.id());
        Outcome {
            receipt,
            events,
            messages: messages.collect(),
        }
    }
}

/// Waits until a run's text holds this.
///
/// # Panics
/// When the run ends without saying it.
pub async fn wait_until_said(run: &Run, words: &str) {
    let mut said = String::new();
    let mut events = run.events();
    while let Some(event) = events.next().await {
        if let EventBody::TextDelta { text, .. } = event.expect("the log is read").body {
            said.push_str(&text);
        }
        if said.contains(words) {
            return;
        }
    }
    panic!("the run ended after `{said}`, without `{words}`");
}

/// Waits until a run's agent is called.
///
/// # Panics
/// When the run ends without having started.
pub async fn wait_until_started(run: &Run) {
    wait_until(run, |body| matches!(body, EventBody::RunStarted {})).await;
}

/// Waits for an event of a run.
///
/// # Panics
/// When the run ends without it.
pub async fn wait_until(run: &Run, is_it: impl Fn(&EventBody) -> bool) {
    let mut events = run.events();
    while let Some(event) = events.next().await {
        if is_it(&event.expect("the log is read").body) {
            return;
        }
    }
    panic!("the run ended without the event that was waited for");
}

/// A run that has ended, with all that it left.
#[derive(Debug)]
pub struct Outcome {
    /// Its receipt.
    pub receipt: Receipt,
    /// Its events.
    pub events: Vec<Event>,
    /// Its messages that have a place in the history.
    pub messages: Vec<lastword::session::Message>,
}

impl Outcome {
    /// What the agent said, from its messages.
    #[must_use]
    pub fn text(&self) -> String {
        let assistant = lastword::session::Role::Assistant;
        let said = self
            .messages
            .iter()
            .filter(|message| message.role == assistant);
        said.map(lastword::session::Message::text).collect()
    }

    /// The types of its events, in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.body.kind()).collect()
    }

    /// What the agent said, from its deltas.
    #[must_use]
    pub fn streamed(&self) -> String {
        let deltas = self.events.iter().filter_map(|event| match &event.body {
            EventBody::TextDelta { text, .. } => Some(text.as_str()),
            _ => None,
        });
        deltas.collect()
    }
}

/// Lets a future go on so many times, each time once it is woken, and drops it when it would
/// go on once more: whatever it waited for last has happened by then.
pub async fn drop_at<F: Future>(times: usize, future: F) {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(context).map(drop)
    })
    .await;
}
