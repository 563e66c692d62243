//! Everything that victims acknowledged, and whether the database still has it. It reads the
//! database itself, so that it does not depend on the code under test.

use super::line::{self, Word};
use lastword::id::{RunId, SessionId};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// A session, an accept, a receipt or a kept value that was answered is gone or changed.
    Acknowledged,
    /// An event that a subscriber saw is gone or changed.
    Visible,
    /// A run that had begun has no end, though a host has recovered since.
    NonTerminal,
    /// A run has another number of ends than its state says.
    Ends,
    /// Anything else that must hold of every database, or of the victim's own behaviour.
    Other,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub loss: Loss,
    /// What was found.
    pub text: String,
}

impl Finding {
    /// A broken promise of this kind.
    #[must_use]
    pub fn new(loss: Loss, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { loss, text }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.loss, self.text)
    }
}

/// What was acknowledged by the victims of one data directory.
#[derive(Default)]
pub struct Ledger {
    acknowledged: Vec<(Word, Value)>,
    /// In the order of their beginning, each with the last event that was seen.
    sessions: Vec<(String, u64)>,
    /// The session of the command line, with the last event that it printed.
    of_commands: Option<(String, u64)>,
    /// What was asked of each run.
    asked: HashMap<String, String>,
    /// The run that a session's key names.
    keys: HashMap<(String, String), String>,
}

impl Ledger {
    /// The sessions, each with the last event that was seen.
    #[must_use]
    pub fn cursors(&self) -> Vec<(String, u64)> {
        self.sessions.clone()
    }

    /// The session of the command line, once it has printed anything.
    #[must_use]
    pub fn session_of_commands(&self) -> Option<&str> {
        self.of_commands.as_ref().map(|(session, _)| &**session)
    }

    /// How much was acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Takes down a line; answers what is wrong with it in itself.
    pub fn note(&mut self, line: &str) -> Option<Finding> {
        let (word, about) = line::parse(line)?;
        let wrong = match word {
            Word::Trouble => Some(Finding::new(Loss::Other, text(&about))),
            Word::Session => self.note_session(&about),
            Word::Accept => self.note_accept(&about),
            Word::Event if line::is_of_command_line(line) => self.note_printed(&about),
            Word::Event => self.note_event(&about),
            _ => None,
        };
        if matches!(
            word,
            Word::Session | Word::Accept | Word::Event | Word::Receipt
        ) {
            self.acknowledged.push((word, about));
        }
        wrong
    }

    fn note_session(&mut self, about: &Value) -> Option<Finding> {
        let session = text(about);
        if !self.sessions.iter().any(|(known, _)| *known == session) {
            self.sessions.push((session, 0));
        }
        None
    }

    /// One key is one run, in all lives.
    fn note_accept(&mut self, about: &Value) -> Option<Finding> {
        let run = about["run"].as_str()?.to_owned();
        self.asked.insert(run.clone(), text(&about["text"]));
        let key = (text(&about["session"]), about["key"].as_str()?.to_owned());
        let known = self.keys.entry(key).or_insert_with(|| run.clone());
        let wrong = format!("a key answered run {run} and before that {known}");
        (*known != run).then(|| Finding::new(Loss::Acknowledged, wrong))
    }

    /// A command prints the events of its own run, which come in order.
    fn note_printed(&mut self, about: &Value) -> Option<Finding> {
        let (session, seq) = (text(&about["session"]), number(&about["seq"]));
        let (known, last) = self.of_commands.get_or_insert((session.clone(), 0));
        let wrong = format!("session {session}: event {seq} was printed after {last} of {known}");
        let in_order = *known == session && seq > *last;
        *last = seq;
        (!in_order).then(|| Finding::new(Loss::Visible, wrong))
    }

    /// A subscriber sees every number once and in order, over all lives.
    fn note_event(&mut self, about: &Value) -> Option<Finding> {
        let (session, seq) = (text(&about["session"]), number(&about["seq"]));
        let known = self
            .sessions
            .iter_mut()
            .find(|(known, _)| *known == session);
        let Some((_, last)) = known else {
            return Some(Finding::new(
                Loss::Visible,
                "an event of an unknown session",
            ));
        };
        let wrong = format!("session {session}: event {seq} was seen after {last}");
        let in_order = seq == *last + 1;
        *last = seq;
        (!in_order).then(|| Finding::new(Loss::Visible, wrong))
    }

    /// What the database lacks of all that was acknowledged from this place on.
    ///
    /// # Panics
    /// When the database cannot be read.
    #[must_use]
    pub fn missing(&self, conn: &Connection, from: usize) -> Vec<Finding> {
        let acknowledged = self.acknowledged[from..].iter();
        let missing = acknowledged.filter_map(|(word, about)| match word {
            Word::Session => missing_session(conn, about),
            Word::Accept => missing_accept(conn, about),
            Word::Receipt => missing_receipt(conn, about),
            Word::Event => missing_event(conn, about).or_else(|| self.missing_value(conn, about)),
            _ => None,
        });
        missing.collect()
    }

