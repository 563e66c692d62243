//! A database with damage in it: any host starts, names what cannot be read, ends its runs, and
//! goes on with everything else; `lastword doctor` finds it.

mod flips;
mod rows;
mod streams;
mod twice;

use lastword::clock::SystemClock;
use lastword::id::SessionId;
use lastword::session::Todo;
use lastword::store::Store;
use lastword::{Agent, Archive, Capability, Prompt, RunState, Session, Workspace};
use lastword::{WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::open;
use lastword_tests::fixture::{Plan, wait_until_said};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A data directory as a host that was killed leaves it, with rows in every table.
struct Template {
    folder: TempDir,
    /// The session whose rows are damaged.
    hurt: SessionId,
    /// One that nothing is done to.
    well: SessionId,
    /// The workspace of the one that is damaged.
    _files: TempDir,
}

/// What a session says, for comparison.
fn said(archive: &Archive, id: SessionId) -> String {
    let record = archive.session(id).expect("the session is read").record;
    let runs = archive.runs(id).expect("its runs are read");
    let log = archive.kept_events(id, lastword::event::Seq(0));
    let log = log.expect("its log is read");
    format!("{record:?} {runs:?} {log:?}")
}

async fn ended(session: &Session, prompt: &str) {
    let run = session.prompt(prompt).await.expect("it is accepted");
    run.ended().await.expect("it ends");
}

async fn filled(workspace: &Workspace, agent: &Agent) -> Session {
    let session = workspace.new_session(agent).await;
    let session = session.expect("a session begins");
    ended(&session, "two-steps").await;
    ended(&session, "data 10").await;
    ended(&session, "state-set session key words").await;
    ended(&session, "summarise all of it").await;
    ended(&session, "echo after the summary").await;
    let todo = Todo {
        content: "something".to_owned(),
        status: lastword::session::TodoStatus::Pending,
    };
    session.set_todo(vec![todo]).await.expect("it is planned");
    session
}

impl Template {
    /// The number of the session that is damaged, as an expression of SQL.
    fn hurt_session(&self) -> String {
        let id = self.hurt.as_bytes().iter();
        let id: String = id.map(|byte| format!("{byte:02x}")).collect();
        format!("(SELECT no FROM session WHERE id = x'{id}')")
    }

    async fn make() -> Self {
        let fixture = Plan::new().build().await;
        let elsewhere = WorkspaceKey::name("elsewhere");
        let granted = WorkspaceOptions::new().grant(Capability::State);
        let elsewhere = fixture.host.open_workspace(elsewhere, granted).await;
        let well = filled(&elsewhere.expect("it opens"), &fixture.agent).await;
        let hurt = filled(&fixture.workspace, &fixture.agent).await;
        let last = hurt.messages().await.expect("messages").pop();
        let fork = hurt.fork(last.expect("a message").id).await;
        fork.expect("it is forked");
        let keyed = fixture
            .workspace
            .new_session_with_key(&fixture.agent, "key");
        keyed.await.expect("a session begins");
        let running = hurt.prompt("spin so far").await.expect("it is accepted");
        wait_until_said(&running, "so far").await;
        let keyed = Prompt::text("echo waiting").key("key");
        hurt.prompt(keyed).await.expect("it is accepted");
        let (hurt, well) = (hurt.id(), well.id());
        // What is on disk while it runs is what a host that is killed leaves.
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        copy(&fixture.data(), folder.path());
        running.cancel().await.expect("it is stopped");
        fixture.host.shutdown().await;
        let template = Self {
            folder,
            hurt,
            well,
            _files: fixture.folder,
        };
        template.add_the_rest();
        template
    }

    /// Rows that take a person or a long time to come about.
    fn add_the_rest(&self) {
        let conn = open(self.folder.path());
        let hurt = "(SELECT no FROM session WHERE id = ?1)";
        let question = lastword::id::QuestionId::generate();
        let run: [u8; 16] = conn
            .query_row(
                &format!("SELECT id FROM run WHERE session = {hurt} ORDER BY no LIMIT 1"),
                [self.hurt.as_bytes()],
                |row| row.get(0),
            )
            .expect("a run");
        let body = serde_json::json!({
            "id": question, "session": self.hurt, "run": lastword::id::RunId::from_bytes(run),
            "agent": "probe", "asked_ms": 1, "kind": "input", "text": "which colour?",
        });
        let add = |sql: &str, bound: &[&dyn rusqlite::ToSql]| {
            conn.execute(sql, bound).expect("a row is added");
        };
        add(
            &format!(
                "INSERT INTO question (id, session, run, body)
                 SELECT ?2, session, no, ?3 FROM run WHERE session = {hurt} ORDER BY no LIMIT 1"
            ),
            &[self.hurt.as_bytes(), question.as_bytes(), &body.to_string()],
        );
        add(
            &format!(
                "INSERT INTO wake (run, due_ms, question)
                 SELECT run, 9999999999999, no FROM question WHERE session = {hurt}"
            ),
            &[self.hurt.as_bytes()],
        );
        let grant = lastword::id::GrantId::generate();
        add(
            &format!(
                "INSERT INTO granted (id, workspace, session, agent, rule, granted_ms)
                 SELECT ?2, workspace, no, agent, 'model', 1 FROM session WHERE no = {hurt}"
            ),
            &[self.hurt.as_bytes(), grant.as_bytes()],
        );
        add(
            &format!(
                "INSERT INTO later_key (session, key, content, run)
                 SELECT session, 'later', x'00', no FROM run WHERE session = {hurt} LIMIT 1"
            ),
            &[self.hurt.as_bytes()],
        );
        add(
            &format!(
                "INSERT INTO gone_run (id, session) SELECT ?2, no FROM session WHERE no = {hurt}"
            ),
            &[
                self.hurt.as_bytes(),
                lastword::id::RunId::generate().as_bytes(),
            ],
        );
        add(
            "INSERT INTO agent (name, digest, wasm, loaded_ms)
             VALUES ('kept', '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
                     x'00', 1)",
            &[],
        );
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .expect("it is checkpointed");
    }

    /// A copy to damage.
    fn copy(&self) -> Case {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        copy(self.folder.path(), folder.path());
        Case { folder }
    }
}

fn copy(from: &Path, to: &Path) {
    for name in ["lastword.db", "lastword.db-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("it is copied");
        }
    }
}

