//! Logs written by hand, and what replay makes of them.

use super::bench::{Op, UUID, Writer, buffer, cancel, transaction};
use super::put::seal;

/// A block of metadata, of no known structure.
const BLOCK: u64 = 64;
const BYTE: u64 = BLOCK * 512;
const PLAIN: u16 = 0;
const AGF: u16 = 5;

fn change(number: u32, fill: u8) -> Vec<Op> {
    transaction(number, &[buffer(BLOCK, 8, PLAIN, 0, &[(256, vec![fill; 128])])])
}

#[test]
fn a_transaction_counts_when_it_is_complete() {
    let mut log = Writer::new(512);
    log.record(&change(1, 0x11));
    let unfinished = change(2, 0x22);
    log.record(&unfinished[..unfinished.len() - 1]);
    assert_eq!(log.replayed(&[], BYTE + 255, 130), [vec![0], vec![0x11; 128], vec![0]].concat());
    assert_eq!(log.replay(&[]).transactions, 1);
    log.record(&unfinished[unfinished.len() - 1..]);
    assert_eq!(log.replayed(&[], BYTE + 256, 128), [0x22; 128]);
}

#[test]
fn an_unmounted_or_empty_log_changes_nothing() {
    let mut log = Writer::new(512);
    assert!(log.replay(&[]).clean, "never written");
    log.record(&change(1, 0x11));
    assert!(!log.replay(&[]).clean);
    log.unmount();
    let replay = log.replay(&[]);
    assert!(replay.clean && replay.overlay.count() == 0 && replay.incomplete.is_none());
}

#[test]
fn what_lies_before_an_unmount_does_not_matter() {
    let mut log = Writer::new(512);
    let start = log.record(&change(1, 0x11));
    log.unmount();
    // The record of the unmount has a tail of its own; make it look as if the damaged one were live.
    log.ring[start as usize * 512 + 700] ^= 1;
    let unmount = (start as usize + 2) * 512;
    log.ring[unmount + 24..unmount + 32].copy_from_slice(&(1_u64 << 32).to_be_bytes());
    let replay = log.replay(&[]);
    assert!(replay.clean && replay.incomplete.is_none(), "{:?}", replay.incomplete);
}

#[test]
fn the_live_part_may_go_around_the_end_at_any_block() {
    for filler in 90..128 {
        let mut log = Writer::new(128);
        while log.at < filler {
            log.tail = log.at;
            log.record(&change(9, 0x99));
        }
        log.tail = log.at;
        for number in 1..=20 {
            log.record(&change(number, number as u8));
        }
        assert_eq!(log.replayed(&[], BYTE + 256, 128), [20; 128], "filler {filler}");
        assert_eq!(log.replay(&[]).transactions, 20, "filler {filler}");
    }
}

#[test]
fn a_record_that_is_torn_was_never_written() {
    for torn in 1..=3 {
        let mut log = Writer::new(2048);
        let starts: Vec<u64> = (1..=12).map(|number| log.record(&change(number, number as u8))).collect();
        let at = starts[12 - torn] as usize * 512;
        log.ring[at + 700] ^= 1;
        let whole = (12 - torn) as u8;
        assert_eq!(log.replayed(&[], BYTE + 256, 1), [whole], "{torn} from the end");
    }
}

#[test]
fn a_write_that_did_not_reach_the_disk_ends_the_log_whatever_follows() {
    let mut log = Writer::new(128);
    while log.at < 130 {
        log.tail = log.at;
        log.record(&change(9, 0x99));
    }
    let before = log.ring.clone();
    log.tail = log.at;
    let starts: Vec<u64> = (1..=5).map(|number| log.record(&change(number, number as u8))).collect();
    let lost = (starts[3] % 128) as usize * 512;
    let length = (starts[4] - starts[3]) as usize * 512;
    log.ring[lost..lost + length].copy_from_slice(&before[lost..lost + length]);
    assert_eq!(log.replayed(&[], BYTE + 256, 1), [3]);
}

#[test]
fn a_tail_that_a_torn_write_went_over_was_no_longer_needed() {
    let mut log = Writer::new(128);
    for number in 1..=64 {
        log.record(&change(number, number as u8));
    }
    log.tail = 4;
    log.record(&change(65, 65));
    log.tail = 40;
    let torn = [log.record(&change(66, 66)), log.record(&change(67, 67))];
    for start in torn {
        log.ring[(start % 128) as usize * 512 + 700] ^= 1;
    }
    assert_eq!(log.replayed(&[], BYTE + 256, 1), [65]);
    assert_eq!(log.replay(&[]).transactions, 62, "of 65, three were written over");
}

#[test]
fn damage_further_back_than_writes_under_way_ends_replay_and_is_told() {
    let mut log = Writer::new(2048);
    let starts: Vec<u64> = (1..=12).map(|number| log.record(&change(number, number as u8))).collect();
    log.ring[starts[2] as usize * 512 + 700] ^= 1;
    let replay = log.replay(&[]);
    let reason = replay.incomplete.unwrap();
    let byte = super::bench::LOG_BYTE + starts[2] * 512;
    assert!(reason.contains("checksum") && reason.contains(&format!("byte {byte} ")), "{reason}");
    assert_eq!(replay.transactions, 2);
}

