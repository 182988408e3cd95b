//! Inodes in the log: cores, forks, chunks, links of deleted ones, and changes that are promised.

use std::ops::Range;
use std::slice::from_ref;

use super::bench::{UUID, Writer, buffer, cancel, transaction};
use super::put::{put, seal};

/// The inodes of the tests lie here: block 16 of the group.
const BYTE: u64 = 16 * 4096;
const BLOCK: u64 = BYTE / 512;
const NUMBER: u64 = 16 << 3;
const REGULAR: u16 = 0o100_644;

fn disk_inode(lsn: u64) -> Vec<u8> {
    let mut inode = vec![0; 512];
    put(&mut inode, 0, b"IN").unwrap();
    inode[4] = 3;
    inode[24..32].fill(0xcc);
    put(&mut inode, 96, &u32::MAX.to_be_bytes()).unwrap();
    put(&mut inode, 112, &lsn.to_be_bytes()).unwrap();
    put(&mut inode, 152, &NUMBER.to_be_bytes()).unwrap();
    put(&mut inode, 160, &UUID).unwrap();
    seal(&mut inode, 100).unwrap();
    inode
}

/// A core in the log whose bytes all differ.
fn log_core(flags2: u64) -> Vec<u8> {
    let mut core: Vec<u8> = (0..176).collect();
    put(&mut core, 0, b"NI").unwrap();
    put(&mut core, 2, &REGULAR.to_le_bytes()).unwrap();
    core[4] = 3;
    core[82] = 10;
    put(&mut core, 120, &flags2.to_le_bytes()).unwrap();
    put(&mut core, 152, &NUMBER.to_le_bytes()).unwrap();
    put(&mut core, 160, &UUID).unwrap();
    core
}

fn item(fields: u32, forks: &[Vec<u8>], core: Vec<u8>) -> Vec<Vec<u8>> {
    let mut format = vec![0; 56];
    put(&mut format, 0, &0x123b_u16.to_le_bytes()).unwrap();
    put(&mut format, 2, &(2 + forks.len() as u16).to_le_bytes()).unwrap();
    put(&mut format, 4, &(1 | fields).to_le_bytes()).unwrap();
    put(&mut format, 16, &NUMBER.to_le_bytes()).unwrap();
    put(&mut format, 24, &0x0102_0304_u32.to_le_bytes()).unwrap();
    put(&mut format, 40, &BLOCK.to_le_bytes()).unwrap();
    put(&mut format, 48, &16_u32.to_le_bytes()).unwrap();
    [vec![format, core], forks.to_vec()].concat()
}

fn log_of(items: &[Vec<Vec<u8>>]) -> Writer {
    let mut log = Writer::new(512);
    log.record(&transaction(1, items));
    log
}

fn replayed(items: &[Vec<Vec<u8>>]) -> Vec<u8> {
    log_of(items).replayed(&[(BYTE, disk_inode(0))], BYTE, 512)
}

fn turned(bytes: Range<u8>) -> Vec<u8> {
    bytes.rev().collect()
}

#[test]
fn a_core_is_turned_around_field_by_field() {
    let inode = replayed(&[item(0, &[], log_core(1 << 3))]);
    assert_eq!(inode[..8], [b'I', b'N', 0x81, 0xa4, 3, 5, 0, 0]);
    for (at, length) in [(8, 4), (12, 4), (16, 4), (20, 2), (22, 2), (32, 8), (40, 8), (48, 8), (56, 8), (64, 8), (72, 4), (76, 4)]
    {
        assert_eq!(inode[at..at + length], turned(at as u8..(at + length) as u8), "field at {at}");
    }
    for (at, length) in [(80, 2), (84, 4), (88, 2), (90, 2), (92, 4), (104, 8), (128, 4), (144, 8)] {
        assert_eq!(inode[at..at + length], turned(at as u8..(at + length) as u8), "field at {at}");
    }
    assert_eq!(inode[24..32], [0; 8], "no large extent counts");
    assert_eq!(inode[96..100], [0xff; 4], "the link to the next deleted inode is logged elsewhere");
    assert_eq!(inode[112..120], log_of(&[]).lsn(0).to_be_bytes(), "the age is that of the transaction");
    assert_eq!(inode[132..144], [0; 12]);
    assert_eq!((&inode[152..160], &inode[160..176]), (&NUMBER.to_be_bytes()[..], &UUID[..]));
    let mut sealed = inode.clone();
    seal(&mut sealed, 100).unwrap();
    assert_eq!(inode, sealed);
}

#[test]
fn times_and_extent_counts_follow_their_flags() {
    let old = replayed(&[item(0, &[], log_core(0))]);
    assert_eq!(old[32..40], [turned(32..36), turned(36..40)].concat(), "seconds and nanoseconds");
    let large = replayed(&[item(0, &[], log_core(1 << 4))]);
    assert_eq!(large[24..32], turned(24..32));
}

