//! The tool calls of a response, whole or in fragments, as the wire formats and the services that
//! imitate them send them. Pure.

use super::Fault;
use super::assembly::Assembly;
use super::json::{self, Halves};
use super::nesting::Nesting;
use crate::model::endpoint::Service;
use crate::model::remote::thoughts::{self, Thought};
use lastword_types::session::{Extra, Part, PartBody, ToolCall};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::HashSet;

/// How many tool calls one response may have.
pub(super) const CALLS_MAX: usize = 256;
/// Bytes of one call's arguments. The host's tools accept less, and tell the model so; beyond this
/// the response fails.
pub(super) const ARGUMENTS_BYTES_MAX: usize = 4 << 20;

/// The calls so far, in the order in which they started.
pub(super) struct Calls {
    service: Service,
    calls: Vec<Call>,
    /// Thoughts before the next call.
    leading: Vec<Thought>,
    /// Ids that already occur in the conversation.
    taken: HashSet<String>,
}

#[derive(Default)]
struct Call {
    /// The service's number of the call: any number or string.
    index: Option<String>,
    id: String,
    name: String,
    arguments: String,
    halves: Halves,
    nesting: Nesting,
    /// Whether the arguments formed a whole object at some point.
    whole: bool,
    /// Whether the service said that the call is complete.
    closed: bool,
    thoughts: Vec<Thought>,
}

/// A fragment of a call. Every field may be missing.
#[derive(Default)]
pub(super) struct Fragment<'a> {
    pub(super) index: Option<String>,
    pub(super) id: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    /// JSON text, or the arguments themselves.
    pub(super) arguments: Option<&'a Value>,
}

impl Calls {
    pub(super) fn new(service: Service, taken: HashSet<String>) -> Self {
        Self {
            service,
            calls: Vec::new(),
            leading: Vec::new(),
            taken,
        }
    }

    /// Adds a thought that belongs to the next call.
    pub(super) fn lead(&mut self, thought: Thought) {
        self.leading.push(thought);
    }

    /// The index of the call that a fragment continues; `None` for a new call.
    fn place(&self, fragment: &Fragment<'_>) -> Option<usize> {
        let (id, index) = (fragment.id, &fragment.index);
        let numbered = |call: &Call| call.index == *index;

        let place = match (index, id) {
            (Some(_), _) => self.calls.iter().rposition(numbered),
            (None, Some(id)) => self.calls.iter().rposition(|call| call.id == id),
            (None, None) if fragment.name.is_some() => None,
            (None, None) => self.calls.len().checked_sub(1),
        }?;
        let call = &self.calls[place];

        // Services that number all of their calls 0 distinguish them by id, or only by a name at
        // the start of each.
        let another_id = id.is_some_and(|id| !call.id.is_empty() && call.id != json::whole(id));
        let another_name = fragment.name.is_some_and(|name| {
            let named = json::whole(name);
            !call.name.is_empty() && (call.name != named || call.whole && fragment.begins())
        });
        (!another_id && !another_name).then_some(place)
    }

    /// Adds a fragment of a call.
    ///
    /// # Errors
    ///
    /// [`Fault::TooMuch`] beyond [`CALLS_MAX`] and [`ARGUMENTS_BYTES_MAX`].
    pub(super) fn add(&mut self, fragment: &Fragment<'_>) -> Result<(), Fault> {
        let place = match self.place(fragment) {
            Some(place) => place,
            None => self.begin(fragment.index.clone())?,
        };
        let call = &mut self.calls[place];
        if call.id.is_empty() {
            call.id = fragment.id.map(json::whole).unwrap_or_default();
        }

        if call.name.is_empty() {
            call.name = fragment.name.map(json::whole).unwrap_or_default();
        }

        match fragment.arguments {
            None | Some(Value::Null) => {}
            Some(Value::String(piece)) => {
                let piece = call.halves.join(piece);
                call.push(&piece);
            }
            Some(arguments) => {
                call.push(&json::without_halves(arguments).to_string());
            }
        }

        call.bounded()
    }

