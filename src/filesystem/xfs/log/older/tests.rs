//! Directory blocks put together from logs written by hand.

use super::super::bench::{LOG_BYTE, Op, Writer, buffer, cancel, facts, place, transaction};
use super::*;

/// A block of 4 KiB, in units of 512 bytes.
const BLOCK: u64 = 64;
const PLACE: Extent = Extent { offset: BLOCK * 512, length: 4096 };
const ONLY_BLOCK: u16 = 10;
const ENTRIES: u16 = 11;
const LEAF: u16 = 13;

fn older(log: &Writer) -> Older {
    let blocks = log.ring.len() as u64 / BLOCK_BYTES;
    Older::of(&log.volume(&[]), &place(LOG_BYTE, blocks), &facts()).unwrap()
}

/// What is known of the block: one letter for each piece that all consists of that letter, a dot for what is not known.
fn known(log: &Writer) -> String {
    let Some(block) = older(log).directory_blocks(&[PLACE]).pop() else { return String::new() };
    let letter = |piece: usize| {
        let bytes = piece * 128..(piece + 1) * 128;
        let first = block.bytes[bytes.start];
        assert!(block.bytes[bytes.clone()].iter().all(|byte| *byte == first));
        if block.knows(bytes) { char::from(first) } else { '.' }
    };
    (0..8).map(letter).collect()
}

/// A transaction that fills pieces of the block with letters; a dot leaves one alone.
fn change(kind: u16, letters: &str) -> Vec<Op> {
    let pieces = letters.bytes().enumerate().filter(|(_, letter)| *letter != b'.');
    // One run of pieces is one region, as in the kernel.
    let mut runs: Vec<(usize, Vec<u8>)> = Vec::new();
    for (piece, letter) in pieces {
        match runs.last_mut().filter(|(offset, bytes)| offset + bytes.len() == piece * 128) {
            Some((_, bytes)) => bytes.extend([letter; 128]),
            None => runs.push((piece * 128, vec![letter; 128])),
        }
    }
    transaction(1, &[buffer(BLOCK, 8, kind, 0, &runs)])
}

fn inodes(block: u32) -> Vec<Op> {
    let mut format = [0x3f, 0x12, 1, 0].to_vec();
    [0, block, 64, 512, 8, 1].iter().for_each(|word: &u32| format.extend(word.to_be_bytes()));
    transaction(1, &[vec![format]])
}

fn written(records: &[Vec<Op>]) -> Writer {
    let mut log = Writer::new(512);
    records.iter().for_each(|record| {
        log.record(record);
    });
    log
}

#[test]
fn the_youngest_state_of_each_piece_counts() {
    let check = |records: &[Vec<Op>], expected: &str| assert_eq!(known(&written(records)), expected);
    check(&[change(ENTRIES, "aa..aa..")], "aa..aa..");
    check(&[change(ENTRIES, "aa..aa.."), change(ENTRIES, "b..bb...")], "ba.bba..");
    // A directory that grows beyond one block, or shrinks to one, keeps its first block.
    check(&[change(ONLY_BLOCK, "aa......"), change(ENTRIES, ".bb.....")], "abb.....");
    check(&[transaction(1, &[buffer(BLOCK + 8, 8, ENTRIES, 0, &[(0, vec![1; 128])])])], "");
}

#[test]
fn nothing_of_one_life_goes_into_the_next() {
    let (before, after) = (change(ENTRIES, "aaaaaaaa"), change(ENTRIES, "b......."));
    let other = |block, kind| transaction(1, &[buffer(block, 8, kind, 0, &[(0, vec![0; 128])])]);
    for (what, between) in [
        ("freed", transaction(1, &[cancel(BLOCK, 8)])),
        ("freed as part of more", transaction(1, &[cancel(BLOCK - 8, 16)])),
        ("an index", other(BLOCK, LEAF)),
        ("of no kind that is told", other(BLOCK, 0)),
        ("something that reaches into it", other(BLOCK - 4, ENTRIES)),
        ("inodes", inodes(2)),
    ] {
        assert_eq!(known(&written(&[before.clone(), between.clone()])), "", "{what}");
        assert_eq!(known(&written(&[before.clone(), between, after.clone()])), "b.......", "{what}");
    }
    for between in [transaction(1, &[cancel(BLOCK + 8, 8)]), other(BLOCK - 8, LEAF), inodes(9)] {
        assert_eq!(known(&written(&[before.clone(), between, after.clone()])), "baaaaaaa", "its neighbours");
    }
}

#[test]
fn what_was_freed_and_not_used_again_is_not_offered() {
    let places = |records: &[Vec<Op>]| older(&written(records)).directory_places().collect::<Vec<_>>();
    assert_eq!(places(&[change(ENTRIES, "a.......")]), [PLACE]);
    assert_eq!(places(&[change(ENTRIES, "a......."), transaction(1, &[cancel(BLOCK, 8)])]), []);
    assert_eq!(places(&[change(LEAF, "a.......")]), []);
}

#[test]
fn a_block_begins_anew_behind_records_that_cannot_be_read_if_it_is_told_of_again() {
    let mut log = written(&[change(ENTRIES, "aaaa....")]);
    let lost = log.record(&change(ENTRIES, ".bb....."));
    log.record(&transaction(1, &[buffer(BLOCK + 8, 8, ENTRIES, 0, &[(0, vec![1; 128])])]));
    let whole = log.clone();
    assert_eq!(known(&whole), "abba....");
    log.ring[lost as usize * 512 + 700] ^= 1;
    assert_eq!(known(&log), "aaaa....", "nothing tells that it was not left alone");
    log.record(&change(ENTRIES, "...c...."));
    assert_eq!(known(&log), "...c....");
}

#[test]
fn the_time_before_the_ring_was_written_over_counts() {
    let mut log = Writer::new(64);
    log.record(&change(ENTRIES, "aaaaaaaa"));
    for letters in ["b.......", ".c......", "..d.....", "...e...."] {
        while !log.at.is_multiple_of(16) {
            log.record(&transaction(2, &[]));
        }
        log.record(&change(ENTRIES, letters));
    }
    assert_eq!(log.at / 64, 1, "it went around once");
    assert_eq!(known(&log), "bcde....", "what was written first is gone");
}
