//! A directory store, its crashes, its neighbours and its full disks.

use super::*;
use crate::base::clock::{SystemClock, Timestamp};
use crate::store::{MAX_OBJECT_BYTES, contract};

use crate::testkit::manual_clock::ManualClock;
use nix::sys::stat::{Mode, stat};
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn fresh() -> (TempDir, Directory) {
    let temporary = tempfile::tempdir().unwrap();
    let store = Directory::open(&temporary.path().join("repository"), Missing::Create, &SystemClock::new()).unwrap();
    (temporary, store)
}

fn names(store: &Directory) -> Vec<String> {
    let mut names = Vec::new();
    store
        .list("", &mut |entry| {
            names.push(entry.key.to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    names.sort();
    names
}

fn leftovers(store: &Directory) -> usize {
    fs::read_dir(store.path.join(".tmp")).map_or(0, Iterator::count)
}

#[test]
fn a_directory_keeps_the_contract_and_leaves_nothing_behind() {
    let (_temporary, store) = fresh();
    contract::check(&store);
    assert_eq!(leftovers(&store), 0);
}

#[test]
fn a_directory_that_is_not_there_is_a_wrong_setting_unless_it_may_be_made() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("a/b");
    let error = Directory::open(&path, Missing::Refuse, &SystemClock::new()).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Misconfigured);
    assert!(!path.exists());
    Directory::open(&path, Missing::Create, &SystemClock::new()).unwrap();
    Directory::open(&path, Missing::Refuse, &SystemClock::new()).unwrap();
    fs::write(temporary.path().join("file"), b"").unwrap();
    let error = Directory::open(&temporary.path().join("file"), Missing::Refuse, &SystemClock::new()).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Misconfigured);
}

#[test]
fn linking_wins_and_loses_like_renaming() {
    let (_temporary, store) = fresh();
    let folder = store.root.durable_folder("links").unwrap();
    let link = |bytes: &[u8]| store.temporaries.write(&store.root, bytes).unwrap().link_if_free(&folder, "one").unwrap();
    assert_eq!(link(b"first"), Created::New);
    assert_eq!(link(b"second"), Created::AlreadyThere);
    assert_eq!(store.get(&key("links/one")).unwrap(), "first");
    let twice = store.temporaries.write(&store.root, b"third").unwrap();
    assert_eq!(twice.link_if_free(&folder, "two").unwrap(), Created::New);
    assert_eq!(twice.link_if_free(&folder, "two").unwrap(), Created::New, "a link that was sent twice is still ours");
    drop(twice);
    assert_eq!(leftovers(&store), 0);
    assert_eq!(store.get(&key("links/two")).unwrap(), "third");
}

#[test]
fn leftovers_of_a_crash_are_no_objects_and_go_when_they_are_a_day_old() {
    let (temporary, store) = fresh();
    store.put(&key("packs/a"), Bytes::from_static(b"a")).unwrap();
    let leftover = temporary.path().join("repository/.tmp/1-7");
    fs::write(&leftover, b"half an obj").unwrap();
    assert_eq!(names(&store), ["packs/a"]);
    let written = walk::modified(&stat(&leftover).unwrap());
    let reopen_at = |now: Timestamp| Directory::open(&store.path, Missing::Refuse, &ManualClock::new(now)).unwrap();
    let day = Duration::from_secs(86_400);
    reopen_at(written.plus(day).minus(Duration::from_millis(1)));
    assert!(leftover.exists(), "its writer may still be at work");
    reopen_at(written.plus(day));
    assert!(!leftover.exists());
    assert_eq!(names(&store), ["packs/a"]);
}

#[test]
fn a_temporary_name_that_was_renamed_away_may_be_anothers() {
    let (_temporary, store) = fresh();
    let folder = store.root.durable_folder("a").unwrap();
    for (place, target) in [(Place::Over, "over"), (Place::IfFree, "free")] {
        let mut written = store.temporaries.write(&store.root, b"x").unwrap();
        let name = fs::read_dir(store.path.join(".tmp")).unwrap().next().unwrap().unwrap().path();
        match place {
            Place::Over => written.rename_over(&folder, target).unwrap(),
            Place::IfFree => assert_eq!(written.rename_if_free(&folder, target).unwrap(), Created::New),
        }
        fs::write(&name, b"another host's").unwrap();
        drop(written);
        assert!(name.exists());
        fs::remove_file(name).unwrap();
    }
}

#[test]
fn a_name_taken_by_a_leftover_is_passed_over() {
    let (_temporary, store) = fresh();
    fs::create_dir(store.path.join(".tmp")).unwrap();
    for number in 0..5 {
        fs::write(store.path.join(format!(".tmp/{}-{number}", process::id())), b"other").unwrap();
    }
    store.put(&key("a"), Bytes::from_static(b"mine")).unwrap();
    assert_eq!(store.get(&key("a")).unwrap(), "mine");
    assert_eq!(leftovers(&store), 5, "the files of others stay");
}

