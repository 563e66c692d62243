//! Detects a model that repeats itself, which makes the same steps with the same results in every
//! round. Pure.
//!
//! Two steps are the same if they make the same calls in the same order, with equal names and equal
//! arguments as JSON, and if their results are the same. A circle is one to [`CIRCLE_STEPS_MAX`]
//! steps that are repeated for the allowed number of rounds; a step that would begin another round
//! is refused. A changed result is progress: a model that polls for something is never refused
//! here, and only the loop's number of steps bounds it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::ToolResult;

/// The number of steps in the longest circle that is detected.
const CIRCLE_STEPS_MAX: usize = 4;

/// The smallest number of rounds of a circle of several steps, even if fewer are allowed: to read,
/// change and read again is not a circle.
const ROUNDS_MIN: usize = 2;

/// How many steps in a row are refused before the loop ends.
pub(super) const REFUSALS_MAX: u32 = 3;

/// The decision about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Carry it out.
    Go,
    /// The step would begin a round too many: refuse it, and tell the model.
    Refuse,
    /// As `Refuse`, but the model was told before: end the loop.
    End,
}

/// What distinguishes a step from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    calls: u64,
    results: u64,
}

/// The steps so far.
#[derive(Debug)]
pub(super) struct Repeats {
    rounds: usize,
    steps: Vec<Step>,
    /// How many of the latest steps were refused.
    refused: u32,
}

impl Repeats {
    /// Allows this number of rounds.
    pub(super) fn new(allowed: u32) -> Self {
        Self {
            rounds: usize::try_from(allowed.max(1)).unwrap_or(usize::MAX),
            steps: Vec::new(),
            refused: 0,
        }
    }

    /// Decides about a step with these calls, each given as its name and [`canonical`] arguments.
    pub(super) fn see(&mut self, calls: &[String]) -> Verdict {
        let calls = digest(calls);
        let mut circles = (1..=CIRCLE_STEPS_MAX).filter_map(|length| self.next_in_circle(length));
        match circles.find(|next| next.calls == calls) {
            None => {
                self.refused = 0;
                self.steps.push(Step { calls, results: 0 });
                Verdict::Go
            }
            Some(next) => {
                // The circle continues from this step, whether or not it is refused.
                self.steps.push(next);
                self.refused += 1;
                if self.refused < REFUSALS_MAX {
                    Verdict::Refuse
                } else {
                    Verdict::End
                }
            }
        }
    }

    /// Records the results of the last step, if it was carried out.
    pub(super) fn learn(&mut self, results: &[ToolResult]) {
        if let Some(last) = self.steps.last_mut().filter(|_| self.refused == 0) {
            let told = results
                .iter()
                .map(|result| (&result.content, result.is_error));
            last.results = digest(&format!("{:?}", told.collect::<Vec<_>>()));
        }
    }

    /// Returns the step with which a circle of this length would begin its next round, if the
    /// latest steps repeated it often enough.
    fn next_in_circle(&self, length: usize) -> Option<Step> {
        let rounds = match length {
            1 => self.rounds,
            _ => self.rounds.max(ROUNDS_MIN),
        };
        let begin = self
            .steps
            .len()
            .checked_sub(length.saturating_mul(rounds))?;
        let latest = &self.steps[begin..];
        let goes_round = latest
            .iter()
            .zip(&latest[length..])
            .all(|(one, other)| one == other);
        goes_round.then(|| latest[0])
    }
}

