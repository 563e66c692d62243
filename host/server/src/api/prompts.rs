//! Converts prompts of requests into the host's own values.

use super::App;
use crate::problem::Problem;
use lastword::session::Part;
use lastword_api::{NewAttachment, NewPart};

/// Returns the prompt's parts, from a text or from a list of parts, if it has either.
pub(super) fn said(
    prompt: Option<String>,
    parts: Option<Vec<NewPart>>,
) -> Result<Option<Vec<Part>>, Problem> {
    match (prompt, parts) {
        (Some(text), None) => Ok(Some(vec![Part::text(text)])),
        (None, Some(parts)) => {
            let texts = parts.into_iter();
            let texts = texts.map(|NewPart::Text { text }| Part::text(text));
            Ok(Some(texts.collect()))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(one_of_two()),
    }
}

/// Returns the problem of a prompt that is missing or given twice.
pub(super) fn one_of_two() -> Problem {
    Problem::new(
        "invalid-body",
        "a prompt is a text `prompt` or a list `parts`, or has `attachments`; send one of the two",
    )
}

/// Decodes the bytes of one of the attachments.
pub(super) fn decoded(at: usize, attachment: &NewAttachment) -> Result<Vec<u8>, Problem> {
    attachment.bytes().map_err(|why| {
        let detail = format!("`data` of attachment {at} is not base64: {why}");
        Problem::new("invalid-body", detail)
    })
}

impl App {
    /// Refuses a prompt whose text exceeds the bound of other bodies: the larger bound is for
    /// attachments only.
    pub(super) fn bound(&self, said: &[Part], config: Option<&str>) -> Result<(), Problem> {
        let max = self.options.body_bytes_max;
        let texts = said.iter().filter_map(Part::as_text);
        let texts: usize = texts.map(str::len).sum();
        let config = config.map_or(0, str::len);
        if texts + config > max {
            Err(Problem::new(
                "body-too-large",
                format!("what is asked may hold {max} bytes beside its attachments; send less"),
            ))
        } else {
            Ok(())
        }
    }
}
