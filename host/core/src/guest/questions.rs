//! Questions that runs ask and wait for: who waits, and whose answer counts. One session's
//! question never holds up another's: nothing is held while anybody waits. Knows neither what
//! a question is about nor how it reaches people, which is by the log.

use crate::guest::agents::GrantPrincipal;
use crate::run::OutputRefused;
use lastword_store::{Covered, OutputError, RunOutputBuffer, Store, StoreError};
use lastword_types::id::{AgentId, GrantId, QuestionId, RunId, SessionId};
use lastword_types::permission::Rule;
use lastword_types::session::{Answer, Asked, Granted, Question, QuestionState, Within};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

/// Questions that one run may have open at once.
const OPEN_MAX: usize = 64;
/// Bytes of the longest text that anybody may answer with.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The questions of all runs that go on.
pub(crate) struct Questions {
    inner: Mutex<Inner>,
    store: Store,
}

#[derive(Default)]
struct Inner {
    open: HashMap<QuestionId, Open>,
    /// How many answers that granted something for longer are on disk.
    grants: u64,
}

/// A question that somebody may answer.
struct Open {
    question: Question,
    /// To whom a grant is made: the agent and the session that a user asked.
    holder: GrantPrincipal,
    output: Arc<RunOutputBuffer>,
    /// Whether rules that answers granted allow what is asked for.
    covers: Option<Covers>,
    /// Taken by the first who answers.
    waits: Option<oneshot::Sender<Answer>>,
    /// What that answer grants, until it is on disk.
    granting: Option<Granted>,
    /// Tells those who come second that the first one's answer is on disk.
    settled: watch::Sender<()>,
}

/// Whether rules that answers granted allow what a question asks for.
pub(crate) type Covers = Arc<dyn Fn(&[Rule]) -> bool + Send + Sync>;

/// What an answer came to.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// What it granted for longer than once.
    pub(crate) grant: Option<Granted>,
    /// The other open questions that this covers, and that are answered with it.
    pub(crate) settled: Vec<QuestionId>,
}

/// On whose behalf something is asked.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) agent: AgentId,
    pub(crate) holder: GrantPrincipal,
    pub(crate) output: Arc<RunOutputBuffer>,
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
            inner: Mutex::default(),
            store,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the first answer, which is on disk by then. What an answer granted
    /// meanwhile is not asked for. Dropping the future takes the question back, and the log says
    /// so.
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
                    // Its sender goes with the entry.
                    let _settled = settled.changed().await;
                }
                Opened::Again => {}
            }
        };
        tracing::info!(run = %asker.run, question = %id, "asked");
        answer.await.map_err(|_| Unanswered::Over)
    }

    /// Whether what is asked for was granted by now.
    async fn is_granted(&self, holder: &GrantPrincipal, covers: Option<&Covers>) -> bool {
        let Some(covers) = covers else { return false };
        let granted = self.store.granted(holder.session, holder.agent.clone());
        // What cannot be read is asked for.
        let granted = granted.await.unwrap_or_default();
        let rules: Vec<Rule> = granted
            .iter()
            .filter_map(|rule| rule.parse().ok())
            .collect();
        covers(&rules)
    }

    /// Asks, unless something was granted since what is granted was read, or is about to be.
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
        // It can be answered from the moment on at which it is seen.
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

    /// Answers a question. The first answer counts, and is on disk when this returns; what it
    /// grants is written with it, and answers all other open questions that it covers.
    ///
    /// Dropping the future after its first poll takes nothing back.
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
                // The writer hands it on: an answer that is on disk counts, also where whoever
                // gave it has hung up.
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
                // Its sender goes with the entry.
                let _settled = settled.changed().await;
                self.late(id, answer).await
            }
            Turn::Gone => self.late(id, answer).await,
        }
    }

    /// Whose turn it is; an answer that is the first is on its way to the disk after this.
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
                // Later answers wait no more.
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

    /// Hands on what is on disk by now: to the first caller the answer itself, to the others that
    /// what they asked for is allowed.
    fn hand_on(&self, waiting: Vec<oneshot::Sender<Answer>>, answer: Answer, granted: bool) {
        self.lock().grants += u64::from(granted);
        let mut answer = Some(answer);
        for waits in waiting {
            let answer = answer.take();
            let answer = answer.unwrap_or(Answer::Allow { remember: None });
            let _stopped_meanwhile = waits.send(answer);
        }
    }

    /// What became of a question that is not waited for any more.
    async fn late(&self, id: QuestionId, answer: Answer) -> Result<Resolved, Refused> {
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

impl Inner {
    /// The open questions that a grant covers and that have no answer under way.
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

/// Whether what one holder was granted reaches another and allows what that asks for.
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
    /// An answer that covers it is on its way to the disk: wait, and look again.
    Wait(watch::Receiver<()>),
    /// Something was granted meanwhile: look again.
    Again,
}

/// Whose turn an answer is.
enum Turn {
    First(First),
    Second(watch::Receiver<()>),
    Gone,
}

/// The first answer of a question, on its way to the disk.
struct First {
    output: Arc<RunOutputBuffer>,
    /// The caller that asked, then the callers whose questions it covers.
    waiting: Vec<oneshot::Sender<Answer>>,
    /// Dropped however it fares, so that later answers wait no more.
    told: Vec<TakenBack>,
    resolved: Resolved,
}

/// Takes a question out: nobody waits for its answer any more, or it has one. The log hears of
/// it if nobody has begun to answer.
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
    let rule = rule.ok_or_else(|| match offers.is_empty() {
        true => "this can be allowed once only; answer `allow` without `remember`".to_owned(),
        false => format!(
            "an answer can grant what was asked for and nothing else: {}",
            offers.join(", ")
        ),
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
