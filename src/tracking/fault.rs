//! Steps of the protocol left out, to see that tests notice. Never shipped.

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Bits of `faults` in `bpf/tracker.bpf.c`.
    pub in_kernel: u32,
    /// Marks made between the exchange of the maps and the cut count for the next delta alone.
    pub no_overlap: bool,
    /// Writes on their way when the maps are exchanged are not carried over.
    pub no_carry: bool,
}

/// Every discard is looked at bio by bio, as if it could have many ranges.
pub const WALK_EVERY_DISCARD: u32 = 1;
/// The ranges of a discard that were not looked at are not admitted.
pub const TRUST_SHORT_WALK: u32 = 2;
/// Writes on their way are not recorded.
pub const FORGET_FLIGHTS: u32 = 4;
