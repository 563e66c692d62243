//! Implements `lastword:agent/model`, the model interface that a guest imports.

use super::media;
use super::{Completion, Granted, Model};
use crate::guest::convert::{extra_in, message_id, part_in, part_out, role_in};
use crate::guest::failure::{
    OrFailure, cancelled, ensure_not_stopping, failure, no_model, refusal,
};
use lastword_providers::model::{ModelEvent, ModelInfo, ModelMessage, ModelRequest, ToolSpec};
use lastword_sandbox::bindings::lastword::agent::model as wit;
use lastword_sandbox::bindings::lastword::agent::types::{Failure, Usage as WitUsage};
use lastword_sandbox::{HostResult, Resource};
use lastword_types::hint;
use lastword_types::permission::{Access, Capability, Rule, Verdict};
use lastword_types::session::{Message, Part, PartBody, Role, Usage};

type Answer<T> = HostResult<Result<T, Failure>>;
type Handle = Resource<wit::Completion>;

impl Model {
    fn granted(&self) -> Result<&Granted, Failure> {
        self.control.called();
        ensure_not_stopping(&self.control)?;
        self.granted.as_ref().map_err(Failure::clone)
    }

    /// Waits for a model only until the run is asked to end.
    async fn or_cancelled<T>(
        control: &crate::guest::control::Control,
        wait: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = control.asked() => Err(cancelled()),
            answer = wait => answer,
        }
    }

    async fn begin(&mut self, request: wit::Request) -> Result<Handle, Failure> {
        let granted = self.granted()?;
        // Refuses the request if the run may add no more to its log: the use of a model is always
        // recorded there, so the log would otherwise grow beyond its bound.
        granted.conversation.output.spend(0, 0).or_failure()?;
        let began = Self::or_cancelled(&self.control, async {
            let models = granted.models().await.or_failure()?;
            let (name, provider) = named(&models, request.model.as_deref())?;
            allowed(granted, &name)?;
            let request = assemble(granted, request, &name).await?;
            granted.conversation.output.set_model(name, provider);
            Completion::begin(granted, request).await.or_failure()
        });
        let completion = began.await?;
        let full = |_| failure("limit", "too many completions are open; drop some first");
        let handle = self.completions.push(completion).map_err(full)?;
        Ok(Resource::new_own(handle.rep()))
    }

    async fn step(&mut self, handle: &Handle) -> Result<Option<ModelEvent>, Failure> {
        self.granted()?;
        let Self {
            control,
            granted,
            completions,
            ..
        } = self;
        let granted = granted.as_ref().map_err(Failure::clone)?;
        let gone = |_| failure("invalid", "this completion is not open");
        let completion: &mut Completion = completions
            .get_mut(&Resource::new_borrow(handle.rep()))
            .map_err(gone)?;
        let next = Self::or_cancelled(control, async { completion.next().await.or_failure() });
        let event = next.await?;
        match &event {
            Some(ModelEvent::Usage(usage)) => {
                granted.conversation.output.usage(*usage).or_failure()?;
                if !granted.budget.usage(*usage) {
                    // The run is being stopped at this moment, which interrupts the guest.
                    std::future::pending::<()>().await;
                }
            }
            Some(ModelEvent::Part(part)) => {
                let part = part.clone();
                granted.conversation.say(|out| out.part(part, None)).await?;
            }
            Some(ModelEvent::Data {
                media_type,
                name,
                bytes,
            }) => {
                let (part, blob) = media::said(media_type.clone(), name.clone(), bytes)?;
                let kept = part.clone();
                granted.conversation.say(|out| out.part(kept, blob)).await?;
                return Ok(Some(ModelEvent::Part(part)));
            }
            _ => {}
        }

        Ok(event)
    }

    /// Lists the models with their context windows. This may call a service, so it runs on the
    /// embedder's runtime.
    async fn list(&mut self) -> Result<Vec<wit::ModelInfo>, Failure> {
        let granted = self.granted()?;
        let listed = async {
            let models = granted.models().await.or_failure()?.into_iter();
            let sized = models.map(|info| sized(granted, info));
            Ok(futures_util::future::join_all(sized).await)
        };
        Self::or_cancelled(&self.control, listed).await
    }

    async fn all(&mut self, handle: &Handle) -> Result<wit::Reply, Failure> {
        let mut reply = Reply::default();
        while let Some(event) = self.step(handle).await? {
            let granted = self.granted.as_ref().map_err(Failure::clone)?;
            match &event {
                ModelEvent::Text(text) => granted.conversation.say(|out| out.text(text)).await?,
                ModelEvent::Reasoning(text) => {
                    granted.conversation.say(|out| out.reasoning(text)).await?;
                }
                _ => {}
            }
            reply.take(event);
        }

        Ok(reply.finish())
    }
}

