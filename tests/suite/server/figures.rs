//! The figures of a server are what the text format of OpenMetrics allows, read by a parser of that
//! format.

use super::harness::Server;
use lastword_tests::fixture::Plan;
use lastword_tests::tools::TestTools;
use std::collections::{BTreeMap, BTreeSet};

/// A family of samples.
#[derive(Debug)]
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

/// A sample: its name without the family's, its labels, and its value.
#[derive(Debug)]
struct Sample {
    suffix: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Whether a text is a name of families and labels.
fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads a quoted text, and returns it with the rest after it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let rest = text.strip_prefix('"').ok_or("no quotation mark")?;
    let mut value = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &rest[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                other => return Err(format!("unknown escape {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err(format!("the quotation does not end: {text}"))
}

/// Reads labels up to the closing brace, and returns them with the rest after it.
fn labels(mut text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, rest) = text.split_once('=').ok_or("a label without a value")?;
        let (value, rest) = quoted(rest)?;
        if !is_name(name) || labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label `{name}` is no name, or comes twice"));
        }
        match rest.strip_prefix(',') {
            Some(next) => text = next,
            None => return Ok((labels, rest.strip_prefix('}').ok_or("no closing brace")?)),
        }
    }
}

fn sample(family: &Family, line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
    let (name, rest) = line.split_at(end);
    let suffix = name.strip_prefix(&family.name).ok_or("of another family")?;
    let allowed: &[&str] = match family.kind.as_str() {
        "gauge" => &[""],
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_count", "_sum"],
        kind => return Err(format!("unknown kind {kind}")),
    };
    if !allowed.contains(&suffix) {
        return Err(format!("a {} has no sample `{name}`", family.kind));
    }

    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value: f64 = value.parse().map_err(|_| format!("no number: {value}"))?;
    if family.kind != "gauge" && !(value >= 0.0 && value.is_finite()) {
        return Err(format!("no count: {value}"));
    }
    Ok(Sample {
        suffix: suffix.to_owned(),
        labels,
        value,
    })
}

/// Checks that the classes of each histogram count upwards to all of its samples.
fn counts_upwards(family: &Family) -> Result<(), String> {
    let mut classes: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        if let Some(bound) = labels.remove("le") {
            let bound = bound.parse().map_err(|_| format!("no bound: {bound}"))?;
            classes
                .entry(labels)
                .or_default()
                .push((bound, sample.value));
        }
    }
    for sample in family.samples.iter().filter(|s| s.suffix == "_count") {
        let classes = classes.remove(&sample.labels).ok_or("no classes")?;
        let rises = |two: &[(f64, f64)]| two[0].0 < two[1].0 && two[0].1 <= two[1].1;
        if !classes.windows(2).all(rises) {
            return Err(format!("the classes do not rise: {classes:?}"));
        }
        if classes.last() != Some(&(f64::INFINITY, sample.value)) {
            return Err(format!("the last class has not all: {classes:?}"));
        }
    }
    if classes.is_empty() {
        Ok(())
    } else {
        Err(format!("classes without a count: {classes:?}"))
    }
}

