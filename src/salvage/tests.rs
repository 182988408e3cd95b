//! Trees pieced together from models of damaged volumes.

mod model;
mod past;

use std::ops::ControlFlow;

use super::{Confidence, NameProof, Past, PiecedTree};
use crate::base::cancel::Cancel;
use crate::base::extent::Extent;
use crate::base::progress::Silent;
use crate::filesystem::{FileKind, Filesystem, Inode, InodeNumber, Loss, Proof, Source, Spot, TreeVisitor, walk};
use model::ModelWreck;

/// Every path of a tree with what became of it: content of files, `/` for directories, `lost` for what is not there.
fn shown(tree: &PiecedTree) -> Vec<(String, String)> {
    struct Shown<'a>(&'a PiecedTree, Vec<(String, String)>);
    impl Shown<'_> {
        fn push(&mut self, spot: &Spot<'_>, what: String) -> ControlFlow<()> {
            self.1.push((String::from_utf8(spot.path()).unwrap(), what));
            ControlFlow::Continue(())
        }
    }
    impl TreeVisitor for Shown<'_> {
        fn enter(&mut self, spot: &Spot<'_>, _directory: &Inode) -> ControlFlow<(), bool> {
            if spot.path().is_empty() {
                ControlFlow::Continue(true)
            } else {
                self.push(spot, "/".to_owned()).map_continue(|()| true)
            }
        }
        fn leave(&mut self, _directory: &Inode) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn entry(&mut self, spot: &Spot<'_>, inode: &Inode) -> ControlFlow<()> {
            let mut content = vec![0; inode.size as usize];
            let content = self.0.read(inode, 0, &mut content).map(|_| String::from_utf8(content).unwrap());
            self.push(spot, content.unwrap_or_else(|error| error.to_string()))
        }
        fn lost(&mut self, spot: &Spot<'_>, loss: Loss) -> ControlFlow<()> {
            assert!(matches!(loss, Loss::Unreadable(_)), "{loss}");
            self.push(spot, "lost".to_owned())
        }
    }
    let mut shown = Shown(tree, Vec::new());
    let _ended = walk(tree, &tree.inode(tree.root()).unwrap(), b"", &mut shown);
    shown.1
}

fn pieced(wreck: ModelWreck) -> PiecedTree {
    pieced_with(wreck, Vec::new())
}

fn pieced_with(wreck: ModelWreck, pasts: Vec<Past>) -> PiecedTree {
    PiecedTree::piece_together(Box::new(wreck), pasts, &Silent, &Cancel::new()).unwrap()
}

fn check(tree: &PiecedTree, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    assert_eq!(shown(tree), expected);
}

fn confidence(tree: &PiecedTree, number: InodeNumber) -> Confidence {
    tree.evidence(number).unwrap().confidence()
}

#[test]
fn a_sound_volume_is_shown_as_it_is_and_verified() {
    let mut wreck = ModelWreck::new();
    let etc = wreck.model.directory(wreck.root, b"etc");
    let hosts = wreck.model.file(etc, b"hosts", b"local");
    let tree = pieced(wreck);
    check(&tree, &[("etc", "/"), ("etc/hosts", "local")]);
    assert_eq!(confidence(&tree, hosts), Confidence::Verified);
    assert_eq!((tree.summary().inodes, tree.summary().adrift, tree.summary().lost_names), (3, 0, 0));
}

#[test]
fn a_file_whose_name_is_lost_is_called_by_its_number_and_content() {
    let mut wreck = ModelWreck::new();
    let file = wreck.model.file(wreck.root, b"gone", b"plain words");
    wreck.model.remove_entry(wreck.root, b"gone");
    let tree = pieced(wreck);
    check(&tree, &[("lost+found", "/"), ("lost+found/#2.txt", "plain words")]);
    assert_eq!(tree.evidence(file).unwrap().name, NameProof::None);
    assert_eq!(confidence(&tree, file), Confidence::Probable);
}

