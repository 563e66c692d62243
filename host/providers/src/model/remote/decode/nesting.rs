//! Finds where a JSON document ends, byte by byte, by counting open braces and brackets. Pure; it
//! does not validate what is between them.

/// The position in a document.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Takes the next byte. Returns whether it closes the outermost brace or bracket.
    pub(super) fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return false;
        }

        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                let closes = self.depth == 1;
                self.depth = self.depth.saturating_sub(1);
                return closes;
            }
            _ => {}
        }

        false
    }
}
