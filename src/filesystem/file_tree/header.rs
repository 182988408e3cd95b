//! The two ends of the volume of a file tree: what it is, and how far it has been written.

use super::layout::{FIRST_PLACE, MAGIC, MAX_NUMBER, RECORDS_FIRST, STATE_MAGIC, VERSION};
use crate::base::bytes::{ByteReader, PutBytes, Truncated};
use crate::base::clock::Timestamp;
use crate::base::extent::Extent;

/// The longest label: what it was taken from, in bytes.
const MAX_LABEL_BYTES: usize = 2048;
/// The header never takes more.
pub(super) const HEADER_BYTES: usize = 34 + MAX_LABEL_BYTES;
/// Length of the state.
pub(super) const STATE_BYTES: usize = 72;

/// What a tree says of itself; the same in all its points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHeader {
    /// Drawn when the tree was laid out first.
    pub uuid: [u8; 16],
    /// The directory that it was taken from.
    pub label: Vec<u8>,
}

impl TreeHeader {
    /// The bytes from place 0 on.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let label = self.label.get(..self.label.len().min(MAX_LABEL_BYTES)).unwrap_or_default();
        let mut out = Vec::new();
        out.put(MAGIC);
        out.put_u8(VERSION);
        out.put(&[0; 7]);
        out.put(&self.uuid);
        out.put_u16(u16::try_from(label.len()).unwrap_or(0));
        out.put(label);
        out
    }

    /// Reads a header; `Err` says what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = ByteReader::new(bytes);
        begins(&mut reader, MAGIC)?;
        let mut rest = || {
            let uuid = reader.array()?;
            let length = reader.u16()?;
            Ok(Self { uuid, label: reader.take(length.into())?.to_vec() })
        };
        rest().map_err(|error: Truncated| error.to_string())
    }
}

/// How far a tree has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeState {
    /// When the walk over the source began.
    pub started: Timestamp,
    /// The first number that no inode has had.
    pub next_number: u64,
    /// The first place that nothing has had.
    pub next_place: u64,
    /// Inodes in it.
    pub inodes: u64,
    /// Bytes of their content, as long as files are.
    pub content_bytes: u64,
    /// Where the list of places lies that nothing uses and the next point makes holes: offset and length each.
    pub idle: Extent,
}

impl TreeState {
    /// The bytes of the state.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STATE_BYTES);
        out.put(STATE_MAGIC);
        out.put_u8(VERSION);
        out.put(&[0; 7]);
        let numbers = [self.started.0, self.next_number, self.next_place, self.inodes, self.content_bytes];
        numbers.into_iter().chain([self.idle.offset, self.idle.length]).for_each(|number| out.put_u64(number));
        out
    }

    /// Reads a state; `Err` says what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = ByteReader::new(bytes);
        begins(&mut reader, STATE_MAGIC)?;
        let mut number = || reader.u64().map_err(|error| error.to_string());
        let state = Self {
            started: Timestamp(number()?),
            next_number: number()?,
            next_place: number()?,
            inodes: number()?,
            content_bytes: number()?,
            idle: Extent { offset: number()?, length: number()? },
        };
        let is_placed = (FIRST_PLACE..=RECORDS_FIRST).contains(&state.next_place);
        let list_end = state.idle.offset.checked_add(state.idle.length);
        if !is_placed || state.next_number > MAX_NUMBER || list_end.is_none_or(|end| end > state.next_place) {
            return Err("it holds what no writer writes".to_owned());
        }
        Ok(state)
    }
}

fn begins(reader: &mut ByteReader<'_>, magic: &[u8; 8]) -> Result<(), String> {
    let mut read = || Ok((reader.array::<8>()?, reader.u8()?, reader.array::<7>()?));
    match read().map_err(|error: Truncated| error.to_string())? {
        (found, ..) if found != *magic => Err("it does not begin as it should".to_owned()),
        (_, VERSION, _) => Ok(()),
        (_, version, _) => Err(format!("its version is {version}, and this icecore reads {VERSION}")),
    }
}
