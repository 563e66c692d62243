//! Cuts the texts of servers to what people and models can use.

/// The largest number of bytes of an error text: what happened, and the last lines of a program.
pub(super) const ERROR_MAX: usize = 4 * 1024;

/// Returns the longest prefix of at most `max` bytes that ends between characters.
pub(super) fn prefix(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Returns the text, or its beginning with a note of how much is missing.
pub(super) fn cut(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    let start = prefix(&text, max);
    let missing = text.len() - start.len();
    format!("{start}\n[truncated: {missing} more bytes]")
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
}
