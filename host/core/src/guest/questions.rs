//! Questions that runs ask and wait for. This module keeps the waiting runs and decides which
//! answer counts; people see the questions in the log. No lock is held while a run waits, so that
//! one session's question never delays another's.

use crate::guest::agents::GrantPrincipal;
use crate::run::OutputRefused;
use lastword_store::{Covered, OutputError, RunOutputBuffer, Store, StoreError};
use lastword_types::id::{AgentId, GrantId, QuestionId, RunId, SessionId};
use lastword_types::permission::Rule;
use lastword_types::session::{Answer, Asked, Granted, Question, QuestionState, Within};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

/// The largest number of questions that one run may have open at once.
const OPEN_MAX: usize = 64;
/// The largest number of bytes of a text in an answer.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The open questions of all live runs.
pub(crate) struct Questions {
    inner: Mutex<Inner>,
    store: Store,
}

#[derive(Default)]
struct Inner {
    open: HashMap<QuestionId, Open>,
    /// The number of answers with a lasting grant that are on disk.
    grants: u64,
}

/// A question that can still be answered.
struct Open {
    question: Question,
    /// The principal that receives a grant: the agent and the session that a user prompted.
    holder: GrantPrincipal,
    output: Arc<RunOutputBuffer>,
    /// Whether rules that answers granted allow the requested access.
    covers: Option<Covers>,
    /// Wakes the waiting run; taken by the first answer.
    waits: Option<oneshot::Sender<Answer>>,
    /// The grant of the first answer, until it is on disk.
    granting: Option<Granted>,
    /// Notifies later answers that the first one is on disk.
    settled: watch::Sender<()>,
}

/// Whether rules that answers granted allow the access that a question is about.
pub(crate) type Covers = Arc<dyn Fn(&[Rule]) -> bool + Send + Sync>;

/// The effects of an answer.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The lasting grant, if the answer made one.
    pub(crate) grant: Option<Granted>,
    /// The other open questions that the grant covers, and that are answered with it.
    pub(crate) settled: Vec<QuestionId>,
}

/// The run on whose behalf a question is asked.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) agent: AgentId,
    pub(crate) holder: GrantPrincipal,
    pub(crate) output: Arc<RunOutputBuffer>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the run is over")]
    Over,
    #[error("the run has {OPEN_MAX} questions open; wait for an answer first")]
    TooMany,
    #[error(transparent)]
    Refused(OutputRefused),
}

/// Why an answer is not accepted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    /// The question does not exist.
    Unknown,
    /// Another answer came first; this is it.
    Answered(Answer),
    /// The run that asked has ended.
    Dismissed,
    /// The answer does not fit the question, for this reason.
    Unfit(String),
    /// The question is open, but its run has ended: the answer queues another run.
    Waits,
    Store(StoreError),
}

