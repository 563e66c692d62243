//! Times and sizes, as people write and read them.

use serde::Deserialize;
use std::str::FromStr;
use std::time::Duration;

/// A length of time: `500ms`, `30s`, `1m30s`, `2h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Span(pub(crate) Duration);

/// A deadline: a length of time, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Deadline(pub(crate) Option<Duration>);

/// An amount of memory: `64MiB`, `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Memory(pub(crate) u64);

/// An amount of memory for something that is no run: `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Size(pub(crate) u64);

/// A sum of money, in millionths of a US dollar: `0.50`, `2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Cost(pub(crate) u64);

/// A value as settings may write it. What is no text gets the same answer as a text that is wrong.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text in quotes, or a number")]
enum Written {
    Text(String),
    Whole(u64),
    Decimal(f64),
}

/// Dollars of the most that a run may be given.
const DOLLARS_MAX: u64 = 1_000_000;
/// Bytes of the most memory that a run may be given.
const MEMORY_MAX: u64 = 128 << 20;
/// Bytes of one page of linear memory.
const MEMORY_MIN: u64 = 64 << 10;

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        span(text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no length of time; write `500ms`, `30s` or `5m`"))
    }
}

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.trim(), span(text)) {
            ("none", _) => Ok(Self(None)),
            (_, Some(span)) if !span.is_zero() => Ok(Self(Some(span))),
            _ => Err(format!(
                "`{text}` is no deadline; write `30s`, `5m`, `2h` or `none`"
            )),
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = size(text)
            .ok_or_else(|| format!("`{text}` is no amount of memory; write `64MiB` or `16M`"))?;
        match bytes {
            MEMORY_MIN..=MEMORY_MAX => Ok(Self(bytes)),
            _ => Err(format!(
                "`{text}` is outside what a run may have; name 64KiB to 128MiB"
            )),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = size(text).filter(|bytes| *bytes > 0);
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no amount of memory; write `2GiB` or `512MiB`"))
    }
}

impl FromStr for Cost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        micros(text.trim()).map(Self).ok_or_else(|| {
            format!("`{text}` is no sum of US dollars; write `2`, `0.50` or `0.000001`")
        })
    }
}

/// Decimal digits as millionths, exactly.
fn micros(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }

    let dollars: u64 = whole
        .parse()
        .ok()
        .filter(|dollars| *dollars <= DOLLARS_MAX)?;
    let part: u64 = format!("{part:0<6}").parse().ok()?;
    Some(dollars * 1_000_000 + part)
}

impl Written {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Decimal(number) => number.to_string(),
        }
    }
}

macro_rules! from_written {
    ($($name:ident)*) => {$(
        impl TryFrom<Written> for $name {
            type Error = String;

            fn try_from(written: Written) -> Result<Self, String> {
                written.into_text().parse()
            }
        }
    )*};
}

from_written!(Span Deadline Memory Size Cost);

fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }

    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" | "min" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        sum = sum.checked_add(unit)?;
        rest = &rest[letters..];
    }

    Some(sum)
}

fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };

    number.checked_mul(unit)
}

/// A length of time for people: `312 µs`, `1.24 s`, `3 min 20 s`.
pub(crate) fn time(micros: u64) -> String {
    let (ms, s) = (micros as f64 / 1e3, micros as f64 / 1e6);
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{ms:.1} ms"),
        10_000..1_000_000 => format!("{ms:.0} ms"),
        1_000_000..60_000_000 => format!("{s:.2} s"),
        _ => {
            let seconds = micros / 1_000_000;
            match seconds {
                0..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
                _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
            }
        }
    }
}

/// How long ago, in one unit: `now`, `5 min ago`, `3 days ago`.
pub(crate) fn ago(now_ms: u64, then_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1000;
    match seconds {
        0..60 => "now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Bytes for people: `512 bytes`, `61.4 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        1 => "1 byte".to_owned(),
        0..10_240 => format!("{count} bytes"),
        10_240..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// A count with its noun, which gets an `s`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn times_are_read() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("30d", Some(2_592_000_000)),
            ("0s", Some(0)),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(span(text), expected, "{text}");
        }
        assert_eq!("none".parse(), Ok(Deadline(None)));
        assert!("0s".parse::<Deadline>().is_err());
    }

    #[test]
    fn sizes_are_read_and_bounded() {
        assert_eq!("64MiB".parse(), Ok(Memory(64 << 20)));
        assert_eq!("65536".parse(), Ok(Memory(65536)));
        for text in ["", "MiB", "0", "1GiB", "12 parsecs", "99999999999999999999"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
        assert_eq!("2GiB".parse(), Ok(Size(2 << 30)));
        assert!("0".parse::<Size>().is_err() && "much".parse::<Size>().is_err());
    }

    #[test]
    fn a_number_in_settings_is_told_what_a_text_would_be_told() {
        let read = |value: &str| toml::from_str::<BTreeMap<String, Deadline>>(value);
        let told = read("deadline = 5").unwrap_err().to_string();
        assert!(told.contains("`5` is no deadline; write `30s`"), "{told}");
        let told = read("deadline = true").unwrap_err().to_string();
        assert!(
            told.contains("expected a text in quotes, or a number"),
            "{told}"
        );
        assert!(read("deadline = '5s'").is_ok());
    }

    #[test]
    fn money_is_read_exactly() {
        assert_eq!("2".parse(), Ok(Cost(2_000_000)));
        assert_eq!("0.5".parse(), Ok(Cost(500_000)));
        assert_eq!("0.000001".parse(), Ok(Cost(1)));
        for text in [
            "",
            ".",
            ".5",
            "1.",
            "-1",
            "1e3",
            "0.0000001",
            "1000001",
            "$2",
        ] {
            assert!(text.parse::<Cost>().is_err(), "{text}");
        }
    }

    #[test]
    fn figures_are_shown() {
        assert_eq!(time(312), "312 µs");
        assert_eq!(time(1_260), "1.3 ms");
        assert_eq!(time(1_240_000), "1.24 s");
        assert_eq!(time(200_000_000), "3 min 20 s");
        assert_eq!(ago(100_000_000, 99_999_000), "now");
        assert_eq!(ago(100_000_000, 0), "1 day ago");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(62_874), "61.4 KiB");
    }
}
