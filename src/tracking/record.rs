//! What is remembered of a tracked disk between processes, in a file that is replaced whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::error::TrackingError;
use super::layout::Regime;
use super::places::write_whole;
use super::programs::Attachment;
use super::token::ChainToken;
use super::witness::Witness;
use crate::base::bytes::{ByteReader, PutBytes, Truncated};

/// The last finished cut, and what the next answer is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) token: ChainToken,
    /// The programs of the disk's regime, as they were attached then.
    pub(super) programs: Vec<Option<Attachment>>,
    pub(super) witness: Witness,
}

/// Where the protocol stands. It is written before the step that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Writes are marked in this generation, and no other has a pin that counts.
    Idle(u64),
    /// Writes are marked in this generation, or in the next: the maps are being exchanged, or are and no answer was given since.
    Open(u64),
}

/// Everything about one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) index: u32,
    pub(super) regime: Regime,
    pub(super) chunk_bytes: u32,
    pub(super) phase: Phase,
    /// `None` until the first epoch is over, and when the chain is broken.
    pub(super) base: Option<Base>,
}

const MAGIC: &[u8; 8] = b"ICTRACK1";
/// BLAKE3 of all before it.
const SUM_BYTES: usize = 32;
/// No record is longer: a token, five programs, and a few numbers.
const LONGEST_BYTES: u64 = 4096;

impl Record {
    /// Reads the record of a disk; `None` when there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, TrackingError> {
        let damaged = |why| TrackingError::Damaged { path: path.to_path_buf(), why };
        let bytes =
            match fs::metadata(path).and_then(|meta| if meta.len() > LONGEST_BYTES { Ok(Vec::new()) } else { fs::read(path) }) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                other => other.map_err(|error| TrackingError::os("read", path, error))?,
            };
        let (body, sum) =
            bytes.len().checked_sub(SUM_BYTES).and_then(|at| bytes.split_at_checked(at)).ok_or(damaged("its length"))?;
        if blake3::hash(body).as_bytes() != sum {
            return Err(damaged("its checksum"));
        }
        Self::decode(body).ok().flatten().map(Some).ok_or(damaged("a field"))
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), TrackingError> {
        let mut bytes = self.encode();
        let sum = blake3::hash(&bytes);
        bytes.put(sum.as_bytes());
        write_whole(path, &bytes)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(MAGIC);
        out.put_u32(self.index);
        out.put_u32(self.regime.number());
        out.put_u32(self.chunk_bytes);
        let (phase, generation) = match self.phase {
            Phase::Idle(generation) => (0, generation),
            Phase::Open(generation) => (1, generation),
        };
        out.put_u8(phase);
        out.put_u64(generation);
        out.put_u8(self.base.is_some().into());
        self.base.iter().for_each(|base| base.encode(&mut out));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Option<Self>, Truncated> {
        let mut reader = ByteReader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Ok(None);
        }
        let (index, regime, chunk_bytes) = (reader.u32()?, Regime::parse(reader.u32()?), reader.u32()?);
        let phase = match (reader.u8()?, reader.u64()?) {
            (0, generation) => Some(Phase::Idle(generation)),
            (1, generation) => Some(Phase::Open(generation)),
            _ => None,
        };
        let base = match reader.u8()? {
            0 => Some(None),
            _ => Base::decode(&mut reader)?.map(Some),
        };
        let (Some(regime), Some(phase), Some(base), true) = (regime, phase, base, reader.is_empty()) else { return Ok(None) };
        Ok(Some(Self { index, regime, chunk_bytes, phase, base }))
    }
}

impl Base {
    fn encode(&self, out: &mut Vec<u8>) {
        self.token.encode(out);
        let (kind, completed, issued) = match self.witness {
            Witness::Ahead { completed, issued } => (0, completed, issued),
            Witness::Busy => (1, 0, 0),
            Witness::Silent => (2, 0, 0),
        };
        out.put_u8(kind);
        out.put_u64(completed.cast_unsigned());
        out.put_u64(issued.cast_unsigned());
        // There are five programs, of which a regime has two or three.
        out.put_u8(u8::try_from(self.programs.len()).unwrap_or(u8::MAX));
        for program in &self.programs {
            out.put_u8(program.is_some().into());
            let Attachment { link, program, tag, misses } =
                program.unwrap_or(Attachment { link: 0, program: 0, tag: [0; 8], misses: 0 });
            out.put_u32(link);
            out.put_u32(program);
            out.put(&tag);
            out.put_u64(misses);
        }
    }

    fn decode(reader: &mut ByteReader<'_>) -> Result<Option<Self>, Truncated> {
        let token = ChainToken::decode(reader)?;
        let witness = match (reader.u8()?, reader.u64()?.cast_signed(), reader.u64()?.cast_signed()) {
            (0, completed, issued) => Witness::Ahead { completed, issued },
            (1, ..) => Witness::Busy,
            (2, ..) => Witness::Silent,
            _ => return Ok(None),
        };
        let programs = (0..reader.u8()?).map(|_| decode_program(reader)).collect::<Result<_, _>>()?;
        Ok(Some(Self { token, programs, witness }))
    }
}

fn decode_program(reader: &mut ByteReader<'_>) -> Result<Option<Attachment>, Truncated> {
    let is_attached = reader.u8()? != 0;
    let program = Attachment { link: reader.u32()?, program: reader.u32()?, tag: reader.array()?, misses: reader.u64()? };
    Ok(is_attached.then_some(program))
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::sample;
    use super::*;

    fn record() -> Record {
        let program = Attachment { link: 1, program: 2, tag: [3; 8], misses: 4 };
        let base =
            Base { token: sample(), programs: vec![Some(program), None], witness: Witness::Ahead { completed: -5, issued: 7 } };
        Record { index: 6, regime: Regime::Bios, chunk_bytes: 65_536, phase: Phase::Open(7), base: Some(base) }
    }

    #[test]
    fn a_record_comes_back_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.record");
        assert_eq!(Record::load(&path).unwrap(), None);
        for record in [record(), Record { base: None, phase: Phase::Idle(1), regime: Regime::Requests, ..record() }] {
            record.save(&path).unwrap();
            assert_eq!(Record::load(&path).unwrap(), Some(record));
        }
    }

    #[test]
    fn a_record_with_any_bit_turned_or_any_byte_missing_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.record");
        record().save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(Record::load(&path), Err(TrackingError::Damaged { .. })), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(Record::load(&path), Err(TrackingError::Damaged { .. })), "cut at {at}");
        }
    }

    #[test]
    fn no_bytes_under_a_right_checksum_make_the_reader_panic() {
        let whole = record().encode();
        for at in 0..whole.len() {
            assert!(!matches!(Record::decode(&whole[..at]), Ok(Some(_))), "cut at {at}");
            for value in [0, 1, 2, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _any_answer_but_a_panic = Record::decode(&bytes);
            }
        }
    }
}
