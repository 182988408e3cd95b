//! Gaps that earlier points fill, and those that they must not.

use super::*;
use crate::testkit::model_filesystem::ModelFilesystem;

/// The same tree twice: one to be damaged, one as it was.
fn twins(build: impl Fn(&mut ModelFilesystem)) -> (ModelWreck, Past) {
    let (mut wreck, mut then) = (ModelWreck::new(), ModelFilesystem::new());
    build(&mut wreck.model);
    build(&mut then);
    (wreck, Past { filesystem: Box::new(then), label: "P1".to_owned() })
}

fn family(model: &mut ModelFilesystem) {
    let home = model.directory(model.root_number(), b"home");
    model.file(home, b"letter", b"dear");
    model.file(home, b"song", b"la la");
}

const HOME: InodeNumber = InodeNumber(2);
const LETTER: InodeNumber = InodeNumber(3);
const WHOLE: &[(&str, &str)] = &[("home", "/"), ("home/letter", "dear"), ("home/song", "la la")];

#[test]
fn a_lost_inode_comes_back_under_the_name_that_still_leads_to_it() {
    let (mut wreck, past) = twins(family);
    wreck.lose(LETTER);
    let tree = pieced_with(wreck, vec![past]);
    check(&tree, WHOLE);
    assert_eq!(tree.evidence(LETTER).unwrap().past.as_deref(), Some("P1"));
    assert_eq!(tree.summary().from_past, 1);
}

#[test]
fn a_lost_directory_comes_back_with_its_names() {
    let (mut wreck, past) = twins(family);
    wreck.lose(HOME);
    wreck.lose(wreck.root);
    let tree = pieced_with(wreck, vec![past]);
    check(&tree, WHOLE);
    assert_eq!(tree.evidence(LETTER).unwrap().name, NameProof::Past);
}

#[test]
fn names_of_a_broken_directory_come_back() {
    let (mut wreck, past) = twins(family);
    wreck.break_directory(HOME);
    check(&pieced_with(wreck, vec![past]), WHOLE);
}

#[test]
fn a_file_that_lacks_bytes_is_taken_whole_if_nothing_changed_since() {
    let build = |model: &mut ModelFilesystem| {
        let file = model.file(model.root_number(), b"file", b"begin");
        model.append(file, b"end");
    };
    let damage = |wreck: &mut ModelWreck| {
        wreck.model.truncate(HOME, 5);
        wreck.model.push_segment(HOME, 3, Source::Lost("gone".to_owned()));
    };
    let (mut wreck, past) = twins(build);
    damage(&mut wreck);
    check(&pieced_with(wreck, vec![past]), &[("file", "beginend")]);

    let (mut wreck, past) = twins(build);
    damage(&mut wreck);
    wreck.model.change(HOME, |inode| inode.changed.seconds += 1);
    let tree = pieced_with(wreck, vec![past]);
    assert_eq!(confidence(&tree, HOME), Confidence::Partial, "it was written since");
}

#[test]
fn what_was_deleted_since_stays_deleted() {
    let (mut wreck, past) = twins(family);
    wreck.model.remove_entry(HOME, b"letter");
    wreck.freed.insert(LETTER);
    wreck.lose(LETTER);
    check(&pieced_with(wreck, vec![past]), &[("home", "/"), ("home/song", "la la")]);

    let (mut wreck, past) = twins(family);
    wreck.model.remove_entry(HOME, b"letter");
    wreck.lose(LETTER);
    check(&pieced_with(wreck, vec![past]), &[("home", "/"), ("home/song", "la la")]);
}

#[test]
fn an_inode_that_was_used_again_does_not_get_its_old_name() {
    let (mut wreck, past) = twins(family);
    wreck.break_directory(HOME);
    wreck.model.change(LETTER, |inode| inode.generation += 1);
    let paths: Vec<String> = shown(&pieced_with(wreck, vec![past])).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["home", "home/song", "lost+found", "lost+found/#3.txt"]);
}

#[test]
fn the_newest_point_that_has_it_wins() {
    let (mut wreck, newer) = twins(family);
    let mut older = ModelFilesystem::new();
    let home = older.directory(older.root_number(), b"home");
    older.file(home, b"letter", b"older");
    wreck.lose(LETTER);
    let older = Past { filesystem: Box::new(older), label: "P0".to_owned() };
    let tree = pieced_with(wreck, vec![newer, older]);
    check(&tree, WHOLE);
    assert_eq!(tree.evidence(LETTER).unwrap().past.as_deref(), Some("P1"));
}

#[test]
fn an_older_copy_that_a_point_confirms_is_no_longer_doubtful() {
    let (mut wreck, past) = twins(family);
    wreck.lose(LETTER);
    wreck.logged.insert(LETTER);
    let tree = pieced_with(wreck, vec![past]);
    check(&tree, WHOLE);
    assert_eq!((confidence(&tree, LETTER), tree.evidence(LETTER).unwrap().past.as_deref()), (Confidence::Probable, Some("P1")));

    let (mut wreck, past) = twins(family);
    wreck.lose(LETTER);
    wreck.logged.insert(LETTER);
    wreck.model.change(LETTER, |inode| inode.changed.seconds += 1);
    assert_eq!(confidence(&pieced_with(wreck, vec![past]), LETTER), Confidence::Doubtful, "it was changed since");
}
