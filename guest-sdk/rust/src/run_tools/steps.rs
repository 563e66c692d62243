//! The loop itself: ask, carry out, record, and again.
//!
//! It does not know what is asked for, nor who serves it.

use super::finished::{Finished, Reason, Step};
use super::plan::{Fate, Planned, plan};
use super::repeats::Repeats;
use super::settings::ToolLoop;
use super::toolbox::Toolbox;
use super::{retry, summary, trim};
use crate::log::Level;
use crate::model::{Context, Reply, Request};
use crate::{Error, Result, ToolCall, ToolResult, Turn, Usage};

/// What the model is asked for when its steps are used up.
const CLOSING: &str = "You have used up your steps. Answer now, without calling tools: say what \
    you did, what you found, and what is left to do.";

/// A loop that goes.
pub(super) struct Steps<'a, C> {
    turn: &'a Turn<C>,
    settings: ToolLoop<'a>,
    toolbox: Toolbox<'a>,
    repeats: Repeats,
    window: Option<u32>,
    /// Through which message the last summary of this loop stands.
    summarised: Option<String>,
    steps: u32,
    usage: Usage,
}

/// What came of an answer's calls.
#[derive(Default)]
struct Carried {
    results: Vec<ToolResult>,
    /// What the host did not carry out.
    failures: Vec<(String, Error)>,
    /// One of them was to be the last.
    last: bool,
}

impl<'a, C> Steps<'a, C> {
    pub(super) fn begin(turn: &'a Turn<C>, mut settings: ToolLoop<'a>) -> Result<Self> {
        let served = std::mem::take(&mut settings.served);
        let toolbox = Toolbox::open(turn.tools(), &settings.host_tools, served)?;
        let window = match settings.window {
            Some(tokens) => Some(tokens),
            None => summary::window(turn, &settings.request)?,
        };
        Ok(Self {
            turn,
            repeats: Repeats::new(settings.max_repeats),
            settings,
            toolbox,
            window,
            summarised: None,
            steps: 0,
            usage: Usage {
                input_tokens: 0,
                output_tokens: 0,
                extra: Vec::new(),
            },
        })
    }

    pub(super) fn run(mut self) -> Result<Finished> {
        let mut last: Option<Reply> = None;
        while self.steps < self.settings.max_steps.max(1) {
            let reply = self.ask(&self.request())?;
            let toolbox = &self.toolbox;
            let (planned, circles) = plan(
                &reply.parts,
                &mut self.repeats,
                |name| toolbox.find(name),
                || toolbox.names(),
            );
            if planned.is_empty() {
                return Ok(self.end(Reason::Answered, reply));
            }
            let carried = match self.settings.parallel {
                true => self.together(planned)?,
                false => self.one_by_one(planned)?,
            };
            self.repeats.learn(&carried.results);
            if let Some(reason) = self.reason_to_stop(&reply, &carried, circles) {
                return Ok(self.end(reason, reply));
            }
            self.make_room(&reply.usage)?;
            last = Some(reply);
        }
        match last {
            Some(reply) if !self.settings.closing => Ok(self.end(Reason::MaxSteps, reply)),
            _ => self.close(),
        }
    }

    fn end(self, reason: Reason, reply: Reply) -> Finished {
        Finished {
            reason,
            steps: self.steps,
            reply,
            usage: self.usage,
        }
    }

    /// The conversation, which the host puts in front, and the tools.
    fn request(&self) -> Request {
        let request = self.settings.request.clone();
        let request = request.context(Context::SinceSummary);
        request.tools(self.toolbox.specs())
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        let completion = retry::complete(self.turn.model(), request, self.settings.retries)?;
        let reply = completion.to_transcript()?;
        self.steps += 1;
        self.count(&reply.usage);
        Ok(reply)
    }

    fn count(&mut self, usage: &Usage) {
        let total = &mut self.usage;
        total.input_tokens = total.input_tokens.saturating_add(usage.input_tokens);
        total.output_tokens = total.output_tokens.saturating_add(usage.output_tokens);
    }

    fn reason_to_stop(&mut self, reply: &Reply, done: &Carried, circles: bool) -> Option<Reason> {
        let step = Step {
            number: self.steps,
            reply,
            results: &done.results,
            failures: &done.failures,
            usage: &self.usage,
        };
        // Each is told of every step, whatever the others say.
        let mut stopped = false;
        for stop in &mut self.settings.stop_when {
            stopped |= stop(&step);
        }
        match (circles, done.last) {
            (true, _) => Some(Reason::Loop),
            (_, true) => Some(Reason::Served),
            _ => stopped.then_some(Reason::Stopped),
        }
    }

