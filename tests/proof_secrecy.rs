//! Promise 6: the store sees ciphertext and keyed names, nothing twice under one key and nonce, and needs no key to find rot.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests and their helpers fail by panicking, and say what they found"
)]

use icecore::job::backup::BackupRequest;
use icecore::repository::format::frame::Codec;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::ControlFlow;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use icecore::base::cancel::Cancel;
use icecore::base::progress::Silent;
use icecore::repository::format::pack::parse_pack;
use icecore::repository::format::verdict::VerdictKind;
use icecore::repository::{CollectOptions, SAFE_WAIT, scrub};
use icecore::store::memory::Memory;
use icecore::store::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreError};
use icecore::testkit::contents::{scribble, volume_bytes};
use icecore::testkit::manual_clock::ManualClock;
use icecore::testkit::trial::{self, environment};
use icecore::testkit::volume::MemoryVolume;

/// Keeps a copy of everything that was ever put, overwritten and deleted objects too.
#[derive(Debug)]
struct Eavesdropper {
    inner: Memory,
    heard: Mutex<Vec<(ObjectKey, Bytes)>>,
}

impl Store for Eavesdropper {
    fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.heard.lock().unwrap().push((key.clone(), bytes.clone()));
        self.inner.put(key, bytes)
    }
    fn put_if_absent(&self, key: &ObjectKey, bytes: Bytes) -> Result<Created, StoreError> {
        self.heard.lock().unwrap().push((key.clone(), bytes.clone()));
        self.inner.put_if_absent(key, bytes)
    }
    fn get(&self, key: &ObjectKey) -> Result<Bytes, StoreError> {
        self.inner.get(key)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(key, range)
    }
    fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        self.inner.size(key)
    }
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectEntry) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }
    fn delete(&self, key: &ObjectKey) -> Result<Deleted, StoreError> {
        self.inner.delete(key)
    }
    fn location(&self) -> String {
        self.inner.location()
    }
}

const VOLUME: &str = "payroll-database";
const HOST: &str = "node-17.example";
const SOURCE: &str = "/dev/mapper/vault";
const NOTE: &str = "asked for by the auditors";
/// Incompressible neighbours keep these from being broken up by a codec.
const MARKER: &[u8] = b"MARKER-OF-THE-CONTENT-4f1c";

