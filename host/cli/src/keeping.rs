//! `lastword rename`, `delete` and `export`. They go through the owner of the data directory, or
//! own it for a moment (`prompts::with_owner`).

use crate::arguments::{self, Format, Shared};
use crate::failure::{Exit, Failure};
use crate::paths::Paths;
use crate::prompts::with_owner;
use crate::reading::{Listed, Source};
use crate::settings::Settings;
use crate::terminal::{Terminal, line, to_stdout};
use lastword_client::Client;
use lastword_client::api::SessionChanges;
use serde_json::json;

/// Carries out an operation on the session that a word names.
async fn with<T>(
    word: &str,
    shared: &Shared,
    terminal: &Terminal,
    work: impl AsyncFn(&Client, Listed) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let settings = Settings::load(shared.config_file.as_deref())?;
    let paths = Paths::of(shared, &settings)?;
    let work = async |client: &Client| {
        let session = Source::server(client).session(word).await?;
        work(client, session).await
    };
    with_owner(shared, &settings, &paths, terminal, work).await
}

/// Gives a session another title.
pub(crate) async fn rename(
    arguments: arguments::Rename,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let title = &arguments.title;
    with(
        &arguments.session,
        &shared,
        terminal,
        async |client, session| {
            let changes = SessionChanges {
                title: Some(title.clone()),
                ..SessionChanges::default()
            };
            let changed = client.change_session(session.record.id, &changes).await?;
            let title = line(changed.title.as_deref().unwrap_or_default(), 200);
            terminal.note(&format!("session {} is called “{title}”", changed.id));
            Ok(Exit::Completed)
        },
    )
    .await
}

/// Deletes a session.
pub(crate) async fn delete(
    arguments: arguments::Delete,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    if arguments.session == "latest" {
        return Err(Failure::usage(
            "`latest` may be another session by now; name the one to delete by its id, which \
             `lastword sessions` lists",
        ));
    }

    with(
        &arguments.session,
        &shared,
        terminal,
        async |client, session| {
            let id = session.record.id;
            client.delete_session(id).await?;
            terminal.note(&format!("session {id} is deleted"));
            Ok(Exit::Completed)
        },
    )
    .await
}

/// Exports a session. Data on disk is read as `show` reads it, beside a host or without one, and
/// also where nothing can be written.
pub(crate) async fn export(
    arguments: arguments::Export,
    shared: Shared,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let source = Source::of(&shared)?;
    let session = source.session(&arguments.session).await?;
    let export = source.export(session).await?;
    let mut text = match arguments.format {
        Format::Md => {
            let out = terminal.raw(arguments.raw).out;
            out.words(&export.to_markdown()).into_owned()
        }
        // Its strings are exact: an escape that JSON does not know would make it unreadable.
        Format::Json => json!(export).to_string(),
    };

    if !text.ends_with('\n') {
        text.push('\n');
    }

    // A reader that closed the pipe needs no more output: this is no failure.
    let _closed = to_stdout(&text);
    Ok(Exit::Completed)
}
