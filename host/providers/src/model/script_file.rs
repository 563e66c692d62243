//! Parses script files: TOML, checked step by step, with the line of every mistake.

use super::config::ModelConfigError;
use super::provider::{ModelError, ModelErrorKind};
use super::scripted::{Reply, Step};
use lastword_types::session::Usage;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// The highest number of steps of one reply, with repetitions counted.
const STEPS_MAX: usize = 100_000;

pub(super) fn load(path: &Path) -> Result<Vec<Reply>, ModelConfigError> {
    let text = lastword_os::file::read_text(path).map_err(|error| error.to_string());
    text.and_then(|text| parse(&text))
        .map_err(|reason| ModelConfigError::Script {
            path: path.to_owned(),
            reason,
        })
}

fn parse(text: &str) -> Result<Vec<Reply>, String> {
    let script: Script = toml::from_str(text).map_err(|error| error.to_string())?;
    if script.reply.is_empty() {
        return Err("it has no [[reply]]".to_owned());
    }

    let replies = script.reply.into_iter().map(|reply| {
        let mut steps = Vec::new();
        for line in reply.steps {
            let at = text[..line.span().start].matches('\n').count() + 1;
            line.into_inner()
                .expand(&mut steps)
                .map_err(|reason| format!("line {at}: {reason}"))?;
        }

        Ok(Reply {
            when: reply.when,
            steps,
        })
    });
    replies.collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    reply: Vec<ReplyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyTable {
    when: Option<String>,
    steps: Vec<Spanned<StepTable>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StepTable {
    delay_ms: Option<u64>,
    text: Option<String>,
    reasoning: Option<String>,
    tool_call: Option<ToolCallTable>,
    usage: Option<Usage>,
    finish: Option<String>,
    error: Option<ErrorWord>,
    retry_after_ms: Option<u64>,
    hang: bool,
    echo: bool,
    repeat: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolCallTable {
    name: String,
    #[serde(default)]
    arguments: serde_json::Value,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ErrorWord {
    Unauthorized,
    RateLimited,
    Unavailable,
    Rejected,
    ContextOverflow,
    UnknownModel,
    Garbled,
    Idle,
    Truncated,
}

impl StepTable {
    fn expand(self, steps: &mut Vec<Step>) -> Result<(), String> {
        let repeat = self.repeat.unwrap_or(1);
        let delay = self.delay_ms.map(Duration::from_millis);
        let mut once = Vec::new();

        match self.single_act(delay)? {
            Some(echo @ Step::Echo(_)) => once.push(echo),
            act => {
                once.extend(delay.map(Step::Delay));
                once.extend(act);
            }
        }

        if once.len().saturating_mul(repeat) > STEPS_MAX.saturating_sub(steps.len()) {
            return Err(format!("a reply has at most {STEPS_MAX} steps"));
        }

        for _ in 0..repeat {
            steps.extend_from_slice(&once);
        }

        Ok(())
    }

    /// What the step does apart from waiting; it may do only one thing.
    fn single_act(self, delay: Option<Duration>) -> Result<Option<Step>, String> {
        let failure = self.error.map(|word| word.step(self.retry_after_ms));

        let call = self.tool_call.map(|call| Step::ToolCall {
            name: call.name,
            arguments: match call.arguments {
                serde_json::Value::Null => "{}".to_owned(),
                serde_json::Value::String(json) => json,
                arguments => arguments.to_string(),
            },
        });

        let acts = [
            self.text.map(Step::Text),
            self.reasoning.map(Step::Reasoning),
            call,
            self.usage.map(Step::Usage),
            self.finish.map(Step::Finish),
            failure,
            self.hang.then_some(Step::Hang),
            self.echo.then(|| Step::Echo(delay.unwrap_or_default())),
        ];
        let mut acts = acts.into_iter().flatten();
        match (acts.next(), acts.next()) {
            (Some(_), Some(_)) => Err("a step does one thing; write two steps".to_owned()),
            (None, _) if delay.is_none() => {
                Err("the step does nothing: give it a `text`, a `delay_ms`, …".to_owned())
            }
            (act, _) => Ok(act),
        }
    }
}

impl ErrorWord {
    fn step(self, retry_after_ms: Option<u64>) -> Step {
        let (kind, word) = match self {
            Self::Unauthorized => (ModelErrorKind::Unauthorized, "unauthorized"),
            Self::RateLimited => (ModelErrorKind::RateLimited, "rate-limited"),
            Self::Unavailable => (ModelErrorKind::Unavailable, "unavailable"),
            Self::Rejected => (ModelErrorKind::Rejected, "rejected"),
            Self::ContextOverflow => (ModelErrorKind::ContextOverflow, "context-overflow"),
            Self::UnknownModel => (ModelErrorKind::UnknownModel, "unknown-model"),
            Self::Garbled => (ModelErrorKind::Garbled, "garbled"),
            Self::Idle => (ModelErrorKind::Idle, "idle"),
            Self::Truncated => return Step::Truncate,
        };

        let message = format!("the script fails here, as it was written: {word}");
        Step::Fail(ModelError {
            retry_after: retry_after_ms.map(Duration::from_millis),
            ..ModelError::new(kind, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_expanded() {
        let replies = parse(
            r#"
            [[reply]]
            when = "sea"
            steps = [
                { text = "a", repeat = 2, delay_ms = 5 },
                { tool_call = { name = "t", arguments = { n = 1 } } },
                { tool_call = { name = "t", arguments = "{broken" } },
                { echo = true, delay_ms = 7 },
                { error = "rate-limited", retry_after_ms = 9 },
            ]
            [[reply]]
            steps = [{ error = "truncated" }]
            "#,
        );
        let replies = replies.unwrap();
        let pause = Step::Delay(Duration::from_millis(5));
        let call = |arguments: &str| Step::ToolCall {
            name: "t".to_owned(),
            arguments: arguments.to_owned(),
        };

        assert_eq!(replies[0].when.as_deref(), Some("sea"));

        assert_eq!(
            replies[0].steps[..7],
            [
                pause.clone(),
                Step::Text("a".to_owned()),
                pause,
                Step::Text("a".to_owned()),
                call(r#"{"n":1}"#),
                call("{broken"),
                Step::Echo(Duration::from_millis(7)),
            ]
        );

        let Step::Fail(error) = &replies[0].steps[7] else {
            panic!("expected a failure");
        };
        assert_eq!(error.retry_after, Some(Duration::from_millis(9)));
        assert_eq!(replies[1].steps, [Step::Truncate]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_script() {
        let replies = parse("\u{feff}[[reply]]\r\nsteps = [{ text = 'a' }]\r\n");
        assert_eq!(replies.unwrap()[0].steps, [Step::Text("a".to_owned())]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("", "no [[reply]]"),
            ("[[reply]]\nsteps = [\n{ txt = 'a' }]", "line 3"),
            (
                "[[reply]]\nsteps = [{ text = 'a', hang = true }]",
                "line 2: a step does one",
            ),
            (
                "[[reply]]\nsteps = [\n\n{ repeat = 2 }]",
                "line 4: the step does nothing",
            ),
            (
                "[[reply]]\nsteps = [{ error = 'bad' }]",
                "unknown variant `bad`",
            ),
            (
                "[[reply]]\nsteps = [{ text = 'a', repeat = 1000000 }]",
                "at most 100000",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
