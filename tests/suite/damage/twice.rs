//! What is kept twice: where one of the two was changed and can still be read, the doctor says so,
//! and of which session.

use super::{Case, Template};
use lastword::examine;

/// A table, a change to it in the session `{hurt}`, and what the doctor says of it.
const CASES: [(&str, &str, &str); 9] = [
    (
        "session",
        "UPDATE session SET agent = 'other' WHERE no = {hurt}",
        "another agent",
    ),
    (
        "session",
        "UPDATE session SET input_tokens = input_tokens + 1 WHERE no = {hurt}",
        "other tokens",
    ),
    (
        "run_terminal",
        "UPDATE run_terminal SET receipt = json_set(receipt, '$.cause', 'deadline')
         WHERE run = (SELECT min(no) FROM run WHERE session = {hurt})",
        "its receipt is another",
    ),
    (
        "run",
        "UPDATE run SET ended_ms = ended_ms + 1 WHERE session = {hurt} AND state = 'completed'",
        "it ended at another time",
    ),
    (
        "run",
        "UPDATE run SET accepted_ms = accepted_ms + 1 WHERE session = {hurt}",
        "it was accepted at another time",
    ),
    (
        "run",
        "UPDATE run SET started_ms = started_ms + 1 WHERE session = {hurt}",
        "it started at another time",
    ),
    // What a person said is in the log as a whole, and what an agent said in its parts.
    (
        "message",
        "UPDATE message SET parts = replace(parts, 'echo after', 'echo before')
         WHERE session = {hurt} AND role = 'user'",
        "it says something else",
    ),
    (
        "message",
        "UPDATE message SET parts = replace(parts, 'after the summary', 'before it')
         WHERE session = {hurt} AND role = 'assistant'",
        "it says something else",
    ),
    (
        "message",
        "UPDATE message SET run = (SELECT max(no) FROM run WHERE session = {hurt})
         WHERE session = {hurt} AND parts LIKE '%after the summary%'",
        "belongs to another run",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_is_named_with_its_session() {
    let template = Template::make().await;
    let hurt = template.hurt_session();
    let sessions = |case: &Case, table: &str, why: &str| -> Vec<_> {
        let found = examine(&case.data()).expect("it is examined").damaged;
        let found = found.into_iter();
        let named = found.filter(|damage| damage.table == table && damage.why.contains(why));
        named.map(|damage| damage.session).collect()
    };
    for (table, change, why) in CASES {
        let case = template.copy();
        assert_eq!(sessions(&case, table, why), [], "{change}");
        case.damage(&change.replace("{hurt}", &hurt));
        let said = sessions(&case, table, why);
        assert!(!said.is_empty(), "{change}");
        assert!(
            said.iter().all(|session| *session == Some(template.hurt)),
            "{change}: {said:?}"
        );
    }
}
