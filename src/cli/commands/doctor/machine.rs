//! What the machine allows: io_uring, memory, privileges, the processor, the clock.

use std::fs;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::geteuid;

use super::source::engine_line;
use super::{Line, State};
use crate::base::clock::Timestamp;
use crate::cli::commands::default_workers;
use crate::cli::context::Context;
use crate::cli::{text, times};
use crate::tracking::{Settings, obstacles};

/// The effective capability to open what file modes forbid.
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_SYS_ADMIN: u32 = 21;
/// A clock before 2026-01-01 was never set.
const EARLIEST: Timestamp = Timestamp(1_767_225_600_000);

pub(super) fn look(context: &Context) -> Vec<Line> {
    let uring = uring(context);
    let locked = locked_memory(uring.state == State::Ok && !uring.what.contains("registered"));
    vec![uring, seccomp(), locked, privileges(), loop_devices(), tracking(), processor(), cores(), clock(context)]
}

/// Tried on this very program: a file that is there, and that we may read.
fn uring(context: &Context) -> Line {
    let line = engine_line(context, "io_uring", Path::new("/proc/self/exe"));
    match (line.state, read("/proc/sys/kernel/io_uring_disabled").as_str()) {
        (State::Ok, _) | (_, "" | "0") => line,
        (_, value) => Line { what: format!("{}; kernel.io_uring_disabled is {value}", line.what), ..line },
    }
}

fn seccomp() -> Line {
    let filtered = status_field("Seccomp").is_some_and(|mode| mode != "0");
    let what = if filtered { "system calls are filtered" } else { "no system call is filtered" };
    // A filter alone does no harm; whether it forbids io_uring is found out above.
    Line::ok("seccomp", what)
}

/// Short memory only shows where io_uring reads without registering it: who may lock without limit is not held to the limit.
fn locked_memory(is_short: bool) -> Line {
    const ADVICE: &str = "raise it with 'ulimit -l' or LimitMEMLOCK= to let io_uring use registered memory";
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if soft == RLIM_INFINITY => Line::ok("memlock", "unlimited"),
        Ok((soft, _)) => Line::if_so(!is_short, "memlock", format!("{} may be locked", text::size(soft)), ADVICE),
        Err(error) => Line::limited("memlock", format!("the limit cannot be read: {error}"), ""),
    }
}

fn privileges() -> Line {
    let capabilities = status_field("CapEff").and_then(|digits| u64::from_str_radix(&digits, 16).ok()).unwrap_or(0);
    let has = |number: u32| capabilities >> number & 1 == 1;
    let who = if geteuid().is_root() { "root".to_owned() } else { format!("user {}", geteuid()) };
    let missing = [(CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"), (CAP_SYS_ADMIN, "CAP_SYS_ADMIN")];
    let missing: Vec<_> = missing.into_iter().filter(|(number, _)| !has(*number)).map(|(_, name)| name).collect();
    let what = if missing.is_empty() { who } else { format!("{who}, without {}", missing.join(" and ")) };
    Line::if_so(missing.is_empty(), "privileges", what, "to read block devices, run as root or join the group that owns them")
}

fn loop_devices() -> Line {
    let there = Path::new("/dev/loop-control").exists();
    let what = if there { "image files can become block devices" } else { "there is no /dev/loop-control" };
    Line::if_so(there, "loop", what, "only needed to mount a restored image: 'modprobe loop'")
}

fn tracking() -> Line {
    let obstacles = obstacles(&Settings::default());
    let what = if obstacles.is_empty() { "changed blocks can be tracked".to_owned() } else { obstacles.join("; ") };
    Line::if_so(obstacles.is_empty(), "tracking", what, "without it an incremental backup reads the volume to find what changed")
}

fn processor() -> Line {
    let features = processor_features();
    let words: Vec<String> =
        features.iter().map(|(name, there)| if *there { (*name).to_owned() } else { format!("no {name}") }).collect();
    let fast = features.iter().all(|(_, there)| *there);
    Line::if_so(fast, "processor", words.join(", "), "encryption and hashing are slower here; nothing else changes")
}

#[cfg(target_arch = "x86_64")]
fn processor_features() -> Vec<(&'static str, bool)> {
    vec![
        ("AES", std::arch::is_x86_feature_detected!("aes")),
        ("CLMUL", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn processor_features() -> Vec<(&'static str, bool)> {
    vec![
        ("AES", std::arch::is_aarch64_feature_detected!("aes")),
        ("PMULL", std::arch::is_aarch64_feature_detected!("pmull")),
        ("NEON", std::arch::is_aarch64_feature_detected!("neon")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn processor_features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

fn cores() -> Line {
    let count = default_workers();
    Line::if_so(count > 1, "cores", text::count(count as u64, "core"), "reading and compressing take turns here")
}

fn clock(context: &Context) -> Line {
    let now = context.clock.now();
    let zone = times::zone_name(&context.zone, now);
    let what = format!("{}, time zone {zone}", times::utc(now));
    if now >= EARLIEST {
        Line::ok("clock", what)
    } else {
        Line::no("clock", what, "set the clock: points are dated and leases expire by it")
    }
}

fn status_field(name: &str) -> Option<String> {
    let status = read("/proc/self/status");
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