#[test]
fn symbolic_links_are_not_followed() {
    let (temporary, store) = fresh();
    let outside = temporary.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    symlink(&outside, store.path.join("packs")).unwrap();
    symlink(outside.join("secret"), store.path.join("config")).unwrap();
    // Not "not found": a repository behind a link is there, and must not look empty.
    assert_eq!(store.get(&key("packs/secret")).unwrap_err().kind, StoreErrorKind::Permanent);
    assert_eq!(store.get(&key("config")).unwrap_err().kind, StoreErrorKind::Permanent);
    assert!(store.put(&key("packs/new"), Bytes::from_static(b"x")).is_err());
    assert!(store.delete(&key("packs/secret")).is_err());
    assert!(store.list("packs/", &mut |_| ControlFlow::Continue(())).is_err());
    assert!(names(&store).is_empty());
    store.put(&key("config"), Bytes::from_static(b"own")).unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret", "a put replaces the link, not what it points to");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn foreign_files_are_no_objects() {
    let (_temporary, store) = fresh();
    store.put(&key("a/b"), Bytes::from_static(b"x")).unwrap();
    fs::write(store.path.join(".nfs0001"), b"").unwrap();
    fs::write(store.path.join("a/with space"), b"").unwrap();
    fs::create_dir(store.path.join("lost+found")).unwrap();
    mkfifo(&store.path.join("pipe"), Mode::S_IRWXU).unwrap();
    assert_eq!(names(&store), ["a/b"]);
    assert_eq!(store.get(&key("pipe")).unwrap_err().kind, StoreErrorKind::NotFound, "and a pipe blocks nobody");
}

#[test]
fn a_name_below_an_object_or_over_a_folder_is_refused() {
    let (_temporary, store) = fresh();
    store.put(&key("a"), Bytes::from_static(b"x")).unwrap();
    assert_eq!(store.get(&key("a/b")).unwrap_err().kind, StoreErrorKind::NotFound);
    assert_eq!(store.put(&key("a/b"), Bytes::new()).unwrap_err().kind, StoreErrorKind::Permanent);
    store.put(&key("folder/x"), Bytes::new()).unwrap();
    assert_eq!(store.put(&key("folder"), Bytes::new()).unwrap_err().kind, StoreErrorKind::Permanent);
    assert_eq!(store.delete(&key("folder")).unwrap(), Deleted::WasAbsent);
    assert_eq!(names(&store), ["a", "folder/x"]);
    assert_eq!(leftovers(&store), 0);
}

#[test]
fn a_folder_that_somebody_removed_is_made_again() {
    let (_temporary, store) = fresh();
    store.put(&key("packs/3f/a"), Bytes::from_static(b"a")).unwrap();
    fs::remove_dir_all(store.path.join("packs")).unwrap();
    store.put(&key("packs/3f/b"), Bytes::from_static(b"b")).unwrap();
    assert_eq!(names(&store), ["packs/3f/b"]);
    fs::remove_dir_all(store.path.join(".tmp")).unwrap();
    store.put_if_absent(&key("packs/3f/c"), Bytes::from_static(b"c")).unwrap();
    assert_eq!(names(&store), ["packs/3f/b", "packs/3f/c"]);
}

#[test]
fn a_listing_bears_what_vanishes_and_appears_meanwhile() {
    let (_temporary, store) = fresh();
    for index in 0..300 {
        store.put(&key(&format!("stay/{index}")), Bytes::new()).unwrap();
    }
    let churn = |round: usize| {
        let key = key(&format!("churn/{}/{}", round % 5, round));
        store.put(&key, Bytes::new()).unwrap();
        store.delete(&key).unwrap();
        fs::remove_dir(store.path.join(format!("churn/{}", round % 5))).ok();
    };
    thread::scope(|scope| {
        let churner = scope.spawn(|| (0..300).for_each(churn));
        while !churner.is_finished() {
            let stayed = names(&store).iter().filter(|name| name.starts_with("stay/")).count();
            assert_eq!(stayed, 300);
        }
    });
}

#[test]
fn reading_a_huge_file_is_refused_before_memory_is_taken() {
    let (_temporary, store) = fresh();
    let file = File::create(store.path.join("huge")).unwrap();
    file.set_len(MAX_OBJECT_BYTES + 1).unwrap();
    assert_eq!(store.get(&key("huge")).unwrap_err().kind, StoreErrorKind::Permanent);
    assert_eq!(store.size(&key("huge")).unwrap(), MAX_OBJECT_BYTES + 1);
    assert_eq!(store.get_range(&key("huge"), 5..8).unwrap(), &[0, 0, 0][..], "a part of it is fine");
}
