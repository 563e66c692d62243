//! The confinement of a command: landlock, seccomp, resource limits and capabilities, prepared
//! before the process starts. Best effort: what this kernel lacks is left out, and [`Confinement`]
//! says what is enforced.

use super::commands::{Commands, Limits};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// The newest version of landlock that is used; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V6;
/// What programs need to start: themselves, their libraries and settings, and facts about the
/// machine. With landlock, `/proc` reveals little about processes that are not the command's.
const SYSTEM: [&str; 14] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/usr",
    "/etc",
    "/opt",
    "/nix/store",
    "/proc",
    "/sys/devices/system/cpu",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/dev/random",
];
/// Devices that store nothing.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// Protocol families: IPv4, IPv6, and netlink, which resolvers use.
const FAMILIES: [u64; 3] = [2, 10, 16];
/// Flags of `clone` that create namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0080;

/// The confinement of one process.
pub(super) struct Confinement {
    pub(super) landlock: Option<RulesetCreated>,
    pub(super) filters: Vec<BpfProgram>,
    pub(super) limits: Vec<(Resource, Rlimit)>,
    pub(super) capabilities: Option<CapabilitySets>,
    /// The names of what is enforced.
    pub(super) enforced: Vec<&'static str>,
}

impl Confinement {
    pub(super) fn new(commands: &Commands, workspace: &File, temporary: &Path) -> io::Result<Self> {
        let landlock = landlock(commands, workspace, temporary).map_err(io::Error::other)?;
        let filters = filters(commands.network);
        let mut enforced = vec!["process-group", "rlimits", "no-new-privileges"];

        // The ruleset is only a descriptor if the kernel supports landlock.
        let made: Option<OwnedFd> = landlock.try_clone()?.into();
        let landlock = made.map(|_| landlock);
        if landlock.is_some() {
            enforced.push("landlock");
        }

        if !filters.is_empty() {
            enforced.push("seccomp");
        }

        Ok(Self {
            landlock,
            filters,
            limits: limits(commands.limits),
            capabilities: reduced_capabilities(),
            enforced,
        })
    }
}

fn landlock(
    commands: &Commands,
    workspace: &File,
    temporary: &Path,
) -> Result<RulesetCreated, RulesetError> {
    let all = AccessFs::from_all(LANDLOCK);
    let read = AccessFs::from_read(LANDLOCK);
    let mut ruleset = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::AbstractUnixSocket)?
        .scope(Scope::Signal)?;

    if !commands.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(LANDLOCK))?;
    }

    let devices = AccessFs::ReadFile | AccessFs::WriteFile;
    ruleset
        .create()?
        // Missing paths are skipped.
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(DEVICES, devices))?
        .add_rules(path_beneath_rules(&commands.readable, read))?
        .add_rules(path_beneath_rules(&commands.writable, all))?
        .add_rules(path_beneath_rules([temporary], all))?
        .add_rule(PathBeneath::new(workspace, all))
}

/// System calls by purpose, with their numbers on x86-64, and on the machines that share one table.
const CALLS: [(&str, i64, i64); 39] = [
    ("acct", 163, 89),
    ("add_key", 248, 217),
    ("bpf", 321, 280),
    ("chroot", 161, 51),
    ("delete_module", 176, 106),
    ("fanotify_init", 300, 262),
    ("finit_module", 313, 273),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fsopen", 430, 430),
    ("fspick", 433, 433),
    ("init_module", 175, 105),
    ("kcmp", 312, 272),
    ("kexec_file_load", 320, 294),
    ("kexec_load", 246, 104),
    ("keyctl", 250, 219),
    ("mount", 165, 40),
    ("mount_setattr", 442, 442),
    ("move_mount", 429, 429),
    ("open_by_handle_at", 304, 265),
    ("open_tree", 428, 428),
    ("perf_event_open", 298, 241),
    ("pidfd_getfd", 438, 438),
    ("pivot_root", 155, 41),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("ptrace", 101, 117),
    ("quotactl", 179, 60),
    ("reboot", 169, 142),
    ("request_key", 249, 218),
    ("setdomainname", 171, 162),
    ("sethostname", 170, 161),
    ("setns", 308, 268),
    // A process that left its group would outlive it.
    ("setpgid", 109, 154),
    ("setsid", 112, 157),
    ("swapon", 167, 224),
    ("umount2", 166, 39),
    ("unshare", 272, 97),
    ("userfaultfd", 323, 282),
];
const SOCKET: (i64, i64) = (41, 198);
const CLONE: (i64, i64) = (56, 220);
/// System calls whose arguments lie in memory, which a filter cannot read: programs fall back to
/// others.
const OPAQUE: [i64; 4] = [425, 426, 427, 435];

