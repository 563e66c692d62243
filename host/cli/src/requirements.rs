//! Compares the wants of an agent with the grants: whether it can run at all, and which notes to
//! print.

use crate::hints::{self, Place};
use crate::terminal::{self, Terminal};
use lastword::permission::{Grants, Manifest, Want};
use lastword::tools::BUILTIN_TOOLS;
use lastword::{Capability, hint, text};

/// Returns notes about wants that are not granted, to be printed once a run begins. If the agent
/// cannot run without one of them, prints the reason at once and returns `None`.
pub(crate) fn may_run(
    name: &str,
    manifest: &Manifest,
    grants: &Grants,
    asks: bool,
    place: Place,
    terminal: &Terminal,
) -> Option<Vec<String>> {
    let unknown = manifest.unknown_wants.iter().map(|unknown| {
        let unknown = terminal::brief(unknown, 80);
        format!("the agent wants `{unknown}`, which this lastword does not know")
    });
    let mut notes: Vec<String> = unknown.collect();

    let reads = manifest
        .rules()
        .iter()
        .any(|rule| rule.is_about(Capability::ReadFiles));
    if grants.has(Capability::ReadFiles) && !reads {
        notes.push(format!(
            "the agent does not see the workspace's files: {}",
            hint::not_wanted(Capability::ReadFiles, None)
        ));
    }

    let asked =
        |want: &&Want| asks && is_asked_for(want.capability) && !grants.denies_all(want.capability);
    let lacking =
        |want: &&Want| !grants.has(want.capability) && !asked(want) && !is_for_own_tools(want);
    let (required, optional): (Vec<_>, Vec<_>) = manifest
        .wants
        .iter()
        .filter(lacking)
        .partition(|want| want.required);
    if !required.is_empty() {
        let lines = required.into_iter().map(|want| {
            let reason = terminal::line(&want.reason, 200);
            let how = if grants.denies_all(want.capability) {
                "a rule of `--deny` or of the settings denies it".to_owned()
            } else {
                format!(
                    "grant it with {}",
                    hints::how_to_grant(want.capability, place)
                )
            };
            format!("\n  {} ({reason}): {how}", want.capability)
        });
        terminal.error(&format!(
            "{} cannot work without what is not granted; nothing was run{}",
            text::line(name),
            lines.collect::<String>()
        ));
        return None;
    }

    if !optional.is_empty() {
        let names = optional.iter().map(|want| {
            let how = hints::how_to_grant(want.capability, place);
            format!("{} ({})", want.capability, how.replace('`', ""))
        });
        let names: Vec<_> = names.collect();
        let names = names.join(", ");
        notes.push(format!("wanted, not granted, not required: {names}"));
    }

    Some(notes)
}

/// Whether an agent has a default prompt.
pub(crate) fn has_default(manifest: &Manifest) -> bool {
    let default = manifest.default_prompt.as_deref();
    default.is_some_and(|prompt| !prompt.trim().is_empty())
}

/// Whether a want is only for built-in tools, which ask for each access.
pub(crate) fn is_for_own_tools(want: &Want) -> bool {
    let own = |name: &String| BUILTIN_TOOLS.contains(&name.as_str());
    want.capability == Capability::Tools && !want.scope.is_empty() && want.scope.iter().all(own)
}

/// Whether people can be asked for the capability once it is needed, rather than before.
fn is_asked_for(capability: Capability) -> bool {
    // These are available from the start of the run, or not at all.
    !matches!(
        capability,
        Capability::ReadFiles | Capability::Model | Capability::State
    )
}
