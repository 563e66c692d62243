//! Loading agents.

use super::closing::Stage;
use super::{HostError, HostInner};
use crate::guest::Capabilities;
use crate::guest::config_schema::ConfigSchema;
use crate::guest::control::Control;
use crate::guest::log::Journal;
use lastword_os::file;
use lastword_sandbox::bindings::exports::lastword::agent::turn;
use lastword_sandbox::{
    CallDescribe, ComponentError, Digest, Fault, Files, GuestLines, GuestState, Inspection,
    Interrupt, Limiter, Loaded, Share, WIT_PACKAGE, WIT_VERSION, call,
};
use lastword_types::id::AgentId;
use lastword_types::permission::{Capability, Manifest, Rule, Want};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The longest time that an agent may take to return its manifest.
const DESCRIBE: Duration = Duration::from_secs(5);

/// The source of a component.
#[derive(Clone, Debug)]
pub enum AgentSource {
    /// A `.wasm` file.
    File(PathBuf),
    /// The component itself.
    Bytes(Vec<u8>),
}

impl From<&str> for AgentSource {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&Path> for AgentSource {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

impl From<PathBuf> for AgentSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<Vec<u8>> for AgentSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// A loaded agent. A cloneable handle.
#[derive(Clone)]
pub struct Agent {
    pub(crate) inner: Arc<AgentInner>,
}

pub(crate) struct AgentInner {
    pub(crate) id: AgentId,
    pub(crate) loaded: Loaded<Capabilities>,
    pub(crate) manifest: Manifest,
    /// The accesses that the manifest asks for, as rules that can be evaluated.
    pub(crate) wants: Arc<[Rule]>,
    /// What the configuration of a run has to have.
    pub(super) config: Option<ConfigSchema>,
}

impl Agent {
    /// Returns the name under which the agent was loaded.
    #[must_use]
    pub fn id(&self) -> &AgentId {
        &self.inner.id
    }

    /// Returns the agent's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Returns the SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.loaded.digest
    }

    /// Returns what the component imports and exports.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inner.loaded.inspection
    }

    /// Whether the compiled component came from the cache.
    #[must_use]
    pub fn was_cached(&self) -> bool {
        self.inner.loaded.cached
    }
}

impl AgentInner {
    /// Checks the configuration of a run against the manifest's schema, if that has one.
    ///
    /// # Errors
    /// If it does not fit: the reason, for the caller.
    pub(super) fn check_config(&self, config: &str) -> Result<(), String> {
        self.config
            .as_ref()
            .map_or(Ok(()), |schema| schema.check(config))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("id", &self.inner.id)
            .finish_non_exhaustive()
    }
}

pub(super) async fn load(
    host: &Arc<HostInner>,
    id: AgentId,
    source: AgentSource,
) -> Result<Agent, HostError> {
    let name = match &source {
        AgentSource::File(path) => path.display().to_string(),
        AgentSource::Bytes(_) => format!("the agent `{id}`"),
    };

    let refused = {
        let name = name.clone();
        move |source| HostError::Component { name, source }
    };

    let (inner, again) = (Arc::clone(host), refused.clone());
    // Runs on the guests' runtime, which can start processes.
    let loading = host.dispatcher.guests.spawn(async move {
        let wasm = tokio::task::spawn_blocking(move || bytes(source));
        let wasm = wasm
            .await
            .map_err(|error| HostError::of_task(error, "read the agent"))??;
        let cache = inner.cache.as_deref();
        let (engine, linker) = (&inner.engine, &inner.linker);
        let loaded = Loaded::load(engine, linker, cache, &inner.compilers, wasm);
        loaded.await.map_err(again)
    });
    let loading = AbortOnDropHandle::new(loading);
    let mut stage = host.stage.subscribe();
    let mut loaded = tokio::select! {
        biased;
        loaded = loading => loaded.map_err(|error| HostError::of_task(error, "load the agent"))??,
        // A compilation must not delay the host's shutdown.
        _ = stage.wait_for(|stage| *stage != Stage::Open) => return Err(HostError::HostClosing),
    };

    let inner = Arc::clone(host);
    let described = host.dispatcher.guests.spawn(async move {
        let manifest = manifest(&inner, &mut loaded).await;
        (manifest, loaded)
    });
    let described = AbortOnDropHandle::new(described).await;
    let (manifest, loaded) =
        described.map_err(|error| HostError::of_task(error, "ask the agent for its manifest"))?;
    let (manifest, config) = manifest.map_err(refused)?;
    Ok(Agent {
        inner: Arc::new(AgentInner {
            id,
            loaded,
            wants: manifest.rules().into(),
            manifest,
            config,
        }),
    })
}