/// One damaged copy.
struct Case {
    folder: TempDir,
}

impl Case {
    fn data(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Changes it by SQL, past what the schema forbids.
    fn damage(&self, sql: &str) {
        assert!(self.try_damage(sql), "{sql}");
    }

    /// The same; says whether anything was changed.
    fn try_damage(&self, sql: &str) -> bool {
        let conn = Connection::open(self.data().join("lastword.db")).expect("a database");
        conn.execute_batch(
            "PRAGMA writable_schema = ON; PRAGMA ignore_check_constraints = ON;
             PRAGMA foreign_keys = OFF;
             CREATE TEMP TABLE schema AS SELECT name, sql FROM sqlite_schema;
             UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'
               AND sql NOT LIKE '%WITHOUT ROWID%'; PRAGMA writable_schema = RESET;",
        )
        .expect("the schema is loosened");
        let changed = conn.execute(sql, []).is_ok_and(|rows| rows > 0);
        conn.execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = (SELECT sql FROM temp.schema old
               WHERE old.name = sqlite_schema.name) WHERE type = 'table';
             PRAGMA writable_schema = RESET; PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .expect("the schema is as before");
        changed
    }

    fn start(&self) -> Result<Store, lastword::OpenError> {
        Store::open(&self.data(), SystemClock::shared())
    }

    /// The runs without an end, by the database itself.
    fn open_runs(&self) -> Vec<String> {
        let conn = open(&self.data());
        let states: Vec<_> = RunState::ALL
            .iter()
            .filter(|state| state.is_terminal())
            .map(|state| format!("'{state}'"))
            .collect();
        let sql = format!(
            "SELECT no || ' ' || coalesce(state, 'NULL') FROM run
             WHERE (state NOT IN ({}) OR state IS NULL) AND state IS NOT 'held'",
            states.join(", ")
        );
        let mut query = conn.prepare(&sql).expect("the runs are asked for");
        let open = query.query_map([], |row| row.get(0)).expect("runs");
        open.map(|run| run.expect("a run")).collect()
    }
}
