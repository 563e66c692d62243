//! Checks the length and the characters of values from callers, before any of them is stored. Each
//! refusal names the bound.

use super::{HostError, WorkspaceOptions};
use lastword_store::kept_bytes;
use lastword_types::session::{Part, TODO_CHARS_MAX, TODO_POINTS_MAX, Todo};
use std::collections::BTreeMap;

/// The largest number of bytes of a prompt, as JSON and without the bytes of attachments.
pub const PROMPT_BYTES_MAX: usize = 4 << 20;
/// The largest number of bytes of an agent's configuration for one run.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;
/// The largest number of bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 255;
/// The largest number of labels of a prompt.
pub const LABELS_MAX: usize = 32;
/// The largest number of bytes of a label's name.
pub const LABEL_NAME_BYTES_MAX: usize = 128;
/// The largest number of bytes of a label's value.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;
/// The largest number of rules of a workspace, of both kinds together.
pub const RULES_MAX: usize = 1024;
/// The largest number of bytes of a rule.
pub const RULE_BYTES_MAX: usize = 4096;

fn invalid(why: String) -> HostError {
    HostError::Invalid(why)
}

/// Refuses parts that are longer than a prompt may be.
pub(super) fn check_parts(parts: &[Part]) -> Result<(), HostError> {
    match kept_bytes(parts) {
        0..=PROMPT_BYTES_MAX => Ok(()),
        bytes => Err(invalid(format!(
            "the prompt has {bytes} bytes; it may have {PROMPT_BYTES_MAX}: attach what is long, or \
             put it into a file of the workspace"
        ))),
    }
}

/// Refuses a configuration that is too long.
pub(super) fn check_config(config: &str) -> Result<(), HostError> {
    match config.len() {
        0..=CONFIG_BYTES_MAX => Ok(()),
        bytes => Err(invalid(format!(
            "the agent's configuration has {bytes} bytes; it may have {CONFIG_BYTES_MAX}"
        ))),
    }
}

/// Refuses an idempotency key that is empty, too long, or cannot be shown.
pub(super) fn check_key(key: &str) -> Result<(), HostError> {
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len());
    if fits && !key.chars().any(char::is_control) {
        return Ok(());
    }

    Err(invalid(format!(
        "an idempotency key has 1 to {KEY_BYTES_MAX} bytes and no control characters; this one has \
         {} bytes",
        key.len()
    )))
}

/// Refuses labels that are too many, too long, or cannot be shown.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), HostError> {
    if labels.len() > LABELS_MAX {
        return Err(invalid(format!(
            "a prompt has at most {LABELS_MAX} labels; this one has {}",
            labels.len()
        )));
    }

    for (name, value) in labels {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let named = (1..=LABEL_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(of_name);
        if !named {
            let start: String = name.chars().take(LABEL_NAME_BYTES_MAX).collect();
            return Err(invalid(format!(
                "the name of a label has 1 to {LABEL_NAME_BYTES_MAX} letters, digits, `.`, `_`, \
                 `-` and `/`; {start:?} is not one"
            )));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(invalid(format!(
                "the value of a label has at most {LABEL_VALUE_BYTES_MAX} bytes and no control \
                 characters; that of `{name}` has {} bytes",
                value.len()
            )));
        }
    }

    Ok(())
}

/// Refuses a plan that is too long.
pub(super) fn check_todo(todo: &[Todo]) -> Result<(), HostError> {
    let long = |todo: &Todo| todo.content.chars().count() > TODO_CHARS_MAX;
    if todo.len() <= TODO_POINTS_MAX && !todo.iter().any(long) {
        return Ok(());
    }
    Err(invalid(format!(
        "a plan has at most {TODO_POINTS_MAX} points of at most {TODO_CHARS_MAX} characters"
    )))
}