#[test]
fn what_is_free_and_has_no_name_was_deleted() {
    let mut wreck = ModelWreck::new();
    let file = wreck.model.file(wreck.root, b"gone", b"deleted");
    wreck.model.remove_entry(wreck.root, b"gone");
    wreck.unused.insert(file);
    check(&pieced(wreck), &[]);
}

#[test]
fn a_lost_inode_leaves_its_name_and_nothing_else() {
    let mut wreck = ModelWreck::new();
    let file = wreck.model.file(wreck.root, b"victim", b"x");
    wreck.lose(file);
    let tree = pieced(wreck);
    check(&tree, &[("victim", "lost")]);
    assert_eq!((tree.summary().lost_inodes, tree.summary().lost_names), (1, 1));
}

#[test]
fn a_lost_inode_is_replaced_by_its_older_copy_and_doubtful() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let file = wreck.model.file(home, b"letter", b"dear");
    for number in [wreck.root, home, file] {
        wreck.lose(number);
        wreck.logged.insert(number);
    }
    let tree = pieced(wreck);
    check(&tree, &[("home", "/"), ("home/letter", "dear")]);
    assert_eq!(confidence(&tree, file), Confidence::Doubtful);
}

#[test]
fn a_directory_comes_back_from_its_blocks() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let file = wreck.model.file(home, b"letter", b"dear");
    let inner = wreck.model.directory(home, b"inner");
    wreck.model.file(inner, b"deep", b"down");
    wreck.lose(home);
    wreck.stray(Some(home), None, Some(wreck.root), &[(b"letter", file, false), (b"inner", inner, true)]);
    let tree = pieced(wreck);
    check(&tree, &[("home", "/"), ("home/inner", "/"), ("home/inner/deep", "down"), ("home/letter", "dear")]);
    assert_eq!(confidence(&tree, file), Confidence::Probable);
    assert_eq!(tree.summary().made_up, 1);
}

#[test]
fn blocks_that_share_a_key_belong_to_one_directory() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let (one, two) = (wreck.model.file(home, b"one", b"1"), wreck.model.file(home, b"two", b"2"));
    wreck.lose(home);
    wreck.stray(None, Some(77), None, &[(b"two", two, false)]);
    wreck.stray(Some(home), Some(77), Some(wreck.root), &[(b"one", one, false)]);
    check(&pieced(wreck), &[("home", "/"), ("home/one", "1"), ("home/two", "2")]);
}

#[test]
fn a_block_without_a_word_of_its_own_goes_where_its_directories_say() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let inner = wreck.model.directory(home, b"inner");
    let file = wreck.model.file(home, b"letter", b"dear");
    wreck.break_directory(home);
    wreck.stray(None, None, None, &[(b"letter", file, false), (b"inner", inner, true)]);
    check(&pieced(wreck), &[("home", "/"), ("home/inner", "/"), ("home/letter", "dear")]);
}

#[test]
fn blocks_that_share_a_key_stay_together_even_if_nobody_knows_their_directory() {
    let mut wreck = ModelWreck::new();
    let files = [&b"a"[..], b"b", b"c"].map(|name| {
        let file = wreck.model.file(wreck.root, name, name);
        wreck.model.remove_entry(wreck.root, name);
        file
    });
    wreck.stray(None, Some(5), None, &[(b"a", files[0], false)]);
    wreck.stray(None, Some(6), None, &[(b"b", files[1], false)]);
    wreck.stray(None, Some(5), None, &[(b"c", files[2], false)]);
    let paths: Vec<String> = shown(&pieced(wreck)).into_iter().map(|(path, _)| path).collect();
    let folder = |name: &str| paths.iter().find_map(|path| path.strip_suffix(&format!("/{name}"))).unwrap().to_owned();
    assert_eq!(folder("a"), folder("c"), "{paths:?}");
    assert_ne!(folder("a"), folder("b"), "{paths:?}");
}

