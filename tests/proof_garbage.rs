//! Garbage in place of any object: nothing panics, nothing wrong is handed out, nothing good is destroyed.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use bytes::Bytes;
use icecore::repository::format::condemned::CondemnedList;
use icecore::repository::format::config::Config;
use icecore::repository::format::envelope::Envelope;
use icecore::repository::format::frame::FrameHeader;
use icecore::repository::format::keyring::KeyringBytes;
use icecore::repository::format::lease::Lease;
use icecore::repository::format::node::Node;
use icecore::repository::format::pack::{PackHeader, PackTrailer, parse_pack, slot_bytes};
use icecore::repository::format::point::Point;
use icecore::repository::format::slot::KeySlot;
use icecore::repository::format::verdict::Verdict;
use icecore::store::ObjectKey;
use icecore::store::Store;
use icecore::testkit::contents::random_bytes;
use icecore::testkit::dice::{Dice, each_seed};
use proptest::prelude::*;
use std::iter;

#[path = "proof_damage/everything.rs"]
mod everything;
use everything::Everything;

/// Around every bound that a parser looks at, and beyond all of them.
const LENGTHS: [usize; 12] = [0, 1, 8, 9, 31, 32, 64, 92, 100, 200, 4_096, 1 << 20];

#[test]
fn garbage_of_any_length_in_place_of_any_object_is_survived() {
    let scene = Everything::new(1);
    for (number, key) in scene.keys().into_iter().enumerate() {
        let good = scene.store.get(&key).unwrap();
        let is_pack = key.as_str().starts_with("packs/");
        for (index, length) in LENGTHS.into_iter().enumerate() {
            // Packs have a test of their own, and there are many; each meets some of the lengths here.
            if is_pack && !(number + index).is_multiple_of(6) {
                continue;
            }
            let copy = scene.copy();
            copy.store.put(&key, Bytes::from(random_bytes(length, length as u64))).unwrap();
            let what = format!("{length} bytes of garbage in {key}");
            let noticed = copy.notice();
            assert!(noticed.keyless && noticed.deep, "{what}: {noticed:?}");
            copy.survive(&[(key.clone(), good.clone())], &what);
        }
    }
}

#[test]
fn a_good_beginning_with_a_garbage_end_is_survived() {
    each_seed(0..2, |seed| {
        let scene = Everything::new(seed);
        let dice = Dice::new(seed);
        for key in scene.keys() {
            let good = scene.store.get(&key).unwrap();
            for _ in 0..3 {
                let mut bytes = good[..dice.index(good.len())].to_vec();
                let garbage = dice.index([40, 5_000][dice.index(2)]) + 1;
                bytes.extend(random_bytes(garbage, dice.below(u64::MAX)));
                let copy = scene.copy();
                copy.store.put(&key, Bytes::from(bytes)).unwrap();
                let what = format!("{key} ends in {garbage} bytes of garbage (seed {seed})");
                let noticed = copy.notice();
                assert!(noticed.keyless && noticed.deep, "{what}: {noticed:?}");
                copy.survive(&[(key.clone(), good.clone())], &what);
            }
        }
    });
}

#[test]
fn strangers_beside_our_objects_are_survived() {
    let scene = Everything::new(2);
    let names =
        ["config.old", "packs/zz", "packs/00/nonsense", "points/x", "points/x/y", "leases/mine", "verdicts/a/b", "keys/k", "x"];
    let copy = scene.copy();
    for (number, name) in names.into_iter().enumerate() {
        let key = ObjectKey::new(name).unwrap();
        copy.store.put(&key, Bytes::from(random_bytes(50 * number, 1))).unwrap();
    }
    copy.survive(&[], "strangers");
}

/// Every parser of the format, given the same bytes. What they make of them is their affair; they must come back.
fn parse_all(bytes: &[u8]) {
    let _ = Config::parse(bytes);
    let _ = KeySlot::parse(bytes);
    let _ = KeyringBytes::parse(bytes);
    let _ = Envelope::parse(bytes);
    let _ = Point::parse(bytes);
    let _ = Lease::parse(bytes);
    let _ = Verdict::parse(bytes);
    let _ = CondemnedList::parse(bytes);
    let _ = Node::parse(bytes);
    let _ = FrameHeader::parse(bytes);
    let _ = PackHeader::parse(bytes);
    if let Ok(trailer) = PackTrailer::parse(bytes) {
        let _ = trailer.parse_table(bytes, bytes.len() as u64);
    }
    if let Ok((_, slots)) = parse_pack(bytes) {
        slots.iter().for_each(|slot| drop(slot_bytes(bytes, slot).map(<[u8]>::len)));
    }
}

/// Gives garbage the magic, version and checksums that let it through the first doors.
fn with_credentials(mut bytes: Vec<u8>, magic: usize) -> Vec<u8> {
    let magics: [&[u8]; 4] = [b"ICECONF\n\x01", b"ICESLOT\n\x01", b"ICESEAL\n\x01", b"ICEPACK\n\x01"];
    let magic = magics[magic % magics.len()];
    let length = magic.len().min(bytes.len());
    bytes[..length].copy_from_slice(&magic[..length]);
    if magic.starts_with(b"ICEPACK") && bytes.len() >= 64 {
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        // A trailer that believes in a table of what stands before it.
        let table = bytes[64..].len() / 12;
        let crc = crc32fast::hash(&bytes[bytes.len() - table * 12..]);
        let mut trailer = Vec::new();
        trailer.extend((table as u32).to_le_bytes());
        trailer.extend([0; 4]);
        trailer.extend(crc.to_le_bytes());
        trailer.extend([0; 8]);
        trailer.extend(crc32fast::hash(&trailer).to_le_bytes());
        trailer.extend(b"ICEPEND\n");
        bytes.extend(trailer);
        return bytes;
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_parser_panics_on_garbage(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        parse_all(&bytes);
    }

    #[test]
    fn no_parser_panics_on_garbage_with_good_checksums(bytes in prop::collection::vec(any::<u8>(), 0..600), magic in 0usize..4) {
        parse_all(&with_credentials(bytes, magic));
    }

    #[test]
    fn no_parser_panics_on_tagged_fields_that_lie(
        fields in prop::collection::btree_map(prop_oneof![0u16..14, 0x8000u16..0x8004], prop::collection::vec(any::<u8>(), 0..80), 0..14),
        lie in any::<u32>(), at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (tag, value) in fields {
            bytes.extend(tag.to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
        }
        parse_all(&bytes);
        if bytes.len() >= 4 {
            let at = at.index(bytes.len() - 3);
            bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            parse_all(&bytes);
        }
    }
}

#[test]
fn no_parser_believes_a_length_before_it_has_seen_the_bytes() {
    // Each claims four billion of something. A parser that reserved for it would be killed right here.
    let claims = |prefix: &[u8], padding: usize| {
        let mut bytes = prefix.to_vec();
        bytes.extend(iter::repeat_n(0xff, padding));
        bytes
    };
    for padding in 0..300 {
        for prefix in [
            &b""[..],
            b"ICECONF\n\x01",
            b"ICESLOT\n\x01",
            b"ICESEAL\n\x01",
            b"ICEPACK\n\x01",
            b"\x01\x00",
            b"\x02\x01",
            b"\x01\x00\xff\xff",
        ] {
            let bytes = claims(prefix, padding);
            parse_all(&bytes);
            parse_all(&with_credentials(bytes, padding));
        }
    }
}
