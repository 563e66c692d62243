//! How much memory this process may use: that of the machine, or less if its control group (version
//! 1 or 2) or one above it has a limit.

use std::fmt;
use std::path::{Path, PathBuf};

/// The bound on the memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The limit of a control group, in bytes.
    Group(u64),
    /// The memory of the machine, in bytes.
    Machine(u64),
}

impl Memory {
    /// Returns the bound, or `None` if the system does not report it.
    pub(crate) fn of_process() -> Option<Self> {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let of = |name: &str| read(&Path::new("/proc").join(name));
        let machine = of("meminfo").as_deref().and_then(machine_bytes);
        let groups = of("self/cgroup").zip(of("self/mountinfo"));
        let group = groups.and_then(|(groups, mounts)| group_bytes(&groups, &mounts, read));

        match (group, machine) {
            (Some(group), machine) if machine.is_none_or(|machine| group < machine) => {
                Some(Self::Group(group))
            }
            (_, machine) => machine.map(Self::Machine),
        }
    }

    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Group(bytes) | Self::Machine(bytes) => bytes,
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self {
            Self::Group(_) => "the control group has",
            Self::Machine(_) => "the machine has",
        };
        write!(f, "{whose} {} MiB of memory", self.bytes() >> 20)
    }
}

/// Returns the machine's memory in bytes.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Returns the smallest limit of a process's control group and of those above it. `groups` is its
/// `/proc/self/cgroup`, `mounts` its `/proc/self/mountinfo`.
fn group_bytes(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = mounts.lines().filter_map(|mount| {
        let (group, top, file) = limit_file(groups, mount)?;
        let up = group.ancestors().take_while(|at| at.starts_with(&top));
        let limits = up.filter_map(|at| read(&at.join(file))?.trim().parse::<u64>().ok());
        limits.min()
    });
    limits.min()
}

/// Returns the process's group in a mounted hierarchy, the mount point, and the name of the file
/// with the limit; `None` if the mount has no such limit.
fn limit_file(groups: &str, mount: &str) -> Option<(PathBuf, PathBuf, &'static str)> {
    let (mounted, kind) = mount.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1)?);

    let (file, controller) = match name {
        "cgroup2" => ("memory.max", ""),
        "cgroup" if contains_word(options, "memory") => ("memory.limit_in_bytes", "memory"),
        _ => return None,
    };

    let group = groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let is_it = match controller {
            "" => controllers.is_empty(),
            _ => contains_word(controllers, controller),
        };
        is_it.then_some(group)
    })?;

    let mut mounted = mounted.split(' ').skip(3);
    let (root, top) = (mounted.next()?, PathBuf::from(mounted.next()?));

    // A container that does not see its own position has its group mounted as the root.
    let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
    Some((top.join(below), top, file))
}

fn contains_word(list: &str, word: &str) -> bool {
    list.split(',').any(|one| one == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";
    const V2: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

    fn check(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        group_bytes(groups, mounts, |path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| format!("{text}\n"))
        })
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let groups = "0::/system.slice/lastword.service\n";
        let own = "/sys/fs/cgroup/system.slice/lastword.service/memory.max";
        let above = "/sys/fs/cgroup/system.slice/memory.max";

        assert_eq!(
            check(groups, V2, &[(own, "600"), (above, "max")]),
            Some(600)
        );

        assert_eq!(
            check(groups, V2, &[(own, "max"), (above, "500")]),
            Some(500)
        );

        assert_eq!(check(groups, V2, &[(own, "max"), (above, "max")]), None);
        assert_eq!(check(groups, V2, &[]), None);
    }

    #[test]
    fn both_versions_are_read_and_each_by_its_own_path() {
        let groups = "4:memory:/a/b\n1:cpu:/c\n0::/\n";
        let own = "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
        assert_eq!(check(groups, V1, &[(own, "600")]), Some(600));
        let other = "/sys/fs/cgroup/cpu/c/memory.limit_in_bytes";
        assert_eq!(check(groups, V1, &[(other, "600")]), None);
        let both = format!("{V1}{V2}");
        let newer = ("/sys/fs/cgroup/memory.max", "500");
        assert_eq!(check(groups, &both, &[(own, "600"), newer]), Some(500));
    }

    #[test]
    fn a_container_finds_its_group_where_it_is_mounted() {
        let groups = "4:memory:/docker/1234\n";
        let mounts = "35 31 0:32 /docker/1234 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let limit = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "600");

        assert_eq!(check(groups, mounts, &[limit]), Some(600));
        let below = "4:memory:/docker/1234/in\n";
        let of_below = ("/sys/fs/cgroup/memory/in/memory.limit_in_bytes", "500");

        assert_eq!(check(below, mounts, &[limit, of_below]), Some(500));
        let elsewhere = "4:memory:/../other\n";
        assert_eq!(check(elsewhere, mounts, &[limit]), Some(600));
    }

    #[test]
    fn the_machine_has_memory() {
        assert_eq!(
            machine_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"),
            Some(16 << 10)
        );
        assert_eq!(machine_bytes("MemFree: 1 kB\n"), None);
        assert!(Memory::of_process().is_some_and(|memory| memory.bytes() > 0));
    }
}
