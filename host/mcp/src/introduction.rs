//! Repairs the result with which a server introduces itself, if it almost fits the protocol's
//! types. Pure: JSON in, JSON out.

use super::repair::{DeserializeFrom as _, display, drop_unreadable};
use rmcp::model::{
    CacheScope, DiscoverResult, Implementation, InitializeResult, ServerCapabilities,
};
use serde_json::{Map, Value, json};

/// Repairs the result of `initialize` or `server/discover`.
pub(super) fn start(result: Value) -> Value {
    let Value::Object(mut members) = result else {
        return result;
    };
    let capabilities = match members.remove("capabilities") {
        Some(Value::Object(mut capabilities)) => {
            if let Some(tools) = capabilities.get_mut("tools")
                && !tools.is_object()
                && *tools != false
            {
                *tools = json!({});
            }
            drop_unreadable::<ServerCapabilities>(&mut capabilities, &[]);
            capabilities
        }
        // Missing capabilities count as including tools, so that the host asks for tools.
        _ => Map::from_iter([("tools".to_owned(), json!({}))]),
    };
    members.insert("capabilities".to_owned(), Value::Object(capabilities));

    if members.contains_key("supportedVersions") {
        if !members.get("resultType").is_some_and(Value::is_string) {
            members.insert("resultType".to_owned(), json!("complete"));
        }

        if !members
            .get("cacheScope")
            .is_some_and(CacheScope::deserialize_from)
        {
            members.insert("cacheScope".to_owned(), json!("private"));
        }

        if !members.get("ttlMs").is_some_and(Value::is_u64) {
            members.insert("ttlMs".to_owned(), json!(0));
        }

        let needed = ["resultType", "supportedVersions", "capabilities", "ttlMs"];
        let needed = [&needed[..], &["cacheScope"]].concat();
        drop_unreadable::<DiscoverResult>(&mut members, &needed);
    } else {
        if !members
            .get("serverInfo")
            .is_some_and(Implementation::deserialize_from)
        {
            let member = |name: &str| {
                let member = members.get("serverInfo").and_then(|info| info.get(name));
                member.map(display).unwrap_or_default()
            };
            let info = json!({"name": member("name"), "version": member("version")});
            members.insert("serverInfo".to_owned(), info);
        }

        let needed = ["protocolVersion", "capabilities", "serverInfo"];
        drop_unreadable::<InitializeResult>(&mut members, &needed);
    }

    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_introductions_are_repaired() {
        let odd = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": true,
            "prompts": 3}, "serverInfo": {"name": "x"}, "instructions": 7});
        let read: InitializeResult = serde_json::from_value(start(odd)).unwrap();
        assert!(read.capabilities.tools.is_some() && read.capabilities.prompts.is_none());
        assert_eq!(read.server_info.name, "x");
        let odd = json!({"supportedVersions": ["2026-07-28"], "capabilities": null});
        let read: DiscoverResult = serde_json::from_value(start(odd)).unwrap();
        assert!(read.capabilities.tools.is_some());
    }
}
