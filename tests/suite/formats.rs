//! Databases of earlier formats: a host brings them up to date and loses nothing.

use lastword::event::Seq;
use lastword::id::{RunId, SessionId};
use lastword::session::BlobId;
use lastword::{Archive, Host, Notice, WorkspaceKey, WorkspaceOptions};
use lastword_tests::check::violations;
use lastword_tests::fixture::builder;
use lastword_tests::guests::guest;
use rusqlite::{Connection, params};

const FIRST: &str = include_str!("../../host/store/src/sqlite/migrations/0001.sql");
const DIGEST: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
/// What the first format kept as the end of a run; RUN is its id.
const RECEIPT: &str = r#"{"run":"RUN","state":"completed","cause":"returned","detail":null,
    "finish_reason":"end_turn","stop_us":1,"persist_us":1,"epilogue_us":null,"text_bytes":0,
    "parts":1,"run_deadline_ms":null,"finish_deadline_ms":5000,"finish_deadline_expired":false,
    "persisted":true,"usage":{"input_tokens":3,"output_tokens":4,"peak_memory_bytes":1,
    "guest_cpu_us":1,"host_calls":1}}"#;

fn uuid(byte: u8) -> String {
    RunId::from_bytes([byte; 16]).to_string()
}

/// One run that has ended, with bytes, as the first format kept it.
fn write(conn: &Connection, session: SessionId) {
    conn.execute_batch(FIRST).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    let id = |byte: u8| vec![byte; 16];
    let receipt = RECEIPT.replace("RUN", &uuid(7));
    let data = format!(
        r#"[{{"type":"data","media_type":"image/png","name":null,"blob":"{DIGEST}","bytes":1}}]"#
    );
    let insert = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        conn.execute(sql, params).unwrap();
    };
    insert("UPDATE owner SET epoch = 1", &[]);
    insert(
        "INSERT INTO workspace VALUES (1, ?1, 'name:old', 1)",
        &[&id(1)],
    );
    insert(
        "INSERT INTO session (no, id, workspace, agent, title, input_tokens, output_tokens,
           created_ms, updated_ms) VALUES (1, ?1, 1, 'probe', 'Old', 3, 4, 1, 2)",
        &[session.as_bytes()],
    );
    insert(
        r#"INSERT INTO run (no, id, session, state, epoch, prompt, digest, cause, accepted_ms,
           started_ms, ended_ms) VALUES (1, ?1, 1, 'completed', 1,
           '{"origin":"user","parts":[],"config":"{}","deadline":null}', 'd',
           '{"cause":"returned","kind":"end_turn"}', 1, 1, 2)"#,
        &[&id(7)],
    );
    insert("INSERT INTO run_terminal VALUES (1, ?1)", &[&receipt]);
    insert(
        "INSERT INTO message (no, id, session, run, ordinal, role, parts, finish, created_ms)
         VALUES (1, ?1, 1, 1, 1, 'assistant', ?2, 'end_turn', 1)",
        &[&id(8), &data],
    );
    insert("INSERT INTO blob VALUES (?1, x'61')", &[&DIGEST]);
    let message = uuid(8);
    let bodies = [
        r#"{"type":"session.created","agent":"probe"}"#.to_owned(),
        r#"{"type":"run.queued","origin":"user","digest":"d"}"#.to_owned(),
        r#"{"type":"run.started"}"#.to_owned(),
        format!(r#"{{"type":"message.created","message":"{message}","role":"assistant"}}"#),
        format!(r#"{{"type":"run.ended","receipt":{receipt}}}"#),
    ];
    for (seq, body) in (1_i64..).zip(bodies) {
        let run = (seq > 1).then_some(1);
        let sql = "INSERT INTO event VALUES (?1 + 10, 1, ?1, ?2, 1, ?3)";
        conn.execute(sql, params![seq, run, body]).unwrap();
    }
}

/// The format that a database had before an upgrade, if this notice is about one.
fn upgrade(notice: &Notice) -> Option<i64> {
    match notice {
        Notice::Upgraded { from, .. } => {
            let said = notice.to_string();
            assert!(said.contains("restore a backup"), "{said}");
            Some(*from)
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_format_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let id = SessionId::generate();
    write(&Connection::open(data.join("lastword.db")).unwrap(), id);
    let Err(older) = Archive::open(&data) else {
        panic!("whoever only reads cannot bring it up to date");
    };
    assert!(older.to_string().contains("has format 1"), "{older}");
    let host = builder(folder.path()).build().await.unwrap();
    let upgraded = |host: &Host| host.notices().iter().find_map(upgrade);
    assert_eq!(upgraded(&host), Some(1), "{:?}", host.notices());
    let session = host.session(id).await.unwrap();
    let record = session.record().await.unwrap();
    assert_eq!(record.title.as_deref(), Some("Old"));
    assert_eq!((record.messages, record.usage.input_tokens), (1, 3));
    assert_eq!((record.usage.cost_micros, record.parent), (0, None));
    let bytes = session.blob(&BlobId(DIGEST.to_owned())).await.unwrap();
    assert_eq!(bytes.as_deref(), Some(&b"a"[..]), "it may read its bytes");
    let mut events = session.events(Seq(0)).stored();
    let mut count = 0;
    while let Some(event) = events.next().await {
        event.unwrap();
        count += 1;
    }
    assert_eq!(count, 5);
    let runs = session.runs().await.unwrap();
    assert_eq!(runs[0].receipt.as_ref().unwrap().usage.output_tokens, 4);
    let opened = host.open_workspace(WorkspaceKey::name("old"), WorkspaceOptions::new());
    let workspace = opened.await.unwrap();
    assert_eq!(workspace.id(), record.workspace);
    let agent = host.load_agent("probe", guest("probe")).await.unwrap();
    let keyed = || workspace.new_session_with_key(&agent, "k");
    assert_eq!(keyed().await.unwrap().id(), keyed().await.unwrap().id());
    let renamed = session.rename("New").await.unwrap();
    assert_eq!(renamed.title.as_deref(), Some("New"));
    host.shutdown().await;
    assert_eq!(violations(&data), [""; 0]);
    assert!(Archive::open(&data).is_ok());
    let again = builder(folder.path()).build().await.unwrap();
    assert_eq!(upgraded(&again), None, "it is said once");
    again.shutdown().await;
}
