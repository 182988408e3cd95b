//! A tree of runs of version 4, which no mkfs makes and no kernel mounts any more, is followed by its keys.

use std::sync::Arc;

use super::*;
use crate::base::io::{IoError, ReadAt};
use crate::filesystem::inode::{FileTime, InodeNumber};

const BLOCK_BYTES: usize = 512;

#[derive(Debug)]
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        out.copy_from_slice(&self.0[offset as usize..][..out.len()]);
        Ok(())
    }
}

fn geometry() -> Geometry {
    Geometry {
        crc: false,
        file_type: false,
        sparse_inodes: false,
        block_log: 9,
        sector_bytes: 512,
        directory_log: 9,
        inode_bytes: 256,
        inodes_per_block_log: 1,
        group_blocks: 100,
        group_block_log: 7,
        groups: 1,
        data_blocks: 100,
        uuid: [0; 16],
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A leaf with runs of (file block, block, blocks, unwritten).
fn leaf(volume: &mut [u8], block: usize, runs: &[(u64, u64, u64, bool)]) {
    let at = block * BLOCK_BYTES;
    put(volume, at, b"BMAP\0\0\0");
    volume[at + 7] = runs.len() as u8;
    for (index, (file_block, block, blocks, unwritten)) in runs.iter().enumerate() {
        let high = u64::from(*unwritten) << 63 | file_block << 9 | block >> 43;
        put(volume, at + 24 + index * 16, &high.to_be_bytes());
        put(volume, at + 32 + index * 16, &(block << 21 | blocks).to_be_bytes());
    }
}

/// The volume, and an inode with a tree whose second key is `key`.
fn tree(key: u64) -> (Vec<u8>, Inode) {
    let mut volume = vec![0; 100 * BLOCK_BYTES];
    leaf(&mut volume, 50, &[(0, 60, 10, false), (20, 80, 5, true)]);
    leaf(&mut volume, 51, &[(100, 90, 3, false)]);
    let mut raw = vec![0; 256];
    raw[4..6].copy_from_slice(&[2, FORMAT_TREE]);
    // The root: level 1, two children; nine keys have room in front of nine children.
    put(&mut raw, 100, &[0, 1, 0, 2]);
    put(&mut raw, 112, &key.to_be_bytes());
    put(&mut raw, 176, &50_u64.to_be_bytes());
    put(&mut raw, 184, &51_u64.to_be_bytes());
    let inode = Inode {
        number: InodeNumber(10),
        generation: 0,
        kind: FileKind::Regular,
        mode: 0,
        uid: 0,
        gid: 0,
        links: 1,
        size: 1 << 20,
        sectors: 0,
        accessed: FileTime::default(),
        modified: FileTime::default(),
        changed: FileTime::default(),
        created: None,
        encrypted: false,
        raw: raw.into(),
    };
    (volume, inode)
}

/// The runs that share a block with `count` blocks from `first`, in a tree whose second key is `key`.
fn runs(key: u64, first: u64, count: u64) -> Result<Vec<(u64, u64, bool)>, FilesystemError> {
    let (volume, inode) = tree(key);
    let disk = Disk::new(Arc::new(Memory(volume)), geometry());
    let found = Fork::data(&disk, &inode, Object::Map)?.runs(first, count)?;
    Ok(found.into_iter().map(|run| (run.file_block, run.byte / BLOCK_BYTES as u64, run.unwritten)).collect())
}

#[test]
fn only_runs_that_are_asked_for_are_found() {
    let (a, b, c) = ((0, 60, false), (20, 80, true), (100, 90, false));
    for (first, count, expected) in [
        (0, 200, vec![a, b, c]),
        (9, 1, vec![a]),
        (10, 10, vec![]),
        (15, 10, vec![b]),
        (24, 77, vec![b, c]),
        (102, 1, vec![c]),
        (103, 99, vec![]),
    ] {
        assert_eq!(runs(100, first, count).unwrap(), expected, "{count} from {first}");
    }
}

#[test]
fn a_run_outside_the_keys_of_its_leaf_is_refused() {
    for key in [0, 22, 24, 101] {
        let refused = runs(key, 0, 200);
        assert!(matches!(refused, Err(FilesystemError::Corrupt { object: Object::Map(10), .. })), "{key}: {refused:?}");
    }
    assert!(runs(25, 0, 200).is_ok(), "a key may come before its first run");
}

/// What is found around the breaks that `hurt` makes: where runs begin, and which stretches are lost.
fn around(key: u64, (first, count): (u64, u64), hurt: impl FnOnce(&mut [u8])) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut volume, inode) = tree(key);
    hurt(&mut volume);
    let disk = Disk::new(Arc::new(Memory(volume)), geometry());
    let found = Fork::data(&disk, &inode, Object::Map).unwrap().runs_around(first, count);
    let lost = found.lost.iter().map(|unmapped| (unmapped.span.first, unmapped.span.end)).collect();
    (found.runs.iter().map(|run| run.file_block).collect(), lost)
}

#[test]
fn a_broken_leaf_costs_what_its_keys_speak_of() {
    let all = (0, 200);
    assert_eq!(around(100, all, |_| {}), (vec![0, 20, 100], vec![]));
    assert_eq!(around(100, all, |volume| volume[50 * BLOCK_BYTES] = 0), (vec![100], vec![(0, 100)]));
    assert_eq!(around(100, all, |volume| volume[51 * BLOCK_BYTES] = 0), (vec![0, 20], vec![(100, u64::MAX)]));
    assert_eq!(around(100, (0, 50), |volume| volume[51 * BLOCK_BYTES] = 0), (vec![0, 20], vec![]), "nobody asked");
    assert_eq!(around(100, all, |volume| volume[50 * BLOCK_BYTES + 7] = 200), (vec![100], vec![(0, 100)]), "too many runs");
}

#[test]
fn a_broken_run_costs_its_own_blocks_or_those_up_to_the_next() {
    let all = (0, 200);
    let (second, place) = (50 * BLOCK_BYTES + 40, 50 * BLOCK_BYTES + 32);
    // A place beyond the volume: the run still says which blocks it is about.
    assert_eq!(around(100, all, |volume| volume[place] = 0x40), (vec![20, 100], vec![(0, 10)]));
    // No blocks at all: whatever the second run was about is lost up to the next leaf.
    assert_eq!(around(100, all, |volume| put(volume, second + 8, &[0; 8])), (vec![0, 100], vec![(10, 100)]));
    // The second run is about blocks of the first.
    assert_eq!(around(100, all, |volume| put(volume, second, &[0; 8])), (vec![0, 100], vec![(10, 100)]));
    // Its first run is of no blocks: everything before the second is lost.
    assert_eq!(around(100, all, |volume| put(volume, place, &[0; 8])), (vec![20, 100], vec![(0, 20)]));
}

#[test]
fn keys_out_of_order_cost_everything_behind_them() {
    assert_eq!(around(0, (0, 200), |_| {}), (vec![], vec![(0, u64::MAX)]));
    assert_eq!(around(22, (0, 200), |_| {}).1, [(10, 22)], "a run that the keys contradict");
}
