//! What people decide by, over all of Unicode: no character that displays may ignore, or that reorders
//! others, gets through as it is, none is lost, and no two texts look the same.

use icu_properties::CodePointSetData;
use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, NoncharacterCodePoint};
use lastword::permission::{Access, Capability, Rule, offers};
use lastword::text::{is_unseen, line, lines, seen, shell};
use std::collections::HashSet;

/// `Default_Ignorable_Code_Point` as DerivedCoreProperties.txt of Unicode 17.0 lists it: what
/// holds the crate to the standard.
const IGNORABLE: [(u32, u32); 17] = [
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];
/// How many these are.
const IGNORABLE_COUNT: usize = 4174;

/// All that must never reach a person as it is.
fn hidden() -> HashSet<char> {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let bidi = CodePointSetData::new::<BidiControl>();
    let no_character = CodePointSetData::new::<NoncharacterCodePoint>();
    let is_hidden = |c: &char| {
        let listed = IGNORABLE.iter();
        let mut listed = listed.filter(|(first, last)| (*first..=*last).contains(&u32::from(*c)));
        ignorable.contains(*c)
            || bidi.contains(*c)
            || no_character.contains(*c)
            || listed.next().is_some()
            || c.is_control()
            || (c.is_whitespace() && *c != ' ')
    };
    ('\0'..=char::MAX).filter(is_hidden).collect()
}

/// What an escaped text was, by the rule that its documentation gives.
fn read_back(shown: &str) -> String {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, escape)) = rest.split_once("\\u{") {
        let (number, after) = escape.split_once('}').expect("an escape ends");
        let number = u32::from_str_radix(number, 16).expect("it is a number");
        text.push_str(before);
        text.push(char::from_u32(number).expect("a character"));
        rest = after;
    }
    text + rest
}

#[test]
fn every_hidden_character_is_shown_and_none_is_lost() {
    let hidden = hidden();
    let listed: u32 = IGNORABLE.iter().map(|(first, last)| last - first + 1).sum();
    assert_eq!(listed as usize, IGNORABLE_COUNT, "the table is whole");
    assert!(hidden.len() > IGNORABLE_COUNT);
    for c in &hidden {
        assert!(is_unseen(*c), "{}", c.escape_unicode());
        let text = format!("a{c}b");
        for shown in [line(&text), lines(&text), seen(&text)] {
            let kept = matches!(c, '\n' | '\t');
            assert!(kept || !shown.contains(|c| hidden.contains(&c)), "{shown}");
            assert_eq!(read_back(&shown), text);
        }
        assert!(!line(&text).contains(|c| hidden.contains(&c)));
        assert!(!shell(&text).contains(|c| hidden.contains(&c)));
    }
}

#[test]
fn the_rule_that_is_offered_shows_and_covers_what_was_asked_alone() {
    let hidden = hidden();
    for c in &hidden {
        for capability in [Capability::WriteFiles, Capability::Tools] {
            let target = format!("a{c}b");
            let offered = offers(&Access::new(capability, &target, ""));
            let first = offered.first().expect("the target itself");
            let shown = first.to_string();
            assert!(
                !shown.contains(|c| hidden.contains(&c)),
                "{}",
                c.escape_unicode()
            );
            let stored: Rule = shown.parse().expect("a rule");
            assert!(stored.covers(capability, &target), "{shown}");
            assert!(!stored.covers(capability, "ab"), "{shown}");
            assert!(!stored.covers(capability, &line(&target)), "{shown}");
        }
    }
}

#[test]
fn letters_of_all_languages_are_shown_as_they_are() {
    for text in [
        "שלום עולם",
        "مرحبا بالعالم",
        "こんにちは世界",
        "नमस्ते",
        "Übergröße",
        "👍🏽",
        "ﷺ",
    ] {
        assert_eq!(line(text), text);
    }
}