    /// An agent that said it is `done` with keeping a value has kept it.
    fn missing_value(&self, conn: &Connection, event: &Value) -> Option<Finding> {
        if event["type"] != "text.delta" || event["text"] != "done" {
            return None;
        }
        let asked = self.asked.get(event["run"].as_str()?)?;
        let mut words = asked.strip_prefix("state-set session ")?.split(' ');
        let (key, value) = (words.next()?, words.next()?);
        let sql = "SELECT 1 FROM state JOIN session ON session.no = state.owner
                   WHERE state.scope = 1 AND session.id = ?1 AND key = ?2 AND value = ?3";
        let session = session_id(&event["session"]);
        let kept = exists(conn, sql, params![session, key, value.as_bytes()]);
        let gone = || {
            Finding::new(
                Loss::Acknowledged,
                format!("the value of {key} is not kept"),
            )
        };
        (!kept).then(gone)
    }
}

fn missing_session(conn: &Connection, about: &Value) -> Option<Finding> {
    let sql = "SELECT 1 FROM session WHERE id = ?1";
    let found = exists(conn, sql, params![session_id(about)]);
    (!found).then(|| Finding::new(Loss::Acknowledged, format!("session {about} is gone")))
}

/// The run is there, with what was asked and under its key.
fn missing_accept(conn: &Connection, about: &Value) -> Option<Finding> {
    let sql = "SELECT 1 FROM run JOIN session ON session.no = run.session
         WHERE session.id = ?1 AND (?2 IS NULL OR run.id = ?2) AND (?3 IS NULL OR run.key = ?3)
           AND json_extract(run.prompt, '$.parts[0].text') = ?4
           AND EXISTS (SELECT 1 FROM event WHERE event.session = run.session
             AND event.run = run.no AND json_extract(event.body, '$.type') = 'run.queued')";
    let values = params![
        session_id(&about["session"]),
        about["run"].as_str().map(run_id),
        about["key"].as_str(),
        about["text"].as_str(),
    ];
    let found = exists(conn, sql, values);
    (!found).then(|| Finding::new(Loss::Acknowledged, format!("accepted and gone: {about}")))
}

/// A receipt that says it is persisted is stored as it was answered.
fn missing_receipt(conn: &Connection, about: &Value) -> Option<Finding> {
    if about["persisted"] != true {
        return None;
    }
    let sql = "SELECT receipt FROM run_terminal JOIN run ON run.no = run_terminal.run
               WHERE run.id = ?1";
    let stored: Option<String> = conn
        .prepare_cached(sql)
        .and_then(|mut query| {
            query
                .query_row([run_id(&text(&about["run"]))], |row| row.get(0))
                .optional()
        })
        .expect("receipts can be read");
    let wrong = match stored {
        None => format!("answered and not stored: {about}"),
        Some(stored) if json(&stored) != *about => {
            format!("answered as {about} and stored as {stored}")
        }
        Some(_) => return None,
    };
    Some(Finding::new(Loss::Acknowledged, wrong))
}

fn missing_event(conn: &Connection, about: &Value) -> Option<Finding> {
    let sql = "SELECT event.body, event.pos, event.at_ms, run.id FROM event
               JOIN session ON session.no = event.session LEFT JOIN run ON run.no = event.run
               WHERE session.id = ?1 AND event.seq = ?2";
    let stored: Option<Value> = conn
        .prepare_cached(sql)
        .and_then(|mut query| {
            let place = params![session_id(&about["session"]), about["seq"].as_i64()];
            query
                .query_row(place, |row| {
                    let mut event = json(row.get_ref(0)?.as_str()?);
                    event["pos"] = row.get::<_, i64>(1)?.into();
                    event["at_ms"] = row.get::<_, i64>(2)?.into();
                    event["seq"] = about["seq"].clone();
                    event["session"] = about["session"].clone();
                    if let Some(run) = row.get::<_, Option<[u8; 16]>>(3)? {
                        event["run"] = RunId::from_bytes(run).to_string().into();
                    }
                    Ok(event)
                })
                .optional()
        })
        .expect("events can be read");
    let wrong = match stored {
        None => format!("seen and gone: {about}"),
        Some(stored) if stored != *about => format!("seen as {about} and stored as {stored}"),
        Some(_) => return None,
    };
    Some(Finding::new(Loss::Visible, wrong))
}

fn exists(conn: &Connection, sql: &str, values: impl rusqlite::Params) -> bool {
    let mut query = conn.prepare_cached(sql).expect(sql);
    query.exists(values).expect(sql)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("what is stored as JSON is JSON")
}

fn session_id(value: &Value) -> [u8; 16] {
    let id: SessionId = text(value).parse().expect("the id of a session");
    *id.as_bytes()
}

fn run_id(text: &str) -> [u8; 16] {
    let id: RunId = text.parse().expect("the id of a run");
    *id.as_bytes()
}
