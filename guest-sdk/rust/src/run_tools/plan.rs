//! Decides who carries out each call of a model's answer. Pure.

use serde_json::Value;

use super::repeats::{Repeats, Verdict, canonical};
use crate::model::Reply;
use crate::{FinishReason, ToolCall};

/// Who serves a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// The host.
    Host,
    /// The agent, with the tool at this index.
    Agent(usize),
}

/// The decision about a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// The host carries it out.
    Host,
    /// The agent's tool at this index carries it out, with these arguments.
    Agent(usize, Value),
    /// The call is not carried out; the model is told this reason.
    Refused(String),
}

/// A call and the decision about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) call: ToolCall,
    pub(super) fate: Fate,
}

/// The decisions about an answer.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The calls, in order.
    pub(super) calls: Vec<Planned>,
    /// Whether the model went on repeating itself after it was told, so that the loop ends.
    pub(super) circles: bool,
    /// Whether the answer was cut off within a call.
    pub(super) cut_off: bool,
}

/// Decides about all calls of an answer.
pub(super) fn plan(
    reply: &Reply,
    repeats: &mut Repeats,
    find: impl Fn(&str) -> Option<Server>,
    known: impl Fn() -> String,
) -> Plan {
    let was_cut = matches!(
        reply.reason(),
        FinishReason::MaxTokens | FinishReason::ContentFilter
    );
    let parts = reply.parts.iter().enumerate();
    let calls = parts.filter_map(|(at, part)| part.as_tool_call().map(|call| (at, part, call)));
    let calls: Vec<_> = calls
        .map(|(at, part, call)| {
            let last = at + 1 == reply.parts.len();
            let incomplete = part.is_incomplete() || (was_cut && last && !is_whole(call));
            (call, incomplete, parse(&call.arguments_json))
        })
        .collect();
    if calls.is_empty() {
        return Plan::default();
    }
    let cut_off = was_cut && calls.iter().any(|(_, incomplete, _)| *incomplete);
    let words = calls.iter().map(|(call, _, arguments)| {
        let as_sent = |_| call.arguments_json.clone();
        let arguments = arguments.as_ref().map_or_else(as_sent, canonical);
        format!("{} {arguments}", call.name)
    });
    let seen = repeats.see(&words.collect::<Vec<_>>());
    let planned = calls.into_iter().map(|(call, incomplete, arguments)| {
        let fate = match (seen, arguments, find(&call.name)) {
            _ if incomplete => Fate::Refused(format!(
                "the answer was cut off before this call of `{}` was whole, and the call was not \
                 carried out. Send it again, whole; if it became too long, split it into several \
                 shorter calls.",
                call.name
            )),
            (Verdict::Refuse | Verdict::End, ..) => Fate::Refused(format!(
                "`{}` belongs to steps that came again and again with the same results; it was \
                 not carried out this time. Do something else, or answer with what you know.",
                call.name
            )),
            (_, _, None) => Fate::Refused(format!(
                "there is no tool `{}`; the tools are: {}",
                call.name,
                known()
            )),
            (_, Err(why), _) => Fate::Refused(format!(
                "the arguments of `{}` are not JSON ({why}); send them again, whole",
                call.name
            )),
            (_, Ok(_), Some(Server::Host)) => Fate::Host,
            (_, Ok(arguments), Some(Server::Agent(at))) => Fate::Agent(at, arguments),
        };
        let mut call = call.clone();
        if call.arguments_json.trim().is_empty() {
            call.arguments_json = "{}".to_owned();
        }
        Planned { call, fate }
    });
    Plan {
        calls: planned.collect(),
        circles: seen == Verdict::End,
        cut_off,
    }
}

/// Whether the last call of an answer that was cut off is complete. Some providers do not mark
/// incomplete calls. Empty arguments count as incomplete, since they may have been cut off.
fn is_whole(call: &ToolCall) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments_json).is_ok()
}

