//! The names of things in a repository: fixed-size identifiers, and how they read as text.

use std::fmt;

use crate::base::clock::Timestamp;
use crate::base::entropy::{Entropy, EntropyError};

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes of lower- or upper-case hexadecimal.
#[must_use]
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// A new random identifier.
            pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                let mut bytes = [0; $bytes];
                entropy.fill(&mut bytes)?;
                Ok(Self(bytes))
            }

            /// Reads the hexadecimal form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
    };
}

identifier!(
    /// Keyed BLAKE3 of a chunk's bytes or of a tree node's bytes.
    ContentId, 32
);
identifier!(
    /// A pack object. Random, so that its frame keys are never used twice.
    PackId, 16
);
identifier!(
    /// A writer's lease.
    LeaseId, 16
);
identifier!(
    /// A key slot.
    SlotId, 8
);
identifier!(
    /// A repository, for life.
    RepositoryId, 16
);
identifier!(
    /// Keyed hash of a volume's name: the store never sees the name itself.
    VolumeKey, 16
);
identifier!(
    /// A small record: a verdict or a condemned list.
    RecordId, 16
);

/// A recovery point. Objects are named time first, so that a listing sorts by age; people use the random part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId {
    /// When the point was committed; its first 6 bytes of the object name, big-endian milliseconds.
    pub time: Timestamp,
    /// The part that people type.
    pub random: [u8; 10],
}

/// The largest time that fits the six bytes of a [`PointId`]: the year 10889.
const MAX_POINT_TIME: u64 = (1 << 48) - 1;

impl PointId {
    /// A new identifier for a point committed at `time`.
    pub fn new(time: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = [0; 10];
        entropy.fill(&mut random)?;
        Ok(Self { time: Timestamp(time.0.min(MAX_POINT_TIME)), random })
    }

    /// The 16 bytes: time, then the random part.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..6].copy_from_slice(&self.time.0.to_be_bytes()[2..]);
        out[6..].copy_from_slice(&self.random);
        out
    }

    /// The identifier in these 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let mut time = [0; 8];
        time[2..].copy_from_slice(&bytes[..6]);
        let mut random = [0; 10];
        random.copy_from_slice(&bytes[6..]);
        Self { time: Timestamp(u64::from_be_bytes(time)), random }
    }

    /// The 32 hexadecimal digits that name the object.
    #[must_use]
    pub fn object_name(self) -> String {
        RecordId(self.to_bytes()).to_string()
    }

    /// Reads an object name.
    #[must_use]
    pub fn parse_object_name(name: &str) -> Option<Self> {
        parse_hex(name).map(Self::from_bytes)
    }

    /// The first eight digits, enough for people most of the time.
    #[must_use]
    pub fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.random)
    }
}

impl fmt::Debug for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_names_sort_by_time_and_come_back() {
        let early = PointId { time: Timestamp(1_000), random: [0xff; 10] };
        let late = PointId { time: Timestamp(1_001), random: [0; 10] };
        assert!(early.object_name() < late.object_name());
        assert_eq!(PointId::parse_object_name(&early.object_name()), Some(early));
        assert_eq!(early.to_string().len(), 20);
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(parse_hex::<2>("0aFf"), Some([0x0a, 0xff]));
        for bad in ["", "0a", "0aff0", "0a f", "zzzz", "+1+1", "ää"] {
            assert_eq!(parse_hex::<2>(bad), None, "{bad:?}");
        }
    }
}
