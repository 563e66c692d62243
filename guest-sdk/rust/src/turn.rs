//! One run, as its agent sees it: the prompt, and what can be done about it.

use std::time::Duration;

use serde::Serialize;

use crate::bindings::turn;
use crate::host::{control, transcript};
use crate::log::{self, Level};
use crate::message::joined_text;
use crate::model::Model;
use crate::state::{Scope, State};
use crate::tools::Tools;
use crate::{Blob, Config, Extra, Message, Origin, Part, Result, Source, ToolResult, config};

/// How many messages [`Turn::messages`] asks for at a time.
const PAGE: u32 = 64;

/// The run that the host started with a prompt.
#[derive(Debug)]
pub struct Turn<C> {
    prompt: turn::Prompt,
    text: String,
    config: C,
}

impl<C: Config> Turn<C> {
    pub(crate) fn start(prompt: turn::Prompt) -> Result<Self> {
        Ok(Self {
            config: config::parse(&prompt.config_json)?,
            text: joined_text(&prompt.parts),
            prompt,
        })
    }
}

/// What was asked.
impl<C> Turn<C> {
    /// The text of the prompt: its text parts, joined.
    pub fn prompt(&self) -> &str {
        &self.text
    }

    /// All parts of the prompt.
    pub fn prompt_parts(&self) -> &[Part] {
        &self.prompt.parts
    }

    /// The files and pictures of the prompt; [`bytes`](Self::bytes) reads them, and
    /// [`Request::part`](crate::model::Request::part) shows one to a model. The host shows those
    /// of the conversation by itself.
    pub fn prompt_data(&self) -> impl Iterator<Item = &Blob> {
        self.prompt.parts.iter().filter_map(Part::as_data)
    }

    /// The run's id.
    pub fn run_id(&self) -> &str {
        &self.prompt.run_id
    }

    /// The session's id: the same for all turns of a conversation.
    pub fn session_id(&self) -> &str {
        &self.prompt.session_id
    }

    /// What began the run.
    pub fn origin(&self) -> Origin {
        self.prompt.origin.as_str().into()
    }

    /// The settings of the session.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// The settings as they were written.
    pub fn config_json(&self) -> &str {
        &self.prompt.config_json
    }

    /// Named JSON values that came with the prompt.
    pub fn extra(&self) -> &Extra {
        &self.prompt.extra
    }
}

/// What can be said. These calls wait while the host has too much that is not yet durable; they
/// fail with `limit`, `unavailable` and where noted.
impl<C> Turn<C> {
    /// Adds to the answer. What was said is the host's: it stays, whatever becomes of the run.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn say(&self, delta: &str) -> Result<()> {
        Ok(transcript::append_text(delta)?)
    }

    /// Adds to the reasoning that stands beside the answer.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn think(&self, delta: &str) -> Result<()> {
        Ok(transcript::append_reasoning(delta)?)
    }

    /// Adds a whole part: data, a citation, a tool call that the agent serves itself.
    ///
    /// # Errors
    ///
    /// As the host answers; `conflict` for a call id that is taken.
    pub fn append_part(&self, part: &Part) -> Result<()> {
        Ok(transcript::append_part(part)?)
    }

    /// Records the result of a tool call that the agent served itself.
    ///
    /// # Errors
    ///
    /// As the host answers; `not-found` for a call that was never appended.
    pub fn record_result(&self, result: &ToolResult) -> Result<()> {
        Ok(transcript::record_result(result)?)
    }

    /// Sets the session's title.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn set_title(&self, title: &str) -> Result<()> {
        Ok(transcript::set_title(title)?)
    }

    /// Replaces everything up to and including the message `through` by `text` in later requests
    /// to a model. The original messages stay.
    ///
    /// # Errors
    ///
    /// As the host answers; `not-found` for an unknown message.
    pub fn summarise(&self, text: &str, through: &str) -> Result<()> {
        Ok(transcript::summarise(text, through)?)
    }

    /// Writes a line for the operator of the agent.
    pub fn log(&self, level: Level, message: &str) {
        log::write(level, message);
    }

    /// Writes a line with named values beside it.
    pub fn log_with(&self, level: Level, message: &str, fields: &impl Serialize) {
        log::write_with(level, message, fields);
    }
}

/// What can be asked.
impl<C> Turn<C> {
    /// One page of the conversation in time order, ending before the message `before`, or with
    /// the newest. The current prompt is part of it. An empty page is the beginning.
    ///
    /// # Errors
    ///
    /// As the host answers; `not-found` for an unknown message.
    pub fn history(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>> {
        Ok(transcript::history(before, limit)?)
    }

    /// The conversation from the newest message back to the first, read page by page.
    pub fn messages(&self) -> Messages<'_, C> {
        Messages {
            turn: self,
            page: Vec::new(),
            before: None,
            ended: false,
        }
    }

    /// The bytes of a file or picture, wherever they are.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn bytes(&self, blob: &Blob) -> Result<Vec<u8>> {
        match &blob.source {
            Source::Inline(bytes) => Ok(bytes.clone()),
            Source::Stored(id) => self.read_blob(id),
        }
    }

    /// The bytes of a blob that the host keeps.
    ///
    /// # Errors
    ///
    /// As the host answers.
    pub fn read_blob(&self, id: &str) -> Result<Vec<u8>> {
        Ok(transcript::read_blob(id)?)
    }

    /// The cause, once the run is being stopped and still has time to end by itself.
    pub fn interruption(&self) -> Option<String> {
        control::interruption()
    }

    /// What remains until the run's deadline, if it has one.
    pub fn remaining(&self) -> Option<Duration> {
        control::remaining_ms().map(Duration::from_millis)
    }

    /// The models.
    pub fn model(&self) -> Model<'_> {
        Model::new()
    }

    /// Values that are kept between runs.
    pub fn state(&self, scope: Scope) -> State<'_> {
        State::new(scope)
    }

    /// The host's tools.
    pub fn tools(&self) -> Tools<'_> {
        Tools::new()
    }
}

/// The conversation, newest message first. It ends after the first error.
#[derive(Debug)]
pub struct Messages<'turn, C> {
    turn: &'turn Turn<C>,
    page: Vec<Message>,
    before: Option<String>,
    ended: bool,
}

impl<C> Messages<'_, C> {
    fn turn_page(&mut self) -> Result<()> {
        self.page = self.turn.history(self.before.as_deref(), PAGE)?;
        match self.page.first() {
            Some(oldest) => self.before = Some(oldest.id.clone()),
            None => self.ended = true,
        }
        Ok(())
    }
}

impl<C> Iterator for Messages<'_, C> {
    type Item = Result<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.ended
            && let Err(error) = self.turn_page()
        {
            self.ended = true;
            return Some(Err(error));
        }
        self.page.pop().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(config_json: &str) -> turn::Prompt {
        turn::Prompt {
            run_id: "run".into(),
            session_id: "session".into(),
            origin: "user".into(),
            parts: vec![Part::text("What is "), Part::text("in here?")],
            config_json: config_json.into(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn a_turn_has_the_prompt_s_text() {
        let turn = Turn::<()>::start(prompt("")).unwrap();
        assert_eq!(turn.prompt(), "What is in here?");
        assert_eq!(turn.prompt_parts().len(), 2);
        assert_eq!(
            (turn.run_id(), turn.session_id(), turn.origin().as_str()),
            ("run", "session", "user")
        );
    }

    #[test]
    fn a_turn_does_not_start_with_a_config_that_does_not_fit() {
        assert_eq!(
            Turn::<()>::start(prompt("[1]")).unwrap_err().code(),
            "invalid"
        );
    }
}
