//! The rules of `.gitignore` and `.ignore` files: a directory's own, and those of the directories
//! above it. The caller reads the files.

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::sync::Arc;

/// The files with such rules, in ascending precedence.
pub(super) const FILES: [&str; 2] = [".gitignore", ".ignore"];

/// The rules of a directory and of those above it.
#[derive(Clone, Default)]
pub(super) struct IgnoreRules(Option<Arc<Level>>);

struct Level {
    rules: Gitignore,
    above: IgnoreRules,
}

impl IgnoreRules {
    /// Adds the rules of one more directory. Invalid rules are skipped, as git does.
    pub(super) fn below(&self, directory: &str, files: &[String]) -> Self {
        if files.is_empty() {
            return self.clone();
        }

        let root = if directory == "." { "" } else { directory };
        let mut builder = GitignoreBuilder::new(root);

        // Git ignores a byte order mark, too.
        let rules = |file| str::strip_prefix(file, '\u{feff}').unwrap_or(file).lines();
        for line in files.iter().flat_map(|file| rules(file)) {
            if let Err(error) = builder.add_line(None, line) {
                tracing::trace!(%error, line, "no rule of what to ignore");
            }
        }

        match builder.build() {
            Ok(rules) if !rules.is_empty() => Self(Some(Arc::new(Level {
                rules,
                above: self.clone(),
            }))),
            _ => self.clone(),
        }
    }

    /// Whether a path is ignored. The nearest directory with a matching rule decides.
    pub(super) fn ignores(&self, path: &str, is_directory: bool) -> bool {
        let mut rules = self;
        while let Some(level) = &rules.0 {
            match level.rules.matched(path, is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = &level.above,
            }
        }

        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_part_of_no_rule() {
        let files = ["\u{feff}*.log\r\nmade\r\n", "\u{feff}/top\n"].map(str::to_owned);
        let rules = IgnoreRules::default().below(".", &files);
        for path in ["a.log", "made", "top"] {
            assert!(rules.ignores(path, false), "{path}");
        }
        let inner = IgnoreRules::default().below(".", &["a\n\u{feff}b\n".to_owned()]);
        assert!(!inner.ignores("b", false), "only at the beginning");
    }

    #[test]
    fn the_nearest_rule_decides() {
        let root = IgnoreRules::default().below(".", &["*.log\n/target/\n[\n".to_owned()]);
        let sub = root.below("sub", &["!keep.log\nmade\n".to_owned()]);
        assert!(root.ignores("a.log", false));
        assert!(root.ignores("target", true));
        assert!(!root.ignores("target", false), "only a directory");
        assert!(!root.ignores("sub/target", true), "only at the root");
        assert!(sub.ignores("sub/x/a.log", false));
        assert!(!sub.ignores("sub/keep.log", false));
        assert!(sub.ignores("sub/made", false));
        assert!(!sub.ignores("sub/other", false));
    }
}
