//! `lastword backup`: all sessions in one file, also while a host is running. The library
//! copies the database.

use crate::arguments::{self, Shared};
use crate::failure::{Exit, Failure};
use crate::paths::Paths;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::units;
use lastword::BackupError;

/// Copies the database.
pub(crate) async fn backup(
    arguments: arguments::Backup,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    if shared.server.is_some() {
        return Err(Failure::usage(
            "a backup is made where the data directory is; run it there, without `--server` or \
             LASTWORD_SERVER",
        ));
    }

    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(&shared, &settings)?;
    let file = arguments.file;
    let made = lastword::backup(&paths.data, &file).map_err(|error| match error {
        BackupError::Open(error) => Failure::from(error),
        BackupError::Exists { .. } => Failure::usage(error.to_string()),
        error => Failure::failed(error.to_string()),
    })?;
    let sessions = units::count(made.sessions, "session");
    let size = units::bytes(made.bytes);
    terminal.note(&format!(
        "{sessions} in {}, {size}, checked; to use it, put it into an empty data directory as \
         lastword.db",
        file.display()
    ));
    Ok(Exit::Completed)
}
