//! The built-in tools: their list, the capability that each needs, and the dispatch of calls.

mod agent;
mod ask;
mod todo;

use super::listed::ToolEntry;
use super::toolbox::Toolbox;
use crate::guest::agents::RunSpawner;
#[cfg(feature = "commands")]
use lastword_providers::tools::CommandTools;
use lastword_providers::tools::{
    FetchUrl, FileTools, Invocation, ToolError, ToolErrorKind, ToolOutput,
};
use lastword_providers::tools::{FileLocks, Turn, fetch};
use lastword_types::permission::Capability;
use std::fs::File;
use std::sync::Arc;

/// The tools that every run of a host shares.
pub(crate) struct Builtins {
    /// The tools, in the order in which a model sees them.
    listed: Vec<Arc<ToolEntry>>,
    /// The locks of the files that runs are changing.
    pub(crate) file_locks: Arc<FileLocks>,
    #[cfg(feature = "commands")]
    commands: CommandTools,
    fetch: FetchUrl,
}

impl Builtins {
    pub(crate) fn new(
        #[cfg(feature = "commands")] commands: CommandTools,
        fetch: FetchUrl,
    ) -> Arc<Self> {
        let mut tools = FileTools::tools();
        #[cfg(feature = "commands")]
        tools.extend(commands.tools());
        tools.extend([fetch::tool(), todo::tool(), ask::tool(), agent::tool(&[])]);
        let listed = tools.into_iter().map(|tool| Arc::new(ToolEntry::own(tool)));
        Arc::new(Self {
            listed: listed.collect(),
            file_locks: Arc::default(),
            #[cfg(feature = "commands")]
            commands,
            fetch,
        })
    }
}

/// The names of the built-in tools. They need no grant of `tools`, since each checks the
/// capability for every resource that it accesses.
pub const BUILTIN_TOOLS: [&str; 10] = [
    "read_file",
    "list_files",
    "search_text",
    "edit_file",
    "write_file",
    "run_command",
    fetch::NAME,
    todo::NAME,
    ask::NAME,
    agent::NAME,
];

/// The parts of the host that the built-in tools use, for one run.
pub(crate) struct RunBuiltins {
    pub(crate) shared: Arc<Builtins>,
    /// The workspace's directory, and the file tools for it. `None` for a workspace without a
    /// directory.
    pub(crate) directory: Option<(Arc<File>, FileTools)>,
    pub(crate) starts: Arc<dyn RunSpawner>,
    /// The depth at which a run may not start further child runs.
    pub(crate) child_depth: u32,
}

impl RunBuiltins {
    /// Returns every built-in tool, with its description for this run.
    pub(super) fn tools(&self) -> Vec<Arc<ToolEntry>> {
        let told = |listed: &Arc<ToolEntry>| match listed.tool.name.as_str() {
            agent::NAME => Arc::new(ToolEntry::own(agent::tool(&self.starts.agents()))),
            _ => Arc::clone(listed),
        };
        self.shared.listed.iter().map(told).collect()
    }

    /// Returns the tool with this name, if there is one.
    pub(super) fn tool(&self, name: &str) -> Option<&Arc<ToolEntry>> {
        let mut listed = self.shared.listed.iter();
        listed.find(|listed| listed.tool.name == name)
    }

    /// Returns the capability that a tool needs.
    pub(super) fn needs(name: &str) -> Option<Capability> {
        match name {
            "read_file" | "list_files" | "search_text" => Some(Capability::ReadFiles),
            "write_file" | "edit_file" => Some(Capability::WriteFiles),
            "run_command" => Some(Capability::RunCommands),
            fetch::NAME => Some(Capability::Network),
            agent::NAME => Some(Capability::RunAgents),
            _ => None,
        }
    }

    /// Whether a tool needs a directory and the workspace has none.
    pub(super) fn lacks_directory(&self, name: &str) -> bool {
        use Capability::{ReadFiles, RunCommands, WriteFiles};
        let needs = Self::needs(name);
        self.directory.is_none() && matches!(needs, Some(ReadFiles | WriteFiles | RunCommands))
    }

    /// Returns the turn of a call among those that are made together; see [`FileTools::turn`].
    pub(super) fn turn(&self, tool: &str) -> Option<Turn> {
        self.directory.as_ref()?.1.turn(tool)
    }

    /// Carries out a call.
    pub(super) async fn call(
        &self,
        toolbox: &Toolbox,
        call: Invocation,
        turn: Option<Turn>,
    ) -> Result<ToolOutput, ToolError> {
        match (call.tool.as_str(), &self.directory) {
            (todo::NAME, _) => todo::call(toolbox, call).await,
            (ask::NAME, _) => ask::call(toolbox, call).await,
            (fetch::NAME, _) => self.shared.fetch.call(call).await,
            (agent::NAME, _) => agent::call(self, toolbox, call).await,
            #[cfg(feature = "commands")]
            ("run_command", Some((file, _))) => {
                let commands = self.shared.commands.clone();
                let runtime = toolbox.runtime.clone();
                commands.call(Arc::clone(file), call, runtime).await
            }
            (_, Some((_, files))) => {
                let runtime = toolbox.runtime.clone();
                files.clone().call(call, turn, runtime).await
            }
            (_, None) => Err(ToolError::new(
                ToolErrorKind::Unavailable,
                "this workspace is a name without a directory, so that it has no files",
            )),
        }
    }
}

/// Returns an argument that is a text. The arguments were checked before.
fn text<'a>(call: &'a Invocation, name: &str) -> Option<&'a str> {
    call.arguments.get(name).and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_providers::tools::assert_is_read_whole;

    #[test]
    fn every_schema_is_read_whole() {
        for tool in [fetch::tool(), todo::tool(), ask::tool(), agent::tool(&[])] {
            assert_is_read_whole(&tool.parameters);
        }
    }
}
