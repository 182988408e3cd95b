//! What metadata of version 5 carries to prove that it is itself: checksum, place, filesystem and owner.

use super::geometry::Geometry;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::fields::{Fields, sums_agree};
use crate::filesystem::mend;

/// Places in metadata are counted in these, whatever the sector is.
const PLACE_UNIT_BYTES: u64 = 512;

/// Where an owner stands.
#[derive(Debug, Clone, Copy)]
enum Owner {
    /// Nowhere.
    None,
    /// A group, in four bytes.
    Group(usize),
    /// An inode, in eight bytes.
    Inode(usize),
}

/// At which byte of a structure each proof stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    checksum: usize,
    uuid: usize,
    place: Option<usize>,
    owner: Owner,
}

/// The free space header of a group.
pub(super) const FREE_SPACE_HEADER: Seal = Seal { checksum: 216, uuid: 64, place: None, owner: Owner::None };
/// The inode header of a group.
pub(super) const INODE_HEADER: Seal = Seal { checksum: 312, uuid: 296, place: None, owner: Owner::None };
/// An inode.
pub(super) const INODE: Seal = Seal { checksum: 100, uuid: 160, place: None, owner: Owner::Inode(152) };
/// A node of a tree within a group.
pub(super) const GROUP_TREE: Seal = Seal { checksum: 52, uuid: 32, place: Some(16), owner: Owner::Group(48) };
/// A node of a file's block map.
pub(super) const MAP_TREE: Seal = Seal { checksum: 64, uuid: 40, place: Some(24), owner: Owner::Inode(56) };
/// A directory block with entries.
pub(super) const DIRECTORY: Seal = Seal { checksum: 4, uuid: 24, place: Some(8), owner: Owner::Inode(40) };
/// A node or a leaf of extended attributes.
pub(super) const ATTRIBUTES: Seal = Seal { checksum: 12, uuid: 32, place: Some(16), owner: Owner::Inode(48) };
/// A block of a long attribute value or of a long link target.
pub(super) const REMOTE: Seal = Seal { checksum: 12, uuid: 16, place: Some(40), owner: Owner::Inode(32) };

impl Seal {
    /// Says what does not fit a structure that lies at byte `at` and belongs to `owner`. Version 4 has no seals.
    pub(super) fn check(&self, fields: &Fields<'_>, geometry: &Geometry, at: u64, owner: u64) -> Result<(), FilesystemError> {
        if !geometry.crc {
            return Ok(());
        }
        checksum(fields, self.checksum)?;
        self.check_identity(fields, geometry, at, owner)
    }

    /// The same without the checksum, which is computed only when a structure is written in place.
    pub(super) fn check_identity(
        &self,
        fields: &Fields<'_>,
        geometry: &Geometry,
        at: u64,
        owner: u64,
    ) -> Result<(), FilesystemError> {
        if fields.array::<16>(self.uuid)? != geometry.uuid {
            return Err(fields.corrupt("it belongs to another filesystem: its UUID is not the superblock's"));
        }
        self.check_place(fields, at)?;
        self.check_owner(fields, owner)
    }

    /// Turns the one bit of `bytes` that makes their checksum wrong. False when they are right, or more than one bit is wrong.
    pub(super) fn mend(&self, bytes: &mut [u8]) -> bool {
        let fields = Fields::new(bytes, Object::Superblock, 0);
        let Ok((stored, computed)) = sums(&fields, self.checksum) else { return false };
        let flip = if stored == computed { None } else { mend::find(stored, computed, bytes.len()) };
        flip.inspect(|flip| flip.turn_back(bytes, self.checksum, computed)).is_some()
    }

    fn check_place(&self, fields: &Fields<'_>, at: u64) -> Result<(), FilesystemError> {
        let Some(offset) = self.place else { return Ok(()) };
        let claimed = fields.be64(offset)?;
        if claimed == at / PLACE_UNIT_BYTES {
            return Ok(());
        }
        Err(fields.corrupt(format!("it was written for sector {claimed}, not for {}", at / PLACE_UNIT_BYTES)))
    }

    fn check_owner(&self, fields: &Fields<'_>, owner: u64) -> Result<(), FilesystemError> {
        let claimed = match self.owner {
            Owner::None => return Ok(()),
            Owner::Group(offset) => fields.be32(offset)?.into(),
            Owner::Inode(offset) => fields.be64(offset)?,
        };
        if claimed == owner {
            return Ok(());
        }
        Err(fields.corrupt(format!("it belongs to {claimed}, not to {owner}")))
    }
}

/// Compares the CRC32C of a structure, its own four bytes at `offset` counted as zeros, with what these say.
pub(super) fn checksum(fields: &Fields<'_>, offset: usize) -> Result<(), FilesystemError> {
    let (stored, computed) = sums(fields, offset)?;
    if sums_agree(stored, computed) {
        return Ok(());
    }
    Err(fields.corrupt(format!("its checksum is {stored:#010x}, its bytes have {computed:#010x}")))
}

/// The checksum that stands at `offset`, and the one that the bytes have.
fn sums(fields: &Fields<'_>, offset: usize) -> Result<(u32, u32), FilesystemError> {
    let stored = fields.le32(offset)?;
    let (before, after) = (fields.slice(0, offset)?, fields.bytes().get(offset + 4..).unwrap_or_default());
    Ok((stored, crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_covers_every_byte_but_its_own() {
        let mut bytes = *b"123456789....abcd";
        let rest = *b"123456789\0\0\0\0abcd";
        bytes[9..13].copy_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
        let check = |bytes: &[u8]| checksum(&Fields::new(bytes, Object::Superblock, 0), 9);
        check(&bytes).unwrap();
        for byte in 0..bytes.len() {
            let mut broken = bytes;
            broken[byte] ^= 1;
            assert!(check(&broken).is_err(), "byte {byte}");
        }
        assert!(check(&bytes[..12]).is_err(), "too short to hold it");
    }

    #[test]
    fn one_flipped_bit_is_turned_back_wherever_it_is() {
        let seal = Seal { checksum: 9, uuid: 0, place: None, owner: Owner::None };
        let mut bytes = *b"123456789....abcd";
        let rest = *b"123456789\0\0\0\0abcd";
        bytes[9..13].copy_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
        assert!(!seal.mend(&mut bytes.clone()), "nothing is wrong");
        for byte in 0..bytes.len() {
            let mut broken = bytes;
            broken[byte] ^= 4;
            assert!(seal.mend(&mut broken), "byte {byte}");
            assert_eq!(broken, bytes);
        }
        let mut broken = bytes;
        broken[0] ^= 1;
        broken[3] ^= 1;
        assert!(!seal.mend(&mut broken));
    }
}
