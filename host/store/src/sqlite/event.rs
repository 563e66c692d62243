//! Reads the log, a bounded page at a time: that of one session by number, that of a workspace or
//! of all by position.

use super::listing::lenient;
use super::numbers;
use super::retention;
use crate::damage::{Damage, Describe as _};
use crate::notify::ChangeSet;
use crate::rows::{Followed, PAGE_EVENTS, Positions, SCANNED};
use crate::{Refusal, StoreError};
use lastword_types::clock::UnixMillis;
use lastword_types::event::{Event, EventBody, Position, Seq};
use lastword_types::id::{RunId, SessionId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::collections::HashMap;

const COLUMNS: &str =
    "event.seq, event.pos, session.id, run.id, event.at_ms, event.body FROM event";
/// The same columns for the doctor, without the table, and whether the event's run exists.
pub(super) const CHECKED: &str =
    "event.seq, event.pos, session.id, run.id, event.at_ms, event.body,
    event.run IS NULL OR run.no IS NOT NULL";

/// Returns a column that is a text.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    let text = row.get_ref(column)?.as_str();
    text.map_err(|error| StoreError::Content(format!("column {column}: {error}")))
}

pub(super) fn read(row: &Row<'_>) -> Result<Event, StoreError> {
    let body: EventBody = serde_json::from_str(text(row, 5)?)?;
    Ok(Event {
        seq: Seq(row.get::<_, i64>(0)? as u64),
        pos: Position(row.get::<_, i64>(1)? as u64),
        session: SessionId::from_bytes(row.get(2)?),
        run: row.get::<_, Option<[u8; 16]>>(3)?.map(RunId::from_bytes),
        at_ms: UnixMillis(row.get::<_, i64>(4)? as u64),
        body,
    })
}

/// Returns the events of a session after `after`, in order, at most `PAGE_EVENTS`. An event that
/// cannot be read is replaced by a `log.damaged` event.
pub(super) fn page(
    conn: &Connection,
    session: SessionId,
    after: Seq,
) -> Result<Vec<Event>, StoreError> {
    // The number, the beginning and the events are read as of one moment.
    let snapshot = conn.unchecked_transaction()?;
    let (no, after) = begin(&snapshot, session, after)?;
    let sql = format!(
        "SELECT {COLUMNS} {PLACES}
         WHERE event.session = ?1 AND event.seq > ?2 AND typeof(event.seq) = 'integer'
         ORDER BY event.seq LIMIT ?3"
    );
    let bound = params![no, after.0 as i64, PAGE_EVENTS as i64];
    let events = match at_once(&snapshot, &sql, bound) {
        Err(StoreError::Content(_) | StoreError::Damaged(_)) => {
            let which = "session = ?1 AND seq > ?2 AND typeof(seq) = 'integer'
                ORDER BY seq LIMIT ?3";
            one_by_one(&snapshot, which, bound)
        }
        events => events,
    }?;
    Ok(without_gaps(events, session, after))
}

/// The joins with which an event is read.
pub(super) const PLACES: &str = "LEFT JOIN session ON session.no = event.session
    LEFT JOIN run ON run.no = event.run";

fn at_once(conn: &Connection, sql: &str, bound: &[&dyn ToSql]) -> Result<Vec<Event>, StoreError> {
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(bound)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(read(row)?);
    }
    Ok(events)
}

/// The position, the number and the session of an event.
type Place = (i64, i64, i64);

