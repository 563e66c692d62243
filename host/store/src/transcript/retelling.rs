//! Rebuilds the events of a run that has ended and whose events were folded away, from its messages
//! and its receipt. Pure; the events have the order and the form of a log.

use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::run::{Origin, Receipt};
use lastword_types::session::{FinishReason, Message, Part, PartBody, Role};

/// The stored data of a run whose events were folded away.
#[derive(Clone, Debug, PartialEq)]
pub struct Remains {
    /// What began it: `user`, `resume`, `fork`, …
    pub origin: Origin,
    /// The lower-case hex SHA-256 of the agent's component.
    pub digest: String,
    /// Unix time in milliseconds when it was accepted.
    pub accepted_ms: UnixMillis,
    /// Unix time in milliseconds when its agent was called; `None` if the run was withdrawn before.
    pub started_ms: Option<UnixMillis>,
    /// Unix time in milliseconds when it ended.
    pub ended_ms: UnixMillis,
    /// Its messages in order.
    pub messages: Vec<Message>,
    /// How it ended.
    pub receipt: Receipt,
}

/// Returns the run's events, each with its time. They contain whole texts instead of the deltas in
/// which these were written.
#[must_use]
pub fn retell(run: Remains) -> Vec<(UnixMillis, EventBody)> {
    let queued = EventBody::RunQueued {
        origin: run.origin,
        digest: run.digest,
    };
    let mut told = vec![(run.accepted_ms, queued)];
    let (asked, answered): (Vec<Message>, Vec<Message>) = run
        .messages
        .into_iter()
        .partition(|message| message.role == Role::User);
    told.extend(asked.into_iter().map(|message| created(&message, true)));
    let started = run.started_ms.map(|at| (at, EventBody::RunStarted {}));
    told.extend(started);
    // A step ends with its results: the message of the agent in it ends no sooner.
    let mut ends = Vec::new();
    for message in answered {
        if message.role != Role::Tool {
            told.append(&mut ends);
        }
        match message.finish {
            Some(finish) => ends.push(step(message, finish, &mut told)),
            // A summary, which was stored whole.
            None => told.push(created(&message, true)),
        }
    }
    told.append(&mut ends);
    let receipt = run.receipt;
    told.push((run.ended_ms, EventBody::RunEnded { receipt }));
    told
}

fn created(message: &Message, whole: bool) -> (UnixMillis, EventBody) {
    let body = EventBody::MessageCreated {
        message: message.id,
        role: message.role,
        parts: if whole {
            message.parts.clone()
        } else {
            Vec::new()
        },
    };
    (message.created_ms, body)
}

/// Rebuilds the events of one message of the agent: its beginning and its parts. Returns its end.
fn step(
    message: Message,
    finish: FinishReason,
    told: &mut Vec<(UnixMillis, EventBody)>,
) -> (UnixMillis, EventBody) {
    told.push(created(&message, false));
    let end = message.finished_ms.unwrap_or(message.created_ms);
    let (mut title, mut details) = (None, None);
    for (index, part) in (0..).zip(message.parts) {
        if let PartBody::Finish {
            title: line,
            details: more,
            ..
        } = part.body
        {
            (title, details) = (line, more);
            continue;
        }
        let (body, ended_ms) = said(message.id, index, part);
        told.push((end, body));
        told.extend(ended_ms.map(|at| {
            let body = EventBody::PartFinished {
                message: message.id,
                index,
                ended_ms: Some(at),
                input: None,
            };
            (end, body)
        }));
    }
    let body = EventBody::MessageFinished {
        message: message.id,
        finish,
        title,
        details,
    };
    (end, body)
}

/// Rebuilds the event of a part, and that of its end if it has one.
fn said(
    message: lastword_types::id::MessageId,
    index: u32,
    part: Part,
) -> (EventBody, Option<UnixMillis>) {
    match part.body {
        PartBody::Text { text } if part.extra.is_empty() => {
            let part = index;
            let body = EventBody::TextDelta {
                message,
                part,
                text,
            };
            (body, None)
        }
        PartBody::Reasoning {
            text,
            started_ms,
            ended_ms,
        } if part.extra.is_empty() => {
            let body = EventBody::ReasoningDelta {
                message,
                part: index,
                text,
                appended_ms: started_ms,
            };
            (body, ended_ms)
        }
        PartBody::ToolResult(_) => {
            let body = EventBody::ToolResult {
                message,
                index,
                part,
            };
            (body, None)
        }
        _ => {
            let body = EventBody::PartAdded {
                message,
                index,
                part,
            };
            (body, None)
        }
    }
}
