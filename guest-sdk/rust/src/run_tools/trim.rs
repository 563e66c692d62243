//! Decides where the conversation may be cut, and builds the text that replaces the older part.
//! Pure.

use super::render::excerpt;
use super::window;
use crate::{Message, Role};

/// The smallest number of messages that is worth a summary.
const GAIN_MIN: usize = 2;

/// The same for a summary that follows another one. If the messages that stay fill the window by
/// themselves, a smaller number would write a summary after every step.
const FURTHER_GAIN_MIN: usize = 4;

/// The largest number of bytes of the request that a summary repeats word for word.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// How much a summary has to gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gain {
    /// Enough to be worth its tokens.
    Worthwhile,
    /// Anything, since the conversation does not fit.
    Any,
}

/// Returns how many of the newest messages have at most `tokens_max` tokens together: at most
/// `keep`, and at least one if `keep` is not 0.
pub(super) fn fitting(newest: &[Message], keep: usize, tokens_max: Option<u64>) -> usize {
    let Some(tokens_max) = tokens_max else {
        return keep;
    };
    let mut tokens = 0_u64;
    let fitting = newest.iter().rev().take(keep).take_while(|message| {
        tokens = tokens.saturating_add(window::of_message(message));
        tokens <= tokens_max
    });
    fitting.count().max(keep.min(1))
}

/// Returns the index of the last message that a summary may replace, so that at least `keep`
/// messages stay and no result is separated from its call. None if that replaces too few messages
/// beyond `done`, the last message that the present summary replaces.
pub(super) fn through(
    newest: &[Message],
    keep: usize,
    done: Option<&str>,
    gain: Gain,
) -> Option<usize> {
    let mut kept = newest.len().checked_sub(keep)?;
    while kept > 0
        && newest
            .get(kept)
            .is_some_and(|first| first.role == Role::Tool)
    {
        kept -= 1;
    }
    let done = done.and_then(|id| newest.iter().position(|message| message.id == id));
    let gained = kept.saturating_sub(done.map_or(0, |at| at + 1));
    let enough = match gain {
        Gain::Any => 1,
        Gain::Worthwhile if done.is_some() => FURTHER_GAIN_MIN,
        Gain::Worthwhile => GAIN_MIN,
    };
    kept.checked_sub(1).filter(|_| gained >= enough)
}

/// Returns the text of the summary. It begins with the latest request word for word, up to
/// `bytes_max` bytes, unless the request is among the messages that stay; the account follows.
pub(super) fn summary(request: Option<&str>, account: &str, bytes_max: usize) -> String {
    let mut text = "Summary of the conversation up to here.\n\n".to_owned();
    if let Some(request) = request {
        let request = excerpt(request, bytes_max.min(REQUEST_BYTES_MAX));
        text.push_str("The latest request, word for word:\n");
        text.push_str(&request);
        text.push_str("\n\n");
    }
    text.push_str("What has happened so far:\n");
    text.push_str(account.trim());
    text
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

    fn cut(roles: &str, keep: usize, done: Option<&str>) -> Option<usize> {
        through(&messages(roles), keep, done, Gain::Worthwhile)
    }

    #[test]
    fn a_cut_keeps_the_newest_and_parts_no_call_from_its_result() {
        assert_eq!(cut("uatatat", 2, None), Some(4));
        assert_eq!(cut("uatatat", 3, None), Some(2));
        assert_eq!(cut("uatatat", 1, None), Some(4));
        assert_eq!(cut("uatat", 0, None), Some(4));
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
        assert_eq!(cut("uatatatat", 2, Some("2")), Some(6));
    }

    #[test]
    fn anything_is_gained_where_the_conversation_does_not_fit() {
        let cut = |roles, keep, done| through(&messages(roles), keep, done, Gain::Any);
        assert_eq!(cut("uat", 1, None), Some(0));
        assert_eq!(cut("uu", 1, None), Some(0));
        assert_eq!(cut("u", 1, None), None);
        assert_eq!(cut("uatat", 1, Some("2")), None);
        assert_eq!(cut("uatatat", 1, Some("2")), Some(4));
    }

    #[test]
    fn as_many_messages_stay_as_fit() {
        let mut newest = messages("uau");
        for (message, bytes) in newest.iter_mut().zip([30, 300, 3000]) {
            message.parts.push(crate::Part::text("x".repeat(bytes)));
        }
        for (keep, tokens_max, fit) in [
            (6, None, 6),
            (6, Some(5000), 3),
            (6, Some(1105), 2),
            (6, Some(1000), 1),
            (6, Some(10), 1),
            (2, Some(5000), 2),
            (0, Some(5000), 0),
        ] {
            assert_eq!(
                fitting(&newest, keep, tokens_max),
                fit,
                "{keep} {tokens_max:?}"
            );
        }
    }

    #[test]
    fn a_summary_repeats_the_request() {
        let text = summary(Some("Mend it"), " I read a.rs. ", usize::MAX);
        assert!(text.contains("\nMend it\n") && text.ends_with("\nI read a.rs."));
        let text = summary(None, "I read a.rs.", usize::MAX);
        assert!(!text.contains("request") && text.ends_with("\nI read a.rs."));
        let long = "ä".repeat(REQUEST_BYTES_MAX);
        for (bytes_max, most) in [(usize::MAX, REQUEST_BYTES_MAX), (500, 500)] {
            let text = summary(Some(&long), "x", bytes_max);
            assert!(text.contains("left out here") && text.len() < most + 200);
        }
    }
}
