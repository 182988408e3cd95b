//! Two model trees compared: what differs is named, and what cannot be read is neither equal nor gone.

use super::*;
use crate::base::extent::Extent;
use crate::base::progress::Silent;
use crate::filesystem::{FileKind, FileTime, FilesystemError, InodeNumber, Source, printable};
use crate::testkit::model_filesystem::ModelFilesystem;

type Model = ModelFilesystem;

fn compared(old: &Model, new: &Model, options: CompareOptions) -> FileComparison {
    let start = |model: &Model| model.inode(model.root_number()).unwrap();
    let (old_start, new_start) = (start(old), start(new));
    let old = Tree { filesystem: old, start: &old_start };
    let new = Tree { filesystem: new, start: &new_start };
    compare_files(old, new, b"", options, &Silent, &Cancel::new()).unwrap()
}

fn lines(found: &FileComparison) -> Vec<String> {
    let words = |difference: &Difference| {
        let path = printable(&difference.path);
        match &difference.change {
            Change::Added => format!("+ {path}"),
            Change::Removed => format!("- {path}"),
            Change::Modified => format!("M {path}"),
            Change::Attributes => format!("A {path}"),
            Change::Renamed(from) => format!("R {} {path}", printable(from)),
        }
    };
    found.differences.iter().map(words).collect()
}

/// A tree, and the same one after `change`.
#[track_caller]
fn check(change: impl FnOnce(&mut Model), expected: &[&str], findings: usize) {
    let (old, mut new) = (tree(), tree());
    change(&mut new);
    let found = compared(&old, &new, CompareOptions::default());
    assert_eq!(lines(&found), expected);
    assert_eq!(found.findings.list.len(), findings, "{:?}", found.findings);
}

fn tree() -> Model {
    let mut model = Model::new();
    let root = model.root_number();
    let folder = model.directory(root, b"d");
    model.file(folder, b"x", b"content of x");
    model.file(root, b"f", b"content of f");
    model.symlink(root, b"l", b"target");
    model
}

fn number(model: &Model, name: &[u8]) -> InodeNumber {
    model.find(model.root_number(), name)
}

fn touch(model: &mut Model, number: InodeNumber) {
    model.change(number, |inode| inode.changed = FileTime { seconds: 9, nanoseconds: 9 });
}

fn rename(model: &mut Model, from: &[u8], to: &[u8]) {
    let root = model.root_number();
    let inode = model.find(root, from);
    model.remove_entry(root, from);
    model.entry(root, to, inode);
}

#[test]
fn equal_trees_have_no_differences_and_nothing_is_read() {
    let (old, new) = (tree(), tree());
    let found = compared(&old, &new, CompareOptions::default());
    assert_eq!((lines(&found), found.compared_bytes), (vec![], 0));
    let found = compared(&old, &new, CompareOptions { content: true });
    assert_eq!((lines(&found), found.compared_bytes), (vec![], 24));
}

#[test]
fn what_is_new_gone_or_otherwise_is_named() {
    let add = |new: &mut Model| {
        new.file(new.root_number(), b"n", b"");
    };
    check(add, &["+ /n"], 0);
    check(|new| new.remove_entry(new.root_number(), b"d"), &["- /d", "- /d/x"], 0);
    check(|new| new.append(number(new, b"f"), b"more"), &["M /f"], 0);
    check(|new| new.change(number(new, b"f"), |inode| inode.mode = 0o600), &["A /f"], 0);
    check(|new| new.change(number(new, b"d"), |inode| inode.uid = 7), &["A /d"], 0);
    check(|new| new.change(number(new, b"f"), |inode| inode.gid = 7), &["A /f"], 0);
    check(|new| new.change(number(new, b"f"), |inode| inode.modified.seconds = 7), &["A /f"], 0);
    check(|new| new.change(number(new, b"d"), |inode| inode.modified.seconds = 7), &[], 0);
    check(|new| new.xattr(number(new, b"f"), b"user.note", b"x"), &["A /f"], 0);
    check(|new| new.change(new.root_number(), |inode| inode.mode = 0o700), &["A /"], 0);
    check(|new| new.change(number(new, b"l"), |inode| inode.kind = FileKind::Fifo), &["M /l"], 0);
    let link = |new: &mut Model| {
        new.remove_entry(new.root_number(), b"l");
        new.symlink(new.root_number(), b"l", b"tarGet");
    };
    check(link, &["M /l"], 0);
}

#[test]
fn a_renamed_inode_is_one_difference_and_what_is_below_it_none() {
    check(|new| rename(new, b"f", b"g"), &["R /f /g"], 0);
    check(|new| rename(new, b"d", b"e"), &["R /d /e"], 0);
    let renamed_and_written = |new: &mut Model| {
        rename(new, b"d", b"e");
        new.append(new.find(number(new, b"e"), b"x"), b"more");
    };
    check(renamed_and_written, &["R /d /e", "M /e/x"], 0);
    let other_generation = |new: &mut Model| {
        rename(new, b"f", b"g");
        new.change(number(new, b"g"), |inode| inode.generation = 1);
    };
    check(other_generation, &["- /f", "+ /g"], 0);
    check(|new| new.entry(new.root_number(), b"h", number(new, b"f")), &["+ /h"], 0);
}

#[test]
fn volumes_that_are_not_one_have_no_renames_and_their_files_are_read() {
    let (old, mut new) = (tree(), tree());
    new.identify([8; 16]);
    let found = compared(&old, &new, CompareOptions::default());
    assert_eq!((lines(&found), found.compared_bytes), (vec![], 24));
    rename(&mut new, b"f", b"g");
    assert_eq!(lines(&compared(&old, &new, CompareOptions::default())), ["- /f", "+ /g"]);
}

#[test]
fn bytes_of_equal_length_are_compared_when_something_says_so_or_on_request() {
    let with = |content: &[u8], changed: bool| {
        let mut model = Model::new();
        let file = model.file(model.root_number(), b"f", &vec![1; 3 << 20]);
        model.push_segment(file, 1 << 40, Source::Hole);
        model.append(file, content);
        if changed {
            touch(&mut model, file);
        }
        model
    };
    let row = |new: &Model, content: bool, expected: &[&str]| {
        assert_eq!(lines(&compared(&with(b"end", false), new, CompareOptions { content })), expected);
    };
    row(&with(b"enD", false), false, &[]);
    row(&with(b"enD", false), true, &["M /f"]);
    row(&with(b"enD", true), false, &["M /f"]);
    row(&with(b"end", true), false, &[]);
}

#[test]
fn what_cannot_be_read_is_a_finding_and_nothing_else() {
    let lost_bytes = |new: &mut Model| {
        let file = number(new, b"f");
        new.lose(file, Extent::new(3, 2));
        touch(new, file);
    };
    check(lost_bytes, &[], 1);
    let hidden = |new: &mut Model| new.fail_list(number(new, b"d"), FilesystemError::NotFound { path: "rest".to_owned() });
    check(hidden, &[], 1);
    check(|new| new.entry(new.root_number(), b"bad", InodeNumber(99)), &[], 1);
    let circle = |new: &mut Model| new.entry(number(new, b"d"), b"up", new.root_number());
    check(circle, &["+ /d/up"], 1);
    check(|new| new.entry(new.root_number(), b"a/b", number(new, b"f")), &[], 1);
    let nothing_else = |new: &mut Model| {
        let empty = new.directory(new.root_number(), b"empty");
        new.entry(empty, b"a/b", number(new, b"f"));
    };
    check(nothing_else, &["+ /empty"], 1);
}
