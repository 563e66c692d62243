//! The forms in which a value may come back, as others write them. Shares no code with what
//! takes values out, so that it does not share its mistakes.

/// Texts with the value in them, each in one form, as a server may send them.
pub(crate) fn texts(value: &str) -> Vec<String> {
    let mut texts = vec![
        format!("it is {value} then"),
        serde_json::json!({ "key": value }).to_string(),
        format!("?key={}&more", percent(value, true, "%20")),
        format!("?key={}&more", percent(value, false, "%20")),
        format!("key={}&more", percent(value, true, "+")),
        format!("key={}&more", percent(value, false, "+")),
    ];
    for before in ["", "u", "us"] {
        let whole = format!("{before}{value}:end");
        texts.push(base64(whole.as_bytes()));
        texts.push(for_addresses(&base64(whole.as_bytes())));
    }
    texts
}

/// What every text in one of the forms holds, whatever is around the value.
pub(crate) fn needles(value: &str) -> Vec<String> {
    let once = json(value);
    let twice = json(&once);
    let mut needles = vec![
        value.to_owned(),
        // Events quote what tools say, who quote what servers say.
        json(&twice),
        twice,
        once,
        percent(value, true, "%20"),
        percent(value, false, "%20"),
        percent(value, true, "+"),
        percent(value, false, "+"),
    ];
    for before in 0..3 {
        let whole = base64(format!("{}{value}", &"..."[..before]).as_bytes());
        // Characters in which no bit is of anything else.
        let first = (before * 8).div_ceil(6);
        let last = (before + value.len()) * 8 / 6;
        needles.push(whole[first..last].to_owned());
        needles.push(for_addresses(&whole[first..last]));
    }
    needles
}

fn json(value: &str) -> String {
    let quoted = serde_json::json!(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent(value: &str, large: bool, space: &str) -> String {
    let encoded = value.chars().map(|c| match c {
        ' ' => space.to_owned(),
        c if c.is_ascii_alphanumeric() || "-._~".contains(c) => c.to_string(),
        c if large => format!("%{:02X}", u32::from(c)),
        c => format!("%{:02x}", u32::from(c)),
    });
    encoded.collect()
}

fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').collect();
    let character = |six: u32| match six {
        62 => '+',
        63 => '/',
        six => alphabet[six as usize],
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let characters = [bits >> 18, bits >> 12 & 63, bits >> 6 & 63, bits & 63];
        text.extend(characters.into_iter().take(three.len() + 1).map(character));
        text.push_str(&"=="[..3 - three.len()]);
    }
    text
}

fn for_addresses(text: &str) -> String {
    text.replace('+', "-").replace('/', "_")
}

#[test]
fn every_text_holds_a_needle_and_no_other_value_s() {
    assert_eq!(base64(b"hunter2-long"), "aHVudGVyMi1sb25n");
    assert_eq!(base64(b"a>?~"), "YT4/fg==");
    let value = "k\"1/ >?~2+x";
    for text in texts(value) {
        let holds = |value| needles(value).iter().any(|needle| text.contains(needle));
        assert!(holds(value), "{text}");
        assert!(!holds("l\"2/ >?~3+x"), "{text}");
    }
}
