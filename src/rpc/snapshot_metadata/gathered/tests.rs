//! The rules that an answer has to keep, one row each, and what becomes of ranges that keep them.

use super::*;
use crate::testkit::dice::{Dice, each_seed};
use StreamFault as Fault;

const SIZE: u64 = 1 << 20;

fn message(tuples: &[(i64, i64)]) -> Message {
    let tuples = tuples.iter().map(|(offset, size)| Tuple { offset: *offset, size: *size }).collect();
    Message { style: Some(BlockStyle::Variable), capacity: SIZE as i64, tuples }
}

fn fixed(tuples: &[(i64, i64)]) -> Message {
    Message { style: Some(BlockStyle::Fixed), ..message(tuples) }
}

fn gathered() -> Gathered {
    Gathered::new(SIZE, Limits::default())
}

/// Takes messages of one stream; the first error ends it.
fn take(gathered: &mut Gathered, messages: &[Message]) -> Result<(), MetadataError> {
    gathered.begin_stream();
    messages.iter().try_for_each(|message| gathered.take(message))
}

#[track_caller]
fn check(messages: &[Message], expected: Fault) {
    assert_eq!(take(&mut gathered(), messages), Err(MetadataError::Fault(expected)), "{messages:?}");
}

#[test]
fn every_rule_of_the_interface_is_held() {
    let extent = Extent::new;
    check(&[Message { style: None, ..message(&[]) }], Fault::NoStyle);
    check(&[message(&[]), fixed(&[])], Fault::StyleChanged { from: BlockStyle::Variable, to: BlockStyle::Fixed });
    check(&[message(&[]), Message { capacity: 5, ..message(&[]) }], Fault::CapacityChanged { from: SIZE, to: 5 });
    for (offset, size) in [(0, 0), (-1, 4096), (0, -4096), (i64::MIN, i64::MIN), (4096, 0)] {
        check(&[message(&[(offset, size)])], Fault::NoRange { offset, size });
    }
    for (offset, size) in [(SIZE, 1), (SIZE - 1, LARGEST_BLOCK_BYTES + 1), (0, i64::MAX as u64), (i64::MAX as u64, i64::MAX as u64)]
    {
        check(&[message(&[(offset as i64, size as i64)])], Fault::Beyond { offset, size, capacity: SIZE });
    }
    check(&[message(&[(8192, 10), (0, 10)])], Fault::OutOfOrder { before: extent(8192, 10), next: extent(0, 10) });
    check(&[message(&[(8192, 10)]), message(&[(0, 10)])], Fault::OutOfOrder { before: extent(8192, 10), next: extent(0, 10) });
    check(&[message(&[(0, 10), (9, 10)])], Fault::Overlap { before: extent(0, 10), next: extent(9, 10) });
    check(&[message(&[(0, 10), (0, 10)])], Fault::Overlap { before: extent(0, 10), next: extent(0, 10) });
    check(&[fixed(&[(0, 4096), (8192, 8192)])], Fault::UnevenBlocks { length: 4096, odd: extent(8192, 8192) });
    check(&[fixed(&[(0, 4096)]), fixed(&[(8192, 512)])], Fault::UnevenBlocks { length: 4096, odd: extent(8192, 512) });
}

#[test]
fn a_range_after_the_end_of_the_volume_is_refused_even_after_one_that_was_clipped() {
    let end = SIZE as i64;
    check(&[message(&[(end - 10, 20), (end + 10, 5)])], Fault::Beyond { offset: SIZE + 10, size: 5, capacity: SIZE });
}

#[test]
fn another_size_than_the_devices_is_no_fault_of_the_stream() {
    for capacity in [0, -1, 1, SIZE as i64 - 1, SIZE as i64 + 1] {
        let told = take(&mut gathered(), &[Message { capacity, ..message(&[(0, 1)]) }]);
        assert_eq!(told, Err(MetadataError::OtherSize { capacity, device: SIZE }));
    }
}

#[test]
fn ranges_are_joined_and_the_last_is_clipped_to_the_volume() {
    let mut answer = gathered();
    let end = SIZE as i64;
    take(&mut answer, &[message(&[(0, 10), (10, 10)]), message(&[]), message(&[(20, 5), (100, 5), (end - 1, 4096)])]).unwrap();
    assert!(answer.is_at_end());
    let told = answer.finish();
    assert_eq!(told.extents.as_slice(), [Extent::new(0, 25), Extent::new(100, 5), Extent::new(SIZE - 1, 1)]);
    assert_eq!((told.capacity, told.style), (SIZE, Some(BlockStyle::Variable)));
}

