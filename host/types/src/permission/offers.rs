//! The rules that an answer to a question may grant for longer than once. They are derived from the
//! request, so that an answer never grants more than the question asked about.

use super::Capability::{ReadFiles, RunCommands, Tools, WriteFiles};
use super::rule::escape;
use super::{Access, Rule};

/// Returns the rules that an answer may grant, the narrowest first: the exact target, then wider
/// sets that contain it. Empty for an access that can be allowed only once.
#[must_use]
pub fn offers(access: &Access) -> Vec<Rule> {
    if access.once {
        return Vec::new();
    }
    let target = access.target.as_str();
    let only = |pattern: String| Rule::only(access.capability, pattern).ok();
    let below = |path: &str| only(format!("{}/**", escape(path)));
    let wider = match access.capability {
        ReadFiles | WriteFiles => {
            let folder = target
                .rsplit_once('/')
                .and_then(|(folder, _)| below(folder));
            vec![folder, Some(Rule::any(access.capability))]
        }
        RunCommands => {
            let program = target.split(' ').next().unwrap_or(target);
            vec![only(format!("{target} *")), only(format!("{program} *"))]
        }
        Tools => {
            let server = target.split_once('.').map(|(server, _)| escape(server));
            vec![server.and_then(|server| only(format!("{server}.*")))]
        }
        _ => Vec::new(),
    };
    let mut offers = Vec::new();
    let exact = [Rule::exactly(access)];
    for rule in exact.into_iter().chain(wider).flatten() {
        if !offers.contains(&rule) {
            offers.push(rule);
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Capability;

    fn check(capability: Capability, target: &str, expected: &[&str]) {
        let access = Access::new(capability, target, "");
        let offered = offers(&access);
        let words: Vec<String> = offered.iter().map(Rule::to_string).collect();
        assert_eq!(words, expected);
        for rule in &offered {
            assert!(rule.covers(capability, target), "{rule} covers {target}");
        }
    }

    #[test]
    fn what_is_offered_covers_what_was_asked() {
        check(
            WriteFiles,
            "src/a.rs",
            &["write-files=src/a.rs", "write-files=src/**", "write-files"],
        );
        check(WriteFiles, "a", &["write-files=a", "write-files"]);
        check(
            RunCommands,
            "cargo test",
            &[
                "run-commands=cargo test",
                "run-commands=cargo test *",
                "run-commands=cargo *",
            ],
        );
        check(Tools, "git.log", &["tools=git.log", "tools=git.*"]);
        check(Capability::Network, "a.b:443", &["network=a.b:443"]);
        check(ReadFiles, "src/", &["read-files=src/**", "read-files"]);
        check(ReadFiles, ".", &["read-files"]);
        check(
            WriteFiles,
            r"a\b/c\d",
            &[
                r"write-files=a\\b/c\\d",
                r"write-files=a\\b/**",
                "write-files",
            ],
        );
        check(Capability::Network, "*.b:443", &[]);
        let once = Access::new(Tools, "git.log", "").once();
        assert_eq!(offers(&once), []);
    }
}