#[test]
fn forks_land_where_the_core_has_them() {
    let (data, attributes) = (vec![0xd1; 80], vec![0xa1; 48]);
    let inode = replayed(&[item(0x02 | 0x40, &[data.clone(), attributes.clone()], log_core(0))]);
    assert_eq!((&inode[176..256], &inode[256..304]), (&data[..], &attributes[..]));
    let inode = replayed(&[item(0x80, from_ref(&attributes), log_core(0))]);
    assert_eq!((&inode[176..256], &inode[256..304]), (&[0; 80][..], &attributes[..]));
    let inode = replayed(&[item(0x10, &[], log_core(0))]);
    assert_eq!(inode[176..180], [1, 2, 3, 4], "a device's number");
    let log = log_of(&[item(0x04, &[vec![1; 84]], log_core(0))]);
    assert!(log.replay(&[(BYTE, disk_inode(0))]).incomplete.unwrap().contains("84 bytes where 80 fit"));
}

#[test]
fn an_inode_that_is_newer_stays() {
    let log = log_of(&[item(0, &[], log_core(0))]);
    let lsn = log.lsn(0);
    for (there, changes) in [(lsn - 1, 1), (lsn, 1), (lsn + 1, 0), (u64::MAX, 1)] {
        assert_eq!(log.replay(&[(BYTE, disk_inode(there))]).changes, changes, "in place {there:#x}");
    }
}

#[test]
fn an_inode_of_a_freed_chunk_is_passed_over_and_one_without_a_place_is_told() {
    let mut log = log_of(&[item(0, &[], log_core(0))]);
    assert!(log.replay(&[]).incomplete.unwrap().contains("where no inode lies"));
    log.record(&transaction(2, &[cancel(BLOCK, 16)]));
    assert_eq!(log.replay(&[]).changes, 0);
    assert_eq!(log.replay(&[]).incomplete, None);
}

fn chunk(count: u32, blocks: u32) -> Vec<Vec<u8>> {
    let mut format = [0x3f, 0x12, 1, 0].to_vec();
    [0_u32, 16, count, 512, blocks, 0x0707_0707].iter().for_each(|value| format.extend(value.to_be_bytes()));
    vec![format]
}

#[test]
fn a_chunk_of_inodes_is_made_before_inodes_are_put_into_it() {
    let log = log_of(&[item(0, &[], log_core(0)), chunk(64, 8)]);
    let inodes = log.replayed(&[(BYTE, vec![0xee; 8 * 4096])], BYTE, 8 * 4096);
    assert_eq!(inodes[2..4], REGULAR.to_be_bytes());
    for (number, inode) in (NUMBER..).zip(inodes.chunks(512)).skip(1) {
        let mut expected = vec![0; 512];
        put(&mut expected, 0, &[b'I', b'N', 0, 0, 3]).unwrap();
        put(&mut expected, 92, &[7, 7, 7, 7, 0xff, 0xff, 0xff, 0xff]).unwrap();
        put(&mut expected, 152, &number.to_be_bytes()).unwrap();
        put(&mut expected, 160, &UUID).unwrap();
        seal(&mut expected, 100).unwrap();
        assert_eq!(inode, expected, "inode {number}");
    }
}

#[test]
fn a_chunk_that_is_freed_again_or_impossible_is_not_made() {
    let mut log = log_of(&[chunk(64, 8)]);
    log.record(&transaction(2, &[cancel(BLOCK + 16, 16)]));
    assert_eq!(log.replay(&[]).overlay.count(), 0);
    for (count, blocks) in [(0, 0), (64, 7), (8192, 1024), (u32::MAX, u32::MAX)] {
        assert!(log_of(&[chunk(count, blocks)]).replay(&[]).incomplete.is_some(), "{count} in {blocks}");
    }
}

#[test]
fn of_a_buffer_of_inodes_only_the_links_of_deleted_ones_count() {
    let mut logged = vec![0xbb; 128];
    logged[96..100].copy_from_slice(&77_u32.to_be_bytes());
    let inode = replayed(&[buffer(BLOCK, 16, 8, 1, &[(0, logged)])]);
    let mut expected = disk_inode(0);
    put(&mut expected, 96, &77_u32.to_be_bytes()).unwrap();
    seal(&mut expected, 100).unwrap();
    assert_eq!(inode, expected);
}

fn intent(kind: u16, number: u64, rest: &[u64]) -> Vec<Vec<u8>> {
    let mut format = [kind.to_le_bytes(), [1, 0]].concat();
    format.extend(1_u32.to_le_bytes());
    format.extend(number.to_le_bytes());
    rest.iter().for_each(|value| format.extend(value.to_le_bytes()));
    vec![format]
}

#[test]
fn inodes_of_unfinished_map_changes_are_named() {
    let mut log = log_of(&[intent(0x1244, 5, &[131, 0, 0, 0]), intent(0x1248, 5, &[140, 141])]);
    let uncertain = |log: &Writer| log.replay(&[]).uncertain.into_iter().collect::<Vec<_>>();
    assert_eq!(uncertain(&log), [131, 140, 141]);
    log.record(&transaction(2, &[intent(0x1245, 5, &[])]));
    assert_eq!(uncertain(&log), [140, 141]);
    log.record(&transaction(3, &[intent(0x1249, 5, &[]), intent(0x1236, 6, &[1, 2])]));
    assert_eq!(uncertain(&log), [0; 0], "an unfinished freeing leaves blocks in use");
    assert_eq!(log.replay(&[]).incomplete, None);
}