#[test]
fn the_last_block_of_fixed_ones_may_be_short_or_rounded_up() {
    let end = SIZE as i64;
    for last in [(end - 512, 512), (end - 512, 4096), (end - 4096, 4096)] {
        take(&mut gathered(), &[fixed(&[(0, 4096), last])]).unwrap();
        take(&mut gathered(), &[fixed(&[last])]).unwrap();
    }
    check(&[fixed(&[(0, 4096), (end - 512, 8192)])], Fault::UnevenBlocks { length: 4096, odd: Extent::new(SIZE - 512, 8192) });
}

#[test]
fn a_later_stream_may_begin_early_or_tell_everything_again() {
    for again in [&[(4096, 8192)][..], &[(0, 4096), (4096, 4096), (8192, 4096)], &[(8192, 4096)], &[(1, 2), (100, 12_188)]] {
        let mut answer = gathered();
        take(&mut answer, &[message(&[(0, 4096), (4096, 4096)])]).unwrap();
        take(&mut answer, &[message(again)]).unwrap();
        assert_eq!(answer.position(), 12_288);
        assert_eq!(answer.finish().extents, Extent::new(0, 12_288).into(), "{again:?}");
    }
}

#[test]
fn what_a_later_stream_says_of_known_parts_changes_nothing() {
    let mut answer = gathered();
    take(&mut answer, &[message(&[(4096, 4096)])]).unwrap();
    take(&mut answer, &[message(&[(0, 100)])]).unwrap();
    assert_eq!(answer.position(), 8192, "it does not move back");
    assert_eq!(answer.finish().extents, Extent::new(4096, 4096).into());
}

#[test]
fn an_endless_answer_ends_at_its_bounds() {
    let limits = Limits { tuples: 3, empty_messages: 2, ..Limits::default() };
    let mut answer = Gathered::new(SIZE, limits);
    let ranges = message(&[(0, 1), (2, 1), (4, 1), (6, 1)]);
    assert_eq!(take(&mut answer, &[ranges]), Err(Fault::TooManyRanges { limit: 3 }.into()));
    let empty = [message(&[]), message(&[]), message(&[])];
    assert_eq!(take(&mut Gathered::new(SIZE, limits), &empty), Err(Fault::TooManyEmpty { limit: 2 }.into()));
    take(&mut Gathered::new(SIZE, limits), &empty[..2]).unwrap();
}

#[test]
fn a_volume_cut_to_pieces_costs_a_bounded_number_of_ranges_and_none_is_missed() {
    each_seed(0..20, |seed| {
        let dice = Dice::new(seed);
        let size = 64 << 20;
        let bound = 64 + dice.index(64);
        let mut answer = Gathered::new(size, Limits { extents: bound, ..Limits::default() });
        let mut told = Vec::new();
        let mut at = 0;
        while at + 8192 < size {
            let length = 512 * (1 + dice.below(8));
            told.push(Extent::new(at, length));
            at += length + 512 * (1 + dice.below(64));
        }
        for extent in &told {
            let tuple = Tuple { offset: extent.offset as i64, size: extent.length as i64 };
            answer.take(&Message { capacity: size as i64, tuples: vec![tuple], ..message(&[]) }).unwrap();
            assert!(answer.extents.count() <= bound);
            assert_eq!(answer.position(), extent.end());
        }
        let told: ExtentSet = told.into_iter().collect();
        assert!(told.difference(&answer.finish().extents).is_empty());
    });
}

#[test]
fn sixty_four_tebibytes_of_every_other_block_stay_within_the_bound() {
    let size = 64_u64 << 40;
    let limits = Limits { extents: 1 << 10, ..Limits::default() };
    let mut answer = Gathered::new(size, limits);
    for block in (0..1_u64 << 22).map(|n| n * 8192) {
        let tuples = vec![Tuple { offset: block as i64, size: 4096 }];
        answer.take(&Message { style: Some(BlockStyle::Fixed), capacity: size as i64, tuples }).unwrap();
    }
    assert!(answer.extents.count() <= 1 << 10);
    assert_eq!(answer.position(), (1 << 35) - 4096);
}
