//! Reads from the outcome of a run that ended waiting what its agent waits for. The outcome comes
//! from a guest: if it cannot be read, the run fails with a message and does not wait.

use super::{CarriedUsage, Wait};
use lastword_sandbox::Limits;
use lastword_types::clock::UnixMillis;
use lastword_types::id::{AgentId, QuestionId, RunId, SessionId};
use lastword_types::session::{Asked, Question};
use serde::Deserialize;
use std::time::Duration;

/// The shortest time after which a session is woken; shorter times count as this one.
const AFTER_MIN: Duration = Duration::from_secs(1);
/// The longest time that a session may wait for.
const AFTER_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The largest number of bytes of a question.
const QUESTION_BYTES_MAX: usize = 16 << 10;

/// A question as the agent writes it in `ask`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    text: String,
    #[serde(default)]
    choices: Vec<String>,
}

/// The run that waits.
pub(super) struct Waiter {
    pub(super) session: SessionId,
    pub(super) run: RunId,
    pub(super) agent: AgentId,
    pub(super) now: UnixMillis,
}

/// Reads `wake-after-ms` and `ask`.
///
/// # Errors
/// A message that names the unreadable value.
pub(super) fn read(extra: &[(String, String)], waiter: &Waiter) -> Result<Option<Wait>, String> {
    let mut wait = Wait::default();
    for (name, json) in extra {
        match name.as_str() {
            "wake-after-ms" => {
                let after: u64 = json.parse().map_err(|_| {
                    format!("`wake-after-ms` is a number of milliseconds, not {json}")
                })?;
                let after = Duration::from_millis(after);
                wait.after = Some(after.clamp(AFTER_MIN, AFTER_MAX));
            }
            "ask" => wait.question = Some(question(json, waiter)?),
            _ => {}
        }
    }

    Ok((wait != Wait::default()).then_some(wait))
}

/// Adds to a wait the usage that the next run takes over when a time starts it.
///
/// # Errors
/// A message, if the session was already woken as often in a row as it may be.
pub(super) fn carry(mut wait: Wait, used: CarriedUsage, wakes_max: u32) -> Result<Wait, String> {
    if wait.after.is_some() && used.wakes >= wakes_max {
        return Err(format!(
            "a session is woken {wakes_max} times in a row at the most without a person in \
             between, and this one was; prompt it to have it go on, or raise the \
             limit"
        ));
    }

    wait.carried = used;
    Ok(wait)
}

/// Returns the end of a sentence about a limit, for a run that shares its limits with the runs
/// before it.
pub(super) fn told_before(carried: Option<&CarriedUsage>) -> Option<String> {
    let wakes = carried?.wakes;
    Some(format!(
        ", together with the runs before it: the session was woken {wakes} times in a row without \
         a person in between, over which the limits of one run go on"
    ))
}

/// Returns a run's limits, less the use of the woken runs in a row before it.
pub(super) fn left_of(limits: Limits, carried: &CarriedUsage) -> Limits {
    let tokens = limits.tokens.map(|max| max.saturating_sub(carried.tokens));
    let cost = limits.cost_micros;
    let calls = u32::try_from(carried.tool_calls).unwrap_or(u32::MAX);
    limits
        .tokens(tokens)
        .cost_micros(cost.map(|max| max.saturating_sub(carried.cost_micros)))
        .tool_calls(limits.tool_calls.saturating_sub(calls))
        .output_bytes(limits.output_bytes.saturating_sub(carried.output_bytes))
        .log_entries(limits.log_entries.saturating_sub(carried.log_entries))
        .written_bytes(limits.written_bytes.saturating_sub(carried.written_bytes))
}

/// Returns a deadline, less the time of the woken runs in a row before it.
pub(super) fn time_left(deadline: Duration, carried: &CarriedUsage) -> Duration {
    deadline.saturating_sub(Duration::from_millis(carried.run_ms))
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
        let soon = check(&[("wake-after-ms", "0")]).expect("read");
        assert_eq!(soon.expect("a wait").after, Some(AFTER_MIN));
        let ask = check(&[("ask", r#"{"text":"Which?","choices":["a"]}"#)]).expect("read");
        assert!(ask.expect("a wait").question.is_some());
    }

    #[test]
    fn so_many_times_in_a_row_and_no_more() {
        let timer = Wait {
            after: Some(AFTER_MIN),
            ..Wait::default()
        };

        let woken = |wakes| CarriedUsage {
            wakes,
            ..CarriedUsage::default()
        };

        let carried = carry(timer.clone(), woken(2), 3).expect("it waits");
        assert_eq!(carried.carried, woken(2));
        let refused = carry(timer, woken(3), 3).expect_err("not again");
        assert!(refused.contains("3 times"), "{refused}");
        assert!(
            carry(Wait::default(), woken(3), 3).is_ok(),
            "an answer is a person's"
        );
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let told = |extra| check(&[extra]).expect_err("told");
        assert!(told(("wake-after-ms", "soon")).contains("milliseconds"));
        assert!(told(("ask", "{")).contains("`ask` is"));
    }
}
