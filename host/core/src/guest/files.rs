//! Decides which directories a guest sees, and whether it may write to them.

use crate::guest::failure::lacking;
use lastword_sandbox::descriptors::GuestDescriptors;
use lastword_sandbox::{Directory, Files};
use lastword_types::permission::{Authority, Capability, Verdict};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The files of one run: `/workspace` if all reading is granted, writable if all writing is,
/// and a `/tmp` at `tmp`, a path of its own. If only a part is granted, the guest reaches it
/// through tools: files that it opens by itself cannot be checked against rules.
pub(crate) fn of_run(
    workspace: Option<&Arc<File>>,
    authority: &Authority,
    tmp: PathBuf,
    written: Arc<AtomicU64>,
    held: GuestDescriptors,
) -> Files {
    let granted = workspace.filter(|_| authority.has_all(Capability::ReadFiles));
    let directory = granted.map(|file| Directory {
        file: Arc::clone(file),
        writable: authority.has_all(Capability::WriteFiles),
    });
    Files::new(directory, tmp, written, held)
}

/// Returns why a guest does not see the workspace's directory, and what would change that; `None`
/// if it sees it, or if the workspace has no directory.
pub(crate) fn unseen(workspace: Option<&Arc<File>>, authority: &Authority) -> Option<String> {
    let read = Capability::ReadFiles;
    if workspace.is_none() || authority.has_all(read) {
        return None;
    }

    Some(match authority.evaluate_any(read) {
        Verdict::Allowed => format!(
            "only a part of `{read}` is wanted and granted, and that part is reached through tools \
             alone"
        ),
        Verdict::Denied(_) | Verdict::Undecided => lacking(authority, read),
    })
}

/// Returns the detail of a failed run with the reason why it does not see the workspace's
/// directory, if a missing file may have been the cause. The guest itself is told no more than
/// that there is no such file: its own library looks for the directory and does not ask the host.
pub(crate) fn explained(
    detail: Option<String>,
    unseen: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let is_about_files = |detail: &str| {
        let words = ["No such file", "/workspace"];
        words.iter().any(|words| detail.contains(words))
    };

    let detail = detail?;
    let why = is_about_files(&detail).then(unseen).flatten();
    Some(match why {
        Some(why) => format!("{detail}; the agent does not see `/workspace`: {why}"),
        None => detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_types::hint;
    use lastword_types::permission::{Grants, Rule};

    fn rules(words: &[&str]) -> Arc<[Rule]> {
        let rules = words.iter().map(|word| word.parse().expect("a rule"));
        rules.collect()
    }

    #[test]
    fn what_hides_the_directory_is_told_by_its_cause() {
        let file = tempfile::tempfile().map(Arc::new).expect("a file");
        let of =
            |wants: &[&str], grants| unseen(Some(&file), &Authority::new(rules(wants), grants));
        let all = || Grants::none().with(Capability::ReadFiles);
        assert_eq!(of(&["read-files"], all()), None);
        assert_eq!(unseen(None, &Authority::new(rules(&[]), all())), None);

        let unwanted = of(&["state"], all()).expect("it does not see it");
        assert_eq!(hint::unwanted(&unwanted), Some(Capability::ReadFiles));
        let ungranted = of(&["read-files"], Grants::none()).expect("it does not see it");
        assert!(hint::missing_rule(&ungranted).is_some(), "{ungranted}");
        let part = of(&["read-files=src/**"], all()).expect("it does not see it");
        assert!(part.contains("tools alone"), "{part}");
    }

    #[test]
    fn only_a_failure_about_files_is_explained() {
        let why = || Some("why".to_owned());
        let told = |detail: &str| explained(Some(detail.to_owned()), why).expect("a detail");
        let missing = told("No such file or directory (os error 44) (internal)");
        assert!(
            missing.ends_with("does not see `/workspace`: why"),
            "{missing}"
        );
        assert_eq!(told("too many words"), "too many words");
        assert_eq!(explained(None, why), None);
        let seen = explained(Some("/workspace/a".to_owned()), || None);
        assert_eq!(seen.as_deref(), Some("/workspace/a"));
    }
}
