//! Collects the first items in the order of their paths, from many threads and in bounded memory.
//! The result does not depend on the order of arrival.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Keeps the first items until their weights reach a bound.
pub(super) struct FirstN<T> {
    max: usize,
    kept: Mutex<Items<T>>,
}

struct Items<T> {
    things: BTreeMap<String, (usize, T)>,
    weight: usize,
}

impl<T> FirstN<T> {
    pub(super) fn new(max: usize) -> Self {
        let kept = Items {
            things: BTreeMap::new(),
            weight: 0,
        };
        Self {
            max,
            kept: Mutex::new(kept),
        }
    }

    /// Whether an item of this path, or of one that begins with it, could be among the first.
    pub(super) fn may_have(&self, path: &str) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kept.things.last_key_value();
        kept.weight < self.max || last.is_none_or(|(last, _)| path < last.as_str())
    }

    /// Adds an item, and drops the last ones once those before them reach the bound.
    pub(super) fn add(&self, path: String, weight: usize, item: T) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.weight += weight;
        kept.things.insert(path, (weight, item));

        while let Some(last) = kept.things.last_entry() {
            let weight = last.get().0;
            if kept.weight - weight < self.max {
                break;
            }
            kept.things.pop_last();
            kept.weight -= weight;
        }
    }

    /// The items in order, and whether their weights reached the bound.
    pub(super) fn into_ordered(self) -> (Vec<(String, T)>, bool) {
        let kept = self.kept.into_inner();
        let kept = kept.unwrap_or_else(PoisonError::into_inner);
        let full = kept.weight >= self.max;
        let things = kept.things.into_iter();
        (things.map(|(path, (_, item))| (path, item)).collect(), full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_items_are_kept_in_any_order() {
        let paths = ["d", "a", "c", "e", "b"];
        for turn in 0..paths.len() {
            let first = FirstN::new(3);

            for path in paths.iter().cycle().skip(turn).take(paths.len()) {
                if first.may_have(path) {
                    first.add((*path).to_owned(), 1, ());
                }
            }

            assert!(!first.may_have("c/"));
            assert!(first.may_have("b/"));

            let (kept, full) = first.into_ordered();
            let kept: Vec<_> = kept.into_iter().map(|(path, ())| path).collect();
            assert_eq!(kept, ["a", "b", "c"]);
            assert!(full);
        }
    }

    #[test]
    fn weights_count() {
        let first = FirstN::new(3);
        first.add("b".to_owned(), 2, ());
        first.add("a".to_owned(), 2, ());
        first.add("c".to_owned(), 1, ());
        let (kept, full) = first.into_ordered();
        assert_eq!(kept.len(), 2);
        assert!(full);
    }
}
