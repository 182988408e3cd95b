//! What an inode has beside its record: extended attributes, the map of a sparse file, the names of a directory, the target of a link.
//!
//! ```text
//! appendix  := attributes length u32 | map length u32 | attributes | map | body
//! attribute := name length u16 | value length u32 | name | value            ascending by name
//! map       := (offset u64 | length u64) each, where the file has data       ascending
//! body      := target of a link | (number u64 | name length u8 | name) each, ascending by name
//! ```

use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::base::extent::Extent;
use crate::filesystem::error::{FilesystemError, Object};
use crate::filesystem::face::{Entry, Xattr};
use crate::filesystem::inode::InodeNumber;
use crate::filesystem::names::is_plain_name;

/// The two lengths.
pub(super) const FRONT_BYTES: usize = 8;
/// All attributes of an inode: the kernel lists 64 KiB of names, and few have values of 64 KiB.
pub(super) const MAX_ATTRIBUTES_BYTES: u32 = 16 << 20;
/// Runs of data in a map.
pub const MAX_RUNS: usize = 65_536;
const RUN_BYTES: usize = 16;
/// The longest target of a link.
pub(super) const MAX_TARGET_BYTES: u64 = 4096;

/// The part before the body.
#[must_use]
pub fn encode_front(attributes: &[Xattr], map: &[Extent]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for attribute in attributes {
        encoded.put_u16(u16::try_from(attribute.name.len()).unwrap_or(u16::MAX));
        encoded.put_u32(u32::try_from(attribute.value.len()).unwrap_or(u32::MAX));
        encoded.put(&attribute.name);
        encoded.put(&attribute.value);
    }
    let mut out = Vec::with_capacity(FRONT_BYTES + encoded.len() + map.len() * RUN_BYTES);
    out.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(map.len() * RUN_BYTES).unwrap_or(u32::MAX));
    out.put(&encoded);
    for run in map {
        out.put_u64(run.offset);
        out.put_u64(run.length);
    }
    out
}

/// Appends a name of a directory.
pub fn encode_name(out: &mut Vec<u8>, number: u64, name: &[u8]) {
    out.put_u64(number);
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put(name);
}

/// Where the parts of an appendix lie, counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) attributes: Extent,
    pub(super) map: Extent,
    pub(super) body: Extent,
}

impl Parts {
    /// Reads the front of an appendix of `length` bytes.
    pub(super) fn parse(front: &[u8], length: u64) -> Result<Self, &'static str> {
        let mut reader = ByteReader::new(front);
        let (Ok(attributes), Ok(map)) = (reader.u32(), reader.u32()) else { return Err("it is cut short") };
        if attributes > MAX_ATTRIBUTES_BYTES || map as usize > MAX_RUNS * RUN_BYTES || !map.is_multiple_of(RUN_BYTES as u32) {
            return Err("its parts have lengths that no writer writes");
        }
        let attributes = Extent::new(FRONT_BYTES as u64, attributes.into());
        let map = Extent::new(attributes.end(), map.into());
        if map.end() > length {
            return Err("its parts are longer than it is");
        }
        Ok(Self { attributes, map, body: Extent::between(map.end(), length) })
    }
}

/// Reads attributes.
pub(super) fn parse_attributes(bytes: &[u8]) -> Result<Vec<Xattr>, Truncated> {
    let mut reader = ByteReader::new(bytes);
    let mut attributes = Vec::new();
    while !reader.is_empty() {
        let (name, value) = (reader.u16()?, reader.u32()?);
        let name = reader.take(name.into())?.to_vec();
        attributes.push(Xattr { name, value: reader.take(usize::try_from(value).unwrap_or(usize::MAX))?.to_vec() });
    }
    Ok(attributes)
}

/// Reads a map: ascending runs within a file of `size` bytes.
pub(super) fn parse_map(bytes: &[u8], size: u64) -> Option<Vec<Extent>> {
    let mut reader = ByteReader::new(bytes);
    let mut runs: Vec<Extent> = Vec::with_capacity(bytes.len() / RUN_BYTES);
    while !reader.is_empty() {
        let (offset, length) = (reader.u64().ok()?, reader.u64().ok()?);
        let run = Extent { offset, length };
        let is_next = runs.last().is_none_or(|last| last.end() <= offset);
        if !is_next || length == 0 || offset.checked_add(length)? > size {
            return None;
        }
        runs.push(run);
    }
    Some(runs)
}

/// Takes names from the front of `bytes`, and says how many bytes they took; what is cut off is left for later.
pub(super) fn take_names(bytes: &[u8], visit: &mut dyn FnMut(Entry) -> bool) -> Result<usize, &'static str> {
    let mut reader = ByteReader::new(bytes);
    loop {
        let taken = reader.position();
        let Ok((number, name)) = take_name(&mut reader) else { return Ok(taken) };
        if !is_plain_name(name) {
            return Err("it holds a name that no directory may hold");
        }
        if !visit(Entry { name: name.to_vec(), inode: InodeNumber(number) }) {
            return Ok(reader.position());
        }
    }
}

fn take_name<'a>(reader: &mut ByteReader<'a>) -> Result<(u64, &'a [u8]), Truncated> {
    let (number, length) = (reader.u64()?, reader.u8()?);
    Ok((number, reader.take(length.into())?))
}

/// Reads a whole appendix of a directory that was encoded a moment ago: its attributes, and each of its names.
pub fn names_in<E: From<FilesystemError>>(bytes: &[u8], visit: &mut dyn FnMut(Entry) -> Result<(), E>) -> Result<Vec<Xattr>, E> {
    let wrong = |what| E::from(FilesystemError::corrupt(Object::Superblock, 0, what));
    let parts = Parts::parse(bytes, bytes.len() as u64).map_err(wrong)?;
    let slice = |part: Extent| {
        let range = usize::try_from(part.offset).ok()?..usize::try_from(part.end()).ok()?;
        bytes.get(range)
    };
    let mut failed = Ok(());
    let body = slice(parts.body).unwrap_or_default();
    take_names(body, &mut |entry| {
        failed = visit(entry);
        failed.is_ok()
    })
    .map_err(wrong)?;
    failed?;
    parse_attributes(slice(parts.attributes).unwrap_or_default()).map_err(|_| wrong("its attributes are cut short"))
}
