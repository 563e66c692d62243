//! How the writer waits: for work, for a disk that refuses, and for its own end.

use super::*;
use std::sync::mpsc;

/// More than any test takes: what waits for it hangs.
const LONG: Duration = Duration::from_secs(3600);

fn work() -> Job {
    Job::callback(Probe { commit: false }, drop)
}

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(Arc::new(Unkept)))
}

/// Keeps no cause.
struct Unkept;

impl CauseLog for Unkept {
    fn keep(&self, _: RunId, _: &lastword_types::run::RunOutcome) {}

    fn forget(&self, _: RunId) {}

    fn sync(&self) {}
}

fn jobs(taken: Taken) -> Option<usize> {
    match taken {
        Taken::Jobs(jobs) => Some(jobs.len()),
        Taken::Closed => None,
    }
}

#[test]
fn kept_work_is_tried_again_when_its_time_is_over_and_nothing_new_came() {
    let queue = queue();
    assert_eq!(jobs(queue.take(Some(Duration::from_millis(1)))), Some(0));
}

#[test]
fn new_work_does_not_wait_for_the_next_try() {
    let queue = queue();
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
    let queue = queue();
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
    let queue = queue();
    drop(queue.push(work()));
    queue.close();
    drop(queue.push(work()));
    assert_eq!(jobs(queue.take(None)), Some(1));
    assert_eq!(jobs(queue.take(None)), None);
}

#[test]
fn one_transaction_takes_a_bounded_number_of_jobs() {
    let queue = queue();
    for _ in 0..BATCH_MAX + 1 {
        drop(queue.push(work()));
    }
    assert_eq!(jobs(queue.take(None)), Some(BATCH_MAX));
    assert_eq!(jobs(queue.take(None)), Some(1));
}

/// A backend that says what it was told to say.
#[derive(Default)]
struct Scripted {
    commits: VecDeque<Result<Committed, CommitError>>,
    resolutions: VecDeque<Result<Resolution, StoreError>>,
    /// The batches that it was asked for, by either name.
    asked: Arc<Mutex<Vec<(&'static str, BatchId)>>>,
}

impl Scripted {
    fn note(&self, what: &'static str, batch: &Batch<'_>) {
        self.asked.lock().expect("no panic").push((what, batch.id));
    }
}

impl Backend for Scripted {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<Committed, CommitError> {
        self.note("commit", batch);
        self.commits.pop_front().expect("it is scripted")
    }

    fn resolve(&mut self, batch: &Batch<'_>) -> Result<Resolution, StoreError> {
        self.note("resolve", batch);
        self.resolutions.pop_front().expect("it is scripted")
    }
}

fn committed() -> Committed {
    Committed {
        outcomes: vec![Ok(Reply::Probe(()))],
        changes: Vec::new(),
        through: 0,
        wrote: true,
    }
}

fn cut_off() -> Result<Committed, CommitError> {
    Err(CommitError::Unknown("the connection was cut".to_owned()))
}

fn writer(backend: Scripted) -> Writer<Scripted> {
    let clock = lastword_os::clock::SystemClock::shared();
    Writer::new(backend, 7, queue(), Arc::default(), clock)
}

/// What a probe is told, and which batches were asked for.
fn probed(backend: Scripted) -> (Result<(), StoreError>, Vec<(&'static str, u64)>) {
    let asked = Arc::clone(&backend.asked);
    let (answer, told) = mpsc::channel();
    let job = Job::callback(Probe { commit: true }, move |outcome| {
        let _gone = answer.send(outcome);
    });
    let kept = writer(backend).process(vec![job]);
    assert!(kept.is_ok_and(|kept| kept.is_empty()));
    let asked = asked.lock().expect("no panic");
    assert!(asked.iter().all(|(_, batch)| batch.epoch == 7));
    let asked = asked.iter().map(|(what, batch)| (*what, batch.number));
    (told.recv().expect("it is told"), asked.collect())
}

#[test]
fn what_is_not_known_to_be_committed_is_asked_for_by_its_name_until_it_is() {
    let later = Err(StoreError::Unavailable("not yet".to_owned()));
    let (outcome, asked) = probed(Scripted {
        commits: [cut_off()].into(),
        resolutions: [later, Ok(Resolution::Committed(committed()))].into(),
        ..Scripted::default()
    });
    assert_eq!(outcome, Ok(()));
    assert_eq!(asked, [("commit", 1), ("resolve", 1), ("resolve", 1)]);
}

#[test]
fn what_turns_out_not_to_be_committed_is_refused_or_kept() {
    let scripted = || Scripted {
        commits: [cut_off()].into(),
        resolutions: [Ok(Resolution::NotCommitted)].into(),
        ..Scripted::default()
    };
    let (outcome, _) = probed(scripted());
    assert!(
        matches!(outcome, Err(StoreError::Unavailable(_))),
        "{outcome:?}"
    );
    let hold = crate::Hold { runs: Vec::new() };
    let job = Job::callback(hold, |outcome| panic!("told of {outcome:?}"));
    let kept = writer(scripted()).process(vec![job]);
    assert_eq!(kept.map(|kept| kept.len()), Ok(1));
}

#[test]
fn what_is_never_known_ends_with_the_store() {
    let unknown = || Err(StoreError::Unavailable("not yet".to_owned()));
    let mut writer = writer(Scripted {
        commits: [cut_off()].into(),
        resolutions: [unknown()].into(),
        ..Scripted::default()
    });
    writer.queue.close();
    let (answer, told) = mpsc::channel();
    let job = Job::callback(Probe { commit: true }, move |outcome| {
        let _gone = answer.send(outcome);
    });
    assert!(writer.process(vec![job]).is_err());
    let told = told.recv().expect("it is told");
    assert!(matches!(told, Err(StoreError::Closed(_))), "{told:?}");
}
