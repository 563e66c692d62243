//! The settings of a loop that an agent may change, and their defaults.

use std::fmt;

use super::{ServeTool, Step};
use crate::model::Request;

/// How many answers of the model a loop takes unless told otherwise.
pub const STEPS_DEFAULT: u32 = 50;

/// How many identical steps in a row, or rounds of a circle of steps, are carried out unless told
/// otherwise.
pub const REPEATS_DEFAULT: u32 = 3;

/// The share of the model's window beyond which a summary is written, in percent, unless told
/// otherwise.
pub const TRIM_PERCENT_DEFAULT: u8 = 75;

/// How many messages stay beside a summary unless told otherwise.
pub const KEEP_DEFAULT: usize = 6;

/// Which of the host's tools a model is shown. Names in an array are some of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum HostTools {
    /// All that this run may call.
    #[default]
    All,
    /// Those of these names that this run may call.
    Named(Vec<String>),
    /// None: the host is not even asked.
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

/// A loop in which a model calls tools until it has its answer; it goes in
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
    /// A loop over the conversation so far, the prompt included, with all of the host's tools.
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

    /// What every request begins as: a model, a temperature, the longest answer. Its context,
    /// its tools and its tool choice are the loop's; its messages follow the conversation.
    pub fn request(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// What the model is told about its task.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.request = self.request.system(text);
        self
    }

    /// Which of the host's tools the model is shown: all of them unless set, or those of an
    /// array of names. Names that this run may not call are left out.
    pub fn host_tools(mut self, tools: impl Into<HostTools>) -> Self {
        self.host_tools = tools.into();
        self
    }

    /// Adds a tool that the agent serves itself. It hides one of the host's with its name.
    pub fn serve(mut self, tool: impl ServeTool + 'a) -> Self {
        self.served.push(Box::new(tool));
        self
    }

    /// How many answers the model gives at the most; [`STEPS_DEFAULT`] unless set.
    pub fn max_steps(mut self, steps: u32) -> Self {
        self.max_steps = steps;
        self
    }

    /// Whether the model is asked for one answer without tools when its steps are used up,
    /// which is so unless set.
    pub fn closing_answer(mut self, closing: bool) -> Self {
        self.closing = closing;
        self
    }

    /// How many identical steps are carried out in a row; [`REPEATS_DEFAULT`] unless set. The next
    /// ones are refused, and the third of these ends the loop.
    ///
    /// Steps are identical that make the same calls, in the same order and with the same
    /// arguments, and whose results are the same. Up to four different ones that come by turns
    /// count by their rounds, of which two are always carried out. A call whose result changes is
    /// never refused: what waits for something may ask as often as there are steps.
    pub fn max_repeats(mut self, repeats: u32) -> Self {
        self.max_repeats = repeats;
        self
    }

    /// Whether the calls of one answer for the host's tools go to it together, which is so
    /// unless set. Otherwise all calls are carried out one by one, in their order.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.parallel = parallel;
        self
    }

    /// Ends the loop after a step of which this is true: a budget, a file that appeared.
    pub fn stop_when(mut self, stop: impl FnMut(&Step<'_>) -> bool + 'a) -> Self {
        self.stop_when.push(Box::new(stop));
        self
    }

    /// Is told of each step, for progress or for a record of one's own.
    pub fn on_step(self, mut tell: impl FnMut(&Step<'_>) + 'a) -> Self {
        self.stop_when(move |step| {
            tell(step);
            false
        })
    }

    /// The size of the model's window in tokens, for a host that does not know it. What the host
    /// says counts otherwise, and what a service says that was sent too much.
    pub fn context_tokens(mut self, tokens: u32) -> Self {
        self.window = Some(tokens);
        self
    }

    /// How full the window may be before a summary is written, in percent;
    /// [`TRIM_PERCENT_DEFAULT`] unless set.
    pub fn trim_at(mut self, percent: u8) -> Self {
        self.trim_percent = percent;
        self
    }

    /// How many messages stay beside a summary, at the least; [`KEEP_DEFAULT`] unless set.
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