    /// Adds a complete call with the thoughts that belong to it.
    ///
    /// # Errors
    ///
    /// As [`Calls::add`].
    pub(super) fn add_whole(
        &mut self,
        id: Option<&str>,
        name: &str,
        arguments: Option<&Value>,
        thoughts: Vec<Thought>,
    ) -> Result<(), Fault> {
        let place = self.begin(None)?;
        let call = &mut self.calls[place];
        call.thoughts.extend(thoughts);
        call.closed = true;
        call.id = id.map(json::whole).unwrap_or_default();
        call.name = json::whole(name);

        call.arguments = match arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => json::whole(text),
            Some(arguments) => json::without_halves(arguments).to_string(),
        };

        call.bounded()
    }

    /// Adds a call that was cut off.
    ///
    /// # Errors
    ///
    /// As [`Calls::add`].
    pub(super) fn add_cut(&mut self, id: &str, name: &str, arguments: &str) -> Result<(), Fault> {
        let arguments = Value::String(arguments.to_owned());
        self.add_whole(Some(id), name, Some(&arguments), Vec::new())?;
        if let Some(call) = self.calls.last_mut() {
            call.closed = false;
        }
        Ok(())
    }

    fn begin(&mut self, index: Option<String>) -> Result<usize, Fault> {
        if self.calls.len() == CALLS_MAX {
            return Err(Fault::TooMuch(format!(
                "the answer makes more than {CALLS_MAX} tool calls"
            )));
        }

        self.calls.push(Call {
            index,
            thoughts: std::mem::take(&mut self.leading),
            ..Call::default()
        });

        Ok(self.calls.len() - 1)
    }

    /// Returns the calls as parts. If the model was `done`, all are complete; otherwise the last
    /// one may have been cut off, and then counts as unfinished.
    pub(super) fn take(&mut self, done: bool) -> Vec<Part> {
        let calls = std::mem::take(&mut self.calls);
        let parts = calls.into_iter().map(|call| {
            let id = self.id(&call.id);
            call.part(self.service, id, done)
        });
        parts.collect()
    }

    /// Returns the service's id, or a new one if the conversation already has a call of that id,
    /// which services refuse.
    fn id(&mut self, id: &str) -> String {
        let id = if id.is_empty() || self.taken.contains(id) {
            format!("call_{}", uuid::Uuid::now_v7().simple())
        } else {
            id.to_owned()
        };
        self.taken.insert(id.clone());
        id
    }
}

impl Call {
    fn push(&mut self, piece: &str) {
        self.arguments.push_str(piece);
        for byte in piece.bytes() {
            self.whole |= self.nesting.step(byte);
        }
    }

    fn bounded(&self) -> Result<(), Fault> {
        if self.arguments.len() > ARGUMENTS_BYTES_MAX {
            return Err(Fault::TooMuch(format!(
                "a tool call of the answer has more than {ARGUMENTS_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    fn part(mut self, service: Service, id: String, done: bool) -> Part {
        self.arguments.extend(self.halves.flush());
        let complete = self.closed || done;
        let none = self.arguments.trim().is_empty();

        let finished = if complete {
            none || is_json(&self.arguments)
        } else {
            self.arguments.trim_start().starts_with('{') && is_json(&self.arguments)
        };

        if none {
            // Missing arguments mean an empty object, unless the call was cut off before them.
            self.arguments = if complete { "{}" } else { "" }.to_owned();
        }

        let mut extra = Extra::new();
        thoughts::store(service, self.thoughts, &mut extra);

        let body = PartBody::ToolCall(ToolCall {
            id,
            name: self.name,
            input: self.arguments,
            finished,
            started: false,
        });
        Part { body, extra }
    }
}

impl Fragment<'_> {
    /// Whether the arguments could be the start of a call's.
    fn begins(&self) -> bool {
        match self.arguments {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => text.trim_start().starts_with('{'),
            Some(_) => true,
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl Assembly {
    /// Adds a fragment of a call, whose bytes are held back.
    ///
    /// # Errors
    ///
    /// As [`Calls::add`] and [`Assembly::hold`].
    pub(super) fn call(&mut self, fragment: &Fragment<'_>) -> Result<(), Fault> {
        let arguments = match fragment.arguments {
            Some(Value::String(piece)) => piece.len(),
            // The length of these is bounded by that of their document.
            _ => 0,
        };
        let named = fragment.id.map_or(0, str::len) + fragment.name.map_or(0, str::len);
        self.hold(arguments + named)?;
        self.calls.add(fragment)
    }
}