/// Reads events one by one, by their positions, and replaces each one that cannot be read. The
/// positions come from the index, or from the table if only that can be read.
fn one_by_one(
    conn: &Connection,
    which: &str,
    bound: &[&dyn ToSql],
) -> Result<Vec<Event>, StoreError> {
    let places = |from: &str| -> Result<Vec<Place>, StoreError> {
        let sql = format!(
            "SELECT pos, CAST(seq AS INTEGER), CAST(session AS INTEGER) FROM event {from}
             WHERE {which}"
        );
        let mut query = conn.prepare(&sql)?;
        let rows = query.query_map(bound, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let places = places("INDEXED BY event_seq").or_else(|_| places("NOT INDEXED"));
    let places = places.map_err(|error| Damage::of("event").name(error))?;
    places.into_iter().map(|place| sound(conn, place)).collect()
}

/// Reads one event, or returns the event that replaces it if it cannot be read.
fn sound(conn: &Connection, (pos, seq, session): Place) -> Result<Event, StoreError> {
    let sql = format!("SELECT {COLUMNS} {PLACES} WHERE event.pos = ?1");
    let one = at_once(conn, &sql, &[&pos]).and_then(|events| {
        let missing = || StoreError::Content("the row is missing".to_owned());
        events.into_iter().next().ok_or_else(missing)
    });
    let error = match one {
        Err(error @ (StoreError::Content(_) | StoreError::Damaged(_))) => error,
        event => return event,
    };
    let damage = super::listing::place(conn, "event", &pos.into(), error);
    let session = conn.query_row("SELECT id FROM session WHERE no = ?1", [session], |row| {
        Ok(lenient::<[u8; 16]>(row, 0))
    });
    let session = session.ok().flatten().map(SessionId::from_bytes);
    Ok(Event {
        seq: Seq(seq as u64),
        pos: Position(pos as u64),
        session: session.unwrap_or(SessionId::from_bytes([0; 16])),
        run: damage.run,
        at_ms: UnixMillis(0),
        body: EventBody::LogDamaged {
            why: damage.why,
            lost: damage.lost,
        },
    })
}

/// Returns the damage that an event reports, if it is `log.damaged`.
pub(super) fn damage(event: &Event) -> Option<Damage> {
    let EventBody::LogDamaged { why, .. } = &event.body else {
        return None;
    };
    let row = match event.pos.0 {
        0 => format!("before number {}", event.seq),
        pos => pos.to_string(),
    };
    let damage = Damage::of("event").session(event.session).row(row);
    let damage = match event.run {
        Some(run) => damage.run(run),
        None => damage,
    };
    Some(damage.why(why))
}

/// Adds an event in each place where numbers are missing.
fn without_gaps(events: Vec<Event>, session: SessionId, after: Seq) -> Vec<Event> {
    let mut last = after.0;
    let mut whole = Vec::with_capacity(events.len());
    for event in events {
        if event.seq.0 > last + 1 {
            let (first, through) = (last + 1, event.seq.0 - 1);
            whole.push(Event {
                seq: Seq(through),
                pos: Position(0),
                session,
                run: None,
                at_ms: UnixMillis(0),
                body: EventBody::LogDamaged {
                    why: format!("the events {first} to {through} of the session are missing"),
                    lost: Damage::of("event").lost,
                },
            });
        }
        last = event.seq.0;
        whole.push(event);
    }
    whole
}

/// Returns a session's number, and the event number after which a stream that has read up to
/// `after` continues. A deleted session has only the event of its deletion, and is unknown to a
/// reader that has seen it.
fn begin(conn: &Connection, session: SessionId, after: Seq) -> Result<(i64, Seq), StoreError> {
    let (no, deleted): (i64, Option<i64>) = conn
        .prepare_cached(
            "SELECT no, iif(going < 2, NULL, (SELECT max(seq) FROM event WHERE session = no))
             FROM session WHERE id = ?1",
        )?
        .query_row([session.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(Refusal::UnknownSession(session))?;
    match deleted {
        None => retention::check(conn, session, no, after.0).map(|()| (no, after)),
        Some(last) if after.0 < last as u64 => Ok((no, Seq(last as u64 - 1))),
        Some(_) => Err(Refusal::UnknownSession(session).into()),
    }
}

/// Returns the number just before a run's first event, where a stream of that run begins. For a run
/// that was deleted, the stream has only its session's last event.
pub(super) fn before_run(conn: &Connection, run: RunId) -> Result<Seq, StoreError> {
    let found: Option<(Option<i64>, i64, bool)> = conn
        .prepare_cached(
            "SELECT (SELECT min(event.seq) FROM event
                     WHERE event.session = run.session AND event.run = run.no
                       AND event.seq > session.log_from), session.log_from, session.going >= 2
             FROM run JOIN session ON session.no = run.session WHERE run.id = ?1
             UNION ALL SELECT NULL, 0, TRUE FROM gone_run WHERE id = ?1",
        )?
        .query_row([run.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let (first, from, deleted) = found.ok_or(Refusal::UnknownRun(run))?;
    if deleted {
        return Ok(Seq(0));
    }
    let through = from as u64;
    let first = first.ok_or(Refusal::Expired { through })?;
    Ok(Seq(first.saturating_sub(1) as u64))
}

/// Returns a session whose events can be read, even if it was deleted.
pub(super) fn followed_session(conn: &Connection, id: SessionId) -> Result<Followed, StoreError> {
    let found = followed(conn, "session.id = ?1", id.as_bytes())?;
    found.ok_or_else(|| Refusal::UnknownSession(id).into())
}

/// As [`followed_session`], by one of its runs.
pub(super) fn followed_run(conn: &Connection, id: RunId) -> Result<Followed, StoreError> {
    let which = "session.no = coalesce((SELECT session FROM run WHERE id = ?1),
                                       (SELECT session FROM gone_run WHERE id = ?1))";
    let found = followed(conn, which, id.as_bytes())?;
    found.ok_or_else(|| Refusal::UnknownRun(id).into())
}

/// Refuses a number that is before the beginning of a session's log or beyond its end.
pub(super) fn check(conn: &Connection, session: SessionId, after: Seq) -> Result<(), StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    begin(&snapshot, session, after).map(drop)
}

fn followed(conn: &Connection, which: &str, id: &[u8; 16]) -> Result<Option<Followed>, StoreError> {
    let sql = format!(
        "SELECT session.id, workspace.id FROM session
         JOIN workspace ON workspace.no = session.workspace WHERE {which}"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let found = query.query_row([id], |row| {
        Ok(Followed {
            session: SessionId::from_bytes(row.get(0)?),
            workspace: WorkspaceId::from_bytes(row.get(1)?),
        })
    });
    Ok(found.optional()?)
}

/// Returns the number of a session, unless its rows are being deleted.
pub(super) fn session_no(conn: &Connection, session: SessionId) -> Result<i64, StoreError> {
    conn.prepare_cached("SELECT no FROM session WHERE id = ?1 AND going < 2")?
        .query_row([session.as_bytes()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| Refusal::UnknownSession(session).into())
}

/// Returns the events of a workspace, or of all, after a position. The cursor advances even if
/// nothing was found, since a read is bounded by the events that it looks at and not by those that
/// it finds.
pub(super) fn scan(
    conn: &Connection,
    workspace: Option<WorkspaceId>,
    after: Position,
    first: bool,
) -> Result<Positions, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let workspace = numbers::workspace_or_all(&snapshot, workspace)?;
    retention::check_positions(&snapshot, workspace, after.0, first)?;
    let after = after.0 as i64;
    let ahead = |from: &str| {
        let sql = format!(
            "SELECT max(pos), count(*) FROM
               (SELECT pos FROM event {from} WHERE pos > ?1 ORDER BY pos LIMIT ?2)"
        );
        snapshot
            .prepare_cached(&sql)?
            .query_row([after, SCANNED as i64], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
    };
    let ahead = ahead("").or_else(|_| ahead("INDEXED BY event_seq"));
    let (last, looked): (Option<i64>, i64) =
        ahead.map_err(|error| Damage::of("event").name(error.into()))?;
    let Some(last) = last else {
        return Ok(Positions {
            through: Position(after as u64),
            head: true,
            ..Positions::default()
        });
    };
    // CROSS makes SQLite read the log in its order, and not session by session.
    let sql = format!(
        "SELECT {COLUMNS} CROSS JOIN session ON session.no = event.session
         LEFT JOIN run ON run.no = event.run
         WHERE event.pos > ?1 AND event.pos <= ?2 AND (?3 IS NULL OR session.workspace = ?3)
         ORDER BY event.pos LIMIT ?4"
    );
    let bound = params![after, last, workspace, PAGE_EVENTS as i64];
    let events = match at_once(&snapshot, &sql, bound) {
        Err(StoreError::Content(_) | StoreError::Damaged(_)) => {
            let which = "pos > ?1 AND pos <= ?2 AND (?3 IS NULL OR session IN (
                SELECT no FROM session WHERE workspace = ?3)) ORDER BY pos LIMIT ?4";
            one_by_one(&snapshot, which, bound)
        }
        events => events,
    }?;
    let full = events.len() == PAGE_EVENTS;
    let through = match events.last() {
        Some(event) if full => event.pos,
        _ => Position(last as u64),
    };
    Ok(Positions {
        events,
        through,
        head: !full && looked < SCANNED as i64,
    })
}

/// Returns the new events of the sessions that grew, after a position and up to the one for which
/// the changes are complete: after that one, other sessions may have grown that the changes do not
/// name yet. Puts changes back that do not fit a page.
pub(super) fn changes(
    conn: &Connection,
    workspace: Option<WorkspaceId>,
    changes: &mut ChangeSet,
    after: Position,
) -> Result<Positions, StoreError> {
    let snapshot = conn.unchecked_transaction()?;
    let (after, through) = (after.0 as i64, changes.through as i64);
    // One more than fits, which shows that a session has more events. Then no event is returned
    // that was written after one that is left over.
    let limit = PAGE_EVENTS as i64 + 1;
    // The positions are read first: they are in the index of the numbers, so that no body is read
    // here.
    let mut found: Vec<(i64, i64, SessionId)> = Vec::new();
    {
        let mut query = snapshot.prepare_cached(
            "SELECT pos, seq FROM event WHERE session = (SELECT no FROM session WHERE id = ?1)
               AND seq >= ?2 AND pos > ?3 AND pos <= ?4
             ORDER BY seq LIMIT ?5",
        )?;
        for (session, first) in &changes.sessions {
            let mut rows =
                query.query(params![session.as_bytes(), first, after, through, limit])?;
            while let Some(row) = rows.next()? {
                found.push((row.get(0)?, row.get(1)?, *session));
            }
        }
    }
    found.sort_unstable();
    let rest = found.split_off(found.len().min(PAGE_EVENTS));
    let mut left: HashMap<SessionId, i64> = HashMap::new();
    for (_, seq, session) in &rest {
        left.entry(*session).or_insert(*seq);
    }
    let head = left.is_empty();
    changes.sessions = left;
    let sql = format!("SELECT {COLUMNS} {PLACES} WHERE event.pos = ?1");
    let mut query = snapshot.prepare_cached(&sql)?;
    let mut events = Vec::with_capacity(found.len());
    for (pos, seq, session) in &found {
        let mut one = || query.query([pos])?.next()?.map(read).transpose();
        events.push(match one() {
            Ok(Some(event)) => event,
            Ok(None) | Err(_) => {
                let session = numbers::session(&snapshot, *session)?;
                sound(&snapshot, (*pos, *seq, session))?
            }
        });
    }
    let through = match found.last() {
        Some((pos, ..)) if !head => *pos,
        _ => through.max(after),
    };
    if let (true, Some(workspace)) = (events.is_empty(), workspace) {
        // The changes name no session: the workspace may be deleted.
        numbers::workspace(&snapshot, workspace)?;
    }
    Ok(Positions {
        events,
        through: Position(through as u64),
        head,
    })
}

#[cfg(test)]
mod tests;
