//! The token of a cut: what a backup keeps, so that the next epoch can prove that it goes on from there.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::base::bytes::{ByteReader, PutBytes, Truncated};

/// Names one cut of one disk, in one life of the machine and the tracker. Two cuts never have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainToken {
    /// The life of the machine: the kernel's random boot id.
    pub boot: [u8; 16],
    /// The tracker's identity, drawn when it was attached.
    pub tracker: [u8; 16],
    /// The kernel's number of the disk, which is never used again.
    pub diskseq: u64,
    /// Writes since this cut are marked in this generation and later ones.
    pub generation: u64,
    /// Size of the disk.
    pub size_bytes: u64,
    /// Size of a chunk.
    pub chunk_bytes: u32,
    /// BLAKE3 of the answer that was given for this cut.
    pub digest: [u8; 32],
}

/// Text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is no token of a cut ({0}); give the file that 'icecore track epoch' wrote, or none for a first epoch")]
pub struct TokenError(&'static str);

impl From<Truncated> for TokenError {
    fn from(_: Truncated) -> Self {
        Self("it is too short")
    }
}

/// Before the digits, with the version.
const PREFIX: &str = "icecore-cut-1:";
/// Bytes of BLAKE3 that show a slip of the pen.
const CHECK_BYTES: usize = 4;

impl ChainToken {
    /// Length on disk.
    pub(super) const BYTES: usize = 16 + 16 + 8 + 8 + 8 + 4 + 32;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.boot);
        out.put(&self.tracker);
        out.put_u64(self.diskseq);
        out.put_u64(self.generation);
        out.put_u64(self.size_bytes);
        out.put_u32(self.chunk_bytes);
        out.put(&self.digest);
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            boot: reader.array()?,
            tracker: reader.array()?,
            diskseq: reader.u64()?,
            generation: reader.u64()?,
            size_bytes: reader.u64()?,
            chunk_bytes: reader.u32()?,
            digest: reader.array()?,
        })
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut out = [0; CHECK_BYTES];
    blake3::Hasher::new_derive_key("icecore v1 cut token check").update(bytes).finalize_xof().fill(&mut out);
    out
}

impl fmt::Display for ChainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(Self::BYTES + CHECK_BYTES);
        self.encode(&mut bytes);
        let check = check(&bytes);
        bytes.put(&check);
        f.write_str(PREFIX)?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ChainToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TokenError("it does not begin as one"))?;
        let bytes = unhex(digits).ok_or(TokenError("it is not made of pairs of digits"))?;
        let mut reader = ByteReader::new(&bytes);
        let body = reader.take(Self::BYTES)?;
        let sum: [u8; CHECK_BYTES] = reader.array()?;
        match (reader.is_empty(), sum == check(body)) {
            (false, _) => Err(TokenError("it is too long")),
            (true, false) => Err(TokenError("its checksum is wrong")),
            (true, true) => Ok(Self::decode(&mut ByteReader::new(body))?),
        }
    }
}

/// Bounded by the length of the text.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        digits.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::tracking) fn sample() -> ChainToken {
        ChainToken {
            boot: [1; 16],
            tracker: [2; 16],
            diskseq: 408,
            generation: 7,
            size_bytes: 1 << 30,
            chunk_bytes: 65_536,
            digest: [3; 32],
        }
    }

    #[test]
    fn a_token_comes_back_from_its_text() {
        let text = sample().to_string();
        assert_eq!(text.parse(), Ok(sample()));
        assert_eq!(format!(" {text}\n").parse(), Ok(sample()));
    }

    #[test]
    fn text_with_any_digit_changed_or_missing_is_refused() {
        let text = sample().to_string();
        for at in PREFIX.len()..text.len() {
            let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            let changed = [&text[..at], other, &text[at + 1..]].concat();
            assert!(changed.parse::<ChainToken>().is_err(), "digit {at}");
            assert!(text[..at].parse::<ChainToken>().is_err(), "cut at {at}");
        }
        for text in ["", "icecore-cut-2:00", &(text.clone() + "00"), &text.replace('a', "ä"), "icecore-cut-1:zz"] {
            assert!(text.parse::<ChainToken>().is_err() || text == sample().to_string(), "{text}");
        }
    }
}
