//! Cuts the texts of servers to what people and models can use.

/// The longest error text, in bytes: what happened, and the last lines of a program.
pub(super) const ERROR_MAX: usize = 4 * 1024;

/// The longest prefix of at most `max` bytes that ends between characters.
pub(super) fn prefix(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The text, or its beginning and how much is missing.
pub(super) fn cut(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let start = prefix(&text, max);
    let missing = text.len() - start.len();
    format!("{start}\n[truncated: {missing} more bytes]")
}

/// An error and its causes in one line, without repetitions.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !chain.contains(&text) {
            chain.push_str(": ");
            chain.push_str(&text);
        }
        cause = error.source();
    }

    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(prefix("aé", 2), "a");
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        assert_eq!(cut("aéb".to_owned(), 2), "a\n[truncated: 3 more bytes]");
    }

    #[test]
    fn causes_are_said_once() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(causes(&outer), "refused");
    }
}
