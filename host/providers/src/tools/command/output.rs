//! The output of a command: its beginning and its end, with a count of the bytes between them.

use std::collections::VecDeque;

/// The number of bytes of the beginning that are kept.
const HEAD_BYTES: usize = 16 << 10;
/// The number of bytes of the end that are kept, where most errors are.
const TAIL_BYTES: usize = 48 << 10;

/// The beginning and the end of a stream.
#[derive(Debug, Default)]
pub(super) struct OutputCapture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl OutputCapture {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let free = HEAD_BYTES - self.head.len();
        let (head, rest) = bytes.split_at(free.min(bytes.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.omitted() > 0
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    fn omitted(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// Returns the output as text; invalid UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        let (one, other) = self.tail.as_slices();

        if self.is_truncated() {
            let tail = [one, other].concat();
            return format!(
                "{}\n[truncated: {} bytes left out]\n{}",
                String::from_utf8_lossy(&self.head),
                self.omitted(),
                String::from_utf8_lossy(&tail)
            );
        }

        String::from_utf8_lossy(&[&self.head, one, other].concat()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        for chunk in [1, 7, 1_000, 1 << 20] {
            let all: Vec<u8> = (0..200_000_u32).map(|at| b'a' + (at % 26) as u8).collect();
            let mut captured = OutputCapture::default();
            all.chunks(chunk).for_each(|bytes| captured.add(bytes));
            let text = captured.text();
            let (head, rest) = text.split_once("\n[truncated: ").expect("a marker");
            let (omitted, tail) = rest.split_once(" bytes left out]\n").expect("a marker");
            assert_eq!(head.as_bytes(), &all[..HEAD_BYTES]);
            assert_eq!(tail.as_bytes(), &all[all.len() - TAIL_BYTES..]);
            assert_eq!(omitted, (all.len() - HEAD_BYTES - TAIL_BYTES).to_string());
        }
    }

    #[test]
    fn short_output_is_kept_whole() {
        let mut captured = OutputCapture::default();
        captured.add(b"caf\xc3");
        captured.add(b"\xa9");
        assert_eq!(
            (captured.text().as_str(), captured.is_truncated()),
            ("café", false)
        );

        let whole = vec![b'x'; HEAD_BYTES + TAIL_BYTES];
        let mut captured = OutputCapture::default();
        captured.add(&whole);
        assert_eq!(captured.text().as_bytes(), whole);
    }
}