/// Reads a whole text.
fn parse(text: &str) -> Result<Vec<Family>, String> {
    let text = text.strip_suffix("# EOF\n").ok_or("it does not end")?;
    let mut families: Vec<Family> = Vec::new();
    let mut help: Option<&str> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, what] if help.is_none() && !what.is_empty() => help = Some(name),
            ["#", "TYPE", name, kind] if help.take() == Some(name) && is_name(name) => {
                families.push(Family {
                    name: name.to_owned(),
                    kind: kind.to_owned(),
                    samples: Vec::new(),
                });
            }
            ["#", "UNIT", name, unit]
                if families.last().is_some_and(|last| {
                    last.name == name && last.samples.is_empty() && name.ends_with(unit)
                }) => {}
            _ => {
                let family = families.last_mut().ok_or("a sample without a family")?;
                let sample = sample(family, line).map_err(|why| format!("{why}: {line}"))?;
                family.samples.push(sample);
            }
        }
    }

    let mut names = BTreeSet::new();
    for family in &families {
        if !names.insert(&family.name) {
            return Err(format!("{} comes twice", family.name));
        }
        let mut known = BTreeSet::new();
        for sample in &family.samples {
            if !known.insert((&sample.suffix, &sample.labels)) {
                return Err(format!("a sample of {} comes twice", family.name));
            }
        }
        if family.kind == "histogram" {
            counts_upwards(family)?;
        }
    }
    Ok(families)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_what_the_format_allows() {
    let server = Server::new().await;
    server.fixture.run("echo x").await;
    for path in ["/health", "/runs/x", "/no-such-route"] {
        server.get(path).send().await.expect("an answer");
    }

    let answer = server.get("/metrics").send().await.expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("a word");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"));
    let text = answer.text().await.expect("a text");
    let families = parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));

    let kinds: BTreeSet<&str> = families.iter().map(|family| &*family.kind).collect();
    assert_eq!(kinds, BTreeSet::from(["counter", "gauge", "histogram"]));
    let answers = families.iter().find(|f| f.name == "lastword_http_answers");
    let answers = &answers.expect("requests are counted").samples;
    assert!(answers.len() >= 3, "{answers:?}");
    for family in &families {
        assert!(!family.samples.is_empty(), "{family:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_holds_and_did_is_counted() {
    let server = Server::with(
        Plan::new().host(|host| host.tools(TestTools::default())),
        |_| {},
    );
    let server = server.await;
    server.fixture.run("tool test.echo {\"text\": \"x\"}").await;
    let answer = server.get("/metrics").send().await.expect("an answer");
    let families = parse(&answer.text().await.expect("a text")).expect("it is allowed");
    let of = |name: &str, suffix: &str| {
        let family = families.iter().find(|family| family.name == name);
        let samples = &family.unwrap_or_else(|| panic!("no {name}")).samples;
        let sample = samples.iter().find(|sample| sample.suffix == suffix);
        sample.unwrap_or_else(|| panic!("no {name}{suffix}"))
    };

    let build = of("lastword_build_info", "");
    assert_eq!(build.labels["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(build.labels["wit"], lastword::WIT_VERSION);
    assert!(of("lastword_database_bytes", "").value > 0.0);
    assert!(of("lastword_database_wal_bytes", "").value > 0.0);
    assert!(of("lastword_http_connections", "").value >= 1.0);
    let runs = of("lastword_run_wait_seconds", "_count").value;
    assert!((runs - 1.0).abs() < f64::EPSILON, "{runs} runs began");
    let calls = of("lastword_tool_calls", "_total").value;
    assert!((calls - 1.0).abs() < f64::EPSILON, "{calls} calls");
    assert!(of("lastword_model_cost_dollars", "_total").value.abs() < f64::EPSILON);
}

#[test]
fn a_text_that_the_format_does_not_allow_is_refused() {
    let head = "# HELP a Help.\n# TYPE a gauge\n";
    parse(&format!("{head}a{{b=\"c\\\\d\\\"e\\nf\"}} 1\n# EOF\n")).expect("it is allowed");
    for wrong in [
        "a 1\n# EOF\n".to_owned(),
        "# TYPE a gauge\na 1\n# EOF\n".to_owned(),
        format!("{head}a 1\n"),
        format!("{head}a 1\n# EOF\na 2\n"),
        format!("{head}a one\n# EOF\n"),
        format!("{head}b 1\n# EOF\n"),
        format!("{head}a_total 1\n# EOF\n"),
        format!("{head}a 1\na 2\n# EOF\n"),
        format!("{head}a 1\n{head}a 1\n# EOF\n"),
        format!("{head}a{{b=\"c\"d\"}} 1\n# EOF\n"),
        format!("{head}a{{b=\"c\nd\"}} 1\n# EOF\n"),
        format!("{head}a{{b=\"\\d\"}} 1\n# EOF\n"),
        format!("{head}a{{b-c=\"d\"}} 1\n# EOF\n"),
    ] {
        assert!(parse(&wrong).is_err(), "{wrong}");
    }

    let head = "# HELP a Help.\n# TYPE a histogram\n";
    let whole = |classes: &str| parse(&format!("{head}a_count 3\na_sum 1.0\n{classes}# EOF\n"));
    let low = "a_bucket{le=\"1.0\"} 2\n";
    whole(&format!("{low}a_bucket{{le=\"+Inf\"}} 3\n")).expect("it is allowed");
    for wrong in [
        String::new(),
        low.to_owned(),
        format!("{low}a_bucket{{le=\"+Inf\"}} 1\n"),
        format!("{low}a_bucket{{le=\"+Inf\"}} 4\n"),
        format!("a_bucket{{le=\"+Inf\"}} 3\n{low}"),
    ] {
        assert!(whole(&wrong).is_err(), "{wrong}");
    }
}