impl Questions {
    pub(crate) fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            store,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the first answer, which is on disk by then. Does not ask if an answer
    /// has granted the access in the meantime. Dropping the future withdraws the question, and
    /// records that in the log.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        asker: &Asker,
        call: Option<String>,
        asked: Asked,
        covers: Option<Covers>,
        now: lastword_types::clock::UnixMillis,
    ) -> Result<Answer, Unanswered> {
        let question = Question {
            id: QuestionId::generate(),
            session: asker.session,
            run: asker.run,
            agent: asker.agent.clone(),
            call,
            asked,
            asked_ms: now,
        };

        asker.output.room().await;
        let id = question.id;
        let (_taken_back_when_dropped, answer) = loop {
            let grants = self.lock().grants;
            if self.is_granted(&asker.holder, covers.as_ref()).await {
                return Ok(Answer::Allow { remember: None });
            }
            match self.open(asker, question.clone(), covers.clone(), grants)? {
                Opened::Asked(taken_back, answer) => break (taken_back, answer),
                Opened::Wait(mut settled) => {
                    // The sender is dropped together with the entry.
                    let _settled = settled.changed().await;
                }
                Opened::Again => {}
            }
        };

        tracing::info!(run = %asker.run, question = %id, "asked");
        answer.await.map_err(|_| Unanswered::Over)
    }

    /// Whether the requested access is granted by now.
    async fn is_granted(&self, holder: &GrantPrincipal, covers: Option<&Covers>) -> bool {
        let Some(covers) = covers else { return false };
        let granted = self.store.granted(holder.session, holder.agent.clone());
        // If the grants cannot be read, the question is asked.
        let granted = granted.await.unwrap_or_default();
        let rules: Vec<Rule> = granted
            .iter()
            .filter_map(|rule| rule.parse().ok())
            .collect();
        covers(&rules)
    }

    /// Opens the question, unless a grant was made since `grants` was read, or is being written.
    fn open(
        self: &Arc<Self>,
        asker: &Asker,
        question: Question,
        covers: Option<Covers>,
        grants: u64,
    ) -> Result<Opened, Unanswered> {
        let mut inner = self.lock();
        if covers.is_some() && inner.grants != grants {
            return Ok(Opened::Again);
        }

        let granting = inner.open.values().find(|open| {
            let granted = open.granting.as_ref();
            granted.is_some_and(|granted| {
                is_covered(&asker.holder, covers.as_ref(), &open.holder, granted)
            })
        });
        if let Some(granting) = granting {
            return Ok(Opened::Wait(granting.settled.subscribe()));
        }

        let own = |open: &&Open| open.question.run == asker.run;
        if inner.open.values().filter(own).count() >= OPEN_MAX {
            return Err(Unanswered::TooMany);
        }

        let id = question.id;
        let asked = asker.output.ask(question.clone());
        let handed = asked.map_err(|error| match error {
            OutputError::Refused(refused) => Unanswered::Refused(refused),
            OutputError::Sealed | OutputError::Rejected => Unanswered::Over,
        })?;
        let (waits, answer) = oneshot::channel();
        // The entry is there before people can see the question, so that any answer finds it.
        let entry = Open {
            question,
            holder: asker.holder.clone(),
            output: Arc::clone(&asker.output),
            covers,
            waits: Some(waits),
            granting: None,
            settled: watch::Sender::new(()),
        };

        inner.open.insert(id, entry);
        drop(inner);
        drop(handed);
        Ok(Opened::Asked(self.taken_back(id), answer))
    }

    fn taken_back(self: &Arc<Self>, id: QuestionId) -> TakenBack {
        TakenBack {
            questions: Arc::clone(self),
            id,
        }
    }

    /// Submits an answer to a question. The first answer counts, and is on disk when this
    /// returns. Its grant is written with it, and answers all other open questions that it covers.
    ///
    /// Dropping the future after its first poll does not withdraw the answer.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        id: QuestionId,
        answer: Answer,
        now: lastword_types::clock::UnixMillis,
    ) -> Result<Resolved, Refused> {
        match self.turn(id, &answer, now)? {
            Turn::First(first) => {
                let (done, kept) = oneshot::channel();
                let questions = Arc::clone(self);
                // The writer passes the answer on, so that an answer on disk counts even if its
                // caller has dropped the future.
                first.output.when_committed(move |outcome| {
                    if outcome.is_ok() {
                        questions.hand_on(first.waiting, answer, first.resolved.grant.is_some());
                    }
                    drop(first.told);
                    let _hung_up = done.send(outcome.map(|()| first.resolved));
                });
                let closed = || StoreError::Closed("the store was closed".to_owned());
                let kept = kept.await.unwrap_or_else(|_| Err(closed()));
                kept.map_err(Refused::Store)
            }
            Turn::Second(mut settled) => {
                // The sender is dropped together with the entry.
                let _settled = settled.changed().await;
                self.late(id, answer).await
            }
            Turn::Gone => self.late(id, answer).await,
        }
    }

    /// Decides whether this answer is the first. If so, it is submitted to the writer.
    fn turn(
        self: &Arc<Self>,
        id: QuestionId,
        answer: &Answer,
        now: lastword_types::clock::UnixMillis,
    ) -> Result<Turn, Refused> {
        let mut inner = self.lock();
        let Some(open) = inner.open.get_mut(&id) else {
            return Ok(Turn::Gone);
        };

        let granted = fit(open, answer, now).map_err(Refused::Unfit)?;
        let Some(waits) = open.waits.take() else {
            return Ok(Turn::Second(open.settled.subscribe()));
        };

        open.granting.clone_from(&granted);
        let (output, holder) = (Arc::clone(&open.output), open.holder.clone());
        let covered = match &granted {
            Some(granted) => inner.covered(&holder, granted),
            None => Vec::new(),
        };

        let written = output.answer(id, answer.clone(), granted.clone(), &covered);
        let (settled, handed) = match written {
            Ok(written) => written,
            Err(error) => {
                drop(inner);
                // Later answers stop waiting.
                drop(self.taken_back(id));
                return Err(match error {
                    OutputError::Rejected => {
                        let why = "the store rejected earlier output of this run".to_owned();
                        Refused::Store(StoreError::Content(why))
                    }
                    _ => Refused::Dismissed,
                });
            }
        };

        let mut waiting = vec![waits];
        for id in &settled {
            let also = inner.open.get_mut(id);
            waiting.extend(also.and_then(|also| also.waits.take()));
        }

        drop(inner);
        drop(handed);
        let told = std::iter::once(&id).chain(&settled);
        Ok(Turn::First(First {
            told: told.map(|id| self.taken_back(*id)).collect(),
            output,
            waiting,
            resolved: Resolved {
                grant: granted,
                settled,
            },
        }))
    }

    /// Passes on an answer that is on disk: the run that asked gets the answer itself, and the
    /// runs whose questions it covers are told that their access is allowed.
    fn hand_on(&self, waiting: Vec<oneshot::Sender<Answer>>, answer: Answer, granted: bool) {
        self.lock().grants += u64::from(granted);
        let mut answer = Some(answer);
        for waits in waiting {
            let answer = answer.take();
            let answer = answer.unwrap_or(Answer::Allow { remember: None });
            let _stopped_meanwhile = waits.send(answer);
        }
    }

    /// Returns the result for an answer to a question that no run waits for any more.
    async fn late(&self, id: QuestionId, answer: Answer) -> Result<Resolved, Refused> {
        let at = self.store.question(id).await.map_err(Refused::Store)?;
        let at = at.ok_or(Refused::Unknown)?;
        match at.state {
            QuestionState::Answered(first) => Err(Refused::Answered(first)),
            QuestionState::Open if at.waits => {
                kinds_fit(&at.question.asked, &answer).map_err(Refused::Unfit)?;
                Err(Refused::Waits)
            }
            // Open without a waiting run: that run is ending.
            QuestionState::Dismissed | QuestionState::Open => Err(Refused::Dismissed),
        }
    }
}

