//! Compression of frames, and the quick test that spares incompressible bytes from it.

use std::fmt;

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::format::frame::Codec;

/// Bytes that do not decompress to what the frame promises.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The compressed bytes are malformed.
    #[error("the compressed bytes are malformed")]
    Malformed,
    /// They are well-formed and of another length.
    #[error("the frame holds {found} bytes where its header says {expected}")]
    Length {
        /// What came out.
        found: usize,
        /// What the header says.
        expected: usize,
    },
    /// The library could not be set up.
    #[error("the compressor could not be set up")]
    Setup,
}

/// Compresses frames for one thread; keeps its working memory between frames.
#[derive(Default)]
pub(crate) struct FrameCompressor {
    zstd: Option<(u8, Compressor<'static>)>,
}

impl fmt::Debug for FrameCompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameCompressor")
    }
}

/// A frame is only worth decompressing later if it got smaller by at least a sixteenth.
const WORTH_DIVISOR: usize = 16;

impl FrameCompressor {
    /// Replaces `out` by the compressed form of `raw` and says which codec that is: the asked one, or none where that gains nothing.
    pub(crate) fn compress(&mut self, codec: Codec, raw: &[u8], out: &mut Vec<u8>) -> Result<Codec, CodecError> {
        out.clear();
        if codec != Codec::None && !looks_incompressible(raw) {
            self.try_compress(codec, raw, out)?;
            if out.len() <= raw.len() - raw.len() / WORTH_DIVISOR {
                return Ok(codec);
            }
            out.clear();
        }
        out.extend_from_slice(raw);
        Ok(Codec::None)
    }

    fn try_compress(&mut self, codec: Codec, raw: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        match codec {
            Codec::None => {}
            Codec::Lz4 => {
                out.resize(get_maximum_output_size(raw.len()), 0);
                let length = compress_into(raw, out).map_err(|_| CodecError::Setup)?;
                out.truncate(length);
            }
            Codec::Zstd(level) => {
                out.reserve(compress_bound(raw.len()));
                self.zstd(level)?.compress_to_buffer(raw, out).map_err(|_| CodecError::Setup)?;
            }
        }
        Ok(())
    }

    fn zstd(&mut self, level: u8) -> Result<&mut Compressor<'static>, CodecError> {
        if self.zstd.as_ref().is_none_or(|(known, _)| *known != level) {
            let compressor = Compressor::new(i32::from(level)).map_err(|_| CodecError::Setup)?;
            self.zstd = Some((level, compressor));
        }
        self.zstd.as_mut().map(|(_, compressor)| compressor).ok_or(CodecError::Setup)
    }
}

/// Decompresses frames for one thread.
#[derive(Default)]
pub(crate) struct FrameDecompressor {
    zstd: Option<Decompressor<'static>>,
}

impl fmt::Debug for FrameDecompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameDecompressor")
    }
}

impl FrameDecompressor {
    /// Replaces `out` by the `raw_length` bytes that `stored` holds; never more than that is allocated.
    pub(crate) fn decompress(
        &mut self,
        codec: Codec,
        stored: &[u8],
        raw_length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        out.clear();
        let found = match codec {
            Codec::None => {
                out.extend_from_slice(stored);
                stored.len()
            }
            Codec::Lz4 => {
                out.resize(raw_length, 0);
                decompress_into(stored, out).map_err(|_| CodecError::Malformed)?
            }
            Codec::Zstd(_) => {
                out.reserve_exact(raw_length);
                self.zstd()?.decompress_to_buffer(stored, out).map_err(|_| CodecError::Malformed)?
            }
        };
        if found == raw_length { Ok(()) } else { Err(CodecError::Length { found, expected: raw_length }) }
    }

    fn zstd(&mut self) -> Result<&mut Decompressor<'static>, CodecError> {
        if self.zstd.is_none() {
            self.zstd = Some(Decompressor::new().map_err(|_| CodecError::Setup)?);
        }
        self.zstd.as_mut().ok_or(CodecError::Setup)
    }
}

/// How much is looked at, spread over the frame in pieces.
const SAMPLE_BYTES: usize = 8192;
const SAMPLE_PIECE_BYTES: usize = 512;
/// Chi-squared of 256 byte values is 255 ± 23 for random bytes; well-compressed files stay below 400, text is in the thousands.
const RANDOM_CHI_SQUARED: u64 = 400;

/// True when a sample's byte values are spread as evenly as random ones. Encrypted and well-compressed data look like that.
fn looks_incompressible(raw: &[u8]) -> bool {
    if raw.len() < SAMPLE_BYTES {
        return false;
    }
    let mut counts = [0u64; 256];
    let stride = (raw.len() / (SAMPLE_BYTES / SAMPLE_PIECE_BYTES)).max(SAMPLE_PIECE_BYTES);
    for piece in raw.chunks(stride) {
        for byte in &piece[..SAMPLE_PIECE_BYTES.min(piece.len())] {
            counts[usize::from(*byte)] += 1;
        }
    }
    let total: u64 = counts.iter().sum();
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    // chi² = Σ (count - total/256)² / (total/256) = 256 Σ count² / total - total
    (squares * 256 / total.max(1)).saturating_sub(total) < RANDOM_CHI_SQUARED
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(length: usize, seed: u64) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
        out
    }

    fn codecs() -> [Codec; 4] {
        [Codec::None, Codec::Lz4, Codec::Zstd(1), Codec::Zstd(3)]
    }

    fn round_trip(raw: &[u8], codec: Codec) -> (Codec, usize) {
        let (mut stored, mut back) = (Vec::new(), Vec::new());
        let used = FrameCompressor::default().compress(codec, raw, &mut stored).unwrap();
        FrameDecompressor::default().decompress(used, &stored, raw.len(), &mut back).unwrap();
        assert_eq!(back, raw);
        (used, stored.len())
    }

    proptest! {
        #[test]
        fn bytes_come_back_whatever_the_codec(raw in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1usize..8) {
            for codec in codecs() {
                round_trip(&raw.repeat(repeat), codec);
            }
        }

        #[test]
        fn garbage_never_decompresses_beyond_its_promise(garbage in prop::collection::vec(any::<u8>(), 0..300), length in 0usize..2000) {
            for codec in codecs() {
                let mut out = Vec::new();
                if FrameDecompressor::default().decompress(codec, &garbage, length, &mut out).is_ok() {
                    prop_assert_eq!(out.len(), length);
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_not_compressed_and_text_is() {
        let text = "pod-17 GET /api/v2/users status=200 dur=1234us\n".repeat(3000);
        for codec in [Codec::Lz4, Codec::Zstd(1)] {
            for seed in 0..20 {
                assert_eq!(round_trip(&random(262_144, seed), codec), (Codec::None, 262_144), "seed {seed}");
            }
            let (used, length) = round_trip(text.as_bytes(), codec);
            assert_eq!(used, codec);
            assert!(length < text.len() / 5);
        }
        assert!(!looks_incompressible(text.as_bytes()));
    }

    #[test]
    fn a_frame_that_hardly_shrinks_is_stored_as_it_is() {
        let mut raw = random(4096, 1);
        raw.extend_from_slice(&[0; 100]);
        assert_eq!(round_trip(&raw, Codec::Lz4), (Codec::None, raw.len()));
    }
}
