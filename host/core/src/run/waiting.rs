//! What an agent that ends its run waiting says it waits for, read from its outcome. Words of
//! a guest: what cannot be read is told, and waits for nothing.

use super::Wait;
use crate::clock::UnixMillis;
use crate::id::{AgentId, QuestionId, RunId, SessionId};
use crate::session::{Asked, Question};
use serde::Deserialize;
use std::time::Duration;

/// The longest time that a session may wait for.
const AFTER_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Bytes of the longest question.
const QUESTION_BYTES_MAX: usize = 16 << 10;

/// A question as an agent writes it, in `ask`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    text: String,
    #[serde(default)]
    choices: Vec<String>,
}

/// Who waits.
pub(super) struct Waiter {
    pub(super) session: SessionId,
    pub(super) run: RunId,
    pub(super) agent: AgentId,
    pub(super) now: UnixMillis,
}

/// Reads `wake-after-ms` and `ask`.
///
/// # Errors
/// What cannot be read, for people.
pub(super) fn read(extra: &[(String, String)], waiter: &Waiter) -> Result<Option<Wait>, String> {
    let mut wait = Wait::default();
    for (name, json) in extra {
        match name.as_str() {
            "wake-after-ms" => {
                let after: u64 = json.parse().map_err(|_| {
                    format!("`wake-after-ms` is a number of milliseconds, not {json}")
                })?;
                wait.after = Some(Duration::from_millis(after).min(AFTER_MAX));
            }
            "ask" => wait.question = Some(question(json, waiter)?),
            _ => {}
        }
    }
    Ok((wait != Wait::default()).then_some(wait))
}

fn question(json: &str, waiter: &Waiter) -> Result<Question, String> {
    if json.len() > QUESTION_BYTES_MAX {
        return Err(format!("`ask` has at most {QUESTION_BYTES_MAX} bytes"));
    }
    let ask: Ask = serde_json::from_str(json)
        .map_err(|error| format!("`ask` is {{\"text\": …, \"choices\": […]}}: {error}"))?;
    Ok(Question {
        id: QuestionId::generate(),
        session: waiter.session,
        run: waiter.run,
        agent: waiter.agent.clone(),
        call: None,
        asked: Asked::Input {
            text: ask.text,
            choices: ask.choices,
        },
        asked_ms: waiter.now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(extra: &[(&str, &str)]) -> Result<Option<Wait>, String> {
        let extra: Vec<_> = extra
            .iter()
            .map(|(name, json)| ((*name).to_owned(), (*json).to_owned()))
            .collect();
        let waiter = Waiter {
            session: SessionId::generate(),
            run: RunId::generate(),
            agent: AgentId::new("a").expect("a name"),
            now: UnixMillis(0),
        };
        read(&extra, &waiter)
    }

    #[test]
    fn what_a_run_waits_for_is_read_from_its_outcome() {
        assert_eq!(check(&[("other", "1")]), Ok(None));
        let timer = check(&[("wake-after-ms", "1500")])
            .expect("read")
            .expect("a wait");
        assert_eq!(timer.after, Some(Duration::from_millis(1500)));
        let far = check(&[("wake-after-ms", "18446744073709551615")]).expect("read");
        assert_eq!(far.expect("a wait").after, Some(AFTER_MAX));
        let ask = check(&[("ask", r#"{"text":"Which?","choices":["a"]}"#)]).expect("read");
        assert!(ask.expect("a wait").question.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let told = |extra| check(&[extra]).expect_err("told");
        assert!(told(("wake-after-ms", "soon")).contains("milliseconds"));
        assert!(told(("ask", "{")).contains("`ask` is"));
    }
}
