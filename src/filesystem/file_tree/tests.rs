//! Every byte of a file tree is hostile, and what was encoded comes back.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::appendix::{encode_front, encode_name};
use super::*;
use crate::base::clock::Timestamp;
use crate::base::io::IoError;
use crate::filesystem::inode::FileTime;

/// A volume of half an exbibyte that holds a few bytes.
#[derive(Debug, Default)]
struct Sparse(Mutex<Vec<(u64, Vec<u8>)>>);

impl Sparse {
    fn put(&self, at: u64, bytes: Vec<u8>) {
        self.0.lock().unwrap().push((at, bytes));
    }
}

impl ReadAt for Sparse {
    fn size(&self) -> u64 {
        VOLUME_BYTES
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        out.fill(0);
        for (at, bytes) in self.0.lock().unwrap().iter() {
            for (place, byte) in (*at..).zip(bytes) {
                if let Some(index) = place.checked_sub(offset).and_then(|index| usize::try_from(index).ok())
                    && let Some(out) = out.get_mut(index)
                {
                    *out = *byte;
                }
            }
        }
        Ok(())
    }
}

fn header() -> TreeHeader {
    TreeHeader { uuid: [7; 16], label: b"/mnt".to_vec() }
}

fn state(next_number: u64) -> TreeState {
    let idle = Extent::new(FIRST_PLACE, 0);
    TreeState { started: Timestamp(5), next_number, next_place: FIRST_PLACE + (1 << 20), inodes: 3, content_bytes: 10, idle }
}

fn record(kind: FileKind) -> TreeRecord {
    TreeRecord {
        kind,
        lost: false,
        sparse: false,
        restless: false,
        mode: 0o4755,
        uid: 1,
        gid: 2,
        links: 3,
        size: 0,
        sectors: 8,
        modified: FileTime { seconds: -5, nanoseconds: 999_999_999 },
        changed: FileTime { seconds: i64::MAX, nanoseconds: 1 },
        accessed: FileTime { seconds: i64::MIN, nanoseconds: 2 },
        created: Some(FileTime { seconds: 4, nanoseconds: 3 }),
        content: Extent::new(0, 0),
        content_digest: [0; DIGEST_BYTES],
        appendix: Extent::new(0, 0),
        appendix_digest: [0; DIGEST_BYTES],
        device: 0xfd00_0001,
        inode: u64::MAX,
    }
}

/// A root with a sparse file and a link.
fn tree() -> (Arc<Sparse>, FileTree) {
    let volume = Arc::new(Sparse::default());
    let mut names = encode_front(&[Xattr { name: b"user.a".to_vec(), value: b"b".to_vec() }], &[]);
    let front = names.len() as u64;
    encode_name(&mut names, 2, b"file");
    encode_name(&mut names, 3, b"link");
    let map = encode_front(&[], &[Extent::new(4096, 100), Extent::new(9000, 1)]);
    let target = [encode_front(&[], &[]), b"../x".to_vec()].concat();
    let (names_at, map_at, target_at, content) = (FIRST_PLACE, FIRST_PLACE + 1000, FIRST_PLACE + 2000, FIRST_PLACE + (64 << 10));
    let root = TreeRecord {
        size: names.len() as u64 - front,
        appendix: Extent::new(names_at, names.len() as u64),
        ..record(FileKind::Directory)
    };
    let file = TreeRecord {
        size: 10_000,
        sparse: true,
        content: Extent::new(content, 16384),
        appendix: Extent::new(map_at, map.len() as u64),
        ..record(FileKind::Regular)
    };
    let link = TreeRecord { size: 4, appendix: Extent::new(target_at, target.len() as u64), ..record(FileKind::Symlink) };
    volume.put(0, header().encode());
    volume.put(names_at, names);
    volume.put(map_at, map);
    volume.put(target_at, target);
    volume.put(content + 4096, vec![9; 100]);
    for (number, record) in [(1, root), (2, file), (3, link)] {
        volume.put(record_place(number), record.encode());
    }
    volume.put(STATE_PLACE, state(4).encode());
    let opened = FileTree::open(Arc::clone(&volume) as Arc<dyn ReadAt>).unwrap();
    (volume, opened)
}

#[test]
fn records_come_back_as_they_were_encoded() {
    let file = TreeRecord {
        size: 5,
        content: Extent::new(FIRST_PLACE, 9),
        content_digest: [3; 16],
        restless: true,
        ..record(FileKind::Regular)
    };
    let node = record(FileKind::BlockDevice { major: u32::MAX, minor: 7 });
    for wanted in [file, node, TreeRecord { created: None, lost: true, ..record(FileKind::Socket) }] {
        let bytes = wanted.encode();
        assert_eq!(bytes.len() as u64, RECORD_BYTES);
        assert_eq!(TreeRecord::parse(&bytes), Ok(Some(wanted)));
    }
    assert_eq!(TreeRecord::parse(&[0; RECORD_BYTES as usize]), Ok(None));
}