/// Returns a digest that is equal for equal values within one run of the agent.
fn digest(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns the JSON text of a value with the fields of objects sorted by name.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            let fields = fields.into_iter().map(|(name, value)| {
                format!("{}:{}", Value::from(name.as_str()), canonical(value))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes steps of one call each. Each step is given as the call's argument and its result.
    fn go(repeats: &mut Repeats, steps: &[(&str, &str)]) -> Vec<Verdict> {
        let steps = steps.iter().map(|(asked, told)| {
            let verdict = repeats.see(&[(*asked).to_owned()]);
            repeats.learn(&[ToolResult::text("id", *told)]);
            verdict
        });
        steps.collect()
    }

    /// Returns this number of steps of a circle that is repeated.
    fn rounds(circle: &[&'static str], steps: usize) -> Vec<(&'static str, &'static str)> {
        circle
            .iter()
            .map(|asked| (*asked, "the same"))
            .cycle()
            .take(steps)
            .collect()
    }

    use Verdict::{End, Go, Refuse};

    #[test]
    fn after_three_rounds_a_circle_is_refused_and_two_steps_later_it_is_over() {
        for circle in [
            &["a"][..],
            &["a", "b"],
            &["a", "b", "c"],
            &["a", "a", "a", "d"],
        ] {
            let carried_out = 3 * circle.len();
            let verdicts = go(&mut Repeats::new(3), &rounds(circle, carried_out + 3));
            let expected = [&vec![Go; carried_out][..], &[Refuse, Refuse, End]].concat();
            assert_eq!(verdicts, expected, "{circle:?}");
        }
    }

    #[test]
    fn a_circle_may_begin_anywhere() {
        let mut steps = vec![("x", "1"), ("a", "not yet"), ("y", "2")];
        steps.extend(rounds(&["a", "b"], 7));
        let verdicts = go(&mut Repeats::new(3), &steps);
        assert_eq!(
            verdicts.iter().position(|verdict| *verdict == Refuse),
            Some(9)
        );
    }

    #[test]
    fn what_is_no_circle_goes_on() {
        let polls: Vec<_> = (0..50).map(|at| at.to_string()).collect();
        let news = polls.iter().map(|told| ("status", told.as_str()));
        let between = polls
            .iter()
            .flat_map(|told| [("wait", "ok"), ("status", told.as_str())]);
        let changes = polls
            .iter()
            .flat_map(|asked| [(asked.as_str(), "ok"), ("test", "bad")]);
        let long = rounds(&["a", "b", "c", "d", "e"], 50);
        let uneven = rounds(&["a", "b", "a", "a", "b", "b", "a", "c"], 48);
        let steps: [Vec<_>; 5] = [
            news.collect(),
            between.collect(),
            changes.collect(),
            long,
            uneven,
        ];
        for steps in steps {
            let verdicts = go(&mut Repeats::new(3), &steps);
            assert!(verdicts.iter().all(|verdict| *verdict == Go), "{steps:?}");
        }
    }

    #[test]
    fn turning_away_is_a_way_out_and_coming_back_begins_anew() {
        let mut repeats = Repeats::new(3);
        let circle = rounds(&["a", "b"], 8);
        assert_eq!(go(&mut repeats, &circle)[6..], [Refuse, Refuse]);
        assert_eq!(go(&mut repeats, &[("c", "new")]), [Go]);
        assert_eq!(go(&mut repeats, &circle)[..6], [Go; 6]);
    }

    #[test]
    fn to_look_change_and_look_again_is_never_refused() {
        let look = [("a", "x"), ("b", "y"), ("a", "x"), ("b", "y")];
        assert_eq!(go(&mut Repeats::new(1), &look), [Go; 4]);
        assert_eq!(go(&mut Repeats::new(1), &look[..1].repeat(2)), [Go, Refuse]);
    }

    #[test]
    fn all_calls_of_a_step_count_in_their_order() {
        let mut repeats = Repeats::new(2);
        let mut see = |calls: [&str; 2]| {
            let verdict = repeats.see(&calls.map(str::to_owned));
            repeats.learn(&[]);
            verdict
        };
        assert_eq!(see(["a 1", "b 1"]), Go);
        assert_eq!(see(["a 1", "b 2"]), Go);
        assert_eq!(see(["b 1", "a 1"]), Go);
        for verdict in [Go, Go, Refuse] {
            assert_eq!(see(["a 1", "b 1"]), verdict);
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_that_of_items_does() {
        let read = |json: &str| serde_json::from_str::<Value>(json).unwrap();
        let one = read(r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#);
        let other = read(r#"{"b":{"d":"x","c":[1,2]},"a":1}"#);
        assert_eq!(canonical(&one), canonical(&other));
        assert_eq!(canonical(&one), r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#);
        assert_ne!(canonical(&read("[1,2]")), canonical(&read("[2,1]")));
    }
}
