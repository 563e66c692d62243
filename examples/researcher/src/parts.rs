//! The parts of a question, what came of each, and how both are written down.
//!
//! It does not know who looked into them.

use lastword_guest::{Error, Result, ToolResult};
use serde::Deserialize;
use serde_json::{Value, json};

/// Bytes of one finding that the model is shown, at the most.
const FINDING_BYTES_MAX: usize = 12 * 1024;

/// Bytes of a title, at the most.
const TITLE_BYTES_MAX: usize = 80;

/// A question in parts.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<Part>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Part {
    /// A few words.
    pub(crate) title: String,
    /// A whole question.
    pub(crate) question: String,
}

/// What came of a part: an answer, or why there is none.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) part: Part,
    pub(crate) answer: std::result::Result<String, String>,
}

/// What the model's plan has to look like.
pub(crate) fn plan_schema(most: usize) -> Value {
    json!({
        "type": "object",
        "properties": {
            "parts": {
                "type": "array", "minItems": 1, "maxItems": most,
                "items": {
                    "type": "object",
                    "properties": {
                        "title": { "type": "string", "description": "Two to five words" },
                        "question": { "type": "string", "description": "A whole question" },
                    },
                    "required": ["title", "question"],
                    "additionalProperties": false,
                },
            },
        },
        "required": ["parts"],
        "additionalProperties": false,
    })
}

impl Plan {
    /// The same without empty questions, and not longer than it may be. A plan without parts
    /// is the question itself.
    pub(crate) fn checked(mut self, question: &str, most: usize) -> Result<Self> {
        self.parts.retain(|part| !part.question.trim().is_empty());
        self.parts.truncate(most);
        if self.parts.is_empty() {
            if question.trim().is_empty() {
                return Err(Error::new("invalid", "there is no question"));
            }
            self.parts.push(Part {
                title: "the question".to_owned(),
                question: question.to_owned(),
            });
        }
        for part in &mut self.parts {
            part.title
                .truncate(part.title.floor_char_boundary(TITLE_BYTES_MAX));
            if part.title.trim().is_empty() {
                "a part".clone_into(&mut part.title);
            }
        }
        Ok(self)
    }

    /// What the user is told before it begins.
    pub(crate) fn announcement(&self) -> String {
        let mut text = match self.parts.len() {
            1 => "I have this looked into:\n".to_owned(),
            count => format!("I have {count} parts looked into, side by side:\n"),
        };
        for part in &self.parts {
            text.push_str(&format!("* {}: {}\n", part.title, part.question));
        }
        text.push('\n');
        text
    }
}

/// Each part with its answer. Only a run that is being stopped is an error.
pub(crate) fn findings(plan: &Plan, answers: Vec<Result<ToolResult>>) -> Result<Vec<Finding>> {
    let findings = plan.parts.iter().zip(answers).map(|(part, answer)| {
        let answer = match answer {
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => Err(error.to_string()),
            Ok(result) => read(&result),
        };
        let part = part.clone();
        Ok(Finding { part, answer })
    });
    findings.collect()
}

/// The answer of an agent that ended as it should.
fn read(result: &ToolResult) -> std::result::Result<String, String> {
    let text = result.joined_text();
    let ended = result.structured_json.as_deref().and_then(state);
    match (result.is_error, text.trim()) {
        (true, "") => Err("it failed and did not say why".to_owned()),
        (true, why) => Err(why.to_owned()),
        (false, "") => Err(match ended {
            Some(state) => format!("it ended as {state} and said nothing"),
            None => "it said nothing".to_owned(),
        }),
        (false, answer) => Ok(answer.to_owned()),
    }
}

/// How an agent's run ended, as the host has it.
fn state(structured: &str) -> Option<String> {
    let value: Value = serde_json::from_str(structured).ok()?;
    Some(value.get("state")?.as_str()?.to_owned())
}

/// What the model is to answer out of.
pub(crate) fn material(question: &str, findings: &[Finding]) -> String {
    let mut text = format!("The question:\n{question}\n\nFindings about its parts:\n");
    for finding in findings {
        let answer = match &finding.answer {
            Ok(answer) => {
                let end = answer.floor_char_boundary(FINDING_BYTES_MAX);
                let more = if end < answer.len() {
                    "\n(cut off)"
                } else {
                    ""
                };
                format!("{}{more}", &answer[..end])
            }
            Err(why) => format!("(nobody could find out: {why})"),
        };
        text.push_str(&format!(
            "<finding part={:?}>\n{}\n\n{answer}\n</finding>\n",
            finding.part.title, finding.part.question
        ));
    }
    text
}

/// What could not be found out, for the user; nothing if there is nothing.
pub(crate) fn failures(findings: &[Finding]) -> String {
    let failed = findings.iter().filter_map(|finding| {
        let why = finding.answer.as_ref().err()?;
        Some(format!("* {}: {why}\n", finding.part.title))
    });
    let failed: String = failed.collect();
    match failed.is_empty() {
        true => failed,
        false => format!("\n\nNot found out:\n{failed}"),
    }
}
