//! Every column of every table, damaged in each way in which a row can be.

use super::{Case, Template, said};
use lastword::event::{Position, Seq};
use lastword::store::{HeldScope, OpenQuestions, RenameSession, SessionsPage, Store};
use lastword::{Archive, Damage, examine};
use lastword_tests::check::open;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A way to damage a value, as SQL.
const WAYS: [(&str, &str); 6] = [
    ("NULL", "NULL"),
    ("bad JSON", "'{\"type\":'"),
    ("an unknown word", "'paused'"),
    ("a number", "7.5"),
    ("a short blob", "x'00ff'"),
    ("no UTF-8", "CAST(x'7bff7d' AS TEXT)"),
];

/// The tables, each with how the row that is damaged is chosen.
fn tables(template: &Template) -> Vec<(&'static str, String)> {
    let session = template.hurt_session();
    let first = |table: &str, key: &str| {
        format!("{key} = (SELECT {key} FROM {table} WHERE session = {session} LIMIT 1)")
    };
    let run = |state: &str| format!("session = {session} AND state = '{state}'");
    vec![
        ("owner", "true".to_owned()),
        (
            "workspace",
            format!("no = (SELECT workspace FROM session WHERE no = {session})"),
        ),
        ("session", format!("no = {session}")),
        ("run", run("running")),
        ("run", run("queued")),
        (
            "run",
            format!("no = (SELECT min(no) FROM run WHERE session = {session})"),
        ),
        (
            "run_terminal",
            format!("run = (SELECT min(no) FROM run WHERE session = {session})"),
        ),
        ("message", format!("session = {session} AND ordinal = 2")),
        (
            "event",
            format!("session = {session} AND body LIKE '%text.delta%so far%'"),
        ),
        ("event", format!("session = {session} AND seq = 7")),
        ("question", first("question", "no")),
        ("granted", first("granted", "id")),
        ("wake", "true".to_owned()),
        ("state", format!("scope = 1 AND owner = {session}")),
        ("blob", "true".to_owned()),
        ("blob_use", format!("session = {session}")),
        ("session_key", "true".to_owned()),
        ("later_key", "true".to_owned()),
        ("gone_run", "true".to_owned()),
        ("agent", "true".to_owned()),
    ]
}

