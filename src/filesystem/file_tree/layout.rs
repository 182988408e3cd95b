//! Where things lie in the volume of a file tree.

/// The first bytes of the volume.
pub(super) const MAGIC: &[u8; 8] = b"ICETREE\n";
/// The first bytes of the state.
pub(super) const STATE_MAGIC: &[u8; 8] = b"ICETSTA\n";
/// The version of everything in the volume.
pub(super) const VERSION: u8 = 1;

/// The first place that anything can have.
pub const FIRST_PLACE: u64 = 1 << 20;
/// Records begin here, and places end.
pub const RECORDS_FIRST: u64 = 1 << 58;
/// Bytes of a record.
pub const RECORD_BYTES: u64 = 160;
/// Numbers of inodes are below this.
pub const MAX_NUMBER: u64 = 1 << 48;
/// The state lies here.
pub const STATE_PLACE: u64 = VOLUME_BYTES - (1 << 20);
/// Size of every such volume.
pub const VOLUME_BYTES: u64 = 1 << 59;
/// The root directory.
pub const ROOT: u64 = 1;

const _: () = assert!(RECORDS_FIRST + MAX_NUMBER * RECORD_BYTES <= STATE_PLACE);

/// Where the record of an inode lies.
#[must_use]
pub fn record_place(number: u64) -> u64 {
    RECORDS_FIRST.saturating_add(number.saturating_mul(RECORD_BYTES))
}
