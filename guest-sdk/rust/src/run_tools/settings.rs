//! The settings of a loop, and their defaults.

use std::fmt;

use super::{ServeTool, Step};
use crate::model::Request;

/// The default number of answers that the model may give in a loop.
pub const STEPS_DEFAULT: u32 = 50;

/// The default number of times that identical steps, or rounds of a circle of steps, are carried
/// out in a row.
pub const REPEATS_DEFAULT: u32 = 3;

/// The default share of the model's window, in percent, above which a summary is written.
pub const TRIM_PERCENT_DEFAULT: u8 = 75;

/// The default number of messages that are kept beside a summary.
pub const KEEP_DEFAULT: usize = 6;

/// Which of the host's tools a model is shown. An array of names is [`HostTools::Named`].
#[derive(Clone, Debug, Default, PartialEq)]
pub enum HostTools {
    /// All tools that this run may call.
    #[default]
    All,
    /// The tools with these names that this run may call.
    Named(Vec<String>),
    /// None. The host is not asked for its tools.
    None,
}

impl<S: Into<String>, const N: usize> From<[S; N]> for HostTools {
    fn from(names: [S; N]) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }
}

impl From<Vec<String>> for HostTools {
    fn from(names: Vec<String>) -> Self {
        Self::Named(names)
    }
}

impl HostTools {
    pub(super) fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|own| own == name),
            Self::None => false,
        }
    }
}

/// A loop in which a model calls tools until it has its answer. Pass it to
/// [`Turn::run_tools`](crate::Turn::run_tools).
#[must_use = "a loop goes in `Turn::run_tools`"]
pub struct ToolLoop<'a> {
    pub(super) request: Request,
    pub(super) host_tools: HostTools,
    pub(super) served: Vec<Box<dyn ServeTool + 'a>>,
    pub(super) max_steps: u32,
    pub(super) closing: bool,
    pub(super) max_repeats: u32,
    pub(super) parallel: bool,
    pub(super) stop_when: Vec<StopWhen<'a>>,
    pub(super) window: Option<u32>,
    pub(super) trim_percent: u8,
    pub(super) keep: usize,
}

type StopWhen<'a> = Box<dyn FnMut(&Step<'_>) -> bool + 'a>;

impl Default for ToolLoop<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> ToolLoop<'a> {
    /// Creates a loop over the conversation so far, including the prompt, with all of the host's
    /// tools.
    pub fn new() -> Self {
        Self {
            request: Request::new(),
            host_tools: HostTools::All,
            served: Vec::new(),
            max_steps: STEPS_DEFAULT,
            closing: true,
            max_repeats: REPEATS_DEFAULT,
            parallel: true,
            stop_when: Vec::new(),
            window: None,
            trim_percent: TRIM_PERCENT_DEFAULT,
            keep: KEEP_DEFAULT,
        }
    }

    /// Sets the request that every request of the loop starts from: a model, a temperature, the
    /// longest answer. The loop sets its context, its tools and its tool choice; the request's
    /// messages follow the conversation.
    pub fn request(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// Sets the system prompt.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.request = self.request.system(text);
        self
    }

    /// Sets which of the host's tools the model is shown: all of them unless set, or those of an
    /// array of names. Names that this run may not call are left out.
    pub fn host_tools(mut self, tools: impl Into<HostTools>) -> Self {
        self.host_tools = tools.into();
        self
    }

    /// Adds a tool that the agent serves itself. It replaces a tool of the host with the same name.
    pub fn serve(mut self, tool: impl ServeTool + 'a) -> Self {
        self.served.push(Box::new(tool));
        self
    }

    /// Sets how many answers the model may give at most; [`STEPS_DEFAULT`] unless set.
    pub fn max_steps(mut self, steps: u32) -> Self {
        self.max_steps = steps;
        self
    }

    /// Sets whether the model is asked for one more answer, without tools, when its steps are used
    /// up. True unless set.
    pub fn closing_answer(mut self, closing: bool) -> Self {
        self.closing = closing;
        self
    }

    /// Sets how many identical steps are carried out in a row; [`REPEATS_DEFAULT`] unless set.
    /// Further ones are refused, and the third refusal in a row ends the loop.
    ///
    /// Steps are identical if they make the same calls, in the same order and with the same
    /// arguments, and if their results are the same. A repeated sequence of two to four different
    /// steps is counted by its rounds, of which at least two are carried out. A call whose result
    /// changes is never refused: a model that waits for something may ask as often as it has steps.
    pub fn max_repeats(mut self, repeats: u32) -> Self {
        self.max_repeats = repeats;
        self
    }

    /// Sets whether the calls of one answer to the host's tools are sent to the host together. True
    /// unless set. Otherwise all calls are carried out one by one, in their order.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// Ends the loop after a step for which `stop` returns true, for example because a budget is
    /// used up.
    pub fn stop_when(mut self, stop: impl FnMut(&Step<'_>) -> bool + 'a) -> Self {
        self.stop_when.push(Box::new(stop));
        self
    }

    /// Calls `tell` after each step, for progress or for a record of the agent's own.
    pub fn on_step(self, mut tell: impl FnMut(&Step<'_>) + 'a) -> Self {
        self.stop_when(move |step| {
            tell(step);
            false
        })
    }

    /// Sets the size of the model's window in tokens, for a host that does not know it. A size that
    /// the host knows, or that a service names when it refuses a request, takes precedence.
    pub fn context_tokens(mut self, tokens: u32) -> Self {
        self.window = Some(tokens);
        self
    }

    /// Sets how full the window may be before a summary is written, in percent;
    /// [`TRIM_PERCENT_DEFAULT`] unless set.
    pub fn trim_at(mut self, percent: u8) -> Self {
        self.trim_percent = percent;
        self
    }

    /// Sets how many messages are kept beside a summary, at least; [`KEEP_DEFAULT`] unless set.
    pub fn keep_messages(mut self, messages: usize) -> Self {
        self.keep = messages;
        self
    }
}

impl fmt::Debug for ToolLoop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolLoop")
            .field("request", &self.request)
            .field("host_tools", &self.host_tools)
            .field("served", &self.served.len())
            .field("max_steps", &self.max_steps)
            .finish_non_exhaustive()
    }
}
