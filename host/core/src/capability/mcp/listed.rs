//! A server's tools as the host shows them: named, cut to their bounds, and which of the
//! server's own each one is. Knows no connection.

use super::config::Server;
use super::content::redact;
use super::launch::Fill;
use super::names;
use super::text::cut;
use crate::capability::tools::{Effects, Tool};
use rmcp::model::Tool as Offered;
use serde_json::Value;
use std::collections::HashMap;

/// Tools of one server that are shown.
pub(super) const TOOLS_MAX: usize = 512;
/// Pages of a server's list that are read.
pub(super) const PAGES_MAX: usize = 64;
/// Bytes of a tool's description.
const DESCRIPTION_MAX: usize = 8 * 1024;
/// Bytes of a tool's schema; a tool with a longer one is left out.
const SCHEMA_MAX: usize = 64 * 1024;

/// What a server offers, as the host shows it.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// In the server's order.
    pub(super) tools: Vec<Tool>,
    originals: HashMap<String, String>,
}

impl Listed {
    pub(super) fn new(server: &Server, offered: Vec<Offered>, fill: &dyn Fill) -> Self {
        let mut offered = offered;
        offered.retain(|tool| !tool.name.is_empty() && server.allows(&tool.name));
        let left_out = offered.len().saturating_sub(TOOLS_MAX);
        offered.truncate(TOOLS_MAX);
        if left_out > 0 {
            let server = &server.name;
            tracing::warn!(target: "lastword::mcp", server, left_out, "more tools than a host shows");
        }
        let names = names::shown(&server.name, offered.iter().map(|tool| &*tool.name));
        let mut listed = Self::default();
        for (name, tool) in names.into_iter().zip(offered) {
            let original = tool.name.to_string();
            match name.and_then(|name| shown(name, &tool, server.trust_read_only, fill)) {
                Some(tool) => {
                    listed.originals.insert(tool.name.clone(), original);
                    listed.tools.push(tool);
                }
                None => {
                    let server = &server.name;
                    let tool = fill.redact(&original);
                    tracing::warn!(target: "lastword::mcp", server, tool, "a tool is left out");
                }
            }
        }
        listed
    }

    /// The server's own name of a tool.
    pub(super) fn original(&self, name: &str) -> Option<&str> {
        self.originals.get(name).map(String::as_str)
    }
}

fn shown(name: String, tool: &Offered, trust: bool, fill: &dyn Fill) -> Option<Tool> {
    let hint = tool
        .annotations
        .as_ref()
        .and_then(|hints| hints.read_only_hint);
    let described = tool.description.as_deref().or(tool.title.as_deref());
    let description = fill.redact(described.unwrap_or_default());
    let parameters = redact(Value::Object((*tool.input_schema).clone()), fill);
    if parameters.to_string().len() > SCHEMA_MAX {
        return None;
    }
    Some(Tool {
        name,
        description: cut(description, DESCRIPTION_MAX),
        parameters,
        effects: match trust && hint == Some(true) {
            true => Effects::None,
            false => Effects::Some,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::McpConfig;
    use super::super::launch::NoSecrets;
    use super::*;
    use serde_json::json;

    fn server(more: &str) -> Server {
        let config: McpConfig = toml::from_str(&format!("command = ['x']\n{more}")).unwrap();
        Server::new("s", config).unwrap().0
    }

    fn offered(value: Value) -> Vec<Offered> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn tools_are_passed_on_and_named() {
        let tools = offered(json!([
            {"name": "read file", "description": "Reads.", "inputSchema": {"type": "object"},
             "annotations": {"readOnlyHint": true}},
            {"name": "secret", "inputSchema": {"type": "object"}},
            {"name": "write", "title": "Writes", "inputSchema": {"type": "object"}},
        ]));
        let listed = Listed::new(
            &server("tools = ['read*', 'write']"),
            tools.clone(),
            &NoSecrets,
        );
        assert_eq!(listed.tools.len(), 2);
        let tool = &listed.tools[0];
        assert_eq!(tool.name, "s.read_file");
        assert_eq!(tool.description, "Reads.");
        assert_eq!(tool.parameters, json!({"type": "object"}));
        // A server's word alone makes no tool harmless.
        assert_eq!(tool.effects, Effects::Some);
        assert_eq!(listed.original("s.read_file"), Some("read file"));
        assert_eq!(listed.tools[1].description, "Writes");
        assert_eq!(listed.original("s.secret"), None);

        let listed = Listed::new(&server("trust_read_only = true"), tools, &NoSecrets);
        assert_eq!(listed.tools[0].effects, Effects::None);
        assert_eq!(listed.tools[1].effects, Effects::Some);
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let tool = |name: String, more: &str| {
            json!({"name": name, "description": more, "inputSchema": {"type": "object",
                   "description": more}})
        };
        let many: Vec<_> = (0..600).map(|n| tool(format!("t{n}"), "")).collect();
        let listed = Listed::new(&server(""), offered(json!(many)), &NoSecrets);
        assert_eq!(listed.tools.len(), TOOLS_MAX);

        let two = json!([
            tool("a".into(), &"x".repeat(10_000)),
            tool("b".into(), &"x".repeat(70_000))
        ]);
        let listed = Listed::new(&server(""), offered(two), &NoSecrets);
        assert_eq!(listed.tools.len(), 1);
        assert!(listed.tools[0].description.len() < DESCRIPTION_MAX + 64);
    }
}