/// Returns a model with its context window, if the list or the provider contains it.
async fn sized(granted: &Granted, info: ModelInfo) -> wit::ModelInfo {
    let context_tokens = match info.context_tokens {
        Some(size) => Some(size),
        None => granted.window(info.name.clone()).await,
    };

    wit::ModelInfo {
        name: info.name,
        context_tokens,
        extra: Vec::new(),
    }
}

/// Collects a whole completion, for a guest that had it streamed into the transcript.
#[derive(Default)]
struct Reply {
    parts: Vec<Part>,
    finish: String,
    usage: Usage,
}

impl Reply {
    fn take(&mut self, event: ModelEvent) {
        match (event, self.parts.last_mut().map(|part| &mut part.body)) {
            (ModelEvent::Text(delta), Some(PartBody::Text { text }))
            | (ModelEvent::Reasoning(delta), Some(PartBody::Reasoning { text, .. })) => {
                text.push_str(&delta);
            }
            (ModelEvent::Text(text), _) => self.parts.push(Part::text(text)),
            (ModelEvent::Reasoning(text), _) => self.parts.push(
                PartBody::Reasoning {
                    text,
                    started_ms: lastword_types::clock::UnixMillis(0),
                    ended_ms: None,
                }
                .into(),
            ),
            (ModelEvent::Part(part), _) => self.parts.push(part),
            (ModelEvent::Usage(usage), _) => self.usage.add(usage),
            (ModelEvent::Finish(reason), _) => self.finish = reason.into(),
            // Data was already stored as a part, and a retry as an event of the run.
            _ => {}
        }
    }

    fn finish(self) -> wit::Reply {
        wit::Reply {
            parts: self.parts.iter().filter_map(part_out).collect(),
            finish: self.finish,
            usage: usage_out(self.usage),
            extra: Vec::new(),
        }
    }
}

fn usage_out(usage: Usage) -> WitUsage {
    let cached = [
        ("cache_read_tokens", usage.cache_read_tokens),
        ("cache_write_tokens", usage.cache_write_tokens),
    ];
    let cached = cached.into_iter().filter(|(_, count)| *count > 0);
    WitUsage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        extra: cached
            .map(|(name, count)| (name.to_owned(), count.to_string()))
            .collect(),
    }
}

/// Returns the model that a request names, or the default model, and the name of its provider.
fn named(models: &[ModelInfo], model: Option<&str>) -> Result<(String, String), Failure> {
    let found = models
        .iter()
        .find(|info| model.is_none_or(|name| name == info.name));
    match (found, model) {
        (Some(info), _) => Ok((info.name.clone(), info.provider.clone())),
        (None, Some(name)) => Ok((name.to_owned(), String::new())),
        (None, None) => Err(no_model()),
    }
}

/// Checks that the guest may call this model.
fn allowed(granted: &Granted, name: &str) -> Result<(), Failure> {
    let access = Access::new(Capability::Model, name, "");
    match granted.authority.evaluate(&access, &[]) {
        Verdict::Allowed => Ok(()),
        Verdict::Denied(why) => Err(failure(
            "denied",
            refusal(Capability::Model, Some(name), &why),
        )),
        Verdict::Undecided => {
            let rule = Rule::exactly(&access).unwrap_or_else(|| Capability::Model.into());
            let how = hint::with_rule(&rule);
            let why = format!("the model `{name}` is not granted to this agent; {how}");
            Err(failure("denied", why))
        }
    }
}

