//! Tracks how full the model's window is: uses the service's counts, and estimates the rest. Pure.

use crate::model::{Reply, Request};
use crate::{Body, Content, Error, Message, Part, ToolResult};

/// The number of bytes of text that count as one token where the service reports no tokens.
///
/// Measured with OpenAI's encodings o200k_base and cl100k_base: English prose 3.9, Rust 4.0, Python
/// 4.2, JSON 2.9, a lock file 2.7, Chinese 4.2 and 2.8 bytes a token. Digits and base64 have 1.4 to
/// 1.8, so that the estimate is too small for a conversation full of them. The tokens that the
/// service reports, or its refusal, correct that.
pub(super) const BYTES_PER_TOKEN: u64 = 3;

/// The number of tokens that an image or a file counts as. Anthropic scales images down to about
/// 1,600.
const DATA_TOKENS: u64 = 1_600;

/// The number of bytes that a piece of the conversation and the account of the earlier pieces have
/// together if the window is unknown: about 20,000 tokens.
const PIECE_BYTES_DEFAULT: usize = 64 * 1024;

/// The largest such number, so that a summary of a large window leaves out as little as possible.
const PIECE_BYTES_MAX: usize = 256 * 1024;

/// The smallest such number: a model with a smaller window cannot summarise.
pub(super) const PIECE_BYTES_MIN: usize = 2 * 1024;

/// A model's window, and how much of it the next request fills.
#[derive(Debug)]
pub(super) struct Window {
    tokens: Option<u32>,
    percent: u64,
    used: u64,
    piece_bytes_max: usize,
}

impl Window {
    /// Creates a window of `tokens` tokens, if known, in which a summary is due at `percent`
    /// percent.
    pub(super) fn new(tokens: Option<u32>, percent: u8) -> Self {
        Self {
            tokens,
            percent: u64::from(percent.clamp(1, 100)),
            used: 0,
            piece_bytes_max: PIECE_BYTES_MAX,
        }
    }

    pub(super) fn tokens(&self) -> Option<u32> {
        self.tokens
    }

    /// Sets the number of tokens of the next request.
    pub(super) fn restart(&mut self, used: u64) {
        self.used = used;
    }

    /// Adds an answer and the results that follow it. Uses the tokens that the service reported, if
    /// it did.
    pub(super) fn grow(&mut self, reply: &Reply, results: &[ToolResult]) {
        let usage = &reply.usage;
        let before = if usage.input_tokens > 0 {
            usage.input_tokens.saturating_add(usage.output_tokens)
        } else {
            self.used.saturating_add(of_parts(&reply.parts))
        };
        let results: u64 = results.iter().map(of_result).sum();
        self.used = before.saturating_add(results);
    }

    /// Takes the size of the window from a service that refused a request as too long, if it is
    /// smaller than the known size. A larger one gives no reason to change the known size.
    pub(super) fn learn(&mut self, refusal: &Error) {
        if let Some(told) = refusal.context_tokens() {
            self.tokens = Some(self.tokens.map_or(told, |known| known.min(told)));
        }
    }

    /// Whether a summary is due.
    pub(super) fn is_full(&self) -> bool {
        self.reaches(self.percent)
    }

    /// Whether the next request is known or estimated not to fit.
    pub(super) fn is_over(&self) -> bool {
        self.reaches(100)
    }

    fn reaches(&self, percent: u64) -> bool {
        let used = self.used.saturating_mul(100);
        self.tokens
            .is_some_and(|tokens| used >= u64::from(tokens) * percent)
    }

    /// Returns how many tokens the messages beside a summary may have, so that the next summary is
    /// not due at once.
    pub(super) fn kept_max(&self) -> Option<u64> {
        self.tokens
            .map(|tokens| u64::from(tokens) * self.percent / 200)
    }

    /// Returns the number of bytes for a piece of the conversation and the account of the earlier
    /// pieces: half of the window. The other half is for the answer, and for text with more tokens
    /// than estimated.
    pub(super) fn piece_bytes(&self) -> usize {
        let bytes = self.tokens.map_or(PIECE_BYTES_DEFAULT, |tokens| {
            let half = u64::from(tokens) * BYTES_PER_TOKEN / 2;
            usize::try_from(half).unwrap_or(usize::MAX)
        });
        bytes.clamp(PIECE_BYTES_MIN, self.piece_bytes_max)
    }

    /// Limits pieces to this number of bytes, after a service refused more.
    pub(super) fn limit_pieces(&mut self, bytes: usize) {
        self.piece_bytes_max = self.piece_bytes_max.min(bytes.max(PIECE_BYTES_MIN));
    }
}