/// The numbers on this machine; on x86-64 also those of its second calling convention.
fn numbers((x86_64, generic): (i64, i64)) -> Vec<i64> {
    const X32: i64 = 0x4000_0000;
    if cfg!(target_arch = "x86_64") {
        vec![x86_64, x86_64 | X32]
    } else {
        vec![generic]
    }
}

/// Filters of system calls; none if this machine does not support them.
fn filters(network: bool) -> Vec<BpfProgram> {
    let built = build(network);
    built.unwrap_or_else(|error| {
        tracing::warn!(%error, "commands run without a filter of system calls");
        vec![]
    })
}

fn build(network: bool) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let machine = std::env::consts::ARCH.try_into()?;
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();

    for (_, x86_64, generic) in CALLS {
        refused.extend(
            numbers((x86_64, generic))
                .into_iter()
                .map(|number| (number, vec![])),
        );
    }

    for number in numbers(SOCKET) {
        let other =
            |family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family);
        let rules = if network {
            let conditions: Result<Vec<_>, _> = FAMILIES.into_iter().map(other).collect();
            vec![SeccompRule::new(conditions?)?]
        } else {
            // Unix sockets lead to services of the machine, which landlock does not restrict.
            vec![]
        };
        refused.insert(number, rules);
    }

    for number in numbers(CLONE) {
        let mut rules = Vec::new();
        for bit in (0..32)
            .map(|bit| 1_u64 << bit)
            .filter(|bit| NEW_NAMESPACES & bit != 0)
        {
            let operator = SeccompCmpOp::MaskedEq(bit);
            let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, bit)?;
            rules.push(SeccompRule::new(vec![condition])?);
        }
        refused.insert(number, rules);
    }

    let opaque = OPAQUE
        .into_iter()
        .flat_map(|number| numbers((number, number)));
    let opaque = opaque.map(|number| (number, vec![])).collect();

    let filter = |rules, error| {
        let error = SeccompAction::Errno(error);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, error, machine)?;
        BpfProgram::try_from(filter)
    };
    Ok(vec![filter(opaque, ENOSYS)?, filter(refused, EPERM)?])
}

/// Resource limits, unless they are lower already.
fn limits(limits: Limits) -> Vec<(Resource, Rlimit)> {
    let wanted = [
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Data, limits.data_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, limits.processes),
        (Resource::Nofile, limits.files),
        (Resource::Core, 0),
    ];

    let lower = |(resource, wanted): (Resource, u64)| {
        let known = getrlimit(resource).maximum;
        let bound = Some(known.map_or(wanted, |known| known.min(wanted)));
        let limit = Rlimit {
            current: bound,
            maximum: bound,
        };
        (resource, limit)
    };
    wanted.into_iter().map(lower).collect()
}

/// The capabilities of a privileged host, reduced to those over files, which landlock restricts.
fn reduced_capabilities() -> Option<CapabilitySets> {
    let file_capabilities = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID;

    let now = capabilities(None).ok()?;
    let reduced_capabilities = CapabilitySets {
        effective: now.effective & file_capabilities,
        permitted: now.permitted & file_capabilities,
        inheritable: now.inheritable & file_capabilities,
    };
    (reduced_capabilities.permitted != now.permitted
        || reduced_capabilities.effective != now.effective)
        .then_some(reduced_capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_exist_for_this_machine() {
        for network in [false, true] {
            let filters = build(network).expect("a filter");
            assert!(filters.iter().all(|filter| !filter.is_empty()));
        }
    }

    #[test]
    fn limits_are_never_raised() {
        for (resource, limit) in limits(Commands::none().limits) {
            let known = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            assert!(
                limit.maximum.is_some_and(|limit| limit <= known),
                "{resource:?}"
            );
        }
    }
}
