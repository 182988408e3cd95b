//! Journals drawn by a seed, against the plain model; then the same with one bit changed, which must never show a wrong block.

use super::logbook::{BLOCK, BLOCKS, Form, JOURNAL_BLOCKS, Logbook, RUNS, Transaction, model};
use super::written::{blocks, replayed};
use crate::filesystem::ext::journal::superblock::{Checksums, MAGIC};
use crate::testkit::dice::{Dice, each_seed};

const HISTORIES: u64 = 150;

fn form(dice: &Dice) -> Form {
    let checksums = [Checksums::None, Checksums::Transaction, Checksums::V2, Checksums::V3, Checksums::V3][dice.index(5)];
    let fast = [None, None, Some(5), Some(20)][dice.index(4)];
    let old = checksums == Checksums::None && fast.is_none() && dice.chance(500);
    let wide = !old && dice.chance(500);
    Form { checksums, wide, async_commit: !old && dice.chance(300), fast, version: if old { 3 } else { 4 } }
}

fn transaction(dice: &Dice, second: u64) -> Transaction {
    let mut transaction = Transaction::new(second);
    let mut homes: Vec<u64> = (0..dice.below(6)).map(|_| dice.below(12)).collect();
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        let content = dice.below(256) as u8;
        transaction = if dice.chance(250) { transaction.write_magic(home, content) } else { transaction.write(home, content) };
    }
    for _ in 0..dice.below(3) {
        transaction = transaction.revoke(dice.below(14));
    }
    transaction
}

/// A log that was written at least once round the ring before, so that old blocks lie everywhere.
fn drawn(dice: &Dice) -> (Logbook, Vec<Transaction>) {
    let form = form(dice);
    let sequence = [1, 77, u32::MAX - 3][dice.index(3)];
    let mut old = Logbook::new(form, sequence.wrapping_sub(40), 1);
    (0..40).for_each(|second| drop(old.add(&transaction(dice, second))));
    let start = dice.within(1..old.last());
    let mut logbook = Logbook::new(form, sequence, start);
    for block in 1..JOURNAL_BLOCKS {
        logbook.put(block, old.block(block));
    }
    logbook.most_tags = dice.within(1..5) as usize;
    let history: Vec<Transaction> = (0..dice.below(5)).map(|second| transaction(dice, 100 + second)).collect();
    history.iter().for_each(|transaction| drop(logbook.add(transaction)));
    (logbook, history)
}

#[test]
fn a_random_journal_is_replayed_as_the_model_says() {
    each_seed(0..HISTORIES, |seed| {
        let (logbook, history) = drawn(&Dice::new(seed));
        let replay = replayed(&logbook).unwrap();
        assert_eq!(replay.incomplete, None);
        assert_eq!(replay.transactions, history.len() as u64);
        assert_eq!(blocks(&logbook, &replay), model(&history));
    });
}

#[test]
fn one_changed_bit_shortens_the_replay_or_is_told_but_never_shows_a_wrong_block() {
    each_seed(0..HISTORIES, |seed| {
        let dice = Dice::new(seed);
        let (mut logbook, history) = drawn(&dice);
        if logbook.form.checksums != Checksums::V3 {
            return;
        }
        for _ in 0..20 {
            let (block, bit) = (dice.within(0..JOURNAL_BLOCKS), dice.index(BLOCK * 8));
            let at = logbook.offset(block) + bit / 8;
            logbook.image[at] ^= 1 << (bit % 8);
            if let Ok(replay) = replayed(&logbook) {
                let found = blocks(&logbook, &replay);
                let is_prefix = (0..=history.len()).any(|whole| model(&history[..whole]) == found);
                assert!(is_prefix || replay.incomplete.is_some(), "block {block} of the journal, bit {bit}");
            }
            logbook.image[at] ^= 1 << (bit % 8);
        }
    });
}

#[test]
fn bytes_of_any_kind_in_the_journal_neither_panic_nor_loop() {
    each_seed(0..HISTORIES, |seed| {
        let dice = Dice::new(seed);
        let (mut logbook, _) = drawn(&dice);
        for _ in 0..dice.within(1..40) {
            let block = dice.within(1..JOURNAL_BLOCKS);
            let kind = [1, 2, 5, 9][dice.index(4)];
            let words = [MAGIC, kind, logbook.sequence.wrapping_sub(dice.below(5) as u32)];
            let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            let noise: Vec<u8> = (12..BLOCK).map(|_| if dice.chance(300) { dice.below(256) as u8 } else { 0xff }).collect();
            let mut bytes = [header, noise].concat();
            let field = if kind == 2 { 0x10 } else { BLOCK - 4 };
            super::logbook::sign(logbook.seed(), &mut bytes, field);
            logbook.put(block, &bytes);
        }
        if dice.chance(300) {
            let field = [0x10, 0x14, 0x18, 0x1c, 0x54][dice.index(5)];
            logbook.field(field, dice.below(80) as u32);
            logbook.sign_superblock();
        }
        if let Ok(replay) = replayed(&logbook) {
            assert!(replay.overlay.units().all(|block| block < BLOCKS));
            assert!(replay.overlay.count() <= RUNS.iter().map(|(_, count)| *count as usize).sum());
        }
    });
}
