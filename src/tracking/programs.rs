//! The five programs: which tracepoint each is for, and the proof that it is still attached and has missed nothing.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use aya::programs::BtfTracePoint;
use aya::programs::links::{FdLink, PinnedLink};

use super::error::TrackingError;
use super::layout::Regime;
use super::places::remove_file;

/// A program of `bpf/tracker.bpf.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) program: &'static str,
    pub(super) tracepoint: &'static str,
    pub(super) regime: Regime,
}

const fn hook(program: &'static str, tracepoint: &'static str, regime: Regime) -> Hook {
    Hook { program, tracepoint, regime }
}

/// All programs. Those of bios are attached only once a bio disk is tracked: elsewhere they would be wasted time.
pub(super) const HOOKS: &[Hook] = &[
    hook("request_issued", "block_rq_issue", Regime::Requests),
    hook("request_completed", "block_rq_complete", Regime::Requests),
    hook("bio_queued", "block_bio_queue", Regime::Bios),
    hook("bio_remapped", "block_bio_remap", Regime::Bios),
    hook("bio_completed", "block_bio_complete", Regime::Bios),
];

/// How an attached program is known, and how often it was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) link: u32,
    pub(super) program: u32,
    /// Hash of its instructions.
    pub(super) tag: [u8; 8],
    /// How often the kernel skipped it because it was running on that processor already.
    pub(super) misses: u64,
}

impl Hook {
    pub(super) fn program_pin(self, pins: &Path) -> PathBuf {
        pins.join(format!("program_{}", self.program))
    }

    pub(super) fn link_pin(self, pins: &Path) -> PathBuf {
        pins.join(format!("link_{}", self.program))
    }

    /// Attaches the pinned program, and pins the link; from then on it runs without any process.
    pub(super) fn attach(self, pins: &Path) -> Result<(), TrackingError> {
        let (program_pin, link_pin) = (self.program_pin(pins), self.link_pin(pins));
        let failed = |error| TrackingError::bpf("attach", &program_pin, error);
        let mut program = BtfTracePoint::from_pin(&program_pin).map_err(failed)?;
        let id = program.attach().map_err(failed)?;
        let link: FdLink = program.take_link(id).map_err(failed)?.into();
        link.pin(&link_pin).map_err(|error| TrackingError::bpf("pin", &link_pin, error))?;
        Ok(())
    }

    /// `None` when the program is not attached by its pinned link any more.
    pub(super) fn attachment(self, pins: &Path) -> Option<Attachment> {
        let link = FdLink::from(PinnedLink::from_pin(self.link_pin(pins)).ok()?).info().ok()?;
        let program = BtfTracePoint::from_pin(self.program_pin(pins)).ok()?;
        let fd = program.fd().ok()?.as_fd().as_raw_fd();
        let shown = parse_info(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)?;
        let is_ours = shown.program == link.program_id();
        is_ours.then_some(Attachment { link: link.id(), ..shown })
    }
}

/// The programs of a regime as they are attached now.
pub(super) fn attachments(pins: &Path, regime: Regime) -> Vec<Option<Attachment>> {
    HOOKS.iter().filter(|hook| hook.regime == regime).map(|hook| hook.attachment(pins)).collect()
}

/// Attaches what is not attached, and says whether there was something.
pub(super) fn attach_missing(pins: &Path, regime: Regime) -> Result<bool, TrackingError> {
    let missing: Vec<_> = HOOKS.iter().filter(|hook| hook.regime == regime && hook.attachment(pins).is_none()).collect();
    for hook in &missing {
        // A pin that leads nowhere would be in the way.
        remove_file(&hook.link_pin(pins))?;
        hook.attach(pins)?;
    }
    Ok(!missing.is_empty())
}

/// What the kernel shows of a program's file descriptor; the link is not in it.
fn parse_info(info: &str) -> Option<Attachment> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let tag = u64::from_str_radix(field("prog_tag")?, 16).ok()?.to_be_bytes();
    Some(Attachment { link: 0, program: field("prog_id")?.parse().ok()?, tag, misses: field("recursion_misses")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_tag_and_misses_of_a_program_are_read() {
        let info = "pos:\t0\nprog_type:\t26\nprog_tag:\t00ff8899aabbccdd\nprog_id:\t12\nrecursion_misses:\t7\n";
        let tag = [0, 0xff, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd];
        assert_eq!(parse_info(info), Some(Attachment { link: 0, program: 12, tag, misses: 7 }));
        let without_misses = info.replace("recursion_misses", "other");
        assert_eq!(parse_info(&without_misses), None, "without misses nothing is proven");
    }
}
