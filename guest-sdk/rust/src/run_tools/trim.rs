//! When the model's window is too full, and where the conversation may be cut. Pure; it does
//! not know who writes the summary.

use crate::{Message, Role, Usage};

/// A summary that stands for fewer messages gains nothing.
const GAIN_MIN: usize = 2;

/// The same for one that follows another: where the messages that stay fill the window by
/// themselves, it would otherwise be written again after every step.
const FURTHER_GAIN_MIN: usize = 4;

/// Bytes of the longest request that a summary repeats word for word.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Whether the last answer and what it was an answer to fill more of the window than they may.
pub(super) fn is_full(usage: &Usage, window: Option<u32>, percent: u8) -> bool {
    let used = usage.input_tokens.saturating_add(usage.output_tokens);
    let percent = u64::from(percent.clamp(1, 100));
    window.is_some_and(|window| used.saturating_mul(100) >= u64::from(window) * percent)
}

/// The message through which a summary may stand, so that at least `keep` messages stay and no
/// result stands without its call. None if that gains nothing beyond the last summary, which
/// stands through `done`.
pub(super) fn through<'a>(
    newest: &'a [Message],
    keep: usize,
    done: Option<&str>,
) -> Option<&'a Message> {
    let mut kept = newest.len().checked_sub(keep)?;
    while kept > 0
        && newest
            .get(kept)
            .is_some_and(|first| first.role == Role::Tool)
    {
        kept -= 1;
    }
    let gone = newest.get(..kept)?;
    let done = done.and_then(|id| newest.iter().position(|message| message.id == id));
    let gain = kept.saturating_sub(done.map_or(0, |at| at + 1));
    let enough = if done.is_some() {
        FURTHER_GAIN_MIN
    } else {
        GAIN_MIN
    };
    gone.last().filter(|_| gain >= enough)
}

/// The summary as a later request begins with it: what was asked for, word for word, and what
/// came of it.
pub(super) fn summary(request: &str, account: &str) -> String {
    let mut end = request.len().min(REQUEST_BYTES_MAX);
    while !request.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < request.len() { " […]" } else { "" };
    format!(
        "Summary of the conversation up to here.\n\nThe latest request, word for word:\n{}{cut}\n\n\
         What has happened so far:\n{}",
        &request[..end],
        account.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(roles: &str) -> Vec<Message> {
        let message = |(at, role): (usize, char)| Message {
            id: at.to_string(),
            role: match role {
                'u' => Role::User,
                'a' => Role::Assistant,
                _ => Role::Tool,
            },
            parts: Vec::new(),
            finish: None,
            created_ms: 0,
            extra: Vec::new(),
        };
        roles.chars().enumerate().map(message).collect()
    }

    fn cut(roles: &str, keep: usize, done: Option<&str>) -> Option<String> {
        through(&messages(roles), keep, done).map(|message| message.id.clone())
    }

    #[test]
    fn a_cut_keeps_the_newest_and_parts_no_call_from_its_result() {
        assert_eq!(cut("uatatat", 2, None).as_deref(), Some("4"));
        assert_eq!(cut("uatatat", 3, None).as_deref(), Some("2"));
        assert_eq!(cut("uatatat", 1, None).as_deref(), Some("4"));
        assert_eq!(cut("uatat", 0, None).as_deref(), Some("4"));
    }

    #[test]
    fn nothing_is_cut_that_gains_nothing() {
        assert_eq!(cut("uat", 2, None), None);
        assert_eq!(cut("ua", 6, None), None);
        assert_eq!(cut("", 0, None), None);
        assert_eq!(cut("tttt", 2, None), None);
        assert_eq!(cut("uatatat", 2, Some("4")), None);
        assert_eq!(cut("uatatat", 2, Some("5")), None);
        assert_eq!(cut("uatatat", 2, Some("2")), None);
        assert_eq!(cut("uatatatat", 2, Some("2")).as_deref(), Some("6"));
    }

    #[test]
    fn a_window_is_full_beyond_its_share() {
        let usage = |input_tokens| Usage {
            input_tokens,
            output_tokens: 50,
            extra: Vec::new(),
        };
        assert!(is_full(&usage(700), Some(1000), 75));
        assert!(!is_full(&usage(699), Some(1000), 75));
        assert!(!is_full(&usage(u64::MAX), None, 75));
        assert!(is_full(&usage(u64::MAX), Some(u32::MAX), 255));
    }

    #[test]
    fn a_summary_repeats_the_request() {
        let text = summary("Mend it", " I read a.rs. ");
        assert!(text.contains("\nMend it\n") && text.ends_with("\nI read a.rs."));
        let long = summary(&"ä".repeat(REQUEST_BYTES_MAX), "x");
        assert!(long.contains("ä […]") && long.len() < REQUEST_BYTES_MAX + 300);
    }
}
