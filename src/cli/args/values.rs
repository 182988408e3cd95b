//! Values as people write them: sizes, rates, codecs, and the names of paces and engines.

use bytesize::ByteSize;

use crate::cli::commands::backup::Allocated;
use crate::device::{EngineChoice, Pace};
use crate::repository::format::changes::Rung;
use crate::repository::format::frame::Codec;
use crate::rpc::snapshot_metadata::Address;

/// What `zstd` means without a level: the quickest, which a disk or network rarely outruns.
const ZSTD_LEVEL: u8 = 1;
/// The largest level on disk.
const MAX_ZSTD_LEVEL: u8 = 19;

/// A size such as `16KiB` or `4096`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64()).map_err(|_| "write a size such as 16KiB, 1MiB or 4096".to_owned())
}

/// A size that may end in a letter alone, as `find` writes it: `10M` is ten MiB.
pub(super) fn bytes_short(text: &str) -> Result<u64, String> {
    let is_short = text.ends_with(['k', 'K', 'M', 'G', 'T']);
    if is_short { bytes(&format!("{text}iB")) } else { bytes(text) }
}

/// A size that fits 32 bits.
pub(super) fn bytes_u32(text: &str) -> Result<u32, String> {
    u32::try_from(bytes(text)?).map_err(|_| "this is too large".to_owned())
}

/// A rate such as `250MiB/s`.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    match bytes(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(rate) if rate > 0 => Ok(rate),
        Ok(_) | Err(_) => Err("write a rate such as 250MiB/s".to_owned()),
    }
}

/// `lz4`, `zstd`, `zstd:3` or `none`.
pub(super) fn codec(text: &str) -> Result<Codec, String> {
    match (text, text.strip_prefix("zstd:").map(str::parse)) {
        ("none", _) => Ok(Codec::None),
        ("lz4", _) => Ok(Codec::Lz4),
        ("zstd", _) => Ok(Codec::Zstd(ZSTD_LEVEL)),
        (_, Some(Ok(level @ 1..=MAX_ZSTD_LEVEL))) => Ok(Codec::Zstd(level)),
        _ => Err(format!("write lz4, zstd, zstd:LEVEL (1 to {MAX_ZSTD_LEVEL}), or none")),
    }
}

/// `gentle` or `full`.
pub(super) fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "gentle" => Ok(Pace::Gentle),
        "full" => Ok(Pace::Full),
        _ => Err("write gentle or full".to_owned()),
    }
}

/// `auto` or `off`: whether something is done where it can be.
pub(super) fn auto(text: &str) -> Result<bool, String> {
    match text {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err("write auto or off".to_owned()),
    }
}

/// `auto`, `csi` or `off`: whose word counts for what need not be read.
pub(super) fn allocated(text: &str) -> Result<Allocated, String> {
    match text {
        "auto" => Ok(Allocated::FileSystem),
        "csi" => Ok(Allocated::Driver),
        "off" => Ok(Allocated::Off),
        _ => Err("write auto, csi or off".to_owned()),
    }
}

/// Whose word it is that nothing else has changed.
pub(super) fn rung(text: &str) -> Result<Rung, String> {
    text.parse().map_err(|()| format!("write {}", Rung::ALL.map(|rung| rung.to_string()).join(", ")))
}

/// Where a service listens.
pub(super) fn csi_address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

/// `auto`, `uring` or `pread`.
pub(super) fn engine(text: &str) -> Result<EngineChoice, String> {
    text.parse().map_err(|_| "write auto, uring or pread".to_owned())
}

/// A share between none and all, both excluded.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("write a share between 0 and 1, such as 0.01".to_owned()),
    }
}

/// A number of threads: at least one, and no more than helps anywhere.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    const MOST: usize = 256;
    match text.parse() {
        Ok(count @ 1..=MOST) => Ok(count),
        _ => Err(format!("write a number from 1 to {MOST}")),
    }
}

/// The longest name of a volume, in bytes; it is shown in every listing.
const MAX_NAME_BYTES: usize = 200;

/// The name of a volume: not empty, no `@` (which starts a time in VOLUME@TIME), and nothing that moves the cursor.
pub(super) fn volume(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a name has at least one character".to_owned()),
        _ if text.len() > MAX_NAME_BYTES => Err(format!("a name has at most {MAX_NAME_BYTES} bytes")),
        _ if text.contains('@') => Err("a name has no @, which stands between a volume and a time".to_owned()),
        _ if text.chars().any(char::is_control) => Err("a name has no control characters".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_read_in_binary_and_decimal_units() {
        for (text, expected) in [("4096", 4096), ("16KiB", 16 << 10), ("1MiB", 1 << 20), ("1.5 GiB", 3 << 29), ("2MB", 2_000_000)] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
            assert_eq!(rate(&format!("{text}/s")), Ok(expected), "{text}");
        }
        for text in ["", "-1", "x", "1XB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!((bytes_short("10M"), bytes_short("3k"), bytes_short("7")), (Ok(10 << 20), Ok(3 << 10), Ok(7)));
        assert!(rate("0").is_err() && bytes_u32("4GiB").is_err());
    }

    #[test]
    fn codecs_are_read_with_their_levels() {
        assert_eq!(codec("zstd"), Ok(Codec::Zstd(1)));
        assert_eq!(codec("zstd:19"), Ok(Codec::Zstd(19)));
        assert_eq!(codec("lz4"), Ok(Codec::Lz4));
        assert_eq!(codec("none"), Ok(Codec::None));
        for text in ["", "zstd:0", "zstd:20", "zstd:", "gzip", "lz4:1"] {
            assert!(codec(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        for text in ["", "a@b", "a\nb", "\u{1b}[2J", &"x".repeat(201)] {
            assert!(volume(text).is_err(), "{text:?}");
        }
        for text in ["db", "pvc-1/näme with space", &"x".repeat(200)] {
            assert_eq!(volume(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn shares_and_threads_have_bounds() {
        assert!(share("0").is_err() && share("1").is_err() && share("NaN").is_err() && share("0.5") == Ok(0.5));
        assert!(threads("0").is_err() && threads("257").is_err() && threads("2") == Ok(2));
    }
}
