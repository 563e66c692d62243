//! Questions of agents and their answers from another terminal: shown, listed, answered once, and
//! their grants revoked. If no person can be asked, the message says which rule would grant the
//! access.

use super::served::Served;
use super::{Done, Shell, Started, probe};
use lastword_tests::check::violations;
use serde_json::Value;

const WHICH: &str = r#"tool ask_user {"question":"Which colour?","choices":["red","blue"]}"#;
const CHILD: &str = r#"tool run_agent {"agent":"probe","prompt":"echo from the child"}"#;

/// The id that a line of standard error names.
fn asked(run: &mut Started) -> String {
    run.until_told("lastword answer ");
    let mut id = String::new();
    run.until_told_into(" ", &mut id);
    id.trim().to_owned()
}

fn lines(done: &Done) -> Vec<Value> {
    let lines = done.out.lines();
    let lines = lines.map(|line| serde_json::from_str(line).expect("a JSON line"));
    lines.collect()
}

#[test]
fn a_question_is_answered_by_a_second_command() {
    let shell = Shell::new();
    let mut run = shell.start(WHICH, &["--ask"]);
    let id = asked(&mut run);
    let listed = shell.lastword(&["questions"]).exits(0);
    assert!(
        listed.out.contains(&id) && listed.out.contains("Which colour?"),
        "{listed:?}"
    );
    let whole = shell.lastword(&["questions", "latest"]).exits(0);
    let how = format!("`lastword answer {id} text \"TEXT\"`");
    for words in [
        "probe asks:",
        "  │ Which colour?",
        "1) red",
        "2) blue",
        &how,
    ] {
        assert!(whole.out.contains(words), "`{words}`: {whole:?}");
    }
    let of_session = shell.lastword(&["questions", "--session", "latest", "--json"]);
    assert_eq!(lines(&of_session.exits(0))[0]["id"], id);
    shell
        .lastword(&["answer", &id, "yes"])
        .exits(2)
        .tells(&["answer with `text`"]);
    let done = shell.lastword(&["answer", &id, "text", "the blue one"]);
    done.exits(0).tells(&["answered: “the blue one”"]);
    let done = run.end().exits(0);
    assert_eq!(done.out, "the blue one");
    done.tells(&["answered: “the blue one”"]);
    let late = shell.lastword(&["answer", &id, "text", "red"]).exits(2);
    late.tells(&["first answer counts", "“the blue one”"]);
    let shown = shell.lastword(&["show"]).exits(0).out;
    assert!(shown.contains("? Which colour?"), "{shown}");
    assert!(shown.contains("answered: “the blue one”"), "{shown}");
    let none = shell.lastword(&["questions"]).exits(0);
    none.tells(&["no question is open"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn an_answer_grants_for_longer_until_it_is_revoked() {
    let shell = Shell::new();
    let served = Served::start(&shell, &["--agent", &format!("probe={}", probe())]);
    let mut run = shell.start(CHILD, &["--ask"]);
    let id = asked(&mut run);
    let question = shell.lastword(&["questions", &id[..30]]).exits(0);
    for words in ["wants to: run the agent probe", "run-agents probe"] {
        assert!(question.out.contains(words), "`{words}`: {question:?}");
    }
    let answered = shell.lastword(&["answer", &id, "workspace", "--json"]);
    let answered = lines(&answered.exits(0)).remove(0);
    let grant = answered["grant"]["id"].as_str().unwrap().to_owned();
    assert_eq!(answered["grant"]["rule"], "run-agents=probe");
    assert_eq!(run.end().exits(0).out, "from the child");

    // If it were asked again, no answer would come before the deadline.
    let again = shell.probe(CHILD, &["--ask", "--deadline", "60s"]).exits(0);
    assert_eq!(again.out, "from the child", "it is remembered");
    let listed = shell.lastword(&["grants"]).exits(0).out;
    assert!(
        listed.contains(&grant) && listed.contains("run-agents=probe"),
        "{listed}"
    );
    let listed = shell.lastword(&["grants", "list", "--json"]).exits(0);
    assert_eq!(lines(&listed)[0]["grant"]["id"], grant);
    shell.lastword(&["grants", "revoke", &grant[..13]]).exits(0);
    let revoked = shell.lastword(&["grants", "revoke", &grant]).exits(2);
    revoked.tells(&["there is no grant"]);
    let none = shell.lastword(&["grants", "revoke", "ffffffff"]).exits(2);
    none.tells(&["there is no grant ffffffff", "lastword grants"]);
    let denied = shell.probe(CHILD, &["--no-ask"]).exits(0);
    assert!(denied.out.contains("the rule `run-agents"), "{denied:?}");
    denied.tells(&["`--allow RULE`"]);
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn questions_of_runs_that_a_run_started_are_seen_where_it_is_followed() {
    let shell = Shell::new();
    let child =
        r#"tool run_agent {"agent":"probe","prompt":"tool ask_user {\"question\":\"And you?\"}"}"#;
    let options = ["--ask", "--allow", "run-agents"];
    let answered = |mut run: Started| {
        let id = asked(&mut run);
        shell.lastword(&["answer", &id, "text", "me too"]).exits(0);
        assert_eq!(run.end().exits(0).out, "me too");
    };
    // Once by the host of the run's own command, once at another's.
    answered(shell.start(child, &options));
    let served = Served::start(&shell, &[]);
    answered(shell.start(child, &options));
    served.end();
}

#[test]
fn a_server_is_asked_from_elsewhere() {
    let shell = Shell::new();
    let served = Served::start(&shell, &[]);
    let other = Shell::new();
    let server = ["--server", served.text("url")];
    let server = [&server[..], &["--token-file", served.text("token_file")]].concat();
    let mut run = other.start(WHICH, &[&server[..], &["--ask"]].concat());
    let id = asked(&mut run);
    let listed = other.lastword(&[&["questions"], &server[..]].concat());
    assert!(listed.exits(0).out.contains(&id));
    let no = ["answer", "latest", "no", "ask me tomorrow"];
    other.lastword(&[&no[..], &server].concat()).exits(0);
    let done = run.end().exits(0);
    assert!(done.out.contains("ask me tomorrow"), "{done:?}");
    done.tells(&["answered: no: ask me tomorrow"]);
    assert!(!other.data().exists(), "a client made a data directory");
    served.end();
}

#[test]
fn for_programs_questions_are_events() {
    let shell = Shell::new();
    let mut run = shell.start(WHICH, &["--ask", "--json"]);
    run.until("\"type\":\"question.asked\"");
    shell
        .lastword(&["answer", "latest", "text", "red"])
        .exits(0);
    let done = run.end().exits(0);
    assert!(done.out.contains("\"type\":\"question.answered\""));
    assert!(!done.err.contains("lastword answer"), "{done:?}");
}

#[test]
fn ctrl_c_takes_the_question_back() {
    let shell = Shell::new();
    let mut run = shell.start(WHICH, &["--ask"]);
    let id = asked(&mut run);
    run.signal("INT");
    run.end().exits(130).tells(&["cause user"]);
    let late = shell.lastword(&["answer", &id, "text", "red"]).exits(2);
    late.tells(&["nobody waits for an answer any more"]);
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn with_nobody_there_it_is_said_what_would_grant_it() {
    let shell = Shell::new();
    let denied = shell.probe(CHILD, &[]).exits(0);
    assert!(denied.out.contains("the rule `run-agents"), "{denied:?}");
    denied.tells(&["`--allow RULE`"]);
    let nobody = shell.probe(WHICH, &[]).exits(0);
    assert!(nobody.out.contains("Nobody is there"), "{nobody:?}");
    let granted = shell.probe(CHILD, &["--allow", "run-agents=probe"]);
    assert_eq!(granted.exits(0).out, "from the child");
}

#[test]
fn a_run_that_waits_says_how_to_answer() {
    let shell = Shell::new();
    let done = shell.probe("wait-for Which colour?", &[]).exits(0);
    done.tells(&["? Which colour?", "text TEXT"]);
    let late = shell.lastword(&["answer", "latest", "text", "blue"]);
    late.exits(2)
        .tells(&["lastword serve --agent", "answer again"]);
    let served = Served::start(&shell, &["--agent", &format!("probe={}", probe())]);
    let answered = shell.lastword(&["answer", "latest", "text", "origin blue"]);
    let answered = answered.exits(0);
    answered.tells(&["the session goes on with run"]);
    while !shell.lastword(&["queue"]).exits(0).out.is_empty() {}
    served.end();
    assert_eq!(violations(&shell.data()), [""; 0]);
}

#[test]
fn answers_that_say_nothing() {
    let shell = Shell::new();
    let mut run = shell.start(WHICH, &["--ask"]);
    asked(&mut run);
    for (arguments, words) in [
        (&["latest", "text"][..], "say what to answer"),
        (&["latest", "yes", "please"], "leave them out"),
        (&["latest", "yes", "--rule", "tools"], "`--rule` says"),
        (&["latest", "maybe"], "invalid value 'maybe'"),
        (&["abc", "yes"], "`abc` is not a question id"),
        (&["ffffffff", "yes"], "no open question"),
        (
            &["01990b6e-7c1d-7aa0-9f2e-0c5a4d1b7e55", "yes"],
            "there is no question",
        ),
    ] {
        let all = [&["answer"], arguments].concat();
        shell.lastword(&all).exits(2).tells(&[words]);
    }
    shell.lastword(&["answer", "latest", "no"]).exits(0);
    run.end().exits(0);
}