#[test]
fn a_block_that_nobody_knows_keeps_its_names_in_a_directory_of_its_own() {
    let mut wreck = ModelWreck::new();
    let file = wreck.model.file(wreck.root, b"letter", b"dear");
    wreck.model.remove_entry(wreck.root, b"letter");
    wreck.stray(None, None, None, &[(b"letter", file, false)]);
    let tree = pieced(wreck);
    let paths: Vec<String> = shown(&tree).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(paths[1].starts_with("lost+found/#block-") && paths[2].ends_with("/letter"), "{paths:?}");
}

#[test]
fn copies_and_remains_of_a_broken_block_name_only_what_has_no_name() {
    for (proof, expected) in [(Proof::OlderCopy, NameProof::Older), (Proof::Plausible, NameProof::Concluded)] {
        let mut wreck = ModelWreck::new();
        let home = wreck.model.directory(wreck.root, b"home");
        let letter = wreck.model.file(home, b"letter", b"dear");
        let moved = wreck.model.file(wreck.root, b"moved", b"away");
        wreck.break_directory(home);
        wreck.copy(home, &[(b"letter", letter, false), (b"before", moved, false)], proof);
        let tree = pieced(wreck);
        check(&tree, &[("home", "/"), ("home/letter", "dear"), ("moved", "away")]);
        assert_eq!(tree.evidence(letter).unwrap().name, expected);
    }
}

#[test]
fn blocks_that_a_whole_directory_left_behind_say_nothing() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let file = wreck.model.file(home, b"now", b"new");
    let adrift = wreck.model.file(home, b"adrift", b"");
    wreck.model.remove_entry(home, b"adrift");
    wreck.unused.insert(adrift);
    let lost = wreck.model.file(wreck.root, b"lost", b"");
    wreck.lose(lost);
    wreck.stray(Some(home), None, Some(wreck.root), &[(b"before", file, false), (b"deleted", adrift, false)]);
    check(&pieced(wreck), &[("home", "/"), ("home/now", "new"), ("lost", "lost")]);
}

#[test]
fn a_name_that_calls_a_file_a_directory_does_not_hold() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let file = wreck.model.file(home, b"letter", b"dear");
    wreck.break_directory(home);
    wreck.stray(Some(home), None, None, &[(b"letter", file, true)]);
    check(&pieced(wreck), &[("home", "/"), ("lost+found", "/"), ("lost+found/#3.txt", "dear")]);
}

#[test]
fn an_inode_has_no_more_names_than_links_unless_they_are_proven() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    let file = wreck.model.file(wreck.root, b"proven", b"x");
    wreck.break_directory(home);
    wreck.stray(Some(home), None, None, &[(b"stale", file, false)]);
    check(&pieced(wreck), &[("home", "/"), ("proven", "x")]);
}

#[test]
fn directories_that_only_lead_to_each_other_are_cut_loose() {
    let mut wreck = ModelWreck::new();
    let one = wreck.model.directory(wreck.root, b"one");
    let two = wreck.model.directory(one, b"two");
    wreck.model.file(two, b"inside", b"x");
    wreck.model.entry(two, b"loop", one);
    wreck.model.remove_entry(wreck.root, b"one");
    let tree = pieced(wreck);
    let paths: Vec<String> = shown(&tree).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    assert!(paths.last().unwrap().ends_with("/inside"), "{paths:?}");
}

#[test]
fn a_lost_root_is_made_up_and_what_it_held_goes_to_lost_and_found() {
    let mut wreck = ModelWreck::new();
    let home = wreck.model.directory(wreck.root, b"home");
    wreck.model.file(home, b"letter", b"dear");
    wreck.lose(wreck.root);
    check(&pieced(wreck), &[("lost+found", "/"), ("lost+found/#2", "/"), ("lost+found/#2/letter", "dear")]);
}