/// The columns of a table: name, and whether the value is part of the primary key.
fn columns(template: &Template, table: &str) -> Vec<String> {
    let conn = open(template.folder.path());
    let mut query = conn
        .prepare("SELECT name FROM pragma_table_info(?1)")
        .unwrap();
    let names = query.query_map([table], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

/// Whatever a host reads, read once.
async fn read_all(store: &Store, template: &Template) {
    let _ = store
        .list(SessionsPage {
            limit: 200,
            ..SessionsPage::default()
        })
        .await
        .map(|rows| store.readable(rows));
    let _ = store
        .workspaces(200, None)
        .await
        .map(|rows| store.readable(rows));
    let _ = store.open_questions(OpenQuestions::All).await;
    let _ = store.held(HeldScope::All).await;
    let _ = store.kept_agents().await;
    let _ = store
        .due(lastword::clock::UnixMillis(u64::MAX >> 1), None)
        .await;
    let hurt = template.hurt;
    let _ = store.session(hurt).await;
    let _ = store.runs(hurt).await;
    let _ = store.queued(hurt).await;
    let _ = store
        .list_runs(hurt, 200, None)
        .await
        .map(|rows| store.readable(rows));
    let _ = store.events(hurt, Seq(0)).await;
    let _ = store.positions(None, Position(0), true).await;
    if let Ok(at) = store.locate(hurt).await {
        let _ = store.context(at.id, None).await;
        let _ = store.history(at.id, None, 200).await;
    }
}

/// What came of one case; empty if all is as it should be.
async fn check(case: &Case, template: &Template, well: &str, table: &str) -> String {
    let mut wrong = String::new();
    let found = examine(&case.data()).expect("it is examined");
    let named = |damage: &Damage| damage.table == table || table == "blob_use" || table == "blob";
    let doctor = found.damaged.iter().any(named) || !found.file.is_empty();
    let store = match case.start() {
        Ok(store) => store,
        Err(error) => return format!("the host does not start: {error}"),
    };
    let open = case.open_runs();
    if !open.is_empty() {
        let _ = write!(wrong, "runs without an end: {open:?}; ");
    }
    read_all(&store, template).await;
    let named = store.damaged();
    let archive = Archive::open(&case.data()).expect("it is read");
    if said(&archive, template.well) != *well {
        wrong.push_str("the other session is not what it was; ");
    }
    // Another session takes prompts as before.
    let rename = RenameSession {
        session: template.well,
        title: "still here".to_owned(),
    };
    if let Err(error) = store.execute(rename).await {
        let _ = write!(wrong, "the other session cannot be written: {error}; ");
    }
    store.close();
    let rows = found.damaged.iter().filter(|damage| damage.row.is_some());
    for damage in rows.filter(|damage| damage.lost.contains("a part of the file")) {
        let _ = write!(wrong, "what is lost is not said: {damage}; ");
    }
    if !doctor && !named.is_empty() {
        let _ = write!(
            wrong,
            "the doctor does not see what the host names: {named:?}; "
        );
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_row_costs_itself_alone() {
    let template = Template::make().await;
    let archive = Archive::open(template.folder.path()).unwrap();
    let well = said(&archive, template.well);
    drop(archive);
    let whole = examine(template.folder.path()).unwrap();
    assert!(whole.is_clean(), "{whole:?}");
    let (mut wrong, mut cases, mut seen) = (Vec::new(), 0, BTreeMap::new());
    for (table, which) in tables(&template) {
        for column in columns(&template, table) {
            for (way, value) in WAYS {
                let case = template.copy();
                let sql = format!("UPDATE OR IGNORE {table} SET {column} = {value} WHERE {which}");
                if !case.try_damage(&sql) {
                    continue;
                }
                cases += 1;
                let found = check(&case, &template, &well, table).await;
                *seen.entry(table).or_insert(0) += 1;
                if !found.is_empty() {
                    wrong.push(format!("{table}.{column} ← {way}: {found}"));
                }
            }
        }
    }
    eprintln!("{cases} cases: {seen:?}");
    assert!(
        wrong.is_empty(),
        "{} of {cases}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases > 300, "{cases}");
}

/// A row that leads nowhere, or whose key has lost what it stands for: the table, a change to it,
/// and what the doctor says is wrong and what is lost.
const LEADS_NOWHERE: [(&str, &str, &str, &str); 7] = [
    (
        "session_key",
        "UPDATE session_key SET session = 4711",
        "its session is missing",
        "a second time",
    ),
    (
        "session",
        "UPDATE session SET workspace = 4711 WHERE no = (SELECT min(no) FROM session)",
        "its workspace is missing",
        "the session's title, plan or place",
    ),
    // A key is good in its own workspace only.
    (
        "session_key",
        "UPDATE session_key SET session = (SELECT no FROM session
           WHERE workspace <> session_key.workspace LIMIT 1)",
        "its session is missing",
        "a second time",
    ),
    (
        "session_key",
        "UPDATE session_key SET content = 7",
        "content",
        "a second time",
    ),
    (
        "later_key",
        "UPDATE later_key SET run = 4711",
        "its run is missing",
        "a second time",
    ),
    (
        "gone_run",
        "UPDATE gone_run SET session = 4711",
        "its session is missing",
        "deleted with its session",
    ),
    (
        "gone_run",
        "UPDATE gone_run SET id = x'00'",
        "16 byte value",
        "deleted with its session",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_nowhere_is_named_with_its_row() {
    let template = Template::make().await;
    for (table, change, why, lost) in LEADS_NOWHERE {
        let case = template.copy();
        case.damage(change);
        let damaged = examine(&case.data()).expect("it is examined").damaged;
        let [damage] = &damaged[..] else {
            panic!("{change}: {damaged:?}");
        };
        assert_eq!(damage.table, table, "{change}");
        assert!(damage.row.is_some(), "{change}: {damage:?}");
        assert!(damage.why.contains(why), "{change}: {damage:?}");
        assert!(damage.lost.contains(lost), "{change}: {damage:?}");
    }
}
