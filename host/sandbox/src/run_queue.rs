//! Which guest computes next: fair queueing by virtual time, as a pure state machine.
//!
//! Each guest has a virtual time, which grows while it computes, and the guest with the lowest one
//! is next. One that arrives, or comes back from a host call, is placed at most [`CREDIT`] before
//! all others, so that short work does not wait for the slices of long work. What a share of the
//! processors (see [`Share`](super::scheduler::Share)) had already is not forgotten with the guest
//! that had it: a guest that ends and begins again gains nothing.
//!
//! Times are nanoseconds.

use std::collections::BTreeMap;

/// How far before the others a guest is placed that did not compute for a while.
const CREDIT: u64 = 5_000_000;
/// A guest yields to another one only if that is behind by more than this.
const GRAIN: u64 = 500_000;

/// A place among those that wait: virtual time, then order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    virtual_time: u64,
    arrival: u64,
}

/// The guests that compute, and those that are ready to.
pub(super) struct RunQueue<G> {
    processors: usize,
    running: Vec<Running>,
    waiting: BTreeMap<Place, G>,
    /// The lowest virtual time of all that are ready. It never falls.
    floor: u64,
    arrivals: u64,
}

struct Running {
    arrival: u64,
    /// The virtual time at the moment `since`.
    virtual_time: u64,
    since: u64,
}

impl Place {
    /// Whether a guest in this place has had so much less than another one that it comes first.
    fn is_far_behind(self, virtual_time: u64) -> bool {
        virtual_time > self.virtual_time.saturating_add(GRAIN)
    }
}

impl Running {
    fn virtual_time(&self, now: u64) -> u64 {
        self.virtual_time + now.saturating_sub(self.since)
    }
}

/// What becomes of a guest that is ready.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It computes. Ended by [`RunQueue::stop`] with this place.
    Runs(Place),
    /// It waits in this place. If it is far behind one that computes, that one has to yield now, and
    /// not at the end of its slice.
    Waits { place: Place, is_far_behind: bool },
}

impl<G> RunQueue<G> {
    pub(super) fn new(processors: usize) -> Self {
        Self {
            processors: processors.max(1),
            running: Vec::new(),
            waiting: BTreeMap::new(),
            floor: 0,
            arrivals: 0,
        }
    }

    /// A guest with this virtual time is ready to compute.
    pub(super) fn ready(&mut self, virtual_time: u64, now: u64, guest: G) -> Ready {
        self.raise_floor(now);
        self.arrivals += 1;
        let place = Place {
            virtual_time: virtual_time.max(self.floor.saturating_sub(CREDIT)),
            arrival: self.arrivals,
        };

        if !self.is_full() {
            self.run(place, now);
            return Ready::Runs(place);
        }

        self.waiting.insert(place, guest);
        let mut running = self.running.iter();
        let is_far_behind = running.any(|running| place.is_far_behind(running.virtual_time(now)));
        Ready::Waits {
            place,
            is_far_behind,
        }
    }

    /// Whether guests compute on all processors.
    pub(super) fn is_full(&self) -> bool {
        self.running.len() == self.processors
    }

    /// Whether a guest that computes has to yield to one that waits.
    pub(super) fn is_due(&self, place: Place, now: u64) -> bool {
        let own = self
            .running
            .iter()
            .find(|running| running.arrival == place.arrival);
        let first = self.waiting.first_key_value();
        own.zip(first)
            .is_some_and(|(own, (first, _))| first.is_far_behind(own.virtual_time(now)))
    }

    /// Takes out a guest that computes or waits. Returns its virtual time, and the guest that
    /// computes in its stead.
    pub(super) fn stop(&mut self, place: Place, now: u64) -> (u64, Option<G>) {
        if self.waiting.remove(&place).is_some() {
            return (place.virtual_time, None);
        }

        let mut running = self.running.iter();
        let at = running.position(|running| running.arrival == place.arrival);
        let Some(at) = at else {
            return (place.virtual_time, None);
        };

        let stopped = self.running.swap_remove(at);
        let next = self.waiting.pop_first().map(|(place, guest)| {
            self.run(place, now);
            guest
        });
        self.raise_floor(now);
        (stopped.virtual_time(now), next)
    }

    fn run(&mut self, place: Place, now: u64) {
        self.running.push(Running {
            arrival: place.arrival,
            virtual_time: place.virtual_time,
            since: now,
        });
    }