/// A repository's whole life: points, checkpoints, verdicts, a rotation, forgetting, condemning, rewriting.
fn life(seed: u64) -> Vec<(ObjectKey, Bytes)> {
    let clock = Arc::new(ManualClock::default());
    let spy = Arc::new(Eavesdropper { inner: Memory::new(clock.clone()), heard: Mutex::default() });
    let store: Arc<dyn Store> = spy.clone();
    let mut repository = trial::init(&store, environment(&clock, seed)).unwrap();
    // The same contents whatever the seed.
    let volume = MemoryVolume::new(volume_bytes(600_000, 1));
    for number in 0..5 {
        volume.change(|bytes| {
            scribble(bytes, number);
            bytes.chunks_mut(5_000).for_each(|piece| piece[..MARKER.len()].copy_from_slice(MARKER));
        });
        let request = BackupRequest {
            host: HOST.to_owned(),
            source: SOURCE.to_owned(),
            checkpoint_bytes: 50_000,
            codec: (number % 2 == 0).then_some(Codec::None),
            ..trial::request(&repository, VOLUME)
        };
        let point = trial::run(&repository, &request, &volume).unwrap().point;
        repository.add_verdict(point.id, VerdictKind::Pinned, NOTE).unwrap();
        clock.advance(SAFE_WAIT * 2);
        if number == 2 {
            repository.rotate_key().unwrap();
        }
        if number > 1 {
            let oldest = repository.points().unwrap().points.remove(0);
            repository.forget_point(&oldest).unwrap();
            repository.collect(CollectOptions { dry_run: false, wait: SAFE_WAIT }).unwrap();
        }
    }
    let heard = mem::take(&mut *spy.heard.lock().unwrap());
    for prefix in ["config", "keys/", "packs/", "points/", "verdicts/", "leases/", "condemned/"] {
        assert!(heard.iter().any(|(key, _)| key.as_str().starts_with(prefix)), "nothing was put under {prefix}");
    }
    heard
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn neither_names_nor_contents_reach_the_store() {
    for (key, bytes) in life(1) {
        for secret in [VOLUME.as_bytes(), HOST.as_bytes(), SOURCE.as_bytes(), NOTE.as_bytes(), MARKER, b"the same words"] {
            // Half of it would tell as much.
            assert!(!contains(&bytes, &secret[..secret.len() / 2]), "{key} holds {:?}", String::from_utf8_lossy(secret));
            assert!(!contains(key.as_str().as_bytes(), secret), "{key} is named after {:?}", String::from_utf8_lossy(secret));
        }
    }
}

#[test]
fn one_content_in_two_repositories_has_nothing_in_common() {
    let volume_of = |heard: &[(ObjectKey, Bytes)]| {
        let point = heard.iter().find(|(key, _)| key.as_str().starts_with("points/")).unwrap();
        point.0.as_str().split('/').nth(1).unwrap().to_owned()
    };
    let (one, other) = (life(1), life(2));
    assert_ne!(volume_of(&one), volume_of(&other), "a volume has one name in two repositories");
    let names = |heard: &[(ObjectKey, Bytes)]| heard.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>();
    let common: Vec<_> = names(&one).intersection(&names(&other)).cloned().collect();
    assert_eq!(common, [ObjectKey::new("config").unwrap()]);
    // Sixteen bytes of one in the other would be a coincidence of one in 2^100.
    let pieces = |heard: &[(ObjectKey, Bytes)]| -> BTreeSet<Vec<u8>> {
        let packs = heard.iter().filter(|(key, _)| key.as_str().starts_with("packs/"));
        packs.flat_map(|(_, bytes)| sealed_pieces(bytes)).collect()
    };
    let (one, other) = (pieces(&one), pieces(&other));
    assert!(one.len() > 10_000, "little was at stake");
    assert_eq!(one.intersection(&other).count(), 0, "packs of two repositories share ciphertext");
}

#[test]
fn one_content_stored_twice_in_one_repository_is_sealed_differently() {
    let clock = Arc::new(ManualClock::default());
    let spy = Arc::new(Eavesdropper { inner: Memory::new(clock.clone()), heard: Mutex::default() });
    let store: Arc<dyn Store> = spy.clone();
    let repository = trial::init(&store, environment(&clock, 1)).unwrap();
    let volume = MemoryVolume::new(volume_bytes(600_000, 1));
    let mut runs = Vec::new();
    for _ in 0..2 {
        trial::run(&repository, &BackupRequest { full: true, ..trial::request(&repository, VOLUME) }, &volume).unwrap();
        let heard = mem::take(&mut *spy.heard.lock().unwrap());
        let packs = heard.iter().filter(|(key, _)| key.as_str().starts_with("packs/"));
        runs.push(packs.flat_map(|(_, bytes)| sealed_pieces(bytes)).collect::<BTreeSet<_>>());
    }
    assert!(runs.iter().all(|pieces| pieces.len() > 5_000), "little was at stake");
    assert_eq!(runs[0].intersection(&runs[1]).count(), 0, "equal chunks can be told by their ciphertext");
}

/// The ciphertext of a pack in pieces of sixteen bytes, without the clear headers and tables.
fn sealed_pieces(pack: &[u8]) -> Vec<Vec<u8>> {
    let (_, slots) = parse_pack(pack).unwrap();
    let frames = slots.iter().filter(|slot| slot.is_live()).map(|slot| &pack[slot.offset as usize..][8..slot.stored as usize]);
    frames.flat_map(|frame| frame.chunks_exact(16).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

/// (key, nonce) pairs must never meet twice with different bytes: packs have a key each, envelopes one for each name.
#[test]
fn no_key_and_nonce_are_used_twice() {
    let mut frames: BTreeMap<(ObjectKey, u32), Vec<u8>> = BTreeMap::new();
    let mut envelopes: BTreeMap<(ObjectKey, u16, Vec<u8>), Bytes> = BTreeMap::new();
    let mut slots: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut rewritten = 0;
    for (key, bytes) in life(3) {
        match key.as_str().split('/').next().unwrap() {
            "packs" => {
                for (number, slot) in (0u32..).zip(parse_pack(&bytes).unwrap().1).filter(|(_, slot)| slot.is_live()) {
                    let frame = bytes[slot.offset as usize..][..slot.stored as usize].to_vec();
                    // A rewrite moves frames as they are; it never seals again.
                    if let Some(known) = frames.insert((key.clone(), number), frame.clone()) {
                        assert_eq!(known, frame, "{key}: slot {number} was sealed twice");
                        rewritten += 1;
                    }
                }
            }
            "points" | "verdicts" | "leases" | "condemned" => {
                let epoch = u16::from_le_bytes([bytes[10], bytes[11]]);
                let nonce = bytes[16..28].to_vec();
                let known = envelopes.insert((key.clone(), epoch, nonce), bytes.clone());
                assert!(known.is_none_or(|known| known == bytes), "{key}: a nonce was used twice");
            }
            "keys" => {
                let keyring_nonce_and_sender = [&bytes[148..180], &bytes[180..192]].concat();
                assert!(slots.insert(keyring_nonce_and_sender), "{key}: a keyring was sealed twice for one sender");
            }
            _ => {}
        }
    }
    assert!(rewritten > 0 && envelopes.len() > 20 && slots.len() > 2, "little was at stake");
}

#[test]
fn a_scrub_without_any_key_reads_everything_and_finds_nothing_wrong() {
    let clock = Arc::new(ManualClock::default());
    let store = Memory::new(clock);
    let mut latest: BTreeMap<ObjectKey, Bytes> = BTreeMap::new();
    life(4).into_iter().for_each(|(key, bytes)| drop(latest.insert(key, bytes)));
    latest.iter().for_each(|(key, bytes)| store.put(key, bytes.clone()).unwrap());
    let report = scrub(&store, &Silent, &Cancel::new()).unwrap();
    assert_eq!((report.objects, report.problems.len(), report.strangers.len()), (latest.len() as u64, 0, 0), "{report:?}");
}
