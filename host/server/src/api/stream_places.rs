//! Bounds the event streams of one caller, so that they leave connections to others.

use crate::access::Principal;
use crate::problem::Problem;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of open streams, by the name of their caller.
type Open = HashMap<String, usize>;

/// The event streams that are open, and how many one caller may have.
pub(crate) struct StreamPlaces {
    most: usize,
    open: Arc<Mutex<Open>>,
}

impl StreamPlaces {
    /// Creates places for this many streams of each caller.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    /// Takes a place for a stream of this caller.
    pub(crate) fn take(&self, who: &Principal) -> Result<StreamPlace, Problem> {
        let name = who.name();
        let mut open = lock(&self.open);
        let count = open.get(name).copied().unwrap_or_default();
        if count >= self.most {
            drop(open);
            tracing::warn!(
                principal = name,
                open = count,
                "a stream was refused: the caller has as many as one may have"
            );
            return Err(Problem::new(
                "too-many-streams",
                format!(
                    "{count} event streams are open with this token, as many as this server lets \
                     one have; end one of them, or follow a whole workspace with one stream"
                ),
            ));
        }

        open.insert(name.to_owned(), count + 1);
        drop(open);
        Ok(StreamPlace {
            name: name.to_owned(),
            open: Arc::clone(&self.open),
        })
    }
}

/// The place of an open stream, which is free again once this is dropped.
pub(crate) struct StreamPlace {
    name: String,
    open: Arc<Mutex<Open>>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        match open.get_mut(&self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.name)),
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_places_of_its_own_and_gets_them_back() {
        let places = StreamPlaces::new(2);
        let (one, other) = (Principal::new("one"), Principal::new("other"));
        let first = places.take(&one).expect("a place");
        let _second = places.take(&one).expect("a place");
        let refused = places.take(&one).err().expect("no third one");
        assert_eq!(
            (refused.name(), refused.status().as_u16()),
            ("too-many-streams", 429)
        );
        let theirs = places.take(&other).expect("a place of its own");

        drop((first, theirs));
        let _third = places.take(&one).expect("a place again");
        assert!(places.take(&one).is_err());
        assert_eq!(lock(&places.open).len(), 1, "who has none is forgotten");
    }
}
