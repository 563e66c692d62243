//! The conversation that a model is shown. Its length is bounded, and it begins where a model can
//! follow it.

use super::listing::damage_of;
use super::message::{COLUMNS, RUNS, ReadMessages, listed, ordinal, read, summary};
use crate::StoreError;
use crate::conversation::{Bounds, begun_well, latest_turns};
use crate::damage::Damage;
use lastword_types::id::MessageId;
use lastword_types::session::Message;
use rusqlite::{Connection, params};

/// Returns the messages after a place that a model is shown, in time order: all of them if they fit
/// [`Bounds::CONTEXT`], and otherwise the latest whole turns that fit. Never begins with a tool
/// message, whose calls the model would not see.
fn since(conn: &Connection, session: i64, after: i64) -> Result<ReadMessages, StoreError> {
    bounded(conn, session, after, Bounds::CONTEXT)
}

fn bounded(
    conn: &Connection,
    session: i64,
    after: i64,
    bounds: Bounds,
) -> Result<ReadMessages, StoreError> {
    match at_once(conn, session, after, bounds) {
        Err(StoreError::Content(_) | StoreError::Damaged(_)) => {
            with_damage(conn, session, after, bounds)
        }
        messages => Ok((messages?, Vec::new())),
    }
}

/// Returns the conversation that a model is shown: the summary, if there is one, and the messages
/// after it or after the given message.
pub(super) fn context(
    conn: &Connection,
    session: i64,
    after: Option<MessageId>,
) -> Result<ReadMessages, StoreError> {
    if let Some(after) = after {
        return since(conn, session, ordinal(conn, session, after)?);
    }
    let (summary, through, damaged) = match summary(conn, session) {
        Ok(Some((summary, through))) => (Some(summary), through, None),
        Ok(None) => (None, 0, None),
        // If the summary cannot be read, the whole conversation is shown.
        Err(error) => (None, 0, Some(damage_of(error)?)),
    };
    let (rest, more) = since(conn, session, through)?;
    let damaged = damaged.into_iter().chain(more).collect();
    Ok((summary.into_iter().chain(rest).collect(), damaged))
}

/// As [`since`], if not every message can be read.
fn with_damage(
    conn: &Connection,
    session: i64,
    after: i64,
    bounds: Bounds,
) -> Result<ReadMessages, StoreError> {
    let which = "message.session = ?1 AND message.ordinal > ?2
        ORDER BY message.ordinal DESC LIMIT ?3";
    let limit = bounds.messages as i64 + 1;
    let (all, damaged): (Vec<Message>, Vec<Damage>) =
        listed(conn, which, params![session, after, limit])?;
    Ok((latest_turns(all, bounds)?, damaged))
}

fn at_once(
    conn: &Connection,
    session: i64,
    after: i64,
    bounds: Bounds,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM message {RUNS}
         WHERE message.session = ?1 AND message.ordinal > ?2 ORDER BY message.ordinal DESC"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(params![session, after])?;
    let (mut messages, mut bytes, mut whole) = (Vec::new(), 0, true);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(4)?.as_str().unwrap_or_default().len();
        if messages.len() == bounds.messages || bytes > bounds.bytes {
            whole = false;
            break;
        }
        messages.push(read(row)?);
    }
    messages.reverse();
    Ok(begun_well(messages, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: i64 = 1;

    /// Creates a store with one message for each word: the first letter is its role, and the rest
    /// its text.
    fn conversation(words: &[&str]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        let tables = "CREATE TABLE run (no INTEGER PRIMARY KEY, id BLOB);
            CREATE TABLE message (no INTEGER PRIMARY KEY, id BLOB, session INTEGER, run INTEGER,
              ordinal INTEGER, role TEXT, parts TEXT, model TEXT, provider TEXT, finish TEXT,
              created_ms INTEGER, finished_ms INTEGER, extra TEXT);";
        conn.execute_batch(tables).unwrap();
        let add = |sql: &str, params: &[&dyn rusqlite::ToSql]| conn.execute(sql, params).unwrap();
        add("INSERT INTO run VALUES (1, ?1)", &[&[0_u8; 16]]);
        for (place, word) in words.iter().enumerate() {
            let role = match word.as_bytes()[0] {
                b'u' => "user",
                b'a' => "assistant",
                _ => "tool",
            };
            let parts = format!(r#"[{{"type":"text","text":"{word}"}}]"#);
            add(
                "INSERT INTO message (id, session, run, ordinal, role, parts, created_ms)
                 VALUES (?1, 1, 1, ?2, ?3, ?4, 0)",
                &[&[1_u8; 16], &(place as i64 + 1), &role, &parts],
            );
        }
        conn
    }

    fn told(words: &[&str], after: i64, messages: usize, bytes: usize) -> Vec<String> {
        let bounds = Bounds { messages, bytes };
        let (told, _) = bounded(&conversation(words), SESSION, after, bounds).unwrap();
        told.iter().map(Message::text).collect()
    }

    #[test]
    fn all_of_it_within_the_bounds() {
        let words = ["u1", "a1", "t1", "a2", "u2", "a3"];
        assert_eq!(told(&words, 0, 6, 1000), words);
        assert_eq!(told(&words, 1, 6, 1000), words[1..]);
        // After a call the results of it would begin.
        assert_eq!(told(&words, 2, 6, 1000), words[3..]);
    }

    #[test]
    fn what_cannot_be_read_changes_no_bound() {
        let words = ["u1", "a1", "u2", "a2", "u3", "a3"];
        let conn = conversation(&words);
        conn.execute("UPDATE message SET parts = '[{' WHERE ordinal = 3", [])
            .unwrap();
        let told = |messages: usize, bytes: usize| {
            let (told, damaged) = bounded(&conn, SESSION, 0, Bounds { messages, bytes }).unwrap();
            assert!(damaged.len() <= 1);
            told.iter().map(Message::text).collect::<Vec<_>>()
        };
        let each = r#"[{"type":"text","text":"u1"}]"#.len();
        // It keeps its place, without its text.
        let all = ["u1", "a1", "", "a2", "u3", "a3"];
        assert_eq!(told(100, 1000), all);
        assert_eq!(told(6, each * 5 - 1), all[4..]);
        assert_eq!(told(6, each * 2), all[4..]);
        assert_eq!(told(5, 1000), all[2..]);
        assert_eq!(told(3, 1000), all[4..]);
    }

    #[test]
    fn the_oldest_turns_go_as_a_whole() {
        let words = ["u1", "a1", "u2", "a2", "t2", "a2", "u3", "a3"];
        assert_eq!(told(&words, 0, 7, 1000), words[2..]);
        assert_eq!(told(&words, 0, 6, 1000), words[2..]);
        for messages in 2..6 {
            assert_eq!(told(&words, 0, messages, 1000), words[6..], "{messages}");
        }
        let each = r#"[{"type":"text","text":"u1"}]"#.len();
        assert_eq!(told(&words, 0, 100, each * 6), words[2..]);
        assert_eq!(told(&words, 0, 100, each * 6 - 1), words[6..]);
    }

    #[test]
    fn a_turn_that_is_too_long_itself_begins_without_results() {
        let words = ["u1", "a1", "t1", "t1", "a2", "t2", "a3"];
        assert_eq!(told(&words, 0, 5, 1000), words[4..]);
        assert_eq!(told(&words, 0, 3, 1000), words[4..]);
        assert_eq!(told(&words, 0, 2, 1000), words[6..]);
    }
}
