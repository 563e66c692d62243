//! The output of a run on its way into the log: a buffer in the host's memory that the guest's
//! host calls fill and the writer empties.
//!
//! The buffer outlives the guest. Sealing it moves everything that is not yet written into the
//! finishing job; from then on it takes no more output.

mod flush;

use super::StoreError;
use super::command::Append;
use super::watermark::CommitWatermark;
use super::work::Job;
use super::writer::{Queue, Submission};
use crate::transcript::{Entry, OutputBounds, OutputRefused, Transcript};
use flush::Flush;
use lastword_types::clock::{Clock, UnixMillis};
use lastword_types::event::EventBody;
use lastword_types::id::{QuestionId, RunId};
use lastword_types::session::{
    Answer, Granted, Message, Part, Question, ToolCall, ToolResult, Usage,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The largest number of appended bytes of a run that are not committed, before `append` waits.
pub const BACKLOG_BYTES_MAX: usize = 64 << 10;
/// The largest number of appended deltas of a run that are not committed, before `append` waits.
pub const BACKLOG_DELTAS_MAX: usize = 256;

/// Why output was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The run has ended.
    #[error("the run is over")]
    Sealed,
    /// The transcript refused it.
    #[error(transparent)]
    Refused(#[from] OutputRefused),
    /// The store rejected earlier output of this run for its content.
    #[error("the store rejected earlier output of this run")]
    Rejected,
}

/// The output buffer of one run.
pub struct RunOutputBuffer {
    run: RunId,
    queue: Arc<Queue>,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    durable: Arc<CommitWatermark>,
    room: tokio::sync::Notify,
}

struct Inner {
    /// `None` once sealed.
    transcript: Option<Transcript>,
    pending: Vec<Entry>,
    /// The number of accepted appends.
    taken: u64,
    /// The number of appends that flushes have taken out. The end of the run takes the rest.
    flushed: u64,
    /// The output that is pending or being written, in appends and bytes.
    backlog: Backlog,
    /// Whether a queued flush will take what is pending.
    queued: bool,
    rejected: bool,
}

impl Inner {
    /// Removes a question that the output of another run settles, unless this output is sealed or
    /// was rejected. Returns whether it was open.
    fn forget(&mut self, question: QuestionId) -> bool {
        let transcript = self.transcript.as_mut().filter(|_| !self.rejected);
        transcript.is_some_and(|transcript| transcript.forget(question))
    }
}

/// An open question that the answer of another one covers.
pub struct Covered {
    /// The output buffer of the run that asked.
    pub output: Arc<RunOutputBuffer>,
    /// The run that asked.
    pub run: RunId,
    /// The question.
    pub question: QuestionId,
}

#[derive(Clone, Copy, Default)]
struct Backlog {
    deltas: usize,
    bytes: usize,
}

/// The whole output of a sealed run.
pub struct Sealed {
    pub(super) run: RunId,
    pub(super) transcript: Transcript,
    pub(super) pending: Vec<Entry>,
    pub(super) durable: Arc<CommitWatermark>,
}

impl Sealed {
    /// Adds the closing words of an epilogue after all other output.
    pub fn add(&mut self, part: Part, now: UnixMillis) -> Result<(), OutputRefused> {
        match part.as_text() {
            Some(text) => self.transcript.text(text, now, &mut self.pending),
            None => self.transcript.part(part, now, &mut self.pending),
        }
    }

    /// Returns the parts of the open message.
    #[must_use]
    pub fn open_parts(&self) -> &[Part] {
        self.transcript.open_parts()
    }
}

impl RunOutputBuffer {
    pub(super) fn new(
        run: RunId,
        transcript: Transcript,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            run,
            queue,
            clock,
            inner: Mutex::new(Inner {
                transcript: Some(transcript),
                pending: Vec::new(),
                taken: 0,
                flushed: 0,
                backlog: Backlog::default(),
                queued: false,
                rejected: false,
            }),
            durable: Arc::default(),
            room: tokio::sync::Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends text. The text is accepted once this returns. Callers wait for [room](Self::room)
    /// before they append more.
    pub fn text(self: &Arc<Self>, delta: &str) -> Result<(), OutputError> {
        self.take(|t, now, log| t.text(delta, now, log))
    }

    /// Appends reasoning.
    pub fn reasoning(self: &Arc<Self>, delta: &str) -> Result<(), OutputError> {
        self.take(|t, now, log| t.reasoning(delta, now, log))
    }

    /// Adds a whole part, with the bytes that it refers to.
    pub fn part(
        self: &Arc<Self>,
        part: Part,
        blob: Option<(lastword_types::session::BlobId, Vec<u8>)>,
    ) -> Result<(), OutputError> {
        self.take(|t, now, log| {
            t.spend_data(blob.as_ref().map_or(0, |(_, bytes)| bytes.len()))?;
            t.part(part, now, log)?;
            // Only after the part is accepted: a refused part must leave no bytes behind.
            log.extend(blob.map(|(id, bytes)| Entry::Blob(id, bytes)));
            Ok(())
        })
    }

    /// Records a tool's result, with the bytes that it refers to.
    pub fn result(
        self: &Arc<Self>,
        result: ToolResult,
        blobs: Vec<(lastword_types::session::BlobId, Vec<u8>)>,
    ) -> Result<(), OutputError> {
        self.take(|t, now, log| {
            t.spend_data(blobs.iter().map(|(_, bytes)| bytes.len()).sum())?;
            t.result(result, now, log)?;
            log.extend(blobs.into_iter().map(|(id, bytes)| Entry::Blob(id, bytes)));
            Ok(())
        })
    }

    /// Adds the tokens of one model call.
    pub fn usage(self: &Arc<Self>, usage: Usage) -> Result<(), OutputError> {
        self.take(|t, _, log| {
            t.usage(usage, log);
            Ok(())
        })
    }

    /// Records that a request to a model failed, and is sent again after a wait.
    pub fn retrying(
        self: &Arc<Self>,
        model: String,
        attempt: u32,
        cause: String,
        wait: Duration,
    ) -> Result<(), OutputError> {
        self.take(|_, _, log| {
            log.push(Entry::Event(EventBody::ModelRetrying {
                model,
                attempt,
                cause,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            }));
            Ok(())
        })
    }

    /// Records a tool call that the host will carry out.
    pub fn call(self: &Arc<Self>, call: &ToolCall) -> Result<(), OutputError> {
        self.take(|t, now, log| t.call(call, now, log))
    }

    /// Records that the host begins to carry out a tool call.
    pub fn start(self: &Arc<Self>, call: &str) -> Result<(), OutputError> {
        self.take(|t, _, log| t.start(call, log))
    }

    /// Asks the users a question. Users see it once it is committed.
    pub fn ask(self: &Arc<Self>, question: Question) -> Result<Submission, OutputError> {
        self.hand(|t, _, log| t.ask(question, log))
    }

    /// Takes back a question whose answer the run no longer needs.
    pub fn dismiss(self: &Arc<Self>, question: QuestionId) -> Result<(), OutputError> {
        self.take(|t, _, log| t.dismiss(question, log))
    }

    /// Records the answer of an open question, its grant, and which other open questions, also
    /// those of other runs, it covers: all in one transaction. Returns the covered questions.
    ///
    /// Callers make only one such call at a time, since it locks the output of every run that
    /// asked.
    pub fn answer(
        self: &Arc<Self>,
        question: QuestionId,
        answer: Answer,
        granted: Option<Granted>,
        covered: &[Covered],
    ) -> Result<(Vec<QuestionId>, Submission), OutputError> {
        let grant = granted.as_ref().map(|granted| granted.id);
        // Held until everything is submitted, so that the end of a run that asked is written later.
        let mut others: Vec<(&Arc<Self>, MutexGuard<'_, Inner>)> = Vec::new();
        for Covered { output, .. } in covered {
            let known = others.iter().any(|(other, _)| Arc::ptr_eq(other, output));
            if !known && !Arc::ptr_eq(self, output) {
                others.push((output, output.lock()));
            }
        }
        let mut settled = Vec::new();
        let handed = self.hand(|transcript, _, log| {
            transcript.answer(question, answer, granted, log)?;
            for also in covered {
                let other = others
                    .iter_mut()
                    .find(|(other, _)| Arc::ptr_eq(other, &also.output));
                let open = match other {
                    None => transcript.forget(also.question),
                    Some((_, inner)) => inner.forget(also.question),
                };
                if open {
                    settled.push(also.question);
                    let told = EventBody::QuestionAnswered {
                        question: also.question,
                        answer: Answer::Allow { remember: None },
                        grant,
                        by: Some(question),
                    };
                    log.push(Entry::Elsewhere(also.run, Box::new(told)));
                }
            }
            Ok(())
        })?;
        Ok((settled, handed))
    }

    /// Ends the step if all of its calls have their results, so that it becomes part of the
    /// history. Returns the messages that are still open.
    pub fn so_far(self: &Arc<Self>) -> Result<Vec<Message>, OutputError> {
        let over = match &self.lock().transcript {
            Some(transcript) => transcript.step_is_over(),
            None => return Err(OutputError::Sealed),
        };
        // Only an append that makes entries is accepted: a flush of these frees the space again.
        if over {
            self.take(|t, now, log| {
                t.end_step_if_over(now, log);
                Ok(())
            })?;
        }
        match &self.lock().transcript {
            Some(transcript) => Ok(transcript.open_messages()),
            None => Err(OutputError::Sealed),
        }
    }

    /// Waits until everything that was accepted so far is on disk.
    ///
    /// # Errors
    /// If the store rejected it, or cannot write any more in this process.
    pub async fn committed(self: &Arc<Self>) -> Result<(), StoreError> {
        let (answer, committed) = tokio::sync::oneshot::channel();
        self.when_committed(move |outcome| {
            let _nobody_waits = answer.send(outcome);
        });
        let gone = |_| StoreError::Closed("the store was closed".to_owned());
        committed.await.map_err(gone)?
    }

    /// Calls `then` once everything that was accepted so far is on disk, or cannot be written: at
    /// once if this is already known, otherwise on the writer's thread. `then` is called even if
    /// the caller has been dropped, and must not block.
    pub fn when_committed(
        self: &Arc<Self>,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let taken = self.lock().taken;
        self.durable.when(taken, Box::new(then));
    }

    /// Sets the name of the model that writes from now on.
    pub fn set_model(&self, model: String, provider: String) {
        if let Some(transcript) = &mut self.lock().transcript {
            transcript.set_model(model, provider);
        }
    }

    /// Counts bytes that the host writes for the run in addition to its output, and their entries,
    /// before it writes them. With 0 of both, checks whether the run may write more.
    pub fn spend(self: &Arc<Self>, bytes: usize, entries: usize) -> Result<(), OutputError> {
        self.take(|t, _, _| {
            t.spend(bytes)?;
            t.made_entries(entries);
            Ok(())
        })
    }

    /// Sets the session's title.
    pub fn title(self: &Arc<Self>, title: String) -> Result<(), OutputError> {
        self.take(|t, _, log| {
            t.spend(title.len())?;
            log.push(Entry::Title(title));
            Ok(())
        })
    }

    fn take(
        self: &Arc<Self>,
        append: impl FnOnce(&mut Transcript, UnixMillis, &mut Vec<Entry>) -> Result<(), OutputRefused>,
    ) -> Result<(), OutputError> {
        self.hand(append).map(drop)
    }

    fn hand(
        self: &Arc<Self>,
        append: impl FnOnce(&mut Transcript, UnixMillis, &mut Vec<Entry>) -> Result<(), OutputRefused>,
    ) -> Result<Submission, OutputError> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let Inner {
            transcript,
            pending,
            rejected,
            ..
        } = &mut *inner;
        let Some(transcript) = transcript else {
            return Err(OutputError::Sealed);
        };
        if *rejected {
            return Err(OutputError::Rejected);
        }

        let (left, had) = (transcript.left().bytes, pending.len());
        let appended = append(transcript, now, pending);
        transcript.made_entries(pending.len() - had);
        appended?;
        if pending.is_empty() {
            // An append without an entry needs no flush, and does not count in the backlog.
            return Ok(Submission::none());
        }

        let said = left.saturating_sub(transcript.left().bytes) as usize;
        let brought: usize = pending[had..].iter().map(bytes_beside).sum();
        inner.backlog.deltas += 1;
        inner.backlog.bytes += said + brought;
        inner.taken += 1;
        let queue = !inner.queued;
        inner.queued |= queue;
        drop(inner);

        if !queue {
            return Ok(Submission::none());
        }
        let flush = Append {
            run: self.run,
            entries: Vec::new(),
        };
        Ok(self
            .queue
            .push(Job::new(flush, Flush::new(Arc::clone(self)))))
    }

    /// Returns how much more the run may write; nothing once it is sealed.
    #[must_use]
    pub fn left(&self) -> OutputBounds {
        let inner = self.lock();
        inner
            .transcript
            .as_ref()
            .map_or_else(OutputBounds::default, Transcript::left)
    }

    /// Whether the output that is not yet committed has reached its limit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let backlog = self.lock().backlog;
        backlog.deltas >= BACKLOG_DELTAS_MAX || backlog.bytes >= BACKLOG_BYTES_MAX
    }

    /// Waits until more may be appended: the backpressure for a run whose output comes faster than
    /// the disk takes it. Dropping the future loses no output.
    pub async fn room(&self) {
        loop {
            let freed = self.room.notified();
            if !self.is_full() {
                return;
            }
            freed.await;
        }
    }

    /// Seals the buffer: takes out everything, and refuses further output. `None` if it was sealed
    /// before.
    #[must_use]
    pub fn seal(&self) -> Option<Sealed> {
        let mut inner = self.lock();
        let transcript = inner.transcript.take()?;
        let pending = std::mem::take(&mut inner.pending);
        inner.backlog = Backlog::default();
        drop(inner);
        self.room.notify_waiters();
        Some(Sealed {
            run: self.run,
            transcript,
            pending,
            durable: Arc::clone(&self.durable),
        })
    }
}

/// Returns the bytes of an entry that the transcript does not count as output.
fn bytes_beside(entry: &Entry) -> usize {
    match entry {
        Entry::Blob(_, bytes) => bytes.len(),
        Entry::Event(_)
        | Entry::Message(_)
        | Entry::Grant(_)
        | Entry::Title(_)
        | Entry::Elsewhere(..) => 0,
    }
}
