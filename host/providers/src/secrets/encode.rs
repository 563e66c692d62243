//! The forms in which a value may appear in a response: in JSON, in addresses, in base64.

/// Returns all forms of a value without duplicates, the value itself first.
pub(super) fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.as_bytes().to_vec(), json(value)];

    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        forms.push(percent(value, digits, false));
        forms.push(percent(value, digits, true));
    }

    for alphabet in [STANDARD, FOR_ADDRESSES] {
        forms.extend((0..3).map(|offset| base64_inside(value.as_bytes(), offset, alphabet)));
    }

    let mut once: Vec<Vec<u8>> = Vec::new();

    for form in forms {
        if !once.contains(&form) {
            once.push(form);
        }
    }

    once
}

/// Returns the form in a JSON string, without the quotes.
fn json(value: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

/// Returns the percent-encoded form. In a form body, a space becomes a plus.
fn percent(value: &str, digits: &[u8; 16], form: bool) -> Vec<u8> {
    let mut encoded = Vec::new();

    for byte in value.bytes() {
        match byte {
            b' ' if form => encoded.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => encoded.push(byte),
            byte => encoded.extend([
                b'%',
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]),
        }
    }

    encoded
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_ADDRESSES: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns the characters of a base64 text that depend only on the value, if it starts `offset`
/// bytes after a group of three.
fn base64_inside(value: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let end = offset + value.len();
    let bit = |at: usize| {
        let byte = value[at / 8 - offset];
        usize::from(byte >> (7 - at % 8) & 1)
    };

    let first = (offset * 8).div_ceil(6);
    let characters = (first..end * 8 / 6).map(|character| {
        let six = (character * 6..character * 6 + 6).fold(0, |six, at| six << 1 | bit(at));
        alphabet[six]
    });
    characters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        let forms = forms(value).into_iter();
        forms.map(|form| String::from_utf8(form).unwrap()).collect()
    }

    #[test]
    fn a_plain_value_has_few_forms() {
        // `x` + the value, `xy` + the value, and the value alone, from another encoder.
        let expected = [
            "hunter2-long",
            "aHVudGVyMi1sb25n",
            "h1bnRlcjItbG9uZ",
            "odW50ZXIyLWxvbm",
        ];
        assert_eq!(texts("hunter2-long"), expected);
    }

    #[test]
    fn a_value_with_other_characters_has_more() {
        let texts = texts("a \"b\"/\n?>~");

        for form in [
            "a \"b\"/\n?>~",
            "a \\\"b\\\"/\\n?>~",
            "a%20%22b%22%2F%0A%3F%3E~",
            "a+%22b%22%2f%0a%3f%3e~",
            "YSAiYiIvCj8+f",
            "YSAiYiIvCj8-f",
        ] {
            assert!(texts.iter().any(|text| text == form), "{form}: {texts:?}");
        }
    }
}
