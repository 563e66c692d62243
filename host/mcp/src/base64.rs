//! Decodes base64, in which MCP carries bytes.

/// Decodes a base64 text in the standard or the URL alphabet, padded or not; `None` if it is not
/// valid. Line breaks are skipped.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padded) = (0_u32, 0_u32, false);

    for symbol in text.bytes() {
        let value = match symbol {
            b'\r' | b'\n' => continue,
            b'=' => {
                padded = true;
                continue;
            }
            _ if padded => return None,
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 1;

        if count == 4 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, count) = (0, 0);
        }
    }

    match count {
        0 => {}
        2 => bytes.push(bits.to_be_bytes()[2] << 4 | bits.to_be_bytes()[3] >> 4),
        3 => bytes.extend_from_slice(&(bits << 6).to_be_bytes()[1..3]),
        _ => return None,
    }

    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYg", "foob"),
            ("Zm9v\nYmE=", "fooba"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(expected.as_bytes()), "{text}");
        }

        assert_eq!(decode("-_+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn invalid_base64_is_refused() {
        for text in ["Z", "Zm9vY", "Zg==Zg==", "Zm 9v", "Zm9v!", "é"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
