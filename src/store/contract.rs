//! What every store promises, as one suite that all of them pass.
#![allow(clippy::unwrap_used, reason = "a suite fails by panicking")]

use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Barrier;
use std::thread;

use super::{Created, Deleted, ObjectEntry, ObjectKey, Store, StoreErrorKind};

/// More than the 1,000 entries that S3 answers at once, so that a listing must turn the page.
const MANY: usize = 1_203;
/// Writers that race for one name.
const RACERS: usize = 8;
/// More than any single buffer on the way.
const LARGE_BYTES: usize = 20 << 20;

/// Checks `store`, which must hold nothing below `contract/`.
///
/// # Panics
/// On the first broken promise.
pub fn check(store: &dyn Store) {
    what_was_put_is_read_back(store);
    a_put_replaces_the_whole_object(store);
    an_object_may_be_empty(store);
    an_object_may_be_large(store);
    put_if_absent_leaves_what_is_there(store);
    of_racing_writers_exactly_one_wins_and_its_bytes_stay(store);
    ranges_are_clipped_at_the_end_and_refused_beyond_it(store);
    a_missing_object_is_not_found(store);
    deleting_twice_is_harmless(store);
    every_allowed_character_survives_in_a_name(store);
    a_listing_follows_whole_segments(store);
    a_listing_shows_many_objects_once_each(store);
    a_listing_stops_when_told(store);
    a_listing_may_delete_what_it_shows(store);
    an_unsound_prefix_is_refused(store);
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(format!("contract/{name}")).unwrap()
}

