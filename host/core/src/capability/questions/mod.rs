//! Questions that runs ask and wait for: who waits, and whose answer counts. One session's
//! question never holds up another's: nothing is held while anybody waits. Knows neither what
//! a question is about nor how it reaches people, which is by the log.

use crate::capability::agents::Holder;
use crate::id::{AgentId, GrantId, QuestionId, RunId, SessionId};
use crate::run::OutputRefused;
use crate::session::{Answer, Asked, Granted, Question, QuestionState, Within};
use crate::store::{Output, OutputError, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

/// Questions that one run may have open at once.
const OPEN_MAX: usize = 64;
/// Bytes of the longest text that anybody may answer with.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The questions of all runs that go on.
pub(crate) struct Questions {
    open: Mutex<HashMap<QuestionId, Open>>,
    store: Store,
}

/// A question that somebody may answer.
struct Open {
    question: Question,
    /// To whom a grant is made: the agent and the session that a user asked.
    holder: Holder,
    output: Arc<Output>,
    /// Taken by the first who answers.
    waits: Option<oneshot::Sender<Answer>>,
    /// Tells those who come second that the first one's answer is on disk.
    settled: watch::Sender<()>,
}

/// On whose behalf something is asked.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) agent: AgentId,
    pub(crate) holder: Holder,
    pub(crate) output: Arc<Output>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the run is over")]
    Over,
    #[error("the run has {OPEN_MAX} questions open; wait for an answer first")]
    TooMany,
    #[error(transparent)]
    Refused(OutputRefused),
}

/// Why an answer does not count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    /// There is no such question.
    Unknown,
    /// Somebody was quicker, with this.
    Answered(Answer),
    /// The run that asked is over.
    Dismissed,
    /// It does not fit the question.
    Unfit(String),
    /// The question stands, its run is over: the answer queues another.
    Waits,
    Store(StoreError),
}

impl Questions {
    pub(crate) fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            store,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QuestionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the first answer, which is on disk by then. Dropping the future
    /// takes the question back, and the log says so.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        asker: &Asker,
        call: Option<String>,
        asked: Asked,
        now: crate::clock::UnixMillis,
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
        let (waits, answer) = oneshot::channel();
        let id = question.id;
        let _taken_back_when_dropped = self.open(asker, question.clone(), waits)?;
        // It can be answered from the moment on at which somebody sees it.
        asker.output.ask(question).map_err(|error| match error {
            OutputError::Refused(refused) => Unanswered::Refused(refused),
            OutputError::Sealed | OutputError::Rejected => Unanswered::Over,
        })?;
        tracing::info!(run = %asker.run, question = %id, "asked");
        answer.await.map_err(|_| Unanswered::Over)
    }

    fn open(
        self: &Arc<Self>,
        asker: &Asker,
        question: Question,
        waits: oneshot::Sender<Answer>,
    ) -> Result<TakenBack, Unanswered> {
        let mut open = self.lock();
        let own = |open: &&Open| open.question.run == asker.run;
        if open.values().filter(own).count() >= OPEN_MAX {
            return Err(Unanswered::TooMany);
        }
        let id = question.id;
        let entry = Open {
            question,
            holder: asker.holder.clone(),
            output: Arc::clone(&asker.output),
            waits: Some(waits),
            settled: watch::Sender::new(()),
        };
        open.insert(id, entry);
        Ok(TakenBack {
            questions: Arc::clone(self),
            id,
        })
    }

    /// Answers a question. The first answer counts, and is on disk when this returns; what it
    /// grants is written with it. Answers the grant that was made, if one was.
    ///
    /// Dropping the future after its first poll takes nothing back.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        id: QuestionId,
        answer: Answer,
        now: crate::clock::UnixMillis,
    ) -> Result<Option<Granted>, Refused> {
        enum Turn {
            First(oneshot::Sender<Answer>, Arc<Output>, Option<Granted>),
            Second(watch::Receiver<()>),
            Gone,
        }
        let turn = {
            let mut open = self.lock();
            match open.get_mut(&id) {
                None => Turn::Gone,
                Some(open) => {
                    let granted = fit(open, &answer, now).map_err(Refused::Unfit)?;
                    match open.waits.take() {
                        Some(waits) => Turn::First(waits, Arc::clone(&open.output), granted),
                        None => Turn::Second(open.settled.subscribe()),
                    }
                }
            }
        };
        match turn {
            Turn::First(waits, output, granted) => {
                // However this one fares, those who came second are let go of.
                let told = TakenBack {
                    questions: Arc::clone(self),
                    id,
                };
                match output.answer(id, answer.clone(), granted.clone()) {
                    Ok(()) => {}
                    Err(OutputError::Rejected) => {
                        let why = "the store rejected earlier output of this run".to_owned();
                        return Err(Refused::Store(StoreError::Content(why)));
                    }
                    Err(_) => return Err(Refused::Dismissed),
                }
                let (done, kept) = oneshot::channel();
                // The writer hands it on: an answer that is on disk counts, also where whoever
                // gave it has hung up.
                output.when_committed(move |outcome| {
                    if outcome.is_ok() {
                        let _stopped_meanwhile = waits.send(answer);
                    }
                    drop(told);
                    let _hung_up = done.send(outcome);
                });
                let closed = || StoreError::Closed("the store was closed".to_owned());
                let kept = kept.await.unwrap_or_else(|_| Err(closed()));
                kept.map_err(Refused::Store)?;
                Ok(granted)
            }
            Turn::Second(mut settled) => {
                // Its sender goes with the entry.
                let _settled = settled.changed().await;
                self.late(id, answer).await
            }
            Turn::Gone => self.late(id, answer).await,
        }
    }

    /// What became of a question that is not waited for any more.
    async fn late(&self, id: QuestionId, answer: Answer) -> Result<Option<Granted>, Refused> {
        let at = self.store.question(id).await.map_err(Refused::Store)?;
        let at = at.ok_or(Refused::Unknown)?;
        match at.state {
            QuestionState::Answered(first) => Err(Refused::Answered(first)),
            QuestionState::Open if at.waits => {
                kinds_fit(&at.question.asked, &answer).map_err(Refused::Unfit)?;
                Err(Refused::Waits)
            }
            // Open and not waited for: its run is ending.
            QuestionState::Dismissed | QuestionState::Open => Err(Refused::Dismissed),
        }
    }
}

/// Takes a question out: nobody waits for its answer any more, or it has one. The log hears of
/// it if nobody has begun to answer.
struct TakenBack {
    questions: Arc<Questions>,
    id: QuestionId,
}

impl Drop for TakenBack {
    fn drop(&mut self) {
        let removed = self.questions.lock().remove(&self.id);
        if let Some(Open {
            output,
            waits: Some(_),
            ..
        }) = removed
        {
            // A run that is over takes its questions back itself.
            let _taken_back = output.dismiss(self.id);
        }
    }
}

/// Whether an answer fits its question, and what it grants: one of the rules that the question
/// offers, never the client's own words.
fn fit(
    open: &Open,
    answer: &Answer,
    now: crate::clock::UnixMillis,
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
    let rule = rule.ok_or_else(|| match offers.is_empty() {
        true => "this can be allowed once only; answer `allow` without `remember`".to_owned(),
        false => format!(
            "an answer can grant what was asked for and nothing else: {}",
            offers.join(", ")
        ),
    })?;
    let Holder { agent, session, .. } = &open.holder;
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