#[test]
fn records_that_no_writer_writes_are_refused() {
    let good = TreeRecord { size: 5, content: Extent::new(FIRST_PLACE, 9), ..record(FileKind::Regular) };
    let refused = |change: &dyn Fn(&mut TreeRecord)| {
        let mut bad = good;
        change(&mut bad);
        TreeRecord::parse(&bad.encode()).is_err()
    };
    assert!(refused(&|bad| bad.size = 10), "longer than its room");
    assert!(refused(&|bad| bad.content.offset = FIRST_PLACE - 1), "below the places");
    assert!(refused(&|bad| bad.content.offset = RECORDS_FIRST - 8), "among the records");
    assert!(refused(&|bad| bad.appendix = Extent { offset: u64::MAX, length: 2 }), "beyond everything");
    assert!(refused(&|bad| bad.modified.nanoseconds = 1_000_000_000), "no time");
    let mut unknown = good.encode();
    unknown[0] = 8;
    assert!(TreeRecord::parse(&unknown).is_err() && TreeRecord::parse(&good.encode()[..159]).is_err());
}

#[test]
fn a_tree_shows_what_was_laid() {
    let (_, tree) = tree();
    let root = tree.inode(tree.root()).unwrap();
    let mut names = Vec::new();
    tree.list(&root, &mut |entry| {
        names.push((entry.name, entry.inode.0));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(names, [(b"file".to_vec(), 2), (b"link".to_vec(), 3)]);
    assert_eq!(tree.xattrs(&root).unwrap()[0].name, b"user.a");
    assert_eq!(tree.link_target(&tree.inode(InodeNumber(3)).unwrap()).unwrap(), b"../x");
    let file = tree.inode(InodeNumber(2)).unwrap();
    let holes: Vec<_> = tree
        .map(&file, Extent::new(0, u64::MAX))
        .unwrap()
        .iter()
        .map(|s| (s.extent.offset, s.extent.length, s.source == Source::Hole))
        .collect();
    assert_eq!(holes, [(0, 4096, true), (4096, 100, false), (4196, 4804, true), (9000, 1, false), (9001, 999, true)]);
    assert_eq!(tree.map(&file, Extent::new(4100, 10)).unwrap().len(), 1);
    let mut bytes = [0; 200];
    assert_eq!(tree.read(&file, 4000, &mut bytes).unwrap(), 200);
    assert!(bytes[..96].iter().all(|byte| *byte == 0) && bytes[96..196] == [9; 100] && bytes[196..] == [0; 4]);
    assert!(matches!(tree.inode(InodeNumber(4)), Err(FilesystemError::NotFound { .. })));
}

#[test]
fn what_could_not_be_read_is_lost_and_not_empty() {
    let (volume, _) = tree();
    volume.put(record_place(1), TreeRecord { lost: true, ..record(FileKind::Directory) }.encode());
    volume.put(record_place(2), TreeRecord { lost: true, size: 5, ..record(FileKind::Regular) }.encode());
    let tree = FileTree::open(volume as Arc<dyn ReadAt>).unwrap();
    let root = tree.inode(tree.root()).unwrap();
    assert!(matches!(tree.list(&root, &mut |_| ControlFlow::Continue(())), Err(FilesystemError::Lost { .. })));
    let file = tree.inode(InodeNumber(2)).unwrap();
    assert!(tree.read(&file, 0, &mut [0; 5]).unwrap_err().to_string().contains("could not be read"));
}

#[test]
fn a_later_version_is_refused_by_name() {
    let (volume, _) = tree();
    volume.put(8, vec![9]);
    let said = FileTree::open(volume as Arc<dyn ReadAt>).unwrap_err().to_string();
    assert!(said.contains("its version is 9"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_make_a_reader_panic_or_run_on(patches in prop::collection::vec((0usize..6, 0usize..200, any::<u8>()), 1..20)) {
        let (volume, _) = tree();
        let places = [0, FIRST_PLACE, FIRST_PLACE + 1000, FIRST_PLACE + 2000, record_place(1), STATE_PLACE];
        for (place, at, byte) in patches {
            volume.put(places[place] + at as u64, vec![byte]);
        }
        let Ok(tree) = FileTree::open(volume as Arc<dyn ReadAt>) else { return Ok(()) };
        let mut shown = 0;
        for number in 0..4 {
            let Ok(inode) = tree.inode(InodeNumber(number)) else { continue };
            drop(tree.list(&inode, &mut |_| { shown += 1; ControlFlow::Continue(()) }));
            drop((tree.xattrs(&inode), tree.link_target(&inode), tree.map(&inode, Extent::new(0, 1 << 20))));
        }
        prop_assert!(shown < 1_000_000);
        if tree.state().next_number < 10_000 {
            drop(tree.each_record(&mut |_, _| Ok::<_, FilesystemError>(())));
        }
        drop(tree.idle());
    }
}
