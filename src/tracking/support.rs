//! Whether tracking can work on this machine, and why not.

use std::fs;
use std::path::Path;

use aya::maps::{Array, MapData};

use super::places::is_bpffs;
use super::tracker::Settings;

/// Capabilities by number: either the last alone, or the first two.
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
const CAP_SYS_ADMIN: u32 = 21;

/// What stands in the way of tracking, one reason a line; nothing when it can work. Nothing is loaded or mounted to find out.
#[must_use]
pub fn obstacles(settings: &Settings) -> Vec<String> {
    let capabilities = capabilities();
    let checks = [
        (!Path::new("/sys/kernel/btf/vmlinux").exists()).then(|| "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)".to_owned()),
        (!may_load(capabilities)).then(|| "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, are missing".to_owned()),
        Array::<MapData, u64>::create(1, 0).err().map(|error| format!("bpf() is refused: {error}")),
        (!may_pin(settings, capabilities))
            .then(|| format!("{} is no BPF file system, and to mount one takes CAP_SYS_ADMIN", settings.bpffs.display())),
        is_locked(&read("/sys/kernel/security/lockdown"))
            .then(|| "the kernel is locked down to confidentiality: programs may not read its memory".to_owned()),
    ];
    checks.into_iter().flatten().collect()
}

fn has(capabilities: u64, number: u32) -> bool {
    capabilities >> number & 1 == 1
}

fn may_load(capabilities: u64) -> bool {
    has(capabilities, CAP_SYS_ADMIN) || has(capabilities, CAP_BPF) && has(capabilities, CAP_PERFMON)
}

fn may_pin(settings: &Settings, capabilities: u64) -> bool {
    is_bpffs(&settings.bpffs) || has(capabilities, CAP_SYS_ADMIN)
}

/// The state in force stands in brackets.
fn is_locked(lockdown: &str) -> bool {
    lockdown.contains("[confidentiality]")
}

/// The effective set; none when it cannot be read.
fn capabilities() -> u64 {
    let status = read("/proc/self/status");
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    field.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_two_small_capabilities_or_the_large_one_are_enough() {
        let set = |numbers: &[u32]| numbers.iter().fold(0u64, |set, number| set | 1 << number);
        for (numbers, expected) in [
            (&[CAP_BPF, CAP_PERFMON][..], true),
            (&[CAP_SYS_ADMIN], true),
            (&[CAP_BPF], false),
            (&[CAP_PERFMON], false),
            (&[], false),
        ] {
            assert_eq!(may_load(set(numbers)), expected, "{numbers:?}");
        }
    }

    #[test]
    fn only_the_lockdown_that_is_in_force_counts() {
        assert!(is_locked("none integrity [confidentiality]\n"));
        assert!(!is_locked("none [integrity] confidentiality\n"));
        assert!(!is_locked(""));
    }
}
