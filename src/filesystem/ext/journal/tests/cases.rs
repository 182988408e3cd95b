//! Chosen journals: what is replayed, where the log ends, what is damage, and what is refused.

use super::logbook::{BLOCKS, Form, JOURNAL_BLOCKS, Logbook, Transaction, V3, model, sign};
use super::written::{blocks, replayed, source};
use crate::filesystem::error::FilesystemError;
use crate::filesystem::ext::journal::superblock::Checksums;
use crate::filesystem::ext::journal::{JournalPlace, replay};

const FORMS: [Form; 6] = [
    V3,
    Form { wide: false, ..V3 },
    Form { checksums: Checksums::V2, ..V3 },
    Form { checksums: Checksums::V2, wide: false, ..V3 },
    Form { checksums: Checksums::Transaction, ..V3 },
    Form { checksums: Checksums::None, wide: false, version: 3, ..V3 },
];
const TRANSACTION: Form = Form { checksums: Checksums::Transaction, ..V3 };
const NONE: Form = Form { checksums: Checksums::None, ..V3 };

/// Five transactions that write, rewrite, escape and revoke.
fn history() -> Vec<Transaction> {
    vec![
        Transaction::new(100).write(7, 1).write(8, 1).write_magic(9, 1),
        Transaction::new(100).write(7, 2).revoke(8),
        Transaction::new(101).write_magic(8, 3).write(10, 3),
        Transaction::new(102).revoke(9).revoke(10).write(10, 4),
        Transaction::new(103).write(9, 5).write(11, 5),
    ]
}

/// Replays `logbook`, which should come out as the first `whole` transactions of `history`, with these words as its doubt.
#[track_caller]
fn check(logbook: &Logbook, history: &[Transaction], whole: usize, doubt: Option<&str>) {
    let replay = replayed(logbook).unwrap();
    assert_eq!(replay.transactions, whole as u64, "{:?}: {:?}", logbook.form, replay.incomplete);
    assert_eq!(blocks(logbook, &replay), model(&history[..whole]), "{:?}", logbook.form);
    match (doubt, replay.incomplete.as_deref()) {
        (None, None) => {}
        (Some(words), Some(reason)) => assert!(reason.contains(words), "{:?}: {reason}", logbook.form),
        (expected, found) => panic!("{:?}: {found:?} in place of {expected:?}", logbook.form),
    }
}

fn written(form: Form, history: &[Transaction]) -> Logbook {
    let mut logbook = Logbook::new(form, 41, 5);
    history.iter().for_each(|transaction| drop(logbook.add(transaction)));
    logbook
}

#[test]
fn every_form_of_the_log_means_the_same() {
    for form in FORMS {
        check(&written(form, &history()), &history(), 5, None);
    }
}

#[test]
fn the_ring_and_the_numbers_go_round() {
    for form in FORMS {
        for fast in [None, Some(9)] {
            for start in 40..JOURNAL_BLOCKS - 9 {
                let form = Form { fast: fast.filter(|_| form.version == 4), ..form };
                let mut logbook = Logbook::new(form, u32::MAX - 1, start);
                history().iter().for_each(|transaction| drop(logbook.add(transaction)));
                check(&logbook, &history(), 5, None);
            }
        }
    }
}

#[test]
fn an_empty_log_and_one_that_needs_no_recovery_change_nothing() {
    let mut logbook = written(V3, &history());
    let mut place = logbook.place();
    place.needs_recovery = false;
    let replay = replay(&source(&logbook), &place).unwrap();
    assert_eq!((replay.overlay.count(), replay.transactions, replay.incomplete), (0, 0, None));
    logbook.field(0x1c, 0);
    logbook.sign_superblock();
    check(&logbook, &history(), 0, None);
}

#[test]
fn a_transaction_without_its_commit_is_not_replayed() {
    for form in FORMS {
        let mut logbook = Logbook::new(form, 41, 5);
        let placed: Vec<_> = history().iter().map(|transaction| logbook.add(transaction)).collect();
        for (whole, transaction) in placed.iter().enumerate().rev() {
            logbook.put(transaction.commit, &[0xee; 1024]);
            check(&logbook, &history(), whole, None);
        }
    }
}

#[test]
fn what_an_earlier_round_has_left_ends_the_log() {
    for form in FORMS {
        let mut logbook = Logbook::new(form, 30, 1);
        for second in 0..9 {
            logbook.add(&Transaction::new(second).write(50, 9).revoke(51).write(52, 9));
        }
        let stale = Logbook { next: 5, sequence: 41, ..logbook };
        let fresh = Logbook::new(form, 41, 5);
        let mut logbook = Logbook { image: stale.image, ..fresh };
        logbook.put(0, fresh.block(0));
        history().iter().for_each(|transaction| drop(logbook.add(transaction)));
        check(&logbook, &history(), 5, None);
    }
}

