//! Whether a model turns in circles: the same call, with the same arguments, step after step.
//! Pure; it does not know what a call does.

use std::collections::BTreeMap;

use serde_json::Value;

/// How often a call is refused, in a row, before the loop ends: once, and two more.
pub(super) const REFUSALS_MAX: u32 = 3;

/// What is to be done about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Carry it out.
    Go,
    /// It was carried out so often in a row: tell the model, and do not.
    Refuse,
    /// The same, and the model was told before: end.
    End,
}

/// The calls of the latest steps that came again in each of them.
#[derive(Debug)]
pub(super) struct Repeats {
    allowed: u32,
    before: BTreeMap<String, u32>,
    now: BTreeMap<String, u32>,
}

impl Repeats {
    /// So many identical calls in a row are carried out.
    pub(super) fn new(allowed: u32) -> Self {
        Self {
            allowed: allowed.max(1),
            before: BTreeMap::new(),
            now: BTreeMap::new(),
        }
    }

    /// A step begins: what did not come in the last one is forgotten.
    pub(super) fn begin_step(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// A call of this step.
    pub(super) fn see(&mut self, name: &str, arguments: &Value) -> Verdict {
        let call = format!("{name} {}", canonical(arguments));
        let before = self.before.get(&call).copied().unwrap_or(0);
        let count = self.now.entry(call).or_insert(before);
        *count = count.saturating_add(1);
        match count.saturating_sub(self.allowed) {
            0 => Verdict::Go,
            refusals if refusals < REFUSALS_MAX => Verdict::Refuse,
            _ => Verdict::End,
        }
    }
}

/// JSON with the fields of objects in the order of their names.
fn canonical(value: &Value) -> String {
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
    use serde_json::json;

    fn step(repeats: &mut Repeats, calls: &[(&str, Value)]) -> Vec<Verdict> {
        repeats.begin_step();
        let verdicts = calls.iter().map(|(name, value)| repeats.see(name, value));
        verdicts.collect()
    }

    #[test]
    fn after_three_a_call_is_refused_and_after_two_more_it_is_over() {
        use Verdict::{End, Go, Refuse};
        let mut repeats = Repeats::new(3);
        let verdicts: Vec<_> = (0..6)
            .flat_map(|_| step(&mut repeats, &[("read", json!({ "path": "a" }))]))
            .collect();
        assert_eq!(verdicts, [Go, Go, Go, Refuse, Refuse, End]);
    }

    #[test]
    fn another_call_between_two_is_a_way_out() {
        let mut repeats = Repeats::new(2);
        for _ in 0..4 {
            let one = step(&mut repeats, &[("read", json!(1))]);
            let other = step(&mut repeats, &[("read", json!(2))]);
            assert_eq!((one, other), (vec![Verdict::Go], vec![Verdict::Go]));
        }
    }

    #[test]
    fn calls_side_by_side_count_too() {
        let mut repeats = Repeats::new(2);
        let both = [("a", json!({})), ("b", json!({}))];
        step(&mut repeats, &both);
        step(&mut repeats, &both);
        assert_eq!(step(&mut repeats, &both), [Verdict::Refuse; 2]);
        let mut repeats = Repeats::new(2);
        let thrice = [("a", json!({})), ("a", json!({})), ("a", json!({}))];
        assert_eq!(step(&mut repeats, &thrice)[2], Verdict::Refuse);
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
