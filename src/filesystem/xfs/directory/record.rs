//! The pieces of a directory block: entries and what is free, one after the other, each with its own offset at its end.

use std::ops::ControlFlow;

use crate::filesystem::error::FilesystemError;
use crate::filesystem::fields::Fields;
use crate::filesystem::names::is_plain_name;
use crate::filesystem::xfs::geometry::Geometry;

/// Stands where an entry would have its inode number.
const FREE_TAG: u16 = 0xffff;
/// Everything is a multiple of this.
const UNIT_BYTES: usize = 8;
/// The kinds of inodes that entries know.
const DIRECTORY: u8 = 2;
const LAST_KIND: u8 = 8;

/// An entry as it lies on disk.
#[derive(Debug, Clone, Copy)]
pub(in crate::filesystem::xfs) struct Record<'a> {
    /// The inode that it leads to.
    pub(in crate::filesystem::xfs) inode: u64,
    /// Its name; any bytes.
    pub(in crate::filesystem::xfs) name: &'a [u8],
    /// What kind of inode that is, where entries say so.
    pub(in crate::filesystem::xfs) kind: Option<u8>,
}

impl Record<'_> {
    /// True when it can be an entry.
    pub(in crate::filesystem::xfs) fn is_possible(&self, geometry: &Geometry) -> bool {
        let is_name = is_plain_name(self.name) || matches!(self.name, b"." | b"..");
        is_name && geometry.inode(self.inode).is_some() && self.kind.is_none_or(|kind| kind <= LAST_KIND)
    }

    /// Whether it leads to a directory, where it says so.
    pub(in crate::filesystem::xfs) fn is_directory(&self) -> Option<bool> {
        self.kind.filter(|kind| (1..=LAST_KIND).contains(kind)).map(|kind| kind == DIRECTORY)
    }
}

/// What begins at `offset`, an entry or nothing, and its length.
pub(in crate::filesystem::xfs) fn piece<'a>(
    fields: &Fields<'a>,
    offset: usize,
    end: usize,
    has_kinds: bool,
) -> Result<(Option<Record<'a>>, usize), FilesystemError> {
    let (record, length) = if fields.be16(offset)? == FREE_TAG {
        (None, usize::from(fields.be16(offset + 2)?))
    } else {
        let name_bytes = usize::from(fields.u8(offset + 8)?);
        let name = fields.slice(offset + 9, name_bytes)?;
        let kind = if has_kinds { Some(fields.u8(offset + 9 + name_bytes)?) } else { None };
        let length = (8 + 1 + name_bytes + usize::from(has_kinds) + 2).next_multiple_of(UNIT_BYTES);
        (Some(Record { inode: fields.be64(offset)?, name, kind }), length)
    };
    let fits = length >= UNIT_BYTES && length.is_multiple_of(UNIT_BYTES) && offset + length <= end;
    if fits && usize::from(fields.be16(offset + length - 2)?) == offset {
        return Ok((record, length));
    }
    Err(fields.corrupt(format!("what stands at its byte {offset} is neither an entry nor free")))
}

/// Shows the entries that lie from `start` up to `end`, around what can be neither an entry nor free: that is an error, shown once for
/// each stretch.
pub(in crate::filesystem::xfs) fn around<'a>(
    fields: &Fields<'a>,
    (start, end): (usize, usize),
    geometry: &Geometry,
    visit: &mut dyn FnMut(Result<Record<'a>, FilesystemError>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (mut offset, mut is_lost) = (start, false);
    while offset < end {
        match piece(fields, offset, end, geometry.file_type) {
            Ok((record, _)) if is_lost && !record.is_none_or(|record| record.is_possible(geometry)) => offset += UNIT_BYTES,
            Ok((record, length)) => {
                is_lost = false;
                if let Some(record) = record {
                    let what = || fields.corrupt(format!("the entry at its byte {offset} cannot be one"));
                    visit(if record.is_possible(geometry) { Ok(record) } else { Err(what()) })?;
                }
                offset += length;
            }
            Err(error) => {
                if !is_lost {
                    visit(Err(error))?;
                }
                is_lost = true;
                offset += UNIT_BYTES;
            }
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::error::Object;

    fn geometry(file_type: bool) -> Geometry {
        Geometry {
            crc: false,
            file_type,
            sparse_inodes: false,
            block_log: 12,
            sector_bytes: 512,
            directory_log: 12,
            inode_bytes: 256,
            inodes_per_block_log: 4,
            group_blocks: 1000,
            group_block_log: 10,
            groups: 1,
            data_blocks: 1000,
            uuid: [0; 16],
        }
    }

    /// Entries that lead to inode 100 and are 24 bytes long.
    fn block(names: &[&[u8; 6]], file_type: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for name in names {
            let offset = u16::try_from(bytes.len()).unwrap();
            bytes.extend(100_u64.to_be_bytes());
            bytes.push(6);
            bytes.extend_from_slice(&name[..]);
            bytes.extend(if file_type { vec![2, 0, 0, 0, 0, 0, 0] } else { vec![0; 7] });
            bytes.extend(offset.to_be_bytes());
        }
        bytes
    }

    fn shown(bytes: &[u8], file_type: bool) -> Vec<String> {
        let mut shown = Vec::new();
        let fields = Fields::new(bytes, Object::Directory(1), 0);
        let _whole = around(&fields, (0, bytes.len()), &geometry(file_type), &mut |record| {
            shown.push(record.map_or("lost".to_owned(), |record| String::from_utf8_lossy(record.name).into_owned()));
            ControlFlow::Continue(())
        });
        shown
    }

    #[test]
    fn a_broken_entry_costs_only_itself() {
        let names = [b"first1", b"second", b"third3", b"fourth"];
        for file_type in [false, true] {
            let whole = block(&names, file_type);
            assert_eq!(shown(&whole, file_type), ["first1", "second", "third3", "fourth"]);
            // The number of an inode that cannot be, the length of the name, a slash in it, its own offset.
            for (at, byte) in [(24, 0x7f), (32, 200), (32, 0), (35, b'/'), (47, 7)] {
                let mut broken = whole.clone();
                broken[at] = byte;
                assert_eq!(shown(&broken, file_type), ["first1", "lost", "third3", "fourth"], "byte {at}");
            }
            let mut broken = whole.clone();
            broken[30..90].fill(0);
            assert_eq!(shown(&broken, file_type), ["first1", "lost"]);
        }
    }

    #[test]
    fn what_is_free_is_passed_over_and_must_say_where_it_is() {
        let mut bytes = block(&[b"first1", b"second", b"third3"], true);
        bytes[24..28].copy_from_slice(&[0xff, 0xff, 0, 24]);
        assert_eq!(shown(&bytes, true), ["first1", "third3"]);
        bytes[26..28].copy_from_slice(&[0, 20]);
        assert_eq!(shown(&bytes, true), ["first1", "lost", "third3"]);
    }
}
