//! The database's file with single bits flipped and whole pages spoiled, after a clean checkpoint:
//! no start is refused while a reader can read, and nothing is lost silently.

use super::{Case, Template, said};
use lastword::clock::UnixMillis;
use lastword::event::Seq;
use lastword::id::SessionId;
use lastword::session::{Part, PartBody};
use lastword::{Archive, OpenError, examine};
use std::collections::BTreeMap;

const FLIPS: u64 = 200;
/// Bytes of a page.
const PAGE: usize = 4096;

/// A small generator of numbers: the same seed gives the same flips.
fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 17
}

/// Whether anything of a directory can be read.
fn readable(archive: &Archive) -> bool {
    archive
        .sessions(None, u32::MAX)
        .is_ok_and(|sessions| !sessions.is_empty())
}

/// A part without the time of its end, which is a figure.
fn timeless(part: &Part) -> Part {
    let mut part = part.clone();
    if let PartBody::Finish { at_ms, .. } = &mut part.body {
        *at_ms = UnixMillis(0);
    }
    part
}

/// All that was acknowledged of each session, as far as it can be read: what was said, who ended
/// how, and every event. A figure beside it, such as a time, is not in it.
fn words(archive: &Archive, sessions: &[SessionId]) -> Vec<Option<String>> {
    let one = |id: &SessionId| {
        let record = archive.session(*id).ok()?.record;
        let runs = archive.runs(*id).ok()?;
        let log = archive.kept_events(*id, Seq(0)).ok()?;
        let runs = runs.iter().map(|run| {
            let said = run.messages.iter();
            let said = said.map(|said| {
                let parts: Vec<_> = said.parts.iter().map(timeless).collect();
                (said.id, said.ordinal, said.role, parts)
            });
            format!("{} {} {:?}", run.id, run.state, said.collect::<Vec<_>>())
        });
        let runs: Vec<String> = runs.collect();
        let log = log
            .iter()
            .map(|event| (event.seq, event.run, event.body.kind()));
        let log: Vec<_> = log.collect();
        let places = (record.id, record.agent, record.workspace, record.messages);
        Some(format!("{places:?} {runs:?} {log:?}"))
    };
    sessions.iter().map(one).collect()
}

/// What came of damage to the file, and whether that is wrong.
fn outcome(
    case: &Case,
    sessions: &[SessionId],
    before: &(Vec<Option<String>>, Vec<Option<String>>),
) -> (&'static str, bool) {
    let archive = Archive::open(&case.data());
    let could_be_read = archive.as_ref().is_ok_and(readable);
    let all = |id: &SessionId, archive: &Archive| {
        let sound = archive.session(*id).is_ok() && archive.runs(*id).is_ok();
        let sound = sound && archive.kept_events(*id, Seq(0)).is_ok();
        sound.then(|| said(archive, *id))
    };
    let (now, whole) = match &archive {
        Ok(archive) => (
            words(archive, sessions),
            sessions.iter().map(|id| all(id, archive)).collect(),
        ),
        Err(_) => (Vec::new(), Vec::new()),
    };
    drop(archive);
    let doctor = examine(&case.data()).map_or(true, |found| !found.is_clean());
    match case.start() {
        Ok(store) => store.close(),
        Err(OpenError::Damaged { .. }) if !could_be_read => {
            return ("refused: SQLite reads nothing of it", false);
        }
        Err(error) => {
            eprintln!("{error}");
            return ("refused, and a reader reads", true);
        }
    }
    match (doctor, now == before.0, whole == before.1) {
        (true, ..) => ("started, named by the doctor", false),
        (false, true, true) => ("started, nothing that is shown is touched", false),
        (false, true, false) => ("started, a figure has another value", false),
        (false, false, _) => {
            for (now, before) in now
                .iter()
                .zip(&before.0)
                .filter(|(now, before)| now != before)
            {
                eprintln!("was {before:?}\n is {now:?}");
            }
            ("started, changed silently", true)
        }
    }
}

/// Damages the file in one way after another, and says what came of each.
async fn each(name: &str, ways: impl Fn(&mut Vec<u8>, u64) -> Option<String>) {
    let template = Template::make().await;
    let archive = Archive::open(template.folder.path()).unwrap();
    let rows = archive.sessions(None, u32::MAX).unwrap();
    let sessions: Vec<SessionId> = rows.iter().map(|row| row.record.id).collect();
    let whole = sessions.iter().map(|id| Some(said(&archive, *id)));
    let before = (words(&archive, &sessions), whole.collect());
    drop(archive);
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::new());
    for number in 0.. {
        let case = template.copy();
        let file = case.data().join("lastword.db");
        let mut bytes = std::fs::read(&file).unwrap();
        let Some(place) = ways(&mut bytes, number) else {
            break;
        };
        std::fs::write(&file, bytes).unwrap();
        let (outcome, is_wrong) = outcome(&case, &sessions, &before);
        if is_wrong {
            wrong.push(format!("{place}: {outcome}"));
        }
        *seen.entry(outcome).or_insert(0) += 1;
    }
    eprintln!("{name}: {seen:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_refuse_no_start_and_lose_nothing_silently() {
    let seed = std::env::var("LASTWORD_FLIP_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(12_u64);
    each("flips", |bytes, number| {
        let mut seed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        next(&mut seed);
        let (at, bit) = (next(&mut seed) as usize % bytes.len(), next(&mut seed) % 8);
        bytes[at] ^= 1 << bit;
        (number < FLIPS).then(|| format!("flip {number}: bit {bit} of byte {at}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_page_refuses_no_start_and_loses_nothing_silently() {
    each("pages", |bytes, number| {
        // The first page holds the schema, without which SQLite reads nothing.
        let page = bytes.chunks_mut(PAGE).nth(number as usize + 1)?;
        page.fill(0xff);
        Some(format!("page {}", number + 2))
    })
    .await;
}
