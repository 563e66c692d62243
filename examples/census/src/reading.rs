//! One file, read once from front to back: lines, markers, and a fingerprint of the content.
//!
//! It does not know where the file stands, nor keep any of it. What it holds is one buffer,
//! whatever the size of the file or of its lines.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

const BUFFER: usize = 64 * 1024;

/// How much of a file is looked at to tell bytes from text.
const SNIFFED: usize = 8 * 1024;

/// How much of a file goes into its fingerprint; equal ones are compared in full later.
const FINGERPRINTED: u64 = 1024 * 1024;

/// What stands beside a marker in the report, in bytes at most.
const NOTE_MAX: usize = 80;

/// Words that mark unfinished work.
pub(crate) const MARKERS: [&str; 2] = ["TODO", "FIXME"];

/// What one file turned out to be.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Bytes that hold a zero early on are no text; their lines are not counted.
    pub(crate) binary: bool,
    /// Lines of text, the last one with or without its end.
    pub(crate) lines: u64,
    /// A hash of the first part of the content.
    pub(crate) fingerprint: u64,
    /// How often each of [`MARKERS`] stands in the text.
    pub(crate) markers: [u64; 2],
    /// The first marker: its line, counted from 1, and what follows it there.
    pub(crate) first_marker: Option<(u64, String)>,
}

/// Reads files with one buffer.
pub(crate) struct Reader {
    buffer: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER],
        }
    }
}

impl Reader {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// As the file system answers.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Reading> {
        let mut file = File::open(path)?;
        let mut reading = Reading::default();
        let mut hasher = DefaultHasher::new();
        let (mut offset, mut kept, mut in_line) = (0_u64, 0, false);
        loop {
            let read = read_some(&mut file, &mut self.buffer[kept..])?;
            if read == 0 {
                break;
            }
            let fresh = &self.buffer[kept..kept + read];
            if offset == 0 {
                reading.binary = fresh[..read.min(SNIFFED)].contains(&0);
            }
            hasher.write(&fresh[..share(read, FINGERPRINTED.saturating_sub(offset))]);
            offset += read as u64;
            if reading.binary {
                if offset >= FINGERPRINTED {
                    break;
                }
                continue;
            }
            kept = self.take_lines(kept + read, &mut reading, &mut in_line);
        }
        if kept > 0 {
            reading.note_markers(&self.buffer[..kept]);
            in_line = true;
        }
        reading.lines += u64::from(in_line);
        reading.fingerprint = hasher.finish();
        Ok(reading)
    }

    /// Counts the whole lines among the first `filled` bytes and moves the rest to the front. A
    /// line that fills the buffer is counted in pieces. Returns the length of the rest.
    fn take_lines(&mut self, filled: usize, reading: &mut Reading, in_line: &mut bool) -> usize {
        let mut start = 0;
        while let Some(length) = find(b'\n', &self.buffer[start..filled]) {
            reading.note_markers(&self.buffer[start..start + length]);
            reading.lines += 1;
            *in_line = false;
            start += length + 1;
        }
        if start == 0 && filled == self.buffer.len() {
            reading.note_markers(&self.buffer[..filled]);
            *in_line = true;
            return 0;
        }
        self.buffer.copy_within(start..filled, 0);
        filled - start
    }
}

impl Reading {
    /// Counts the markers in a line, whose number is one more than the lines before it.
    fn note_markers(&mut self, line: &[u8]) {
        for (count, marker) in self.markers.iter_mut().zip(MARKERS) {
            for at in places(line, marker.as_bytes()) {
                *count += 1;
                if self.first_marker.is_none() {
                    let end = line.len().min(at + NOTE_MAX);
                    let note = String::from_utf8_lossy(&line[at..end]);
                    self.first_marker = Some((self.lines + 1, note.trim().to_owned()));
                }
            }
        }
    }
}

/// Whether two files have the same content, compared with two buffers of bounded size.
///
/// # Errors
///
/// As the file system answers.
pub(crate) fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let read = read_full(&mut one, &mut left)?;
        if read != read_full(&mut other, &mut right)? || left[..read] != right[..read] {
            return Ok(false);
        }
        if read < BUFFER {
            return Ok(true);
        }
    }
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_some(file, &mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn share(length: usize, most: u64) -> usize {
    usize::try_from(most).map_or(length, |most| length.min(most))
}

fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|candidate| *candidate == byte)
}

/// Where `marker` stands in `line` as a word of its own.
fn places<'a>(line: &'a [u8], marker: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    line.windows(marker.len())
        .enumerate()
        .filter(move |(at, window)| {
            window[0] == marker[0]
                && *window == marker
                && !is_word(at.checked_sub(1).and_then(|before| line.get(before)))
                && !is_word(line.get(at + marker.len()))
        })
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn read(content: &[u8]) -> Reading {
        let scratch = Scratch::new();
        scratch.write("file", content);
        Reader::default().read(&scratch.path("file")).unwrap()
    }

    #[test]
    fn lines_are_counted_with_and_without_an_end() {
        for (content, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)] {
            assert_eq!(read(content.as_bytes()).lines, lines, "{content:?}");
        }
    }

    #[test]
    fn a_line_longer_than_the_buffer_is_one_line() {
        let mut content = vec![b'x'; 3 * BUFFER + 17];
        assert_eq!(read(&content).lines, 1);
        content.extend_from_slice(b"\nand // TODO one more\n");
        let reading = read(&content);
        assert_eq!(reading.lines, 2);
        assert_eq!(reading.first_marker, Some((2, "TODO one more".into())));
        // Exactly a buffer, ended: no line after it.
        let mut content = vec![b'x'; BUFFER];
        content.push(b'\n');
        assert_eq!(read(&content).lines, 1);
    }

    #[test]
    fn markers_are_words() {
        let reading = read(b"TODOS aTODO TODO_x\n# TODO: this\nFIXME(me) TODO\n");
        assert_eq!(reading.markers, [2, 1]);
        assert_eq!(reading.first_marker, Some((2, "TODO: this".into())));
    }

    #[test]
    fn a_zero_makes_it_binary() {
        let reading = read(b"\x7fELF\0\n\nTODO\n");
        assert!(reading.binary);
        assert_eq!((reading.lines, reading.markers), (0, [0, 0]));
    }

    #[test]
    fn equal_content_is_equal_and_the_rest_is_not() {
        let scratch = Scratch::new();
        let long = vec![b'y'; 2 * BUFFER];
        let mut other = long.clone();
        other[BUFFER + 5] = b'z';
        scratch.write("a", &long);
        scratch.write("b", &long);
        scratch.write("c", &other);
        assert!(same_content(&scratch.path("a"), &scratch.path("b")).unwrap());
        assert!(!same_content(&scratch.path("a"), &scratch.path("c")).unwrap());
        let mut reader = Reader::default();
        let mut fingerprint = |name| reader.read(&scratch.path(name)).unwrap().fingerprint;
        assert_eq!(fingerprint("a"), fingerprint("b"));
        assert_ne!(fingerprint("a"), fingerprint("c"));
    }
}
