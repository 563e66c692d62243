//! What is to be done about the calls of a model's answer. Pure; it does not know how a call
//! is carried out.

use serde_json::Value;

use super::repeats::{Repeats, Verdict, canonical};
use crate::{Part, ToolCall};

/// Who serves a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// The host.
    Host,
    /// The agent; its tools are counted from 0.
    Agent(usize),
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// The host carries it out.
    Host,
    /// The agent's tool of this number carries it out, with these arguments.
    Agent(usize, Value),
    /// Nobody does; the model is told why.
    Refused(String),
}

/// A call and its fate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) call: ToolCall,
    pub(super) fate: Fate,
}

/// All calls of an answer, in order, and whether the model turns in circles for good.
pub(super) fn plan(
    parts: &[Part],
    repeats: &mut Repeats,
    find: impl Fn(&str) -> Option<Server>,
    known: impl Fn() -> String,
) -> (Vec<Planned>, bool) {
    let calls = parts.iter().filter_map(Part::as_tool_call);
    let calls: Vec<_> = calls
        .map(|call| (call, parse(&call.arguments_json)))
        .collect();
    if calls.is_empty() {
        return (Vec::new(), false);
    }
    let words = calls.iter().map(|(call, arguments)| {
        let as_sent = |_| call.arguments_json.clone();
        let arguments = arguments.as_ref().map_or_else(as_sent, canonical);
        format!("{} {arguments}", call.name)
    });
    let seen = repeats.see(&words.collect::<Vec<_>>());
    let planned = calls.into_iter().map(|(call, arguments)| {
        let fate = match (seen, arguments, find(&call.name)) {
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
    (planned.collect(), seen == Verdict::End)
}

/// No arguments at all are an empty object: some models leave them out.
fn parse(json: &str) -> Result<Value, serde_json::Error> {
    match json.trim() {
        "" => Ok(Value::Object(serde_json::Map::new())),
        json => serde_json::from_str(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Option<Server> {
        match name {
            "read" => Some(Server::Host),
            "roll" => Some(Server::Agent(0)),
            _ => None,
        }
    }

    fn fates(calls: &[(&str, &str)]) -> Vec<Fate> {
        let parts: Vec<_> = calls
            .iter()
            .enumerate()
            .map(|(at, (name, json))| Part::tool_call(at.to_string(), *name, *json))
            .chain([Part::text("words are no calls")])
            .collect();
        let (planned, _) = plan(&parts, &mut Repeats::new(3), find, || "read, roll".into());
        planned.into_iter().map(|planned| planned.fate).collect()
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
    fn a_call_that_comes_again_and_again_is_refused_whatever_it_is() {
        for name in ["read", "roll", "fly"] {
            let mut repeats = Repeats::new(3);
            let parts = [Part::tool_call("1", name, "{")];
            let mut next = || plan(&parts, &mut repeats, find, String::new);
            let over: Vec<_> = (0..6).map(|_| next().1).collect();
            assert_eq!(over, [false, false, false, false, false, true], "{name}");
        }
    }
}
