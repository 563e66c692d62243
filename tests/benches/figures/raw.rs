//! The same transactions as the store's, by hand on rusqlite: what durability itself costs.

use rusqlite::{Connection, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// A database with the store's own tables and settings.
pub(crate) struct Raw {
    conn: Connection,
    pos: i64,
    seq: Vec<i64>,
    ordinal: Vec<i64>,
}

const SCHEMA: &str = include_str!("../../../host/store/src/sqlite/migrations/0001.sql");
const PARTS: &str = r#"[{"type":"text","text":"nothing"}]"#;
const END: &str =
    r#"[{"type":"finish","reason":"end_turn","title":null,"details":null,"at_ms":1795354910819}]"#;
const RECEIPT: &str = r#"{"run":"01a2037d-e060-76ec-ac80-1862cef9604c","state":"completed","cause":"returned","detail":null,"finish_reason":"end_turn","stop_us":1,"persist_us":219,"epilogue_us":null,"text_bytes":12,"parts":1,"run_deadline_ms":1800000,"finish_deadline_ms":5000,"finish_deadline_expired":false,"persisted":true,"usage":{"input_tokens":0,"output_tokens":0,"peak_memory_bytes":1114112,"guest_cpu_us":254,"host_calls":1}}"#;

impl Raw {
    pub(crate) fn open(folder: &Path, sessions: usize) -> Self {
        let conn = Connection::open(folder.join("raw.db")).expect("a database");
        for (name, value) in [("journal_mode", "wal"), ("synchronous", "full")] {
            conn.pragma_update(None, name, value).expect("a setting");
        }
        // As often as the store's own writer does it.
        conn.pragma_update(None, "wal_autocheckpoint", 4000)
            .expect("a setting");
        conn.pragma_update(None, "cache_size", -16_000)
            .expect("a setting");
        conn.pragma_update(None, "foreign_keys", false)
            .expect("a setting");
        conn.set_prepared_statement_cache_capacity(128);
        conn.execute_batch(SCHEMA).expect("the schema");
        Self {
            conn,
            pos: 0,
            seq: vec![0; sessions],
            ordinal: vec![0; sessions],
        }
    }

    fn exec(&self, sql: &str, params: impl rusqlite::Params) {
        let mut statement = self.conn.prepare_cached(sql).expect("valid SQL");
        statement.execute(params).expect("it is written");
    }

    fn event(&mut self, session: usize, run: i64, body: &str) {
        self.pos += 1;
        self.seq[session] += 1;
        self.exec(
            "INSERT INTO event (pos, session, seq, run, at_ms, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![self.pos, session as i64, self.seq[session], run, 1_795_354_910_819_i64, body],
        );
    }

    fn message(&mut self, session: usize, run: i64, role: &str, parts: &str) {
        self.ordinal[session] += 1;
        let id: [u8; 16] = std::array::from_fn(|i| {
            (self.pos >> (8 * (i % 8))) as u8 ^ role.as_bytes()[i % role.len()]
        });
        self.exec(
            "INSERT INTO message (id, session, run, ordinal, role, parts, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![id, session as i64, run, self.ordinal[session], role, parts, 1_795_354_910_819_i64],
        );
    }

    /// Accepts and starts one run of each session, in one transaction; answers their numbers.
    pub(crate) fn accept(&mut self, sessions: std::ops::Range<usize>) -> Vec<i64> {
        self.exec("BEGIN IMMEDIATE", []);
        let mut runs = Vec::new();
        for session in sessions {
            let id: [u8; 16] = std::array::from_fn(|i| (self.pos >> (8 * (i % 8))) as u8);
            self.exec(
                "INSERT INTO run (id, session, state, epoch, prompt, digest, accepted_ms, started_ms) VALUES (?1, ?2, 'running', 1, ?3, ?4, ?5, ?5)",
                params![id, session as i64, r#"{"origin":"user","parts":[{"type":"text","text":"nothing"}],"config":"{}","deadline":null}"#, "d".repeat(64), 1_795_354_910_819_i64],
            );
            let run = self.conn.last_insert_rowid();
            self.message(session, run, "user", PARTS);
            self.exec(
                "UPDATE session SET title = coalesce(title, ?2), updated_ms = ?3 WHERE no = ?1",
                params![session as i64, "nothing", 1],
            );
            let digest = format!(
                r#"{{"type":"run.queued","origin":"user","digest":"{}"}}"#,
                "d".repeat(64)
            );
            self.event(session, run, &digest);
            self.event(session, run, r#"{"type":"message.created","message":"01a2037d-e060-76ec-ac80-1862cef9604c","role":"user","parts":[{"type":"text","text":"nothing"}]}"#);
            self.event(session, run, r#"{"type":"run.started"}"#);
            runs.push(run);
        }
        self.exec("COMMIT", []);
        runs
    }

    /// Ends those runs, in one transaction.
    pub(crate) fn finish(&mut self, runs: &[i64], first_session: usize) {
        self.exec("BEGIN IMMEDIATE", []);
        for (at, run) in runs.iter().enumerate() {
            let session = first_session + at;
            self.event(session, *run, r#"{"type":"message.created","message":"01a2037d-e060-76ec-ac80-1862cef9604c","role":"assistant"}"#);
            self.message(session, *run, "assistant", END);
            self.event(session, *run, r#"{"type":"message.finished","message":"01a2037d-e060-76ec-ac80-1862cef9604c","finish":"end_turn"}"#);
            self.exec("UPDATE run SET state = 'completed', cause = ?2, ended_ms = ?3 WHERE no = ?1 AND state = 'running'", params![run, r#"{"cause":"returned","kind":"end_turn"}"#, 1]);
            self.exec(
                "INSERT INTO run_terminal (run, receipt) VALUES (?1, ?2)",
                params![run, RECEIPT],
            );
            self.exec("UPDATE session SET input_tokens = input_tokens + 0, output_tokens = output_tokens + 0, updated_ms = ?2 WHERE no = ?1", params![session as i64, 1]);
            let ended = format!(r#"{{"type":"run.ended","receipt":{RECEIPT}}}"#);
            self.event(session, *run, &ended);
        }
        self.exec("COMMIT", []);
    }

    /// Writes a delta for each of the sessions at each beat, as one transaction of whatever
    /// is due; answers how long each was on its way to the disk.
    pub(crate) fn paced(
        &mut self,
        sessions: usize,
        interval: Duration,
        beats: u32,
    ) -> Vec<Duration> {
        let total = sessions * beats as usize;
        let began = Instant::now();
        // Spread over the interval, as sessions that know nothing of each other are.
        let step = interval / u32::try_from(sessions).expect("a small number");
        let due = |n: usize| began + step * u32::try_from(n).expect("a small number");
        let mut took = Vec::with_capacity(total);
        let mut next = 0;
        while next < total {
            std::thread::sleep(due(next).saturating_duration_since(Instant::now()));
            let now = Instant::now();
            let first = next;
            self.exec("BEGIN IMMEDIATE", []);
            while next < total && due(next) <= now {
                self.event(next % sessions, 1, r#"{"type":"text.delta","message":"01a2037d-e060-76ec-ac80-1862cef9604c","part":0,"text":"1795354910819000;"}"#);
                next += 1;
            }
            self.exec("COMMIT", []);
            let now = Instant::now();
            took.extend((first..next).map(|n| now.saturating_duration_since(due(n))));
        }
        took
    }

    /// Appends this many deltas of 8 bytes, each its own row, in transactions of `batch`.
    pub(crate) fn deltas(&mut self, count: usize, batch: usize) {
        for _ in 0..count / batch {
            self.exec("BEGIN IMMEDIATE", []);
            for _ in 0..batch {
                self.event(0, 1, r#"{"type":"text.delta","message":"01a2037d-e060-76ec-ac80-1862cef9604c","part":0,"text":"12345678"}"#);
            }
            self.exec("COMMIT", []);
        }
    }
}