/// The sorted entries below `contract/{below}`.
fn listed(store: &dyn Store, below: &str) -> Vec<ObjectEntry> {
    let mut entries = Vec::new();
    let collect = &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    };
    store.list(&format!("contract/{below}"), collect).unwrap();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn names(entries: &[ObjectEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

fn what_was_put_is_read_back(store: &dyn Store) {
    let key = key("put/one");
    store.put(&key, Bytes::from_static(b"hello")).unwrap();
    assert_eq!(store.get(&key).unwrap(), "hello");
    assert_eq!(store.size(&key).unwrap(), 5);
}

fn a_put_replaces_the_whole_object(store: &dyn Store) {
    let key = key("put/replaced");
    store.put(&key, Bytes::from_static(b"a long first version")).unwrap();
    store.put(&key, Bytes::from_static(b"short")).unwrap();
    assert_eq!(store.get(&key).unwrap(), "short");
    assert_eq!(store.size(&key).unwrap(), 5);
}

fn an_object_may_be_empty(store: &dyn Store) {
    let key = key("empty/object");
    assert_eq!(store.put_if_absent(&key, Bytes::new()).unwrap(), Created::New);
    assert_eq!(store.put_if_absent(&key, Bytes::from_static(b"x")).unwrap(), Created::AlreadyThere, "empty is not absent");
    assert_eq!(store.get(&key).unwrap(), "");
    assert_eq!(store.size(&key).unwrap(), 0);
    assert_eq!(store.get_range(&key, 0..1).unwrap_err().kind, StoreErrorKind::OutOfRange);
    assert_eq!(listed(store, "empty/").first().map(|entry| entry.size), Some(0));
}

fn an_object_may_be_large(store: &dyn Store) {
    let key = key("large/object");
    let stamped: Vec<u8> = (0..LARGE_BYTES / 8).flat_map(|word| (word as u64).to_le_bytes()).collect();
    let stamped = Bytes::from(stamped);
    assert_eq!(store.put_if_absent(&key, stamped.clone()).unwrap(), Created::New);
    assert!(store.get(&key).unwrap() == stamped, "the large object came back changed");
    let middle = LARGE_BYTES as u64 / 2 - 3;
    let expected = stamped.slice(LARGE_BYTES / 2 - 3..LARGE_BYTES / 2 + 5);
    assert_eq!(store.get_range(&key, middle..middle + 8).unwrap(), expected);
    store.delete(&key).unwrap();
}

fn put_if_absent_leaves_what_is_there(store: &dyn Store) {
    let key = key("absent/one");
    assert_eq!(store.put_if_absent(&key, Bytes::from_static(b"first")).unwrap(), Created::New);
    assert_eq!(store.put_if_absent(&key, Bytes::from_static(b"second")).unwrap(), Created::AlreadyThere);
    assert_eq!(store.get(&key).unwrap(), "first");
    store.delete(&key).unwrap();
    assert_eq!(store.put_if_absent(&key, Bytes::from_static(b"third")).unwrap(), Created::New, "a deleted name is free again");
    assert_eq!(store.get(&key).unwrap(), "third");
}

fn of_racing_writers_exactly_one_wins_and_its_bytes_stay(store: &dyn Store) {
    for round in 0..4 {
        let key = key(&format!("race/{round}"));
        let start = Barrier::new(RACERS);
        let race = |racer: usize| {
            start.wait();
            store.put_if_absent(&key, racer_bytes(racer)).unwrap()
        };
        let outcomes: Vec<Created> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(move || race(racer))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<usize> = (0..RACERS).filter(|&racer| outcomes[racer] == Created::New).collect();
        assert_eq!(winners.len(), 1, "winners of round {round}: {winners:?}");
        assert!(store.get(&key).unwrap() == racer_bytes(winners[0]), "another racer's bytes stayed in round {round}");
    }
}

fn racer_bytes(racer: usize) -> Bytes {
    Bytes::from(vec![racer as u8; 100_000])
}

fn ranges_are_clipped_at_the_end_and_refused_beyond_it(store: &dyn Store) {
    let key = key("ranges/ten");
    store.put(&key, Bytes::from_static(b"0123456789")).unwrap();
    let check = |range: Range<u64>, expected: Result<&str, StoreErrorKind>| {
        let got = store.get_range(&key, range.clone()).map_err(|error| error.kind);
        assert_eq!(got, expected.map(|text| Bytes::copy_from_slice(text.as_bytes())), "{range:?}");
    };
    check(0..10, Ok("0123456789"));
    check(0..1, Ok("0"));
    check(3..7, Ok("3456"));
    check(9..10, Ok("9"));
    check(9..11, Ok("9"));
    check(5..u64::MAX, Ok("56789"));
    check(4..4, Ok(""));
    check(0..0, Ok(""));
    check(10..10, Err(StoreErrorKind::OutOfRange));
    check(10..11, Err(StoreErrorKind::OutOfRange));
    check(11..20, Err(StoreErrorKind::OutOfRange));
    check(u64::MAX - 1..u64::MAX, Err(StoreErrorKind::OutOfRange));
}

fn a_missing_object_is_not_found(store: &dyn Store) {
    store.put(&key("missing/neighbour"), Bytes::from_static(b"x")).unwrap();
    // A folder on the way, and a name below an object, are no objects either.
    for name in ["missing/nothing", "nowhere/at/all", "missing"] {
        let key = key(name);
        assert_eq!(store.get(&key).unwrap_err().kind, StoreErrorKind::NotFound, "get {name}");
        assert_eq!(store.get_range(&key, 0..1).unwrap_err().kind, StoreErrorKind::NotFound, "get_range {name}");
        assert_eq!(store.get_range(&key, 0..0).unwrap_err().kind, StoreErrorKind::NotFound, "empty get_range {name}");
        assert_eq!(store.size(&key).unwrap_err().kind, StoreErrorKind::NotFound, "size {name}");
    }
    assert!(listed(store, "nowhere/").is_empty());
}

fn deleting_twice_is_harmless(store: &dyn Store) {
    let key = key("deleted/one");
    store.put(&key, Bytes::from_static(b"x")).unwrap();
    assert_eq!(store.delete(&key).unwrap(), Deleted::Gone);
    assert!(store.get(&key).unwrap_err().is_not_found());
    assert!(listed(store, "deleted/").is_empty());
    // Some stores do not say whether there was anything, so either answer is right.
    store.delete(&key).unwrap();
    store.delete(&self::key("never/was")).unwrap();
}

fn every_allowed_character_survives_in_a_name(store: &dyn Store) {
    let all = "names/ABCDEFGHIJKLMNOPQRSTUVWXYZ/abcdefghijklmnopqrstuvwxyz/0123456789/a._-z/-dash/_under/end.";
    let longest = format!("names/{}", "n".repeat(240 - "contract/names/".len()));
    for name in [all, "names/UPPER", "names/upper", &longest] {
        store.put(&key(name), Bytes::copy_from_slice(name.as_bytes())).unwrap();
    }
    let entries = listed(store, "names");
    let mut expected = [all, "names/UPPER", "names/upper", &longest].map(|name| format!("contract/{name}"));
    expected.sort();
    assert_eq!(names(&entries), expected);
    for entry in &entries {
        assert_eq!(store.get(&entry.key).unwrap(), entry.key.as_str()["contract/".len()..], "{}", entry.key);
    }
}

fn a_listing_follows_whole_segments(store: &dyn Store) {
    for name in ["seg/a/1", "seg/a/b/2", "seg/ab/3", "seg/a.4"] {
        store.put(&key(name), Bytes::from_static(b"12345")).unwrap();
    }
    let entries = listed(store, "seg/a/");
    assert_eq!(names(&entries), ["contract/seg/a/1", "contract/seg/a/b/2"]);
    assert!(entries.iter().all(|entry| entry.size == 5 && entry.modified.0 > 1_500_000_000_000), "{entries:?}");
    assert_eq!(names(&listed(store, "seg/a")), ["contract/seg/a/1", "contract/seg/a/b/2"], "the last / may be left out");
    assert_eq!(listed(store, "seg").len(), 4);
    assert!(listed(store, "seg/a/1").is_empty(), "an object is not below itself");
    let mut everything = BTreeSet::new();
    store
        .list("", &mut |entry| {
            everything.insert(entry.key);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(everything.contains(&key("seg/a/b/2")) && everything.contains(&key("put/one")));
}

fn many(store: &dyn Store) -> Vec<String> {
    let all: Vec<String> = (0..MANY).map(|index| format!("many/{:02x}/{index:04}", index % 7)).collect();
    thread::scope(|scope| {
        for share in all.chunks(MANY.div_ceil(RACERS)) {
            scope.spawn(move || share.iter().for_each(|name| store.put(&key(name), Bytes::from_static(b"m")).unwrap()));
        }
    });
    all
}

fn a_listing_shows_many_objects_once_each(store: &dyn Store) {
    let mut expected: Vec<String> = many(store).iter().map(|name| format!("contract/{name}")).collect();
    expected.sort();
    assert_eq!(names(&listed(store, "many/")), expected);
}

fn a_listing_stops_when_told(store: &dyn Store) {
    for limit in [1, 3, 1_001] {
        let mut shown = 0;
        let stop = &mut |_| {
            shown += 1;
            if shown == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.list("contract/many/", stop).unwrap();
        assert_eq!(shown, limit);
    }
}

fn a_listing_may_delete_what_it_shows(store: &dyn Store) {
    let mut shown = BTreeSet::new();
    let delete = &mut |entry: ObjectEntry| {
        store.delete(&entry.key).unwrap();
        shown.insert(entry.key);
        ControlFlow::Continue(())
    };
    store.list("contract/many/03", delete).unwrap();
    assert_eq!(shown.len(), (0..MANY).filter(|index| index % 7 == 3).count());
    assert!(listed(store, "many/03").is_empty());
    assert_eq!(listed(store, "many").len(), MANY - shown.len());
}

fn an_unsound_prefix_is_refused(store: &dyn Store) {
    for bad in ["../", "/", "contract/../..", ".tmp"] {
        assert!(store.list(bad, &mut |_| ControlFlow::Continue(())).is_err(), "{bad}");
    }
}
