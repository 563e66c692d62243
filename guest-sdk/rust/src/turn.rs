//! One run, as its agent sees it: the prompt, and the calls to the host.

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

/// The number of messages that [`Turn::messages`] reads at a time.
const PAGE: u32 = 64;

/// A run that the host started with a prompt.
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

/// The prompt and the settings.
impl<C> Turn<C> {
    /// Returns the text of the prompt: its text parts, joined.
    pub fn prompt(&self) -> &str {
        &self.text
    }

    /// Returns all parts of the prompt.
    pub fn prompt_parts(&self) -> &[Part] {
        &self.prompt.parts
    }

    /// Returns the files and pictures of the prompt. [`bytes`](Self::bytes) reads them, and
    /// [`Request::part`](crate::model::Request::part) shows one to a model. The host itself shows
    /// the model those that belong to the conversation.
    pub fn prompt_data(&self) -> impl Iterator<Item = &Blob> {
        self.prompt.parts.iter().filter_map(Part::as_data)
    }

    /// Returns the run's id.
    pub fn run_id(&self) -> &str {
        &self.prompt.run_id
    }

    /// Returns the session's id, which is the same for all runs of a conversation.
    pub fn session_id(&self) -> &str {
        &self.prompt.session_id
    }

    /// Returns what began the run.
    pub fn origin(&self) -> Origin {
        self.prompt.origin.as_str().into()
    }

    /// Returns the settings of the session.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// Returns the settings as JSON, as they were written.
    pub fn config_json(&self) -> &str {
        &self.prompt.config_json
    }

    /// Returns the named JSON values that came with the prompt.
    pub fn extra(&self) -> &Extra {
        &self.prompt.extra
    }
}

/// Writing to the transcript. These calls wait while too much output is not yet durable. They fail
/// with `limit`, `unavailable` and the codes that each one names.
impl<C> Turn<C> {
    /// Adds text to the answer. The host keeps it whatever happens to the run afterwards.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn say(&self, delta: &str) -> Result<()> {
        Ok(transcript::append_text(delta)?)
    }

    /// Adds to the reasoning, which is shown apart from the answer.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn think(&self, delta: &str) -> Result<()> {
        Ok(transcript::append_reasoning(delta)?)
    }

    /// Adds a whole part: data, a citation, or a tool call that the agent serves itself.
    ///
    /// # Errors
    ///
    /// The host's failure; `conflict` for a call id that is taken.
    pub fn append_part(&self, part: &Part) -> Result<()> {
        Ok(transcript::append_part(part)?)
    }

    /// Records the result of a tool call that the agent served itself.
    ///
    /// # Errors
    ///
    /// The host's failure; `not-found` for a call that was never appended.
    pub fn record_result(&self, result: &ToolResult) -> Result<()> {
        Ok(transcript::record_result(result)?)
    }

    /// Sets the session's title.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn set_title(&self, title: &str) -> Result<()> {
        Ok(transcript::set_title(title)?)
    }

    /// Replaces everything up to and including the message `through` by `text` in later requests
    /// to a model. The original messages stay.
    ///
    /// # Errors
    ///
    /// The host's failure; `not-found` for an unknown message.
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

/// Reading, and access to models, state and tools.
impl<C> Turn<C> {
    /// Returns one page of the conversation in time order. The page ends before the message
    /// `before`, or with the newest message. The current prompt is included. An empty page means
    /// that the beginning was reached.
    ///
    /// # Errors
    ///
    /// The host's failure; `not-found` for an unknown message.
    pub fn history(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>> {
        Ok(transcript::history(before, limit)?)
    }

    /// Returns the conversation from the newest message back to the first, read page by page.
    pub fn messages(&self) -> Messages<'_, C> {
        Messages {
            turn: self,
            page: Vec::new(),
            before: None,
            ended: false,
        }
    }

    /// Returns the bytes of a file or picture, which the host keeps or the blob holds itself.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn bytes(&self, blob: &Blob) -> Result<Vec<u8>> {
        match &blob.source {
            Source::Inline(bytes) => Ok(bytes.clone()),
            Source::Stored(id) => self.read_blob(id),
        }
    }

    /// Returns the bytes of a blob that the host keeps.
    ///
    /// # Errors
    ///
    /// The host's failure.
    pub fn read_blob(&self, id: &str) -> Result<Vec<u8>> {
        Ok(transcript::read_blob(id)?)
    }

    /// Returns the cause, once the run is being stopped and still has time to end by itself.
    pub fn interruption(&self) -> Option<String> {
        control::interruption()
    }

    /// Returns the time that remains until the run's deadline, if it has one.
    pub fn remaining(&self) -> Option<Duration> {
        control::remaining_ms().map(Duration::from_millis)
    }

    /// Returns access to the models.
    pub fn model(&self) -> Model<'_> {
        Model::new()
    }

    /// Returns access to the values of a scope that are kept between runs.
    pub fn state(&self, scope: Scope) -> State<'_> {
        State::new(scope)
    }

    /// Returns access to the host's tools.
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
