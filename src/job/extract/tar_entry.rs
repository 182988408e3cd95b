//! One entry of a POSIX archive as bytes: a ustar header, and before it a pax header for what ustar cannot say.
//!
//! ```text
//!   [pax header | records padded to 512] header | content padded to 512
//! ```

use crate::filesystem::FileTime;

/// Everything in an archive is a multiple of this.
pub(super) const BLOCK_BYTES: usize = 512;
/// The longest name that a header holds.
const NAME_BYTES: usize = 100;
/// Numbers from here on do not fit eleven octal digits: a size of 8 GiB, a time in the year 2242.
const LARGE: u64 = 0o77_777_777_777;
/// Numbers from here on do not fit seven octal digits.
const LARGE_OWNER: u64 = 0o7_777_777;

/// What an entry is, by the letter in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
    Pax,
}

impl EntryKind {
    fn letter(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharacterDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::Pax => b'x',
        }
    }
}

/// The facts of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryFacts<'a> {
    pub(super) kind: EntryKind,
    pub(super) path: &'a [u8],
    /// Where a link leads.
    pub(super) target: &'a [u8],
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) accessed: FileTime,
    pub(super) modified: FileTime,
    pub(super) device: (u32, u32),
}

impl EntryFacts<'_> {
    /// The header, after a pax header where one is needed. `more` are further pax records.
    pub(super) fn encode(&self, more: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut records = Vec::new();
        self.push_records(&mut records);
        more.iter().for_each(|(key, value)| push_record(&mut records, key, value));
        let mut out = Vec::new();
        if !records.is_empty() {
            let pax = EntryFacts { kind: EntryKind::Pax, target: b"", size: records.len() as u64, ..*self };
            out.extend_from_slice(&pax.header());
            out.extend_from_slice(&records);
            pad(&mut out);
        }
        out.extend_from_slice(&self.header());
        out
    }

    fn push_records(&self, records: &mut Vec<u8>) {
        for (key, text) in [(&b"path"[..], self.path), (b"linkpath", self.target)] {
            if text.len() > NAME_BYTES || !text.is_ascii() {
                push_record(records, key, text);
            }
        }
        for (key, number, large) in [
            (&b"size"[..], self.size, LARGE),
            (b"uid", u64::from(self.uid), LARGE_OWNER),
            (b"gid", u64::from(self.gid), LARGE_OWNER),
        ] {
            if number > large {
                push_record(records, key, number.to_string().as_bytes());
            }
        }
        if !is_whole(self.modified) || !is_whole(self.accessed) {
            push_record(records, b"mtime", decimal(self.modified).as_bytes());
            push_record(records, b"atime", decimal(self.accessed).as_bytes());
        }
    }

    fn header(&self) -> [u8; BLOCK_BYTES] {
        let mut fields = Fields { bytes: [0; BLOCK_BYTES], at: 0 };
        let seconds = u64::try_from(self.modified.seconds).unwrap_or(0);
        fields.text(self.path, NAME_BYTES);
        fields.octal(u64::from(self.mode), 8);
        fields.octal(if u64::from(self.uid) > LARGE_OWNER { 0 } else { self.uid.into() }, 8);
        fields.octal(if u64::from(self.gid) > LARGE_OWNER { 0 } else { self.gid.into() }, 8);
        fields.octal(if self.size > LARGE { 0 } else { self.size }, 12);
        fields.octal(if seconds > LARGE { 0 } else { seconds }, 12);
        fields.text(b"        ", 8);
        fields.text(&[self.kind.letter()], 1);
        fields.text(self.target, NAME_BYTES);
        fields.text(b"ustar\x0000", 8);
        fields.text(b"", 64);
        fields.octal(u64::from(self.device.0) & LARGE_OWNER, 8);
        fields.octal(u64::from(self.device.1) & LARGE_OWNER, 8);
        fields.with_checksum()
    }
}

/// A header being filled from its front.
struct Fields {
    bytes: [u8; BLOCK_BYTES],
    at: usize,
}

impl Fields {
    fn text(&mut self, text: &[u8], width: usize) {
        let field = self.bytes.iter_mut().skip(self.at).take(width);
        field.zip(text).for_each(|(byte, letter)| *byte = *letter);
        self.at += width;
    }

    fn octal(&mut self, number: u64, width: usize) {
        let digits = width - 1;
        self.text(format!("{number:0digits$o}").as_bytes(), width);
    }

    fn with_checksum(mut self) -> [u8; BLOCK_BYTES] {
        const CHECKSUM_AT: usize = 148;
        let sum: u64 = self.bytes.iter().map(|byte| u64::from(*byte)).sum();
        self.at = CHECKSUM_AT;
        self.text(format!("{sum:06o}\0 ").as_bytes(), 8);
        self.bytes
    }
}

/// A time that a header can say.
fn is_whole(time: FileTime) -> bool {
    time.nanoseconds == 0 && u64::try_from(time.seconds).is_ok_and(|seconds| seconds <= LARGE)
}

/// Seconds with a fraction; before 1970 the fraction counts away from zero, too.
fn decimal(time: FileTime) -> String {
    let FileTime { seconds, nanoseconds } = time;
    match (seconds < 0, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (false, _) => format!("{seconds}.{nanoseconds:09}"),
        (true, _) => format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000_u32.saturating_sub(nanoseconds)),
    }
}

/// A record begins with its own length, digits included.
fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    [b" ", key, b"=", value, b"\n"].iter().for_each(|piece| out.extend_from_slice(piece));
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        for (value, start) in [(1, "6 k="), (4, "9 k="), (5, "11 k="), (93, "99 k="), (94, "101 k="), (95, "102 k=")] {
            let mut out = Vec::new();
            push_record(&mut out, b"k", &vec![b'v'; value]);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(start), "{text}");
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn times_have_their_sign_and_fraction() {
        for (seconds, nanoseconds, text) in [
            (5, 0, "5"),
            (5, 7, "5.000000007"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 750_000_000, "-1.250000000"),
            (-3, 0, "-3"),
        ] {
            assert_eq!(decimal(FileTime { seconds, nanoseconds }), text);
        }
    }
}
