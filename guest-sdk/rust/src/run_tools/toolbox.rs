//! The tools of a loop by name: those of the host and those of the agent.

use serde_json::Value;

use super::plan::Server;
use super::{Answer, HostTools, ServeTool};
use crate::tools::{ToolSpec, Tools};
use crate::{Code, Error, Result};

/// Tools by name.
pub(super) struct Toolbox<'a> {
    specs: Vec<(ToolSpec, Server)>,
    served: Vec<Box<dyn ServeTool + 'a>>,
}

impl<'a> Toolbox<'a> {
    /// Asks the host for its tools, unless the loop uses none of them.
    pub(super) fn open(
        host: Tools<'_>,
        wanted: &HostTools,
        served: Vec<Box<dyn ServeTool + 'a>>,
    ) -> Result<Self> {
        let mut specs: Vec<(ToolSpec, Server)> = Vec::new();
        let own = served.iter().enumerate();
        for (spec, server) in own.map(|(at, tool)| (tool.spec(), Server::Agent(at))) {
            if specs.iter().any(|(other, _)| other.name == spec.name) {
                let twice = format!("the agent serves two tools named `{}`", spec.name);
                return Err(Error::new(Code::Conflict, twice));
            }
            specs.push((spec, server));
        }
        if *wanted != HostTools::None {
            let available = host.available()?.into_iter();
            let shown = available.filter(|spec| {
                wanted.holds(&spec.name) && !specs.iter().any(|(own, _)| own.name == spec.name)
            });
            // The host's tools come first, in the host's order, since models prefer the first ones.
            let mut all: Vec<_> = shown.map(|spec| (spec, Server::Host)).collect();
            all.append(&mut specs);
            specs = all;
        }
        Ok(Self { specs, served })
    }

    pub(super) fn specs(&self) -> impl Iterator<Item = ToolSpec> {
        self.specs.iter().map(|(spec, _)| spec.clone())
    }

    pub(super) fn find(&self, name: &str) -> Option<Server> {
        let found = self.specs.iter().find(|(spec, _)| spec.name == name);
        found.map(|(_, server)| *server)
    }

    /// Returns the names, for a model that called an unknown tool.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.specs.iter().map(|(spec, _)| &*spec.name).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }

    /// Lets the agent's tool at this index carry out a call.
    pub(super) fn serve(&mut self, at: usize, arguments: Value) -> Result<Answer> {
        match self.served.get_mut(at) {
            Some(tool) => tool.call(arguments),
            None => Err(Error::new(Code::NotFound, "the agent has no such tool")),
        }
    }
}
