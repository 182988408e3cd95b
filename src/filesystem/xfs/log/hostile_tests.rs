//! Logs that someone broke on purpose: replay ends, quickly, and never panics.

use super::bench::{LOG_BYTE, Memory, Writer, buffer, cancel, facts, place, seal_record, transaction};
use super::pass::MEMORY_BYTES;
use super::replay;
use crate::testkit::dice::{Dice, each_seed};

const BLOCKS: u64 = 256;
const BLOCK_LENGTH: usize = 512;

/// A log with a bit of everything.
fn log() -> Writer {
    let mut log = Writer::new(BLOCKS);
    for number in 1..=10 {
        let mut inode = vec![0; 56];
        inode[..8].copy_from_slice(&[0x3b, 0x12, 3, 0, 3, 0, 0, 0]);
        inode[40] = 128;
        inode[48] = 16;
        let mut core = vec![0; 176];
        core[..5].copy_from_slice(&[b'N', b'I', 0, 0x80, 3]);
        let mut chunk = [0x3f, 0x12, 1, 0].to_vec();
        [0_u32, 16, 64, 512, 8, 7].iter().for_each(|value| chunk.extend(value.to_be_bytes()));
        let mut intent = vec![0; 48];
        intent[..8].copy_from_slice(&[0x44, 0x12, 1, 0, 1, 0, 0, 0]);
        let items = [
            vec![chunk],
            vec![inode, core, vec![1; 64]],
            buffer(64 + u64::from(number), 8, 5, 0, &[(256, vec![1; 256])]),
            buffer(128, 16, 8, 1, &[(0, vec![2; 128])]),
            cancel(300, 8),
            vec![intent],
        ];
        log.record(&transaction(number, &items));
    }
    log
}

/// Sets the checksum of every record that still looks like one, so that what is behind it is reached.
fn reseal(ring: &mut [u8]) {
    let blocks = ring.len() / BLOCK_LENGTH;
    for block in 0..blocks {
        let at = block * BLOCK_LENGTH;
        if ring[at..at + 4] != [0xfe, 0xed, 0xba, 0xbe] {
            continue;
        }
        let word = |offset: usize| u32::from_be_bytes(ring[at + offset..at + offset + 4].try_into().unwrap()) as usize;
        let (length, head) = (word(12), word(320).div_ceil(32 << 10).clamp(1, 8) * BLOCK_LENGTH);
        if at + head + length <= ring.len() {
            let (head, data) = ring[at..at + head + length].split_at_mut(head);
            seal_record(head, data);
        }
    }
}

fn spoil(ring: &mut [u8], dice: &Dice) {
    let used = 10 * 4 * BLOCK_LENGTH as u64;
    for _ in 0..=dice.below(4) {
        let at = dice.below(used) as usize;
        match dice.below(4) {
            0 => ring[at] ^= 1 << dice.below(8),
            1 => ring[at] = dice.below(256) as u8,
            2 => ring[at..at + 4].fill(0xff),
            _ => ring[at..at + 4].fill(0),
        }
    }
}

#[test]
fn a_spoiled_log_with_right_checksums_ends_replay_and_does_no_harm() {
    let log = log();
    each_seed(1..4, |seed| {
        let dice = Dice::new(seed);
        for _ in 0..700 {
            let mut spoiled = log.clone();
            spoil(&mut spoiled.ring, &dice);
            reseal(&mut spoiled.ring);
            let replay = replay(&spoiled.volume(&[]), &place(LOG_BYTE, BLOCKS), &facts()).unwrap();
            assert!(replay.overlay.count() <= 8192);
        }
    });
}

#[test]
fn a_ring_of_noise_or_of_nothing_but_headers_ends_replay() {
    each_seed(4..6, |seed| {
        let dice = Dice::new(seed);
        for headers in [0, 1, 2] {
            let mut log = Writer::new(BLOCKS);
            log.ring.iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
            for block in log.ring.chunks_mut(BLOCK_LENGTH).filter(|_| headers > 0) {
                block[..4].copy_from_slice(&[0xfe, 0xed, 0xba, 0xbe]);
                block[4..8].copy_from_slice(&headers.to_string().as_bytes().repeat(4));
            }
            let _any_outcome = replay(&log.volume(&[]), &place(LOG_BYTE, BLOCKS), &facts()).unwrap();
        }
    });
}

#[test]
fn transactions_that_never_end_cannot_take_more_memory_than_replay_may() {
    // Each begins in twelve bytes, and takes many times that in memory.
    let begun_in_a_record = 2600;
    let records = u32::try_from(MEMORY_BYTES / 96 / u64::from(begun_in_a_record)).unwrap() + 2;
    let mut log = Writer::new(u64::from(records) * 64 + 64);
    log.record(&transaction(1, &[buffer(64, 8, 0, 0, &[(256, vec![1; 128])])]));
    for record in 0..records {
        let numbers = (1..=begun_in_a_record).map(|number| 1 + record * begun_in_a_record + number);
        log.record(&numbers.map(|number| (number, 1, Vec::new())).collect::<Vec<_>>());
    }
    let blocks = log.ring.len() as u64 / BLOCK_LENGTH as u64;
    let volume = Memory::source([vec![0; usize::try_from(LOG_BYTE).unwrap()], log.ring].concat());
    let replay = replay(&volume, &place(LOG_BYTE, blocks), &facts()).unwrap();
    let reason = replay.incomplete.unwrap();
    assert!(reason.contains("201326592"), "{reason}");
    assert_eq!(replay.transactions, 1, "what was complete before is applied");
}