impl Inner {
    /// Returns the open questions that a grant covers and that have no answer yet.
    fn covered(&self, holder: &GrantPrincipal, granted: &Granted) -> Vec<Covered> {
        let open = self.open.values().filter(|open| open.waits.is_some());
        let covered = open
            .filter(|open| is_covered(&open.holder, open.covers.as_ref(), holder, granted))
            .map(|open| Covered {
                output: Arc::clone(&open.output),
                run: open.question.run,
                question: open.question.id,
            });
        covered.collect()
    }
}

/// Whether a grant to one holder also applies to another, and allows the other's request.
fn is_covered(
    asks: &GrantPrincipal,
    covers: Option<&Covers>,
    has: &GrantPrincipal,
    granted: &Granted,
) -> bool {
    let session = granted.session.is_none_or(|only| only == asks.session);
    let reaches = session && asks.agent == has.agent && asks.workspace == has.workspace;
    let rule = || granted.rule.parse::<Rule>().ok();
    reaches && covers.is_some_and(|covers| rule().is_some_and(|rule| covers(&[rule])))
}

/// Whether a question was asked.
enum Opened {
    Asked(TakenBack, oneshot::Receiver<Answer>),
    /// An answer that covers it is being written: wait, then check again.
    Wait(watch::Receiver<()>),
    /// A grant was made in the meantime: check again.
    Again,
}

/// Whether an answer is the first.
enum Turn {
    First(First),
    Second(watch::Receiver<()>),
    Gone,
}

/// The first answer of a question, while it is being written.
struct First {
    output: Arc<RunOutputBuffer>,
    /// The caller that asked, then the callers whose questions it covers.
    waiting: Vec<oneshot::Sender<Answer>>,
    /// Dropped whether or not the write succeeds, so that later answers stop waiting.
    told: Vec<TakenBack>,
    resolved: Resolved,
}

/// Removes a question when it is dropped: its run no longer waits, or it has an answer. If no
/// answer has begun, the log records that the question was withdrawn.
struct TakenBack {
    questions: Arc<Questions>,
    id: QuestionId,
}

impl Drop for TakenBack {
    fn drop(&mut self) {
        let removed = self.questions.lock().open.remove(&self.id);
        if let Some(Open {
            output,
            waits: Some(_),
            ..
        }) = removed
        {
            // The end of a run withdraws its questions, so a failure here can be ignored.
            let _taken_back = output.dismiss(self.id);
        }
    }
}

/// Checks that an answer fits its question, and returns its grant: one of the rules that the
/// question offers, never a rule that the client wrote.
fn fit(
    open: &Open,
    answer: &Answer,
    now: lastword_types::clock::UnixMillis,
) -> Result<Option<Granted>, String> {
    kinds_fit(&open.question.asked, answer)?;
    let (
        Asked::Permission { offers, .. },
        Answer::Allow {
            remember: Some(remember),
        },
    ) = (&open.question.asked, answer)
    else {
        return Ok(None);
    };
    let rule = match &remember.rule {
        None => offers.first(),
        Some(rule) => offers.iter().find(|offer| *offer == rule),
    };

    let rule = rule.ok_or_else(|| {
        if offers.is_empty() {
            "this can be allowed once only; answer `allow` without `remember`".to_owned()
        } else {
            format!(
                "an answer can grant what was asked for and nothing else: {}",
                offers.join(", ")
            )
        }
    })?;
    let GrantPrincipal { agent, session, .. } = &open.holder;
    Ok(Some(Granted {
        id: GrantId::generate(),
        session: match remember.within {
            Within::Session => Some(*session),
            Within::Workspace => None,
        },
        agent: agent.clone(),
        rule: rule.clone(),
        granted_ms: now,
    }))
}

fn kinds_fit(asked: &Asked, answer: &Answer) -> Result<(), String> {
    match (asked, answer) {
        (Asked::Permission { .. }, Answer::Text { .. }) => {
            Err("this asks for permission; answer `allow` or `deny`".to_owned())
        }
        (Asked::Input { .. }, Answer::Allow { .. }) => {
            Err("this asks for words; answer with `text`, or `deny` to give none".to_owned())
        }
        (_, Answer::Text { text } | Answer::Deny { reason: Some(text) })
            if text.len() > TEXT_BYTES_MAX =>
        {
            Err(format!("an answer has at most {TEXT_BYTES_MAX} bytes"))
        }
        _ => Ok(()),
    }
}
