//! Which filesystem begins here, and if none that we read, what stands there instead.

use std::sync::Arc;

use super::error::{FilesystemError, Object};
use super::ext::Ext;
use super::face::Filesystem;
use super::file_tree::FileTree;
use super::partition::{Partition, partitions};
use super::xfs::Xfs;
use crate::base::io::ReadAt;

const XFS_MAGIC: &[u8] = b"XFSB";
/// How much must be zero to call the beginning empty.
const BEGINNING_BYTES: usize = 64 << 10;

/// A signature, where it stands, and what to say of it.
struct Signature {
    at: u64,
    bytes: &'static [u8],
    found: &'static str,
}

const fn signature(at: u64, bytes: &'static [u8], found: &'static str) -> Signature {
    Signature { at, bytes, found }
}

/// What often stands on a block device. The earlier ones win.
const SIGNATURES: &[Signature] = &[
    signature(0, b"LUKS\xBA\xBE", "a LUKS container: open it with cryptsetup and read the device that appears"),
    signature(0x218, b"LVM2 001", "an LVM physical volume: activate it with vgchange -ay and read a logical volume"),
    signature(0x18, b"LVM2 001", "an LVM physical volume: activate it with vgchange -ay and read a logical volume"),
    signature(0x1_0040, b"_BHRfS_M", "btrfs, which is not supported"),
    signature(4086, b"SWAPSPACE2", "swap space: it holds no files"),
    signature(4086, b"SWAP-SPACE", "swap space: it holds no files"),
    signature(0xFFF6, b"SWAPSPACE2", "swap space: it holds no files"),
    signature(3, b"NTFS    ", "NTFS, which is not supported"),
    signature(3, b"EXFAT   ", "exFAT, which is not supported"),
    signature(82, b"FAT32   ", "FAT32, which is not supported"),
    signature(54, b"FAT16   ", "FAT16, which is not supported"),
    signature(54, b"FAT12   ", "FAT12, which is not supported"),
    signature(4096, b"\xFC\x4E\x2B\xA9", "a member of an MD RAID array: assemble it with mdadm and read the array"),
    signature(0, b"\xFC\x4E\x2B\xA9", "a member of an MD RAID array: assemble it with mdadm and read the array"),
    signature(1024, b"\x10\x20\xF5\xF2", "F2FS, which is not supported"),
    signature(1024, b"\xE2\xE1\xF5\xE0", "EROFS, which is not supported"),
    signature(0, b"hsqs", "SquashFS, which is not supported"),
    signature(0x8001, b"CD001", "ISO 9660, which is not supported"),
];

/// Opens the filesystem that begins at the first byte of `source`, and replays its journal or log in memory.
pub fn open(source: Arc<dyn ReadAt>) -> Result<Box<dyn Filesystem>, FilesystemError> {
    if FileTree::is_here(&*source) {
        return Ok(Box::new(FileTree::open(source)?));
    }
    if has(&*source, 0, XFS_MAGIC) {
        return Ok(Box::new(Xfs::open(source)?));
    }
    if Ext::is_here(&*source) {
        return Ok(Box::new(Ext::open(source)?));
    }
    Err(describe(&*source)?)
}

/// What stands where a filesystem should begin.
fn describe(source: &dyn ReadAt) -> Result<FilesystemError, FilesystemError> {
    if let Some(known) = SIGNATURES.iter().find(|known| has(source, known.at, known.bytes)) {
        return Ok(FilesystemError::unrecognised(known.found));
    }
    let found = match partitions(source) {
        Ok(list) if !list.is_empty() => return Ok(a_disk(&list)),
        Ok(_) if is_zero(source)? => "nothing but zeros".to_owned(),
        Ok(_) => "bytes without a known signature".to_owned(),
        Err(error) => format!("a partition table that cannot be read: {error}"),
    };
    Ok(FilesystemError::unrecognised(found))
}

fn a_disk(list: &[Partition]) -> FilesystemError {
    let partitions: Vec<u32> = list.iter().map(|partition| partition.number).collect();
    let numbers: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    let found = format!("a partition table: choose one with --partition {}", numbers.join(" or "));
    FilesystemError::Unrecognised { found, partitions }
}

fn has(source: &dyn ReadAt, at: u64, bytes: &[u8]) -> bool {
    let mut found = vec![0; bytes.len()];
    source.read_at(at, &mut found).is_ok() && found == bytes
}

fn is_zero(source: &dyn ReadAt) -> Result<bool, FilesystemError> {
    let length = usize::try_from(source.size()).unwrap_or(usize::MAX).min(BEGINNING_BYTES);
    let mut beginning = vec![0; length];
    source.read_at(0, &mut beginning).map_err(|source| FilesystemError::Io { object: Object::Superblock, source })?;
    Ok(beginning.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::volume::MemoryVolume;

    fn said(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = vec![0; 128 << 10];
        change(&mut bytes);
        open(Arc::new(MemoryVolume::new(bytes))).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_filesystem_of_ours_is_named() {
        for known in SIGNATURES {
            let found = said(|bytes| bytes[known.at as usize..][..known.bytes.len()].copy_from_slice(known.bytes));
            assert!(found.contains(known.found), "{found}");
        }
        assert!(said(|_| {}).contains("nothing but zeros"));
        assert!(said(|bytes| bytes[7] = 1).contains("without a known signature"));
        assert!(said(|bytes| bytes.truncate(100)).contains("nothing but zeros"));
        assert!(said(|bytes| bytes[1080..1082].copy_from_slice(&[0x53, 0xEF])).contains("superblock"));
    }

    #[test]
    fn a_partition_table_asks_for_a_choice() {
        let found = said(|bytes| {
            bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
            bytes[446 + 4] = 0x83;
            bytes[446 + 8] = 8;
            bytes[446 + 12] = 16;
        });
        assert!(found.contains("choose one with --partition 1"), "{found}");
    }
}
