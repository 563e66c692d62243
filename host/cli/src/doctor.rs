//! `lastword doctor`: checks everything in the data directory, and reports what cannot be read,
//! what is lost with it, and how to save the rest. Reads only, also while a host is running.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::paths::Paths;
use crate::settings::Settings;
use crate::terminal::{Terminal, line, to_stdout};
use crate::units;
use lastword::{Archive, Examination, Missing, OpenError, examine};
use serde_json::json;

/// Checks everything.
pub(crate) fn doctor(
    arguments: &arguments::Doctor,
    shared: &Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    if shared.server.is_some() {
        return Err(Failure::usage(
            "a data directory is examined where it is; run `lastword doctor` there, without \
             `--server` or LASTWORD_SERVER",
        ));
    }

    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(shared, &settings)?;
    let found = match examine(&paths.data) {
        Err(OpenError::Missing { .. }) => {
            paths.may_be_new()?;
            terminal.note("there is no database yet, and so nothing that could be damaged");
            return Ok(Exit::Completed);
        }
        Err(OpenError::Damaged { path, message }) => {
            return Err(Failure::failed(format!(
                "the database {} is damaged so that nothing in it can be read: {message}; go back \
                 to a backup (`lastword backup` makes one), and keep this file until you have what \
                 you need",
                path.display()
            )));
        }
        found => found?,
    };

    // If it cannot be opened, the examination says why.
    let archive = Archive::open(&paths.data).ok();
    let missing = archive.and_then(|archive| archive.missing().ok().flatten());
    let clean = found.is_clean() && missing.is_none();
    let text = if arguments.json {
        as_json(&found, missing.as_ref())
    } else {
        report(&found, missing.as_ref())
    };

    let _closed = to_stdout(&text);
    Ok(if clean { Exit::Completed } else { Exit::Failed })
}

fn as_json(found: &Examination, missing: Option<&Missing>) -> String {
    let rows: serde_json::Map<_, _> = found
        .rows
        .iter()
        .map(|(table, rows)| ((*table).to_owned(), json!(rows)))
        .collect();
    let whole = json!({
        "clean": found.is_clean() && missing.is_none(),
        "rows": rows,
        "sessions": found.sessions,
        "damaged": found.damaged,
        "file": found.file,
        "missing": missing.map(|missing| json!({
            "first": missing.first,
            "last": missing.last,
            "since_ms": missing.since,
            "until_ms": missing.until,
        })),
    });
    format!("{whole}\n")
}

fn report(found: &Examination, missing: Option<&Missing>) -> String {
    let rows: u64 = found.rows.iter().map(|(_, rows)| rows).sum();
    let read = units::count(rows, "row");
    let sessions = units::count(found.sessions.len() as u64, "session");
    if found.is_clean() && missing.is_none() {
        return format!("nothing is damaged: {read} of {sessions} were read\n");
    }

    let mut text = String::new();
    for damage in &found.damaged {
        text.push_str(&format!("damaged  {}\n", line(&damage.to_string(), 1000)));
    }

    for said in &found.file {
        text.push_str(&format!("file     {}\n", line(said, 400)));
    }

    if let Some(missing) = missing {
        text.push_str(&format!("missing  {}\n", line(&missing.to_string(), 1000)));
    }

    let places = units::count(found.damaged.len() as u64, "place");
    text.push_str(&format!(
        "\n{places} cannot be read; {read} of {sessions} can. Everything else goes on as it is.\n\
         \n\
         To save what can be read:\n\
         \x20 lastword export SESSION --format json > SESSION.json   for each of `lastword sessions`\n\
         To go back to what a backup holds: end the host, put the backup in the database's place,\n\
         and remove `lastword.db-wal` and `lastword.db-shm` beside it.\n"
    ));
    text
}
