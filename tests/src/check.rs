//! The rules that every data directory must satisfy, whatever happened to it. It reads the database
//! itself, so that it does not depend on the code under test.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// What is wrong with a data directory; empty if nothing is.
///
/// # Panics
/// When the database cannot be read at all.
#[must_use]
pub fn violations(data: &Path) -> Vec<String> {
    let conn = open(data);
    let mut found = Vec::new();
    let whole: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    if whole != "ok" {
        found.push(format!("the database is damaged: {whole}"));
    }
    for (what, sql) in RULES {
        let mut query = conn.prepare(sql).expect(what);
        let mut rows = query.query([]).expect(what);
        let mut count = 0;
        while rows.next().expect(what).is_some() {
            count += 1;
        }
        if count > 0 {
            found.push(format!("{count} × {what}"));
        }
    }
    found
}

/// Opens a database to look at it. Leaves the write-ahead log as it is, so that the next host
/// finds what the last one left.
///
/// # Panics
/// When there is no database.
#[must_use]
pub fn open(data: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let conn = Connection::open_with_flags(data.join("lastword.db"), flags).expect("a database");
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .expect("checkpoints can be switched off");
    conn
}

/// Whether a data directory has a database in which anything could have been kept. A host that
/// dies in its very first moments leaves none, or an empty one.
#[must_use]
pub fn is_begun(data: &Path) -> bool {
    let format = |conn: Connection| conn.query_row("PRAGMA user_version", [], |row| row.get(0));
    data.join("lastword.db").is_file() && format(open(data)).is_ok_and(|format: i64| format > 0)
}

/// A rule is a query for what breaks it.
pub const RULES: [(&str, &str); 9] = [
    (
        "a run has another number of ends than one, though its state is terminal",
        "SELECT run.no FROM run LEFT JOIN event ON event.run = run.no AND event.session = run.session
           AND json_extract(event.body, '$.type') = 'run.ended'
         WHERE run.state IN ('completed', 'cancelled', 'failed', 'interrupted')
           AND NOT EXISTS (SELECT 1 FROM session WHERE session.no = run.session
             AND log_from > 0 AND NOT EXISTS (SELECT 1 FROM event WHERE event.session = session.no
               AND event.run = run.no))
         GROUP BY run.no HAVING count(event.pos) <> 1",
    ),
    (
        "a run has an end, though its state is not terminal",
        "SELECT run.no FROM run JOIN event ON event.run = run.no
           AND json_extract(event.body, '$.type') = 'run.ended'
         WHERE run.state NOT IN ('completed', 'cancelled', 'failed', 'interrupted')",
    ),
    (
        "a terminal run has no stored receipt, or another than its event",
        "SELECT run.no FROM run LEFT JOIN run_terminal t ON t.run = run.no
         LEFT JOIN event ON event.run = run.no AND json_extract(event.body, '$.type') = 'run.ended'
         WHERE run.state IN ('completed', 'cancelled', 'failed', 'interrupted')
           AND (event.pos IS NOT NULL OR NOT EXISTS (SELECT 1 FROM session
             WHERE session.no = run.session AND log_from > 0))
           AND (t.receipt IS NULL OR json(t.receipt) <> json_extract(event.body, '$.receipt'))",
    ),
    (
        "something about a run follows its end",
        "SELECT later.pos FROM event later JOIN event ended
           ON ended.run = later.run AND ended.session = later.session
         WHERE json_extract(ended.body, '$.type') = 'run.ended' AND later.seq > ended.seq",
    ),
    (
        "a session's sequence has a gap",
        "SELECT session FROM event JOIN session ON session.no = event.session AND seq > log_from
         GROUP BY session HAVING max(seq) <> log_from + count(*) OR min(seq) <> log_from + 1",
    ),
    (
        "a message was begun in the log and is not kept, though its run has ended",
        "SELECT event.pos FROM event JOIN run ON run.no = event.run
         WHERE json_extract(event.body, '$.type') = 'message.created'
           AND run.state IN ('completed', 'cancelled', 'failed', 'interrupted')
           AND NOT EXISTS (SELECT 1 FROM message WHERE message.run = run.no AND
             lower(hex(message.id)) = replace(json_extract(event.body, '$.message'), '-', ''))",
    ),
    (
        "an ended run's streamed text differs from its messages",
        "SELECT run.no FROM run WHERE run.state IN ('completed', 'cancelled', 'failed', 'interrupted')
           AND json_extract(run.prompt, '$.origin') <> 'fork'
           AND NOT EXISTS (SELECT 1 FROM session WHERE session.no = run.session
             AND log_from > 0 AND NOT EXISTS (SELECT 1 FROM event WHERE event.session = session.no
               AND event.run = run.no))
           AND coalesce((SELECT group_concat(text, '') FROM
               (SELECT json_extract(event.body, '$.text') AS text FROM event
                WHERE event.run = run.no AND json_extract(event.body, '$.type') = 'text.delta'
                ORDER BY event.seq)), '')
           <> coalesce((SELECT group_concat(text, '') FROM
               (SELECT json_extract(part.value, '$.text') AS text
                FROM message, json_each(message.parts) part
                WHERE message.run = run.no AND message.role = 'assistant'
                  AND json_extract(part.value, '$.type') = 'text'
                ORDER BY message.no, part.key)), '')",
    ),
    (
        "a tool call of an ended run has no result",
        "SELECT run.no FROM run, message, json_each(message.parts) part
         WHERE message.run = run.no AND message.role = 'assistant'
           AND run.state IN ('completed', 'cancelled', 'failed', 'interrupted')
           AND json_extract(part.value, '$.type') = 'tool_call'
           AND NOT EXISTS (SELECT 1 FROM message t, json_each(t.parts) r
             WHERE t.run = run.no AND t.role = 'tool'
               AND json_extract(r.value, '$.call_id') = json_extract(part.value, '$.id'))",
    ),
    (
        "a question of an ended run is open, though nothing waits for its answer",
        "SELECT question.no FROM question JOIN run ON run.no = question.run
         WHERE question.answer IS NULL
           AND run.state IN ('completed', 'cancelled', 'failed', 'interrupted')
           AND NOT EXISTS (SELECT 1 FROM wake WHERE wake.question = question.no)",
    ),
];