#[test]
fn a_logged_block_that_changed_is_left_out_and_named() {
    for form in &FORMS[..4] {
        let mut logbook = written(*form, &history()[..1]);
        let placed = logbook.add(&Transaction::new(200).write(20, 1).write(7, 6).write(21, 2));
        let mut damaged = logbook.block(placed.data[1]).to_vec();
        damaged[77] ^= 1;
        logbook.put(placed.data[1], &damaged);
        let replay = replayed(&logbook).unwrap();
        let expected = Transaction::new(100).write(7, 1).write(8, 1).write_magic(9, 1).write(20, 1).write(21, 2);
        assert_eq!(blocks(&logbook, &replay), model(&[expected]), "the older copy of block 7 stays, as with the kernel");
        let byte = logbook.offset(placed.data[1]);
        let reason = replay.incomplete.unwrap();
        assert_eq!(reason, format!("journal, byte {byte} of the volume: the logged copy of block 7 fails its checksum"));
    }
}

/// Breaks the byte `at` of a block of the journal.
fn flip(logbook: &mut Logbook, block: u64, at: usize) {
    let mut bytes = logbook.block(block).to_vec();
    bytes[at] ^= 0x10;
    logbook.put(block, &bytes);
}

#[test]
fn a_broken_commit_is_damage_or_an_interrupted_one_by_what_follows() {
    let async_v3 = Form { async_commit: true, ..V3 };
    let async_transaction = Form { async_commit: true, ..TRANSACTION };
    for (form, added, whole, doubt) in [
        (V3, 3, 2, Some("the commit of transaction 43 fails its checksum")),
        (V3, 5, 2, Some("the commit of transaction 43 fails its checksum")),
        (TRANSACTION, 3, 2, Some("the commit of transaction 43 fails its checksum")),
        (async_v3, 3, 2, None),
        (async_v3, 4, 2, Some("fails its checksum, and transaction 44 follows it")),
        (async_transaction, 3, 2, None),
        (async_transaction, 4, 2, Some("fails its checksum, and transaction 44 follows it")),
    ] {
        let mut logbook = Logbook::new(form, 41, 5);
        let placed: Vec<_> = history()[..added].iter().map(|transaction| logbook.add(transaction)).collect();
        flip(&mut logbook, placed[2].commit, 0x11);
        check(&logbook, &history(), whole, doubt);
    }
}

#[test]
fn a_checksum_over_the_transaction_finds_any_changed_block() {
    let mut logbook = Logbook::new(TRANSACTION, 41, 5);
    let placed: Vec<_> = history().iter().map(|transaction| logbook.add(transaction)).collect();
    let mut damaged = logbook.clone();
    flip(&mut damaged, placed[3].data[0], 900);
    check(&damaged, &history(), 3, Some("the commit of transaction 44 fails its checksum"));
    let mut unsummed = logbook.block(placed[3].commit).to_vec();
    unsummed[0x0c..0x14].fill(0);
    logbook.put(placed[3].commit, &unsummed);
    check(&logbook, &history(), 5, None);
}

#[test]
fn a_broken_list_is_damage_if_its_transaction_was_committed_later_than_the_last() {
    for (committed_at, doubt) in [(103, Some("a descriptor of the committed transaction 46 fails its checksum")), (102, None)] {
        let mut logbook = written(V3, &history());
        let placed = logbook.add(&Transaction::new(committed_at).write(30, 1));
        flip(&mut logbook, placed.lists[0], 500);
        check(&logbook, &history(), 5, doubt);
        logbook.put(placed.commit, &[0; 1024]);
        check(&logbook, &history(), 5, None);
    }
    let mut logbook = written(V3, &history());
    let placed = logbook.add(&Transaction::new(103).revoke(7));
    flip(&mut logbook, placed.lists[0], 500);
    check(&logbook, &history(), 5, Some("a revoke record of the committed transaction 46 fails its checksum"));
}

#[test]
fn a_broken_commit_of_an_earlier_time_is_the_end() {
    let mut logbook = written(V3, &history());
    let placed = logbook.add(&Transaction::new(102).write(30, 1));
    flip(&mut logbook, placed.commit, 0x11);
    check(&logbook, &history(), 5, None);
}

