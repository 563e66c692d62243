//! A server's tools as the host shows them: named, cut to their bounds, and mapped to the server's
//! own names.

use super::config::Server;
use super::content::redact;
use super::launch::SecretSource;
use super::names;
use super::text::cut;
use lastword_providers::tools::{Effects, Tool};
use rmcp::model::Tool as Offered;
use serde_json::Value;
use std::collections::HashMap;

/// The largest number of tools of one server that are shown.
pub(super) const TOOLS_MAX: usize = 512;
/// The largest number of pages of a server's list that are read.
pub(super) const PAGES_MAX: usize = 64;
/// The largest number of bytes of a tool's description.
const DESCRIPTION_MAX: usize = 8 * 1024;
/// The largest number of bytes of a tool's schema. A tool with a longer one is left out.
const SCHEMA_MAX: usize = 64 * 1024;
/// The largest number of omitted tools that are named. The log names all of them.
const LEFT_OUT_MAX: usize = 32;
/// The largest number of bytes of the text about one omitted tool.
const LEFT_OUT_TEXT_MAX: usize = 256;

/// A server's tools.
#[derive(Debug, Default)]
pub(super) struct ToolList {
    /// The tools, in the server's order.
    pub(super) tools: Vec<Tool>,
    /// The tools that are not shown, with the reasons, for people and without secrets.
    pub(super) left_out: Vec<String>,
    originals: HashMap<String, String>,
}

impl ToolList {
    /// Creates the list from the server's tools. `left_out` names those that could not be read.
    pub(super) fn new(
        server: &Server,
        mut offered: Vec<Offered>,
        left_out: Vec<String>,
        fill: &dyn SecretSource,
    ) -> Self {
        let mut listed = Self::default();

        for why in left_out {
            listed.leave_out(server, fill, &why);
        }

        offered.retain(|tool| !tool.name.is_empty() && server.allows(&tool.name));
        let too_many = offered.len().saturating_sub(TOOLS_MAX);
        offered.truncate(TOOLS_MAX);

        if too_many > 0 {
            let why = format!("{too_many} tools beyond the first {TOOLS_MAX}");
            listed.leave_out(server, fill, &why);
        }

        let names = names::shown_names(&server.name, offered.iter().map(|tool| &*tool.name));
        for (name, tool) in names.into_iter().zip(offered) {
            let original = tool.name.to_string();
            let shown = name
                .ok_or("its name came before")
                .and_then(|name| shown(name, &tool, server.trust_read_only, fill));
            match shown {
                Ok(tool) => {
                    listed.originals.insert(tool.name.clone(), original);
                    listed.tools.push(tool);
                }
                Err(why) => listed.leave_out(server, fill, &format!("`{original}`: {why}")),
            }
        }

        listed
    }

    fn leave_out(&mut self, server: &Server, fill: &dyn SecretSource, why: &str) {
        let why = cut(fill.redact(why), LEFT_OUT_TEXT_MAX);
        let server = &server.name;
        tracing::warn!(target: "lastword::mcp", server, "a tool is left out: {why}");
        match self.left_out.len() {
            ..LEFT_OUT_MAX => self.left_out.push(why),
            LEFT_OUT_MAX => self.left_out.push("more; the log names all".to_owned()),
            _ => {}
        }
    }

    /// Returns the server's own name of a tool.
    pub(super) fn original(&self, name: &str) -> Option<&str> {
        self.originals.get(name).map(String::as_str)
    }
}

fn shown(
    name: String,
    tool: &Offered,
    trust: bool,
    fill: &dyn SecretSource,
) -> Result<Tool, &'static str> {
    let hint = tool
        .annotations
        .as_ref()
        .and_then(|hints| hints.read_only_hint);

    let described = tool.description.as_deref().or(tool.title.as_deref());
    let description = fill.redact(described.unwrap_or_default());
    let parameters = redact(Value::Object((*tool.input_schema).clone()), fill);

    if parameters.to_string().len() > SCHEMA_MAX {
        return Err("its schema is too long");
    }

    Ok(Tool {
        name,
        description: cut(description, DESCRIPTION_MAX),
        parameters,
        effects: if trust && hint == Some(true) {
            Effects::None
        } else {
            Effects::Some
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::McpConfig;
    use super::super::launch::NoSecretSource;
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

        let listed = ToolList::new(
            &server("tools = ['read*', 'write']"),
            tools.clone(),
            vec![],
            &NoSecretSource,
        );
        assert_eq!(listed.tools.len(), 2);

        let tool = &listed.tools[0];
        assert_eq!(tool.name, "s.read_file");
        assert_eq!(tool.description, "Reads.");
        assert_eq!(tool.parameters, json!({"type": "object"}));

        // Untrusted, a server's word does not make a tool free of effects.
        assert_eq!(tool.effects, Effects::Some);
        assert_eq!(listed.original("s.read_file"), Some("read file"));
        assert_eq!(listed.tools[1].description, "Writes");
        assert_eq!(listed.original("s.secret"), None);

        let listed = ToolList::new(
            &server("trust_read_only = true"),
            tools,
            vec![],
            &NoSecretSource,
        );
        assert_eq!(listed.tools[0].effects, Effects::None);
        assert_eq!(listed.tools[1].effects, Effects::Some);
    }

    #[test]
    fn tools_beyond_the_bounds_are_left_out() {
        let tool = |name: String, more: &str| {
            json!({"name": name, "description": more, "inputSchema": {"type": "object",
                   "description": more}})
        };
        let many: Vec<_> = (0..600).map(|n| tool(format!("t{n}"), "")).collect();
        let listed = ToolList::new(&server(""), offered(json!(many)), vec![], &NoSecretSource);

        assert_eq!(listed.tools.len(), TOOLS_MAX);
        assert_eq!(listed.left_out, ["88 tools beyond the first 512"]);

        let two = json!([
            tool("a".into(), &"x".repeat(10_000)),
            tool("b".into(), &"x".repeat(70_000))
        ]);
        let listed = ToolList::new(&server(""), offered(two), vec![], &NoSecretSource);
        assert_eq!(listed.tools.len(), 1);
        assert!(listed.tools[0].description.len() < DESCRIPTION_MAX + 64);
        assert_eq!(listed.left_out, ["`b`: its schema is too long"]);

        let twice = json!([tool("a".into(), ""), tool("a".into(), "")]);
        let unread = (0..40).map(|n| format!("number {n}")).collect();
        let listed = ToolList::new(&server(""), offered(twice), unread, &NoSecretSource);

        assert_eq!(listed.tools.len(), 1);
        assert_eq!(listed.left_out.len(), LEFT_OUT_MAX + 1);
        assert!(listed.left_out.last().unwrap().contains("the log"));
    }
}