/// Refuses more rules than a workspace may have.
pub(super) fn check_options(options: &WorkspaceOptions) -> Result<(), HostError> {
    let stored = options.stored();
    let rules = || stored.grants.iter().chain(&stored.denied);
    let count = rules().count();
    if count <= RULES_MAX && rules().all(|rule| rule.len() <= RULE_BYTES_MAX) {
        return Ok(());
    }

    Err(invalid(format!(
        "a workspace has at most {RULES_MAX} rules of at most {RULE_BYTES_MAX} bytes each; this one \
         would have {count} rules"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::permission::{Capability, Rule};
    use lastword_types::session::TodoStatus;

    fn bound(checked: Result<(), HostError>) -> Option<String> {
        checked.err().map(|error| {
            assert_eq!(error.name(), "invalid-value");
            error.to_string()
        })
    }

    #[test]
    fn what_is_too_long_is_refused_with_the_bound() {
        let text = |bytes: usize| "x".repeat(bytes);
        let parts = |bytes: usize| [Part::text(text(bytes))];
        let longest = PROMPT_BYTES_MAX - kept_bytes(&parts(0));
        assert_eq!(bound(check_parts(&parts(longest))), None);
        let refused = bound(check_parts(&parts(longest + 1))).expect("too long");
        assert!(refused.contains(&PROMPT_BYTES_MAX.to_string()), "{refused}");

        assert_eq!(bound(check_config(&text(CONFIG_BYTES_MAX))), None);
        assert!(bound(check_config(&text(CONFIG_BYTES_MAX + 1))).is_some());

        assert_eq!(bound(check_key(&text(KEY_BYTES_MAX))), None);
        for key in ["", "a\0b", "a\nb", &text(KEY_BYTES_MAX + 1)] {
            let refused = bound(check_key(key)).expect("no key");
            assert!(refused.contains("255"), "{refused}");
        }
    }

    #[test]
    fn labels_are_bounded_in_number_length_and_characters() {
        let labels = |count: usize, name: &str, value: &str| -> BTreeMap<String, String> {
            let label = |n: usize| (format!("{name}{n:02}"), value.to_owned());
            (0..count).map(label).collect()
        };
        let name = "x".repeat(LABEL_NAME_BYTES_MAX - 2);
        let value = "y".repeat(LABEL_VALUE_BYTES_MAX);
        assert_eq!(
            bound(check_labels(&labels(LABELS_MAX, &name, &value))),
            None
        );
        assert_eq!(bound(check_labels(&labels(1, "team.eu/a-b_c", ""))), None);

        for (labels, says) in [
            (labels(LABELS_MAX + 1, "a", "b"), "32"),
            (labels(1, &format!("{name}x"), "b"), "128"),
            (labels(1, "a b", "b"), "a b"),
            (labels(1, "a", &format!("{value}y")), "1024"),
            (labels(1, "a", "b\n"), "control"),
            ([(String::new(), String::new())].into(), "128"),
        ] {
            let refused = bound(check_labels(&labels)).expect("beyond the bounds");
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn plans_and_rules_are_bounded_in_number_and_length() {
        let point = |chars: usize| Todo {
            content: "\u{e4}".repeat(chars),
            status: TodoStatus::Pending,
        };

        let plan = |points: usize, chars: usize| vec![point(chars); points];
        assert_eq!(
            bound(check_todo(&plan(TODO_POINTS_MAX, TODO_CHARS_MAX))),
            None
        );
        assert!(bound(check_todo(&plan(TODO_POINTS_MAX + 1, 1))).is_some());
        assert!(bound(check_todo(&plan(1, TODO_CHARS_MAX + 1))).is_some());

        let rule = |name: String| Rule::only(Capability::Tools, name).expect("a rule");
        let rules = |count: usize| {
            let rules = (0..count).map(|n| rule(format!("t{n}")));
            rules.fold(WorkspaceOptions::new(), WorkspaceOptions::deny)
        };

        assert_eq!(bound(check_options(&rules(RULES_MAX))), None);
        assert!(bound(check_options(&rules(RULES_MAX + 1))).is_some());
        let long = WorkspaceOptions::new().grant(rule("x".repeat(RULE_BYTES_MAX)));
        assert!(bound(check_options(&long)).is_some());
    }
}
