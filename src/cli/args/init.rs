//! Arguments of `icecore init`.

use clap::Args;

use super::{JsonArgs, values};
use crate::cli::commands::init::Settings;
use crate::cli::context::Voice;
use crate::cli::failure::Failure;
use crate::repository::InitOptions;
use crate::repository::format::config::{MAX_PACK_BYTES, MIN_PACK_BYTES, is_chunk_size};
use crate::repository::format::frame::Codec;

/// Make a repository, and its first key
///
/// With ICECORE_KEY_FILE set, the key is taken from that file, or a new one is written there if there is none. With
/// ICECORE_PASSPHRASE set, that is the key. With neither, a passphrase is asked for. Whoever loses all keys loses the data.
#[derive(Debug, Args)]
pub(in crate::cli) struct InitArgs {
    /// Where: a path, file:///path, s3://bucket/prefix, gs://bucket/prefix, or az://container/prefix
    #[arg(value_name = "REPO", env = "ICECORE_REPO")]
    repo: Option<String>,
    /// Chunk size for volumes that do not choose their own: a power of two from 4KiB to 1MiB
    #[arg(long, value_name = "SIZE", value_parser = values::bytes_u32)]
    chunk: Option<u32>,
    /// How chunks are compressed unless a backup says otherwise: lz4, zstd, zstd:LEVEL or none
    #[arg(long, value_parser = values::codec)]
    codec: Option<Codec>,
    /// Length of the objects that hold the data: 64KiB to 32MiB
    #[arg(long, value_name = "SIZE", value_parser = values::bytes_u32)]
    pack_size: Option<u32>,
    #[command(flatten)]
    json: JsonArgs,
}

impl InitArgs {
    pub(in crate::cli) fn settle(self) -> Result<(Settings, Voice), Failure> {
        let location = self.repo.filter(|repo| !repo.is_empty());
        let location = location.ok_or_else(|| Failure::refused("where? name a place for the repository, or set ICECORE_REPO"))?;
        let default = InitOptions::default();
        let options = InitOptions {
            chunk_bytes: self.chunk.unwrap_or(default.chunk_bytes),
            pack_bytes: self.pack_size.unwrap_or(default.pack_bytes),
            codec: self.codec.unwrap_or(default.codec),
        };
        if !is_chunk_size(options.chunk_bytes) {
            return Err(Failure::refused("a chunk size is a power of two from 4KiB to 1MiB"));
        }
        if !(MIN_PACK_BYTES..=MAX_PACK_BYTES).contains(&options.pack_bytes) {
            return Err(Failure::refused("a pack size lies between 64KiB and 32MiB"));
        }
        Ok((Settings { location, options }, self.json.settle()))
    }
}
