//! Tool calls that the host carries out, and questions that a run asks: the parts of a
//! transcript that the host or a user continues, not the agent. Pure.

use super::{Entry, OutputRefused, Transcript};
use lastword_types::clock::UnixMillis;
use lastword_types::event::EventBody;
use lastword_types::id::QuestionId;
use lastword_types::session::{Answer, Asked, Granted, Part, PartBody, Question, ToolCall};

/// The largest number of questions of one run, in any state.
pub(super) const QUESTIONS_MAX: u32 = 1_000;

impl Transcript {
    /// Records a call that the host will carry out: the one with this id that a model made in this
    /// step, or a new one of the agent's own.
    ///
    /// # Errors
    /// [`OutputRefused::Incomplete`] if the model never sent the whole call;
    /// [`OutputRefused::Conflict`] if the call has a result, if it was started, or if the id
    /// belongs to a call of another tool or with other arguments; as for [`Transcript::text`] for a
    /// new call.
    pub fn call(
        &mut self,
        call: &ToolCall,
        now: UnixMillis,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        let known = if self.step_is_over() {
            None
        } else {
            self.calls().find(|known| known.id == call.id)
        };
        let Some(known) = known else {
            let part = Part::from(PartBody::ToolCall(call.clone()));
            return self.part(part, now, log);
        };
        if !known.finished {
            return Err(OutputRefused::Incomplete);
        }

        let same = known.name == call.name && same_json(&known.input, &call.input);
        if same && !known.started && !self.answered(&call.id) {
            Ok(())
        } else {
            Err(OutputRefused::Conflict)
        }
    }

    /// Records that the host begins to carry out a call of this step.
    ///
    /// # Errors
    /// [`OutputRefused::UnknownCall`].
    pub fn start(&mut self, id: &str, log: &mut Vec<Entry>) -> Result<(), OutputRefused> {
        let message = self.assistant.as_mut().ok_or(OutputRefused::UnknownCall)?;
        let mut parts = message.parts.iter_mut().enumerate();
        let found = parts.find_map(|(index, part)| match &mut part.body {
            PartBody::ToolCall(call) if call.id == id => Some((index, call)),
            _ => None,
        });
        let (index, call) = found.ok_or(OutputRefused::UnknownCall)?;
        if !call.started {
            call.started = true;
            log.push(Entry::Event(EventBody::ToolStarted {
                message: message.id,
                index: u32::try_from(index).unwrap_or(u32::MAX),
            }));
        }
        Ok(())
    }

    /// Asks the users a question.
    ///
    /// # Errors
    /// [`OutputRefused::Questions`] or [`OutputRefused::Bytes`]; nothing is asked then.
    pub fn ask(&mut self, question: Question, log: &mut Vec<Entry>) -> Result<(), OutputRefused> {
        if self.asked >= QUESTIONS_MAX {
            return Err(OutputRefused::Questions);
        }
        self.spend(question_bytes(&question))?;
        self.asked += 1;
        self.questions.push(question.id);
        log.push(Entry::Event(EventBody::QuestionAsked {
            question: Box::new(question),
        }));
        Ok(())
    }

    /// Records the answer of an open question, and its grant.
    ///
    /// # Errors
    /// [`OutputRefused::Conflict`] if the question is not open.
    pub fn answer(
        &mut self,
        question: QuestionId,
        answer: Answer,
        granted: Option<Granted>,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        let open = self.questions.iter().position(|id| *id == question);
        self.questions.remove(open.ok_or(OutputRefused::Conflict)?);
        log.push(Entry::Event(EventBody::QuestionAnswered {
            question,
            answer,
            grant: granted.as_ref().map(|granted| granted.id),
            by: None,
        }));
        log.extend(granted.map(|granted| Entry::Grant(Box::new(granted))));
        Ok(())
    }

    /// Removes a question that another run's output settles. Returns whether it was open.
    pub fn forget(&mut self, question: QuestionId) -> bool {
        let open = self.questions.iter().position(|id| *id == question);
        open.map(|at| self.questions.remove(at)).is_some()
    }

    /// Takes back a question whose answer the run no longer needs.
    ///
    /// # Errors
    /// [`OutputRefused::Conflict`] if the question is not open.
    pub fn dismiss(
        &mut self,
        question: QuestionId,
        log: &mut Vec<Entry>,
    ) -> Result<(), OutputRefused> {
        let open = self.questions.iter().position(|id| *id == question);
        self.questions.remove(open.ok_or(OutputRefused::Conflict)?);
        log.push(Entry::Event(EventBody::QuestionDismissed { question }));
        Ok(())
    }

    /// Takes back all open questions.
    pub(super) fn dismiss_questions(&mut self, log: &mut Vec<Entry>) {
        let dismissed = self.questions.drain(..);
        log.extend(
            dismissed.map(|question| Entry::Event(EventBody::QuestionDismissed { question })),
        );
    }

    /// Adds an event about a question to the transcript, for recovery.
    pub(super) fn replay_asking(&mut self, event: &EventBody) {
        match event {
            EventBody::ToolStarted { index, .. } => {
                let message = self.assistant.as_mut();
                let part = message.and_then(|message| message.parts.get_mut(*index as usize));
                if let Some(PartBody::ToolCall(call)) = part.map(|part| &mut part.body) {
                    call.started = true;
                }
            }
            // The runs that this one began settle their own questions.
            EventBody::QuestionAsked { question } if question.run == self.run => {
                self.asked += 1;
                self.questions.push(question.id);
            }
            EventBody::QuestionAnswered { question, .. }
            | EventBody::QuestionDismissed { question } => {
                self.questions.retain(|open| open != question);
            }
            _ => {}
        }
    }
}

/// Returns the bytes of a question.
fn question_bytes(question: &Question) -> usize {
    let all = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    match &question.asked {
        Asked::Permission {
            capability,
            target,
            title,
            diff,
            details,
            offers,
        } => {
            let shown = [diff, details].map(|text| text.as_ref().map_or(0, String::len));
            let shown: usize = shown.iter().sum();
            capability.len() + target.len() + title.len() + shown + all(offers)
        }
        Asked::Input { text, choices } => text.len() + all(choices),
    }
}

/// Whether two texts are equal JSON, or equal texts.
fn same_json(one: &str, other: &str) -> bool {
    let read = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || read(one).is_some_and(|one| read(other) == Some(one))
}
