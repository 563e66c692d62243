//! The loop itself: asks the model, carries out its calls, records the results, and repeats.

use super::finished::{Finished, Reason, Step};
use super::plan::{Fate, Plan, Planned, plan};
use super::repeats::Repeats;
use super::settings::ToolLoop;
use super::summary::{self, Known};
use super::toolbox::Toolbox;
use super::window::Window;
use crate::model::{Context, Reply, Request};
use crate::{Code, Error, Result, ToolCall, ToolChoice, ToolResult, Turn, Usage};

/// The message to the model when its steps are used up.
const CLOSING: &str = "You have used up your steps. Answer now, without calling tools: say what \
    you did, what you found, and what is left to do.";

/// A loop that is under way.
pub(crate) struct Steps<'a, C> {
    pub(super) turn: &'a Turn<C>,
    pub(super) settings: ToolLoop<'a>,
    toolbox: Toolbox<'a>,
    repeats: Repeats,
    pub(super) window: Window,
    /// The last known summary.
    pub(super) summarised: Option<Known>,
    steps: u32,
    pub(super) usage: Usage,
}

/// The results of the calls in one answer of the model.
#[derive(Default)]
struct Carried {
    results: Vec<ToolResult>,
    /// The calls that failed at the host: each tool's name, and the error.
    failures: Vec<(String, Error)>,
    /// Whether a tool of the agent's own asked for the loop to end.
    last: bool,
}

impl<'a, C> Steps<'a, C> {
    pub(crate) fn begin(turn: &'a Turn<C>, mut settings: ToolLoop<'a>) -> Result<Self> {
        let served = std::mem::take(&mut settings.served);
        let toolbox = Toolbox::open(turn.tools(), &settings.host_tools, served)?;
        let window = match settings.window {
            Some(tokens) => Some(tokens),
            None => summary::window(turn, &settings.request)?,
        };
        Ok(Self {
            turn,
            repeats: Repeats::new(settings.max_repeats),
            window: Window::new(window, settings.trim_percent),
            settings,
            toolbox,
            summarised: None,
            steps: 0,
            usage: Usage::none(),
        })
    }

    pub(super) fn run(mut self) -> Result<Finished> {
        self.look_back()?;
        let mut last: Option<Reply> = None;
        while self.steps < self.settings.max_steps.max(1) {
            let reply = self.ask(&self.request())?;
            let toolbox = &self.toolbox;
            let Plan {
                calls,
                circles,
                cut_off,
            } = plan(
                &reply,
                &mut self.repeats,
                |name| toolbox.find(name),
                || toolbox.names(),
            );
            if calls.is_empty() {
                return Ok(self.end(Reason::Answered, reply));
            }

            let carried = if self.settings.parallel {
                self.together(calls)?
            } else {
                self.one_by_one(calls)?
            };
            self.repeats.learn(&carried.results);
            if let Some(reason) = self.reason_to_stop(&reply, &carried, circles, cut_off) {
                return Ok(self.end(reason, reply));
            }

            self.window.grow(&reply, &carried.results);
            self.make_room()?;
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

    /// Returns a request with the conversation, which the host adds, and the tools.
    pub(super) fn request(&self) -> Request {
        let request = self.settings.request.clone();
        let request = request.context(Context::SinceSummary);
        request.tools(self.toolbox.specs())
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        match self.send(request) {
            Err(error) if error.is_context_overflow() => {
                self.send_with_room(error, |steps| steps.send(request))
            }
            outcome => outcome,
        }
    }

    fn send(&mut self, request: &Request) -> Result<Reply> {
        let completion = self.turn.model().complete(request.clone())?;
        let reply = completion.to_transcript()?;
        self.steps += 1;
        self.usage.add(&reply.usage);
        Ok(reply)
    }

    fn reason_to_stop(
        &mut self,
        reply: &Reply,
        done: &Carried,
        circles: bool,
        cut_off: bool,
    ) -> Option<Reason> {
        let step = Step {
            number: self.steps,
            reply,
            results: &done.results,
            failures: &done.failures,
            usage: &self.usage,
        };
        // Every condition sees every step, even if an earlier one is already met.
        let mut stopped = false;
        for stop in &mut self.settings.stop_when {
            stopped |= stop(&step);
        }
        if cut_off {
            Some(Reason::CutOff)
        } else if circles {
            Some(Reason::Loop)
        } else if done.last {
            Some(Reason::Served)
        } else {
            stopped.then_some(Reason::Stopped)
        }
    }

    /// Asks for an answer once the steps are used up. The tools stay in the request, since some
    /// services refuse a history that contains calls if the request has no tools.
    fn close(mut self) -> Result<Finished> {
        let request = self.request().user(CLOSING).tool_choice(ToolChoice::None);
        let reply = self.ask(&request)?;
        self.refuse_calls(&reply)?;
        Ok(self.end(Reason::MaxSteps, reply))
    }

    /// Gives an error as result to each call of an answer that should not contain calls, since no
    /// call may stay without a result.
    fn refuse_calls(&self, reply: &Reply) -> Result<()> {
        for call in reply.parts.iter().filter_map(crate::Part::as_tool_call) {
            self.record(&ToolResult::error(
                &call.id,
                "no tools can be called any more",
            ))?;
        }
        Ok(())
    }

    /// Sends the calls of the host's tools to the host together, then carries out the agent's own.
    /// Returns the results in the order of the calls.
    fn together(&mut self, planned: Vec<Planned>) -> Result<Carried> {
        let (host, own): (Vec<_>, Vec<_>) = planned
            .into_iter()
            .enumerate()
            .partition(|(_, planned)| planned.fate == Fate::Host);
        let calls: Vec<ToolCall> = host.iter().map(|(_, one)| one.call.clone()).collect();
        let answers = if calls.is_empty() {
            Vec::new()
        } else {
            self.turn.tools().serve_all(&calls)
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

    /// Handles the host's reply to a call. The host has already recorded it, even a failure. Only a
    /// run that is being stopped ends the loop.
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

    /// Records a result unless the call has one. A call without a result would spoil every later
    /// request.
    fn record_unless_done(&self, result: &ToolResult) -> Result<()> {
        match self.record(result) {
            Err(error) if matches!(error.code(), Code::Conflict | Code::NotFound) => Ok(()),
            outcome => outcome,
        }
    }
}