    /// Asks for an answer once the steps are used up. The tools stay in the request, since some
    /// services refuse a history of calls without them.
    fn close(mut self) -> Result<Finished> {
        let request = self.request().user(CLOSING).tool_choice("none");
        let reply = self.ask(&request)?;
        self.refuse_calls(&reply)?;
        Ok(self.end(Reason::MaxSteps, reply))
    }

    /// A model that calls although it must not gets an answer all the same: no call stays
    /// without a result.
    fn refuse_calls(&self, reply: &Reply) -> Result<()> {
        for call in reply.parts.iter().filter_map(crate::Part::as_tool_call) {
            self.record(&ToolResult::error(
                &call.id,
                "no tools can be called any more",
            ))?;
        }
        Ok(())
    }

    /// The host's calls at once, then the agent's; results in the order of the calls.
    fn together(&mut self, planned: Vec<Planned>) -> Result<Carried> {
        let (host, own): (Vec<_>, Vec<_>) = planned
            .into_iter()
            .enumerate()
            .partition(|(_, planned)| planned.fate == Fate::Host);
        let calls: Vec<ToolCall> = host.iter().map(|(_, one)| one.call.clone()).collect();
        let answers = match calls.is_empty() {
            true => Vec::new(),
            false => self.turn.tools().serve_all(&calls),
        };
        let mut carried = Carried::default();
        let mut results = Vec::new();
        for ((at, planned), answer) in host.into_iter().zip(answers) {
            results.push((at, self.answered(planned.call, answer, &mut carried)?));
        }
        for (at, planned) in own {
            results.push((at, self.carry_out(planned, &mut carried)?));
        }
        results.sort_by_key(|(at, _)| *at);
        carried.results = results.into_iter().map(|(_, result)| result).collect();
        Ok(carried)
    }

    fn one_by_one(&mut self, planned: Vec<Planned>) -> Result<Carried> {
        let mut carried = Carried::default();
        for planned in planned {
            let result = self.carry_out(planned, &mut carried)?;
            carried.results.push(result);
        }
        Ok(carried)
    }

    fn carry_out(&mut self, planned: Planned, carried: &mut Carried) -> Result<ToolResult> {
        let Planned { call, fate } = planned;
        let result = match fate {
            Fate::Host => {
                let answer = self.turn.tools().serve(&call);
                return self.answered(call, answer, carried);
            }
            Fate::Refused(why) => ToolResult::error(&call.id, why),
            Fate::Agent(at, arguments) => match self.toolbox.serve(at, arguments) {
                Ok(answer) => {
                    carried.last |= answer.is_last();
                    answer.into_result(&call.id)
                }
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => ToolResult::error(&call.id, error.to_string()),
            },
        };
        self.record(&result)?;
        Ok(result)
    }

    /// What the host made of a call. It has recorded that, failures included; only a run that
    /// is being stopped ends the loop.
    fn answered(
        &self,
        call: ToolCall,
        answer: Result<ToolResult>,
        carried: &mut Carried,
    ) -> Result<ToolResult> {
        match answer {
            Ok(result) => Ok(result),
            Err(error) if error.is_cancelled() => Err(error),
            Err(error) => {
                let result = ToolResult::error(call.id, error.to_string());
                self.record_unless_done(&result)?;
                carried.failures.push((call.name, error));
                Ok(result)
            }
        }
    }

    fn record(&self, result: &ToolResult) -> Result<()> {
        self.turn.record_result(result)
    }

    /// A call without a result would spoil every later request, so that none is left to chance.
    fn record_unless_done(&self, result: &ToolResult) -> Result<()> {
        match self.record(result) {
            Err(error) if matches!(error.code(), "conflict" | "not-found") => Ok(()),
            outcome => outcome,
        }
    }

    /// Has the older part of the conversation summarised, if the window is too full. A summary
    /// that fails is no reason to end: the next request may still fit.
    fn make_room(&mut self, usage: &Usage) -> Result<()> {
        let settings = &self.settings;
        if !trim::is_full(usage, self.window, settings.trim_percent) {
            return Ok(());
        }
        let keep = settings.keep;
        let written = summary::write(self.turn, self.request(), keep, self.summarised.as_deref());
        match written {
            Ok(None) => Ok(()),
            Ok(Some(summary::Written { through, usage })) => {
                self.summarised = Some(through);
                self.count(&usage);
                Ok(())
            }
            Err(error) if error.is_cancelled() => Err(error),
            Err(error) => {
                let line = format!("the conversation could not be summarised: {error}");
                self.turn.log(Level::Warn, &line);
                Ok(())
            }
        }
    }
}