#[test]
fn a_revoke_record_that_claims_too_much_stops_the_replay_before_it() {
    for form in [V3, NONE] {
        let mut logbook = written(form, &history());
        let placed = logbook.add(&Transaction::new(1).revoke(7).write(30, 1));
        let (mut block, room) =
            (logbook.block(placed.lists[0]).to_vec(), if form.checksums == Checksums::V3 { 1020 } else { 1024 });
        for (claimed, doubt) in [(room, false), (room + 1, true), (u32::MAX, true)] {
            block[12..16].copy_from_slice(&claimed.to_be_bytes());
            if form.checksums == Checksums::V3 {
                sign(logbook.seed(), &mut block, 1020);
            }
            logbook.put(placed.lists[0], &block);
            let replay = replayed(&logbook).unwrap();
            assert_eq!(replay.incomplete.is_some(), doubt, "{claimed}: {:?}", replay.incomplete);
            assert_eq!(replay.transactions, if doubt { 5 } else { 6 });
        }
    }
}

#[test]
fn a_block_outside_of_the_filesystem_is_named_and_the_rest_replayed() {
    for far in [BLOCKS, 1 << 33] {
        let mut logbook = written(V3, &history());
        logbook.add(&Transaction::new(200).write(far, 1).write(BLOCKS - 1, 1));
        let replay = replayed(&logbook).unwrap();
        assert!(replay.overlay.patch(BLOCKS - 1).is_some());
        assert!(replay.incomplete.unwrap().contains(&format!("belongs to block {far}, outside of the filesystem")));
    }
}

#[test]
fn a_log_without_an_end_is_walked_through_once() {
    let mut logbook = Logbook::new(NONE, 41, 5);
    let written = logbook.add(&Transaction::new(1).revoke(7));
    let endless = logbook.block(written.lists[0]).to_vec();
    (1..JOURNAL_BLOCKS).for_each(|block| logbook.put(block, &endless));
    check(&logbook, &[], 0, None);
}

#[test]
fn the_journals_superblock_is_refused_by_name() {
    for (field, value, words) in [
        (0x00, 0, "begins with 0x00000000"),
        (0x04, 2, "block type 2"),
        (0x0c, 4096, "blocks of 4096 bytes, the filesystem of 1024"),
        (0x10, 65, "claims 65 blocks, but its file has 64"),
        (0x14, 0, "a log from block 0"),
        (0x14, 64, "a log from block 64"),
        (0x1c, 64, "the log begins at block 64"),
        (0x24, 1, "two kinds of checksums"),
        (0x28, 0x18, "two kinds of checksums"),
        (0x50, 0, "checksum type 0"),
    ] {
        let mut logbook = written(V3, &history());
        logbook.field(field, value);
        logbook.sign_superblock();
        let outcome = replayed(&logbook);
        let text = match outcome {
            Err(error @ FilesystemError::Corrupt { .. }) => error.to_string(),
            Ok(replay) => replay.incomplete.unwrap(),
            Err(error) => panic!("{error}"),
        };
        assert!(text.contains(words), "{field:#x}: {text}");
    }
    let mut logbook = written(V3, &history());
    logbook.field(0x30, 7);
    assert!(matches!(replayed(&logbook), Err(FilesystemError::Corrupt { what, .. }) if what.contains("checksum")));
}

#[test]
fn unknown_features_are_named_and_nothing_is_replayed() {
    for (field, value, name) in [(0x28, 0x13 | 1 << 6, "FEATURE_I6"), (0x2c, 0x8000_0001, "FEATURE_R0, FEATURE_R31")] {
        let mut logbook = written(V3, &history());
        logbook.field(field, value);
        logbook.sign_superblock();
        check(&logbook, &history(), 0, Some(name));
    }
    let mut logbook = written(Form { version: 3, wide: false, ..NONE }, &history());
    logbook.field(0x28, 1 << 6);
    check(&logbook, &history(), 5, None);
}

#[test]
fn a_recorded_error_is_told_beside_the_replay() {
    let mut logbook = written(V3, &history());
    assert!(!replayed(&logbook).unwrap().error_recorded);
    logbook.field(0x20, (-5_i32) as u32);
    logbook.sign_superblock();
    assert!(replayed(&logbook).unwrap().error_recorded);
    check(&logbook, &history(), 5, None);
}

#[test]
fn a_journal_outside_of_the_filesystem_is_refused() {
    let logbook = written(V3, &history());
    for runs in [vec![], vec![(BLOCKS - 1, 2)], vec![(u64::MAX, 2)], vec![(300, u64::MAX)], vec![(300, 20)]] {
        let place = JournalPlace { runs, ..logbook.place() };
        let outcome = replay(&source(&logbook), &place);
        assert!(matches!(outcome, Err(FilesystemError::Corrupt { .. })), "{:?}", place.runs);
    }
}
