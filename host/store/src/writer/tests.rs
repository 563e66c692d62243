//! How the writer waits: for work, for a disk that refuses, and for its own end.

use super::*;
use crate::work::Then;
use std::sync::mpsc;

/// More than any test takes: what waits for it hangs.
const LONG: Duration = Duration::from_secs(3600);

fn work() -> Box<dyn Work> {
    Then::boxed(|_: &mut Tx<'_>| Ok(()), |_| {})
}

fn jobs(taken: Taken) -> Option<usize> {
    match taken {
        Taken::Jobs(jobs) => Some(jobs.len()),
        Taken::Closed => None,
    }
}

#[test]
fn kept_work_is_tried_again_when_its_time_is_over_and_nothing_new_came() {
    let queue = Queue::default();
    assert_eq!(jobs(queue.take(Some(Duration::from_millis(1)))), Some(0));
}

#[test]
fn new_work_does_not_wait_for_the_next_try() {
    let queue = Arc::new(Queue::default());
    let (answer, taken) = mpsc::channel();
    let waiting = Arc::clone(&queue);
    let thread = std::thread::spawn(move || {
        let _gone = answer.send(jobs(waiting.take(Some(LONG))));
    });
    drop(queue.push(work()));
    assert_eq!(taken.recv(), Ok(Some(1)));
    thread.join().expect("no panic");
}

#[test]
fn a_queue_that_closes_has_kept_work_tried_once_more_at_once() {
    let queue = Arc::new(Queue::default());
    let (answer, taken) = mpsc::channel();
    let waiting = Arc::clone(&queue);
    let thread = std::thread::spawn(move || {
        let _gone = answer.send(jobs(waiting.take(Some(LONG))));
    });
    queue.close();
    assert_eq!(taken.recv(), Ok(Some(0)));
    thread.join().expect("no panic");
}

#[test]
fn a_closed_queue_gives_out_what_it_has_before_it_ends() {
    let queue = Queue::default();
    drop(queue.push(work()));
    queue.close();
    drop(queue.push(work()));
    assert_eq!(jobs(queue.take(None)), Some(1));
    assert_eq!(jobs(queue.take(None)), None);
}

#[test]
fn one_transaction_takes_a_bounded_number_of_jobs() {
    let queue = Queue::default();
    for _ in 0..BATCH_MAX + 1 {
        drop(queue.push(work()));
    }
    assert_eq!(jobs(queue.take(None)), Some(BATCH_MAX));
    assert_eq!(jobs(queue.take(None)), Some(1));
}
