//! Keeps the conversation within the model's window: decides when its older part is summarised, and
//! what the error says if that does not help.

use super::steps::Steps;
use super::summary::{self, Known};
use super::trim::{self, Gain};
use super::{pieces, window};
use crate::log::Level;
use crate::{Error, Message, Result, Usage};

/// The number of messages that are read in addition to those that stay.
const LOOK_BACK: u32 = 64;

/// The number of messages that are read at a time to estimate the length of the conversation.
const PAGE: u32 = 32;

impl<C> Steps<'_, C> {
    /// Estimates at the beginning of the loop how much of the window the conversation fills, and
    /// summarises its older part if that is too much. Reads no more of it than fits a window, and
    /// nothing if the size of the window is unknown.
    pub(super) fn look_back(&mut self) -> Result<()> {
        let Some(tokens) = self.window.tokens() else {
            return Ok(());
        };
        let mut used = window::of_request(&self.request());
        let mut before: Option<String> = None;
        'pages: while used < u64::from(tokens) {
            let page = self.turn.history(before.as_deref(), PAGE)?;
            let Some(oldest) = page.first() else { break };
            before = Some(oldest.id.clone());
            for message in page.iter().rev() {
                if let Some(summary) = Known::at(message, self.summarised.as_ref()) {
                    used += window::of_text(&summary.text);
                    self.summarised = Some(summary);
                    break 'pages;
                }
                used += window::of_message(message);
            }
        }
        self.window.restart(used);
        self.make_room()
    }

    /// Summarises the older part of the conversation if the window is too full. A summary that
    /// fails does not end the loop, since the next request may still fit.
    pub(super) fn make_room(&mut self) -> Result<()> {
        if !self.window.is_full() {
            return Ok(());
        }
        match self.summarise(self.settings.keep, Gain::Worthwhile) {
            Ok(_) => Ok(()),
            Err(error) if error.is_cancelled() => Err(error),
            Err(error) => {
                let line = format!("the conversation could not be summarised: {error}");
                self.turn.log(Level::Warn, &line);
                Ok(())
            }
        }
    }

    /// Sends a request again that was refused as too long, after summarising the conversation:
    /// first with a summary that keeps the usual number of messages, and if that is refused too,
    /// with one that keeps only the newest.
    pub(crate) fn send_with_room<R>(
        &mut self,
        mut refusal: Error,
        send: impl Fn(&mut Self) -> Result<R>,
    ) -> Result<R> {
        for keep in [self.settings.keep, 1] {
            self.window.learn(&refusal);
            match self.make_room_at_once(keep) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(error) if error.is_context_overflow() => return Err(self.too_long(error)),
                Err(error) => return Err(error),
            }
            match send(self) {
                Err(error) if error.is_context_overflow() => refusal = error,
                outcome => return outcome,
            }
        }
        Err(self.too_long(refusal))
    }

    /// Summarises a conversation that a service refused as too long, except for the newest `keep`
    /// messages. Returns false if that gains nothing.
    fn make_room_at_once(&mut self, keep: usize) -> Result<bool> {
        let shortened = self.summarise(keep, Gain::Any);
        shortened.map_err(|error| {
            if error.is_cancelled() || error.is_context_overflow() {
                return error;
            }
            error.context("summarising the conversation, which is longer than the model's window")
        })
    }

    /// Replaces all but the newest messages by a summary. Keeps as many messages as fit, at most
    /// `keep`. Returns false if that gains too little.
    fn summarise(&mut self, keep: usize, gain: Gain) -> Result<bool> {
        let limit = u32::try_from(keep).unwrap_or(u32::MAX);
        let newest = self.turn.history(None, limit.saturating_add(LOOK_BACK))?;
        let own = self.summarised.as_ref();
        let known = newest
            .iter()
            .rev()
            .find_map(|message| Known::at(message, own));
        let done = known.as_ref().or(own).map(|known| known.through.clone());
        let keep = trim::fitting(&newest, keep, self.window.kept_max());
        let Some(at) = trim::through(&newest, keep, done.as_deref(), gain) else {
            return Ok(false);
        };
        let kept = &newest[at + 1..];

        let account = self.account(kept.first(), gain)?;

        let current = kept.iter().any(|message| message.role == crate::Role::User);
        let request = Some(self.turn.prompt()).filter(|_| !current);
        let text = trim::summary(request, &account, self.window.piece_bytes() / 4);
        let through = newest[at].id.clone();
        self.turn.summarise(&text, &through)?;

        let kept: u64 = kept.iter().map(window::of_message).sum();
        let fixed = window::of_request(&self.request());
        self.window.restart(fixed + window::of_text(&text) + kept);
        self.summarised = Some(Known { through, text });
        Ok(true)
    }

    /// Writes an account of the conversation before `first_kept`. If it fits the window, the model
    /// reads it at once, in the form that it knows; otherwise in pieces.
    fn account(&mut self, first_kept: Option<&Message>, gain: Gain) -> Result<String> {
        let mut usage = Usage::none();
        let fits = gain == Gain::Worthwhile && !self.window.is_over();
        let whole = fits.then(|| summary::in_one(self.turn, self.request(), &mut usage));
        let account = match whole {
            Some(Err(error)) if error.is_context_overflow() => {
                self.window.learn(&error);
                None
            }
            whole => whole,
        };
        let account = account.unwrap_or_else(|| {
            let mut piece_bytes = self.window.piece_bytes();
            let account = pieces::account(
                self.turn,
                &self.settings.request,
                first_kept.map(|message| message.id.as_str()),
                self.summarised.as_ref(),
                &mut piece_bytes,
                &mut usage,
            );
            self.window.limit_pieces(piece_bytes);
            account
        });
        self.usage.add(&usage);
        account
    }

    /// Adds to the refusal what a person can do about a conversation that does not fit even with a
    /// summary.
    fn too_long(&self, refusal: Error) -> Error {
        let size = self
            .window
            .tokens()
            .map_or_else(String::new, |tokens| format!(" of {tokens} tokens"));
        refusal.context(format!(
            "the conversation does not fit the model's window{size}, and what a summary cannot \
             stand for is too long: {}. Ask for less at once (a shorter prompt, a part of a \
             file), use a model with a larger window, or begin a new session; if the window is \
             larger than the host takes it to be, set `context_tokens` of the model under \
             `[models.…]`. The service said",
            self.longest()
        ))
    }

    /// Returns the name and the size of the longest item that cannot be summarised.
    fn longest(&self) -> String {
        let fixed = window::of_request(&self.request());
        let newest = self.turn.history(None, LOOK_BACK).unwrap_or_default();
        let parts = newest.iter().rev().map_while(|message| {
            let summarised = Known::at(message, self.summarised.as_ref()).is_some();
            (!summarised).then_some(message)
        });
        let longest = parts.max_by_key(|message| window::of_message(message));
        let longest = longest.map(|message| (window::of_message(message), message));
        let (tokens, what) = match longest {
            Some((tokens, message)) if tokens >= fixed => (tokens, named(message, &newest)),
            _ => (fixed, "the agent's own task and tools".to_owned()),
        };
        format!("{what}, some {tokens} tokens")
    }
}

/// Returns a description of a message for people.
fn named(message: &Message, newest: &[Message]) -> String {
    match message.role {
        crate::Role::User => "the prompt".to_owned(),
        crate::Role::Assistant => "an answer of the model".to_owned(),
        crate::Role::System => "a message of the system".to_owned(),
        crate::Role::Tool => {
            let ids = message
                .parts
                .iter()
                .filter_map(|part| part.as_tool_result());
            let ids: Vec<_> = ids.map(|result| &result.call_id).collect();
            let parts = newest.iter().flat_map(|message| &message.parts);
            let calls = parts.filter_map(|part| part.as_tool_call());
            let calls = calls.filter(|call| ids.contains(&&call.id));
            let mut names: Vec<_> = calls.map(|call| format!("`{}`", call.name)).collect();
            names.dedup();
            format!("the results of {}", names.join(", "))
        }
    }
}