#[test]
fn two_files_that_claim_the_same_bytes_are_both_doubtful() {
    let mut wreck = ModelWreck::new();
    let one = wreck.model.file(wreck.root, b"one", b"content");
    let two = wreck.model.file(wreck.root, b"two", b"");
    let at = wreck.model.map(&wreck.model.inode(one).unwrap(), Extent::new(0, 7)).unwrap()[0].source.clone();
    wreck.model.push_segment(two, 7, at);
    let sound = wreck.model.file(wreck.root, b"sound", b"alone");
    let tree = pieced(wreck);
    assert_eq!([one, two, sound].map(|number| confidence(&tree, number)), {
        use Confidence::{Doubtful, Verified};
        [Doubtful, Doubtful, Verified]
    });
    let reasons = tree.evidence(one).unwrap().reasons();
    assert!(reasons.iter().any(|reason| reason.contains("claimed by inode 3 too")), "{reasons:?}");
}

#[test]
fn bytes_whose_place_is_lost_make_a_file_partial() {
    let mut wreck = ModelWreck::new();
    let file = wreck.model.file(wreck.root, b"file", b"begin");
    wreck.model.push_segment(file, 4096, Source::Lost("its node is gone".to_owned()));
    let tree = pieced(wreck);
    assert_eq!(confidence(&tree, file), Confidence::Partial);
    assert_eq!(tree.evidence(file).unwrap().missing_bytes, 4096);
}

#[test]
fn a_selection_keeps_what_matches_and_the_way_to_it() {
    let mut wreck = ModelWreck::new();
    let etc = wreck.model.directory(wreck.root, b"etc");
    wreck.model.file(etc, b"hosts", b"local");
    wreck.model.file(etc, b"other", b"");
    let var = wreck.model.directory(wreck.root, b"var");
    wreck.model.file(var, b"log", b"lines");
    let tree = pieced(wreck);
    let wanted = tree.select(&|path| path == b"etc/hosts" || path == b"var").unwrap();
    assert_eq!(wanted, 3);
    check(&tree, &[("etc", "/"), ("etc/hosts", "local"), ("var", "/"), ("var/log", "lines")]);
}

#[test]
fn a_selection_within_a_selection_ends_where_it_began() {
    let mut wreck = ModelWreck::new();
    let etc = wreck.model.directory(wreck.root, b"etc");
    let hosts = wreck.model.file(etc, b"hosts", b"local");
    wreck.model.file(etc, b"other", b"");
    wreck.model.file(wreck.root, b"file", b"begin");
    let tree = pieced(wreck);
    let (whole, part) = (
        [("etc", "/"), ("etc/hosts", "local"), ("etc/other", ""), ("file", "begin")],
        [("etc", "/"), ("etc/hosts", "local"), ("etc/other", "")],
    );
    tree.select(&|path| path == b"etc").unwrap();
    check(&tree, &part);
    assert_eq!(tree.select(&|path| path == b"etc/hosts" || path == b"file").unwrap(), 1);
    check(&tree, &part[..2]);
    tree.set_aside(&tree.inode(hosts).unwrap(), b"hosts").unwrap();
    let has_aside = |tree: &PiecedTree| {
        let mut seen = false;
        tree.list(&tree.partial_root(), &mut |_entry| {
            seen = true;
            ControlFlow::Break(())
        })
        .unwrap();
        seen
    };
    tree.unselect().unwrap();
    check(&tree, &part);
    assert!(has_aside(&tree));
    tree.unselect().unwrap();
    check(&tree, &whole);
    assert!(has_aside(&tree));
}

#[test]
fn what_was_set_aside_stands_in_a_tree_of_its_own() {
    let mut wreck = ModelWreck::new();
    wreck.model.special(wreck.root, b"pipe", FileKind::Fifo);
    let file = wreck.model.file(wreck.root, b"file", b"begin");
    let tree = pieced(wreck);
    let name = tree.set_aside(&tree.inode(file).unwrap(), b"file").unwrap();
    assert_eq!(name, b"#3-file");
    let root = tree.partial_root();
    let lost_and_found = tree.lookup(&root, b"lost+found").unwrap().unwrap();
    let partial = tree.lookup(&tree.inode(lost_and_found.inode).unwrap(), b"partial").unwrap().unwrap();
    let entry = tree.lookup(&tree.inode(partial.inode).unwrap(), &name).unwrap().unwrap();
    assert_eq!(entry.inode, file);
}
