//! The names of what can be granted.

use crate::words::closed_words;

closed_words! {
    /// Something that an agent may be allowed to do. Nothing granted means nothing allowed. Its
    /// word is its name in manifests, on the command line and in errors.
    #[derive(PartialOrd, Ord)]
    #[non_exhaustive]
    pub enum Capability ("capability", "capabilities") {
        /// See the workspace's files.
        ReadFiles = "read-files",
        /// Change the workspace's files; includes seeing them.
        WriteFiles = "write-files",
        /// Ask a model.
        Model = "model",
        /// Call the host's tools.
        Tools = "tools",
        /// Reach hosts on the network.
        Network = "network",
        /// Keep small values from run to run.
        State = "state",
        /// Start runs of other agents.
        RunAgents = "run-agents",
        /// Start programs.
        RunCommands = "run-commands",
        /// Have secrets put into requests.
        Secrets = "secrets",
    }
}