/// Builds the whole request: the history that the guest selected, then its own messages.
async fn assemble(
    granted: &Granted,
    request: wit::Request,
    model: &str,
) -> Result<ModelRequest, Failure> {
    let at = &granted.conversation;
    let mut history = Vec::new();
    if let Some(after) = match &request.context {
        wit::Context::None => None,
        wit::Context::SinceSummary => Some(None),
        wit::Context::Since(id) => Some(Some(message_id(id)?)),
    } {
        // The history includes the output of this run so far: the calls and results of its tools.
        let open = at.so_far().await?;
        history = at.store.context(at.session, after).await.or_failure()?;
        history.extend(open);
    }

    let mut messages: Vec<ModelMessage> = history.into_iter().map(seen_by_model).collect();
    let mut inline = Vec::new();
    for input in request.messages {
        let parts = input
            .parts
            .into_iter()
            .map(|part| part_in(part, &mut inline));
        messages.push(ModelMessage {
            role: role_in(input.role),
            parts: parts.collect::<Result<_, _>>()?,
        });
    }

    let blobs = media::load(granted, model, &messages, inline).await?;
    Ok(ModelRequest {
        model: Some(model.to_owned()),
        system: request.system,
        messages,
        blobs,
        tools: request.tools.into_iter().map(tool_in).collect(),
        tool_choice: request.tool_choice.map(Into::into),
        output_schema: request.output_schema_json,
        stop: request.stop,
        max_output_tokens: request.max_output_tokens,
        temperature: request.temperature,
        extra: extra_in(request.extra),
    })
}

fn tool_in(tool: wit::ToolSpec) -> ToolSpec {
    ToolSpec {
        name: tool.name,
        description: tool.description,
        parameters: tool.parameters_json,
    }
}

/// Converts a stored message for a model. An interrupted message is marked, so that the model does
/// not treat a partial answer as a complete one.
fn seen_by_model(message: Message) -> ModelMessage {
    use lastword_types::session::FinishReason::{Cancelled, Error, Interrupted};
    let mut parts = message.parts;
    parts.retain(|part| !matches!(part.body, PartBody::Finish { .. }));
    if let (Role::Assistant, Some(reason @ (Cancelled | Interrupted | Error))) =
        (message.role, message.finish)
    {
        parts.push(Part::text(format!("[This answer was cut off: {reason}]")));
    }
    // A summary is sent to the model like a user's message: some services move system texts out of
    // the order, and then refuse a conversation that begins with an answer.
    let summary = message.role == Role::System && message.extra.contains_key("summary");
    ModelMessage {
        role: if summary { Role::User } else { message.role },
        parts,
    }
}

impl wit::Host for Model {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "model.complete",
        skip_all
    )]
    async fn complete(&mut self, request: wit::Request) -> Answer<Handle> {
        Ok(self.begin(request).await)
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "model.models",
        skip_all
    )]
    async fn models(&mut self) -> Answer<Vec<wit::ModelInfo>> {
        Ok(self.list().await)
    }
}

impl wit::HostCompletion for Model {
    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "model.next",
        skip_all
    )]
    async fn next(&mut self, handle: Handle) -> Answer<Option<wit::Event>> {
        let event = self.step(&handle).await;
        Ok(event.map(|event| event.and_then(event_out)))
    }

    #[tracing::instrument(
        level = "debug",
        target = "lastword::call",
        name = "model.to-transcript",
        skip_all
    )]
    async fn to_transcript(&mut self, handle: Handle) -> Answer<wit::Reply> {
        Ok(self.all(&handle).await)
    }

    async fn drop(&mut self, handle: Handle) -> HostResult<()> {
        let completion: Resource<Completion> = Resource::new_own(handle.rep());
        self.completions.delete(completion)?;
        Ok(())
    }
}

fn event_out(event: ModelEvent) -> Option<wit::Event> {
    Some(match event {
        ModelEvent::Text(text) => wit::Event::Text(text),
        ModelEvent::Reasoning(text) => wit::Event::Reasoning(text),
        ModelEvent::Part(part) => wit::Event::Part(part_out(&part)?),
        ModelEvent::Usage(usage) => wit::Event::Usage(usage_out(usage)),
        ModelEvent::Finish(reason) => wit::Event::Finish(reason.into()),
        // Data was already stored as a part, and a retry as an event of the run.
        _ => return None,
    })
}
