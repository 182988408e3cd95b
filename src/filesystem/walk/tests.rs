//! Trees that people make, and trees that only malice makes.

use super::*;
use crate::filesystem::names::printable;
use crate::filesystem::{InodeNumber, Object};
use crate::testkit::model_filesystem::ModelFilesystem;

/// Writes down what it is shown.
#[derive(Default)]
struct Diary {
    lines: Vec<String>,
    around: Option<&'static [u8]>,
    stop_after: Option<usize>,
}

impl Diary {
    fn note(&mut self, line: String) -> ControlFlow<()> {
        self.lines.push(line);
        if self.stop_after == Some(self.lines.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl TreeVisitor for Diary {
    fn enter(&mut self, spot: &Spot<'_>, _: &Inode) -> ControlFlow<(), bool> {
        match self.note(format!("> {}", printable(&spot.path()))) {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            ControlFlow::Continue(()) => ControlFlow::Continue(self.around != Some(spot.name)),
        }
    }
    fn leave(&mut self, _: &Inode) -> ControlFlow<()> {
        self.note("<".to_owned())
    }
    fn entry(&mut self, spot: &Spot<'_>, _: &Inode) -> ControlFlow<()> {
        self.note(printable(&spot.path()))
    }
    fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()> {
        self.note(format!("! {}: {loss}", printable(&spot.path())))
    }
}

fn told(model: &ModelFilesystem, diary: Diary) -> Vec<String> {
    let mut diary = diary;
    let start = model.inode(model.root()).unwrap();
    let _ended = walk(model, &start, b"", &mut diary);
    diary.lines
}

fn small() -> ModelFilesystem {
    let mut model = ModelFilesystem::new();
    let root = model.root_number();
    model.file(root, b"z", b"");
    let a = model.directory(root, b"a");
    model.file(a, b"2", b"");
    model.directory(a, b"1");
    model
}

#[test]
fn a_tree_is_shown_depth_first_in_the_order_of_names() {
    assert_eq!(told(&small(), Diary::default()), ["> ", "> a", "> a/1", "<", "a/2", "<", "z", "<"]);
    assert_eq!(told(&small(), Diary { around: Some(b"a"), ..Diary::default() }), ["> ", "> a", "z", "<"]);
    for stop in 1..8 {
        assert_eq!(told(&small(), Diary { stop_after: Some(stop), ..Diary::default() }).len(), stop);
    }
}

#[test]
fn a_start_that_is_no_directory_is_shown_alone() {
    let mut model = ModelFilesystem::new();
    let file = model.file(model.root_number(), b"f", b"");
    let mut diary = Diary::default();
    assert!(walk(&model, &model.inode(file).unwrap(), b"name", &mut diary).is_continue());
    assert_eq!(diary.lines, ["name"]);
}

#[test]
fn what_is_wrong_is_said_and_gone_around() {
    let mut model = small();
    let root = model.root_number();
    model.entry(root, b"..", root);
    model.entry(root, b"b/c", root);
    model.entry(root, b"gone", InodeNumber(999));
    model.fail_list(model.find(root, b"a"), FilesystemError::corrupt(Object::Directory(7), 4096, "its checksum is wrong"));
    let told = told(&model, Diary::default());
    let lost: Vec<_> = told.iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(lost.len(), 4, "{told:?}");
    assert!(lost.iter().any(|line| line.starts_with("! a: directory inode 7, byte 4096")), "{lost:?}");
    assert!(told.contains(&"a/2".to_owned()) && told.contains(&"z".to_owned()), "what was listed before the damage is shown");
}

#[test]
fn a_circle_and_a_second_way_to_a_directory_are_walked_once() {
    let mut model = small();
    let root = model.root_number();
    let a = model.find(root, b"a");
    model.entry(a, b"circle", root);
    model.entry(root, b"second", a);
    let told = told(&model, Diary::default());
    assert_eq!(told.iter().filter(|line| line.contains("reached before")).count(), 2, "{told:?}");
    // Without that memory, twice as many ways a level would take for ever.
    let mut doubling = ModelFilesystem::new();
    let mut at = doubling.root_number();
    for _ in 0..100 {
        let next = doubling.directory(at, b"one");
        doubling.entry(at, b"two", next);
        at = next;
    }
    assert_eq!(self::told(&doubling, Diary::default()).len(), 101 * 2 + 100);
}

#[test]
fn a_tree_deeper_than_the_bound_ends_there() {
    let mut model = ModelFilesystem::new();
    let mut at = model.root_number();
    for _ in 0..MAX_DEPTH + 5 {
        at = model.directory(at, b"d");
    }
    let told = told(&model, Diary::default());
    assert_eq!(told.iter().filter(|line| line.starts_with('>')).count(), MAX_DEPTH);
    assert_eq!(told.iter().filter(|line| line.contains("deeper than 512")).count(), 1);
}

#[test]
fn a_directory_of_many_batches_is_shown_whole() {
    let mut model = ModelFilesystem::new();
    let file = model.file(model.root_number(), b"first", b"");
    let count = 2 * BATCH;
    for number in 1..count {
        model.entry(model.root_number(), format!("n{number}").as_bytes(), file);
    }
    let mut told = told(&model, Diary::default());
    assert_eq!(told.len(), count + 2);
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count + 2);
}