#[test]
fn records_longer_than_32_kib_have_longer_headers() {
    let mut log = Writer::new(4096);
    log.size = 256 << 10;
    let items: Vec<_> = (0..40).map(|index| buffer(BLOCK + 8 * index, 8, PLAIN, 0, &[(0, vec![index as u8 + 1; 4096])])).collect();
    log.record(&transaction(1, &items));
    for index in 0..40 {
        assert_eq!(log.replayed(&[], BYTE + index * 4096, 4096), vec![index as u8 + 1; 4096]);
    }
}

#[test]
fn a_region_goes_on_in_the_next_record() {
    let mut log = Writer::new(512);
    let mut ops = change(1, 0);
    let region: Vec<u8> = (0..128).collect();
    ops[3].2 = region.clone();
    let (header, format) = (ops[1].2.clone(), ops[2].2.clone());
    log.record(&[ops[0].clone(), (1, 0x04, header[..4].to_vec())]);
    log.record(&[(1, 0x18, header[4..].to_vec()), (1, 0x04, format[..8].to_vec())]);
    log.record(&[(1, 0x18, format[8..].to_vec()), (1, 0x04, region[..20].to_vec())]);
    log.record(&[(1, 0x0c, region[20..100].to_vec())]);
    log.record(&[(1, 0x18, region[100..].to_vec()), ops[4].clone()]);
    assert_eq!(log.replayed(&[], BYTE + 256, 128), region);
}

#[test]
fn what_was_in_a_freed_buffer_is_not_written_over_what_came_after() {
    let mut log = Writer::new(512);
    log.record(&change(1, 0x11));
    log.record(&transaction(2, &[cancel(BLOCK, 8)]));
    assert_eq!(log.replayed(&[(BYTE + 256, vec![0xda; 128])], BYTE + 256, 128), [0xda; 128], "now a file's");
    log.record(&change(3, 0x33));
    assert_eq!(log.replayed(&[], BYTE + 256, 128), [0x33; 128], "metadata again");
    log.record(&transaction(4, &[cancel(BLOCK, 8)]));
    assert_eq!(log.replayed(&[(BYTE + 256, vec![0xda; 128])], BYTE + 256, 128), [0xda; 128]);
}

/// The header of a group's free space, as of `lsn`.
fn group_header(lsn: u64) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..4].copy_from_slice(b"XAGF");
    header[64..80].copy_from_slice(&UUID);
    header[208..216].copy_from_slice(&lsn.to_be_bytes());
    seal(&mut header, 216).unwrap();
    header
}

#[test]
fn a_block_that_is_newer_than_a_change_keeps_its_bytes() {
    let mut log = Writer::new(512);
    let before = (BYTE, group_header(1));
    let first = log.record(&transaction(1, &[buffer(BLOCK, 1, AGF, 0, &[(384, vec![0x11; 128])])]));
    let lsn = log.lsn(first);
    for (there, expected) in [(lsn - (1 << 32), 0x11), (lsn, 0), (lsn + 1, 0), (0, 0x11), (u64::MAX, 0x11)] {
        assert_eq!(log.replayed(&[(BYTE, group_header(there))], BYTE + 384, 128), [expected; 128], "in place {there:#x}");
    }
    let replayed = log.replayed(&[before], BYTE, 512);
    let mut expected = group_header(lsn);
    expected[384..].fill(0x11);
    seal(&mut expected, 216).unwrap();
    assert_eq!(replayed, expected, "it has the age of the change, and its checksum fits");
}

#[test]
fn transactions_of_one_age_all_apply() {
    let mut log = Writer::new(512);
    let one = transaction(1, &[buffer(BLOCK, 1, AGF, 0, &[(256, vec![0x11; 128])])]);
    let two = transaction(2, &[buffer(BLOCK, 1, AGF, 0, &[(384, vec![0x22; 128])])]);
    log.record(&[one, two].concat());
    let replayed = log.replayed(&[(BYTE, group_header(1))], BYTE + 256, 256);
    assert_eq!(replayed, [[0x11; 128], [0x22; 128]].concat());
}

#[test]
fn a_kind_that_is_not_known_is_named() {
    let mut log = Writer::new(512);
    let mut strange = buffer(BLOCK, 8, PLAIN, 0, &[]);
    strange[0][..2].copy_from_slice(&0x1299_u16.to_le_bytes());
    log.record(&transaction(1, &[strange, buffer(BLOCK, 8, PLAIN, 0, &[(0, vec![1; 128])])]));
    let replay = log.replay(&[]);
    assert!(replay.incomplete.unwrap().contains("0x1299"));
    assert_eq!(replay.changes, 1, "the rest is applied");
}

#[test]
fn a_log_of_another_filesystem_is_not_replayed() {
    let mut log = Writer::new(512);
    log.record(&change(1, 0x11));
    log.ring[304] ^= 1;
    let (head, data) = log.ring.split_at_mut(512);
    super::bench::seal_record(head, &data[..512]);
    let replay = log.replay(&[]);
    assert!(replay.incomplete.unwrap().contains("another filesystem"));
    assert_eq!(replay.overlay.count(), 0);
}
