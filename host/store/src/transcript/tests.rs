//! What a transcript accepts, merges and refuses, at its bounds.

use super::*;
use lastword_types::session::{Asked, Question};

const NOW: UnixMillis = UnixMillis(7);

fn call(id: &str, name: &str, input: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        input: input.to_owned(),
        finished: true,
        started: false,
    }
}

fn transcript(bytes_max: u64) -> Transcript {
    Transcript::new(RunId::generate(), bytes_max)
}

#[test]
fn a_call_that_comes_again_is_the_same_only_with_its_name_and_arguments() {
    let made = call("c", "read_file", r#"{"path":"a","lines":3}"#);
    for (again, expected) in [
        (made.clone(), Ok(())),
        (
            call("c", "read_file", r#"{ "lines": 3, "path": "a" }"#),
            Ok(()),
        ),
        (
            call("c", "read_file", r#"{"path":"b","lines":3}"#),
            Err(OutputRefused::Conflict),
        ),
        (
            call("c", "write_file", &made.input),
            Err(OutputRefused::Conflict),
        ),
        (call("c", "read_file", "{"), Err(OutputRefused::Conflict)),
    ] {
        let mut transcript = transcript(1000);
        let mut log = Vec::new();
        transcript.call(&made, NOW, &mut log).unwrap();
        let known = log.len();
        let outcome = transcript.call(&again, NOW, &mut log);
        assert_eq!(outcome, expected, "{again:?}");
        assert_eq!(log.len(), known, "a known call adds nothing: {again:?}");
    }
}

#[test]
fn arguments_that_are_no_json_are_the_same_as_themselves() {
    let mut transcript = transcript(1000);
    let made = call("c", "read_file", "{");
    let mut log = Vec::new();
    transcript.call(&made, NOW, &mut log).unwrap();
    assert_eq!(transcript.call(&made, NOW, &mut log), Ok(()));
}

fn question(asked: Asked) -> Question {
    Question {
        id: QuestionId::generate(),
        session: lastword_types::id::SessionId::generate(),
        run: RunId::generate(),
        agent: lastword_types::id::AgentId::new("tester").unwrap(),
        call: None,
        asked,
        asked_ms: NOW,
    }
}

/// Every text of a question has a different length, so that the test detects a text that is not
/// counted.
fn questions() -> [(u64, Asked); 3] {
    let text = |length: usize| "x".repeat(length);
    let permission = |diff: Option<String>, details: Option<String>| Asked::Permission {
        capability: text(1),
        target: text(2),
        title: text(4),
        diff,
        details,
        offers: vec![text(32), text(64)],
    };
    [
        (
            1 + 2 + 4 + 8 + 16 + 32 + 64,
            permission(Some(text(8)), Some(text(16))),
        ),
        (1 + 2 + 4 + 32 + 64, permission(None, None)),
        (
            1 + 2 + 4,
            Asked::Input {
                text: text(1),
                choices: vec![text(2), text(4)],
            },
        ),
    ]
}

#[test]
fn a_question_costs_the_bytes_of_all_its_texts() {
    for (bytes, asked) in questions() {
        let mut exact = transcript(bytes);
        exact
            .ask(question(asked.clone()), &mut Vec::new())
            .unwrap_or_else(|refused| panic!("{refused:?} of {bytes} bytes: {asked:?}"));
        assert_eq!(exact.left().bytes, 0);
        let mut short = transcript(bytes - 1);
        let mut log = Vec::new();
        assert_eq!(
            short.ask(question(asked), &mut log),
            Err(OutputRefused::Bytes)
        );
        assert!(log.is_empty());
        assert_eq!(short.left().bytes, bytes - 1);
    }
}

/// Returns the lengths of the deltas into which a list of appends was merged.
fn merged(
    appends: &[usize],
    append: impl Fn(&mut Transcript, &str, &mut Vec<Entry>),
) -> Vec<usize> {
    let mut transcript = transcript(1 << 20);
    let mut log = Vec::new();
    for length in appends {
        append(&mut transcript, &"x".repeat(*length), &mut log);
    }
    let lengths = log.iter().filter_map(|entry| match entry {
        Entry::Event(
            EventBody::TextDelta { text, .. } | EventBody::ReasoningDelta { text, .. },
        ) => Some(text.len()),
        _ => None,
    });
    lengths.collect()
}

#[test]
fn adjacent_deltas_merge_up_to_their_bound() {
    const MAX: usize = DELTA_BYTES_MAX;
    for (appends, expected) in [
        (&[1, 2, 3][..], &[6][..]),
        (&[MAX - 1, 1], &[MAX]),
        (&[MAX, 1], &[MAX, 1]),
        (&[MAX - 1, 2, 1], &[MAX - 1, 3]),
        (&[2 * MAX, 1], &[2 * MAX, 1]),
    ] {
        let text = merged(appends, |transcript, delta, log| {
            transcript.text(delta, NOW, log).unwrap();
        });
        assert_eq!(text, expected, "text of {appends:?}");
        let reasoning = merged(appends, |transcript, delta, log| {
            transcript.reasoning(delta, NOW, log).unwrap();
        });
        assert_eq!(reasoning, expected, "reasoning of {appends:?}");
    }
}

#[test]
fn deltas_of_different_parts_never_merge() {
    let mut transcript = transcript(1000);
    let mut log = Vec::new();
    transcript.text("a", NOW, &mut log).unwrap();
    transcript.reasoning("b", NOW, &mut log).unwrap();
    transcript.text("c", NOW, &mut log).unwrap();
    let deltas: Vec<_> = log
        .iter()
        .filter_map(|entry| match entry {
            Entry::Event(EventBody::TextDelta { part, text, .. }) => Some((*part, text.as_str())),
            Entry::Event(EventBody::ReasoningDelta { part, text, .. }) => {
                Some((*part, text.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(deltas, [(0, "a"), (1, "b"), (2, "c")]);
}