/// Estimates the tokens of a text.
pub(super) fn of_text(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

/// Estimates the tokens of a message.
pub(super) fn of_message(message: &Message) -> u64 {
    of_parts(&message.parts)
}

/// Estimates the tokens that every request of a loop has in addition to the conversation.
pub(super) fn of_request(request: &Request) -> u64 {
    let (texts, parts) = request.own_content();
    let texts: u64 = texts.map(of_text).sum();
    parts.map(of_part).sum::<u64>().saturating_add(texts)
}

fn of_parts(parts: &[Part]) -> u64 {
    parts.iter().map(of_part).sum()
}

fn of_part(part: &Part) -> u64 {
    match &part.body {
        Body::Text(text) | Body::Reasoning(text) => of_text(text),
        Body::ToolCall(call) => of_text(&call.name) + of_text(&call.arguments_json),
        Body::ToolResult(result) => of_result(result),
        Body::Data(_) => DATA_TOKENS,
        Body::Other((_, json)) => of_text(json),
    }
}

fn of_result(result: &ToolResult) -> u64 {
    let content = result.content.iter().map(|content| match content {
        Content::Text(text) => of_text(text),
        Content::Data(_) => DATA_TOKENS,
        Content::Other((_, json)) => of_text(json),
    });
    content.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Usage;

    fn reply(text: &str, input_tokens: u64) -> Reply {
        Reply {
            parts: vec![Part::text(text)],
            finish: String::new(),
            usage: Usage {
                input_tokens,
                output_tokens: if input_tokens > 0 { 50 } else { 0 },
                extra: Vec::new(),
            },
            extra: Vec::new(),
        }
    }

    #[test]
    fn a_window_is_full_beyond_its_share() {
        let full = |input_tokens, tokens, percent| {
            let mut window = Window::new(tokens, percent);
            window.grow(&reply("", input_tokens), &[]);
            (window.is_full(), window.is_over())
        };
        assert_eq!(full(700, Some(1000), 75), (true, false));
        assert_eq!(full(699, Some(1000), 75), (false, false));
        assert_eq!(full(950, Some(1000), 75), (true, true));
        assert_eq!(full(u64::MAX, None, 75), (false, false));
        assert_eq!(full(u64::MAX, Some(u32::MAX), 255), (true, true));
    }

    #[test]
    fn what_the_service_counted_replaces_the_estimate_and_results_come_on_top() {
        let mut window = Window::new(Some(1000), 75);
        window.restart(900);
        window.grow(&reply("x", 100), &[]);
        assert_eq!(window.used, 150);
        window.grow(&reply(&"x".repeat(30), 0), &[]);
        assert_eq!(window.used, 160);
        let picture = crate::Blob::inline("image/png", vec![0; 100_000]);
        let mut result = ToolResult::text("1", "x".repeat(3000));
        result.content.push(Content::Data(picture));
        window.grow(&reply("x", 100), &[result]);
        assert_eq!(window.used, 150 + 1000 + DATA_TOKENS);
        assert!(window.is_over());
    }

    #[test]
    fn a_refusal_only_makes_a_window_smaller() {
        let told = |tokens: &str| {
            let mut failure = crate::bindings::types::Failure::from(Error::new("limit", "long"));
            failure.extra = vec![
                ("reason".into(), "\"context-overflow\"".into()),
                ("context_tokens".into(), tokens.into()),
            ];
            Error::from(failure)
        };
        for (known, refusal, then) in [
            (None, "4096", Some(4096)),
            (Some(8192), "4096", Some(4096)),
            (Some(4096), "8192", Some(4096)),
            (Some(4096), "\"many\"", Some(4096)),
        ] {
            let mut window = Window::new(known, 75);
            window.learn(&told(refusal));
            assert_eq!(window.tokens(), then);
        }
    }

    #[test]
    fn pieces_take_half_of_a_window_within_bounds() {
        for (tokens, bytes) in [
            (None, PIECE_BYTES_DEFAULT),
            (Some(0), PIECE_BYTES_MIN),
            (Some(8192), 12_288),
            (Some(u32::MAX), PIECE_BYTES_MAX),
        ] {
            let mut window = Window::new(tokens, 75);
            assert_eq!(window.piece_bytes(), bytes);
            window.limit_pieces(4_096);
            assert_eq!(window.piece_bytes(), bytes.min(4_096));
            window.limit_pieces(0);
            assert_eq!(window.piece_bytes(), PIECE_BYTES_MIN);
        }
    }
}