fn bytes(source: AgentSource) -> Result<Vec<u8>, HostError> {
    match source {
        AgentSource::Bytes(bytes) => Ok(bytes),
        AgentSource::File(path) => {
            let read = file::read(&path, file::COMPONENT_BYTES_MAX);
            read.map_err(|source| HostError::Io {
                what: "read the agent",
                path,
                source,
            })
        }
    }
}

/// Returns a component's manifest: from the cache, or else from the component itself.
async fn manifest(
    host: &Arc<HostInner>,
    loaded: &mut Loaded<Capabilities>,
) -> Result<(Manifest, Option<ConfigSchema>), ComponentError> {
    let cached = loaded.manifest.take().map(read);
    if let Some(Ok(manifest)) = cached {
        return Ok(manifest);
    }

    let described = describe(host, loaded).await?;
    let manifest = read(described.clone()).map_err(ComponentError::Manifest)?;
    loaded.keep_manifest(&host.engine, described).await;
    Ok(manifest)
}

/// Asks a component for its manifest, with everything denied and within a budget.
async fn describe(
    host: &Arc<HostInner>,
    loaded: &Loaded<Capabilities>,
) -> Result<turn::Manifest, ComponentError> {
    let turn = host.describing.acquire().await;
    let journal = Journal::new(None);
    let control = Control::new(Arc::clone(&host.dispatcher.clock));
    let lines: Arc<dyn GuestLines> = Arc::clone(&journal) as _;
    let capabilities = Capabilities::none(&control, &journal);
    let state = GuestState::new(
        capabilities,
        Limiter::new(&host.limits),
        Files::none(),
        &lines,
    );
    let interrupt = Interrupt::new();
    let budget = async {
        host.dispatcher.clock.sleep(DESCRIBE).await;
        host.engine.stop(&interrupt);
        std::future::pending().await
    };

    let called = call(
        &host.engine,
        loaded,
        state,
        &interrupt,
        &Share::default(),
        budget,
        CallDescribe,
    )
    .await;
    drop(turn);
    match called.outcome {
        Ok(manifest) => Ok(manifest),
        Err(Fault::Interrupted) => Err(ComponentError::Describe(format!(
            "it did not return within {} s",
            DESCRIBE.as_secs()
        ))),
        Err(Fault::Host(why)) => Err(ComponentError::Host(why)),
        Err(fault) => {
            let said = journal.last_words().map(|words| format!(": {words}"));
            let why = format!("{fault}{}", said.unwrap_or_default());
            Err(ComponentError::Describe(why))
        }
    }
}

/// Reads a manifest, and the schema in it.
///
/// # Errors
/// If the agent cannot be used with it: the reason, for the agent's author.
fn read(manifest: turn::Manifest) -> Result<(Manifest, Option<ConfigSchema>), String> {
    if manifest.name.trim().is_empty() {
        return Err("its `name` is empty; an agent has a name".to_owned());
    }

    let config = manifest
        .config_schema_json
        .as_deref()
        .map(ConfigSchema::read);
    let config = config.transpose().map_err(|why| {
        format!("its `config-schema-json` is not the JSON Schema of an object: {why}")
    })?;
    let mut wants = Vec::new();
    let mut unknown_wants = Vec::new();
    for want in manifest.wants {
        let capability = match want.capability.parse::<Capability>() {
            Ok(capability) => capability,
            Err(unknown) if want.required => return Err(not_to_be_had(&unknown)),
            Err(_) => {
                unknown_wants.push(want.capability);
                continue;
            }
        };
        let read = Want {
            capability,
            scope: want.scope,
            required: want.required,
            reason: want.reason,
        };
        match read.rules() {
            Ok(_) => wants.push(read),
            Err(invalid) if read.required => return Err(not_to_be_had(&invalid)),
            Err(invalid) => unknown_wants.push(invalid.to_string()),
        }
    }

    let manifest = Manifest {
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        wants,
        unknown_wants,
        config_schema: manifest.config_schema_json,
        default_prompt: manifest.default_prompt,
    };
    Ok((manifest, config))
}

/// Returns the refusal of an agent that cannot work without what this host does not know.
fn not_to_be_had(unknown: &impl fmt::Display) -> String {
    format!(
        "it requires what this host, which has version {WIT_VERSION} of `{WIT_PACKAGE}`, does not \
         know: {unknown}"
    )
}