    fn raise_floor(&mut self, now: u64) {
        let running = self.running.iter().map(|running| running.virtual_time(now));
        let waiting = self.waiting.first_key_value();
        let lowest = running
            .chain(waiting.map(|(place, _)| place.virtual_time))
            .min();
        self.floor = self.floor.max(lowest.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    /// How long a guest computes before it looks whether another one is due.
    const SLICE: u64 = 5 * MS;

    /// A guest of the simulation.
    #[derive(Clone, Copy, Debug)]
    struct Guest {
        begins: u64,
        /// How long it computes before it ends and begins again, and what it inherits then.
        length: u64,
        /// How long it rests in between.
        rest: u64,
        inherits: bool,
    }

    const HOG: Guest = Guest {
        begins: 0,
        length: u64::MAX,
        rest: 0,
        inherits: true,
    };

    #[derive(Clone, Copy, Debug, Default)]
    struct Had {
        computed: u64,
        /// The longest time between being ready and computing.
        longest_wait: u64,
        /// How often it ended.
        times: u64,
    }

    /// Lets guests compute on one processor for a time, in steps of 0.1 ms, and returns what each
    /// had.
    fn simulate(guests: &[Guest], time: u64) -> Vec<Had> {
        const STEP: u64 = MS / 10;
        let mut queue = RunQueue::new(1);
        let mut had = vec![Had::default(); guests.len()];
        let mut virtual_times = vec![0; guests.len()];
        let mut left: Vec<u64> = guests.iter().map(|guest| guest.length).collect();
        let mut wakes: BTreeMap<usize, u64> = (0..guests.len())
            .map(|guest| (guest, guests[guest].begins))
            .collect();
        let mut since = vec![0; guests.len()];
        let mut running: Option<(usize, u64)> = None;
        let mut places = BTreeMap::new();

        for now in (0..time).step_by(STEP as usize) {
            let woken: Vec<usize> = wakes
                .extract_if(.., |_, at| *at <= now)
                .map(|(g, _)| g)
                .collect();
            let mut interrupted = false;
            for guest in woken {
                since[guest] = now;
                match queue.ready(virtual_times[guest], now, guest) {
                    Ready::Runs(place) => {
                        places.insert(guest, place);
                        running = Some((guest, now));
                    }
                    Ready::Waits {
                        place,
                        is_far_behind,
                    } => {
                        places.insert(guest, place);
                        interrupted |= is_far_behind;
                    }
                }
            }

            let Some((guest, began)) = running else {
                continue;
            };
            let place = places[&guest];
            let over = left[guest] == 0;
            let checks = interrupted || now - began >= SLICE;
            if over || checks && queue.is_due(place, now) {
                let (virtual_time, next) = queue.stop(place, now);
                virtual_times[guest] = virtual_time;
                if over {
                    had[guest].times += 1;
                    left[guest] = guests[guest].length;
                    if !guests[guest].inherits {
                        virtual_times[guest] = 0;
                    }
                }
                wakes.insert(guest, now + if over { guests[guest].rest } else { 0 });
                running = next.map(|next| (next, now));
                if let Some(next) = next {
                    had[next].longest_wait = had[next].longest_wait.max(now - since[next]);
                }
            }

            if let Some((guest, _)) = running {
                had[guest].computed += STEP;
                left[guest] -= STEP;
            }
        }
        had
    }

    #[test]
    fn guests_that_only_compute_have_the_same_each() {
        let had = simulate(&[HOG; 8], 4_000 * MS);
        for had in &had {
            let fair = 500 * MS;
            assert!(had.computed.abs_diff(fair) <= 2 * SLICE, "{had:?}");
        }
    }

    #[test]
    fn short_work_does_not_wait_for_the_slices_of_long_work() {
        let short = Guest {
            begins: 100 * MS,
            length: MS / 10,
            rest: MS,
            inherits: true,
        };
        let mut guests = vec![HOG; 8];
        guests.push(short);
        let had = simulate(&guests, 2_000 * MS);
        assert!(had[8].times > 1_000, "{:?}", had[8]);
        assert!(had[8].longest_wait <= MS / 5, "{:?}", had[8]);
    }

    #[test]
    fn a_guest_that_ends_and_begins_again_gains_nothing() {
        let again = Guest {
            begins: 0,
            length: MS,
            rest: 0,
            inherits: true,
        };
        let mut guests = vec![HOG; 8];
        guests.push(again);
        let had = simulate(&guests, 4_500 * MS);
        let fair = 500 * MS;
        assert!(had[8].computed <= fair + 2 * SLICE, "{:?}", had[8]);

        // The control: what it had is forgotten with it.
        guests[8].inherits = false;
        let had = simulate(&guests, 4_500 * MS);
        assert!(had[8].computed > 2 * fair, "{:?}", had[8]);
    }

    #[test]
    fn one_that_is_taken_out_leaves_its_processor_to_the_next() {
        let mut queue = RunQueue::new(1);
        let Ready::Runs(first) = queue.ready(0, 0, 'a') else {
            panic!("it is alone");
        };
        let Ready::Waits { place: second, .. } = queue.ready(0, 0, 'b') else {
            panic!("the processor is taken");
        };
        let Ready::Waits { place: third, .. } = queue.ready(0, 0, 'c') else {
            panic!("the processor is taken");
        };
        assert_eq!(queue.stop(second, MS), (0, None), "it only waited");
        assert_eq!(queue.stop(first, MS), (MS, Some('c')));
        assert_eq!(queue.stop(third, 3 * MS), (2 * MS, None));
        assert_eq!(queue.stop(third, 9 * MS).1, None, "it is gone already");
    }
}