/// Parses arguments. Empty arguments are an empty object, since some models leave them out.
fn parse(json: &str) -> Result<Value, serde_json::Error> {
    match json.trim() {
        "" => Ok(Value::Object(serde_json::Map::new())),
        json => serde_json::from_str(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    fn find(name: &str) -> Option<Server> {
        match name {
            "read" => Some(Server::Host),
            "roll" => Some(Server::Agent(0)),
            _ => None,
        }
    }

    fn reply(parts: Vec<Part>, finish: &str) -> Reply {
        Reply {
            parts,
            finish: finish.to_owned(),
            usage: crate::Usage::none(),
            extra: Vec::new(),
        }
    }

    fn fates(calls: &[(&str, &str)]) -> Vec<Fate> {
        let parts: Vec<_> = calls
            .iter()
            .enumerate()
            .map(|(at, (name, json))| Part::tool_call(at.to_string(), *name, *json))
            .chain([Part::text("words are no calls")])
            .collect();
        let reply = reply(parts, "tool_use");
        let plan = plan(&reply, &mut Repeats::new(3), find, || "read, roll".into());
        plan.calls.into_iter().map(|planned| planned.fate).collect()
    }

    #[test]
    fn each_call_has_its_fate() {
        let fates = fates(&[
            ("read", r#"{"path":"a"}"#),
            ("roll", r#"{"sides":6}"#),
            ("roll", " "),
            ("fly", "{}"),
            ("read", r#"{"path":"#),
        ]);
        assert_eq!(fates[0], Fate::Host);
        assert_eq!(fates[1], Fate::Agent(0, serde_json::json!({ "sides": 6 })));
        assert_eq!(fates[2], Fate::Agent(0, serde_json::json!({})));
        for (fate, words) in [
            (
                &fates[3],
                "there is no tool `fly`; the tools are: read, roll",
            ),
            (&fates[4], "are not JSON"),
        ] {
            assert!(
                matches!(fate, Fate::Refused(why) if why.contains(words)),
                "{fate:?}"
            );
        }
    }

    #[test]
    fn a_call_that_was_cut_off_is_refused_whatever_its_arguments_are() {
        let marked = |name: &str, json: &str| Part {
            extra: vec![("incomplete".into(), "true".into())],
            ..Part::tool_call("1", name, json)
        };
        let call = |json: &str| Part::tool_call("1", "read", json);
        let text = || Part::text("and then");
        // The parts, the finish, which calls are refused, and whether the answer counts as cut.
        for (parts, finish, refused, cut_off) in [
            (vec![marked("read", "")], "max_tokens", vec![true], true),
            (vec![marked("roll", "{}")], "max_tokens", vec![true], true),
            (
                vec![marked("read", "{\"pa")],
                "content_filter",
                vec![true],
                true,
            ),
            (vec![marked("fly", "{}")], "max_tokens", vec![true], true),
            (vec![marked("read", "{}")], "tool_use", vec![true], false),
            (
                vec![call("{}"), marked("read", "")],
                "max_tokens",
                vec![false, true],
                true,
            ),
            (vec![call("{}")], "max_tokens", vec![false], false),
            (vec![call("")], "max_tokens", vec![true], true),
            (vec![call("{\"pa")], "content_filter", vec![true], true),
            (vec![call("")], "tool_use", vec![false], false),
            (vec![call(""), text()], "max_tokens", vec![false], false),
            (
                vec![call(""), call("{}")],
                "max_tokens",
                vec![false, false],
                false,
            ),
        ] {
            let reply = reply(parts, finish);
            let plan = plan(&reply, &mut Repeats::new(3), find, String::new);
            let fates = plan.calls.iter().map(|planned| &planned.fate);
            let told =
                fates.map(|fate| matches!(fate, Fate::Refused(why) if why.contains("cut off")));
            let told: Vec<_> = told.collect();
            assert_eq!((told, plan.cut_off), (refused, cut_off), "{reply:?}");
        }
    }

    #[test]
    fn a_call_that_comes_again_and_again_is_refused_whatever_it_is() {
        for name in ["read", "roll", "fly"] {
            let mut repeats = Repeats::new(3);
            let reply = reply(vec![Part::tool_call("1", name, "{")], "tool_use");
            let mut next = || plan(&reply, &mut repeats, find, String::new);
            let over: Vec<_> = (0..6).map(|_| next().circles).collect();
            assert_eq!(over, [false, false, false, false, false, true], "{name}");
        }
    }
}
