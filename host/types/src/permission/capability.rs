//! The capabilities that can be granted.

use crate::words::closed_words;

closed_words! {
    /// Something that an agent may be allowed to do. Nothing granted means nothing allowed. Its
    /// word is its name in manifests, on the command line and in errors.
    #[derive(PartialOrd, Ord)]
    #[non_exhaustive]
    pub enum Capability ("capability", "capabilities") {
        /// Read the workspace's files.
        ReadFiles = "read-files",
        /// Change the workspace's files, which includes reading them.
        WriteFiles = "write-files",
        /// Ask a model.
        Model = "model",
        /// Call the host's tools.
        Tools = "tools",
        /// Reach hosts on the network.
        Network = "network",
        /// Store small values that are kept between runs.
        State = "state",
        /// Start runs of other agents.
        RunAgents = "run-agents",
        /// Start programs.
        RunCommands = "run-commands",
        /// Use secrets in requests.
        Secrets = "secrets",
    }
}
