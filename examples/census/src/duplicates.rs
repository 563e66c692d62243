//! Files that are the same: what looks alike is compared byte by byte before it is said.
//!
//! It does not know why two files look alike.

use std::path::Path;

use crate::count::Count;
use crate::reading::same_content;

/// How many groups are told one by one; the rest are only summed up.
pub(crate) const GROUPS_MAX: u64 = 25;

/// How many files of one group are compared. Beyond that a group is cut.
pub(crate) const GROUP_MAX: usize = 200;

/// A sum over all groups of equal files.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Duplicates {
    /// Groups.
    pub(crate) groups: u64,
    /// Bytes in all files of a group but one.
    pub(crate) wasted: u64,
}

/// Looks for equal files and tells each of the first groups: the size, and the paths.
///
/// # Errors
///
/// The error of `tell`. A file that can no longer be read does not count as a duplicate.
pub(crate) fn find<E>(
    root: &Path,
    count: &Count,
    mut tell: impl FnMut(u64, &[&str]) -> Result<(), E>,
) -> Result<Duplicates, E> {
    let mut found = Duplicates::default();
    for (bytes, paths) in count.suspects() {
        for group in equal_groups(root, &paths[..paths.len().min(GROUP_MAX)]) {
            found.groups += 1;
            found.wasted += bytes * (group.len() as u64 - 1);
            if found.groups <= GROUPS_MAX {
                tell(bytes, &group)?;
            }
        }
    }
    Ok(found)
}

/// Sorts files that look alike into groups that are. Almost always that is one group, so that
/// each file is compared once, with the first.
fn equal_groups<'a>(root: &Path, paths: &'a [Box<str>]) -> Vec<Vec<&'a str>> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for path in paths {
        let same = groups
            .iter_mut()
            .find(|group| same_content(&root.join(group[0]), &root.join(&**path)).unwrap_or(false));
        match same {
            Some(group) => group.push(path),
            None => groups.push(vec![path]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Reading;
    use crate::scratch::Scratch;

    #[test]
    fn what_only_looks_alike_is_told_apart() {
        let scratch = Scratch::new();
        let mut count = Count::default();
        for (name, content) in [("a", "same"), ("b", "othr"), ("c", "same"), ("d", "same")] {
            scratch.write(name, content);
            count.add(name, 4, Reading::default());
        }
        count.add("gone", 4, Reading::default());
        let mut told = Vec::new();
        let found = find(scratch.root(), &count, |bytes, paths| {
            told.push(format!("{bytes}: {}", paths.join(" ")));
            Ok::<_, ()>(())
        });
        assert_eq!(told, ["4: a c d"]);
        let expected = Duplicates {
            groups: 1,
            wasted: 8,
        };
        assert_eq!(found.unwrap(), expected);
    }
}
