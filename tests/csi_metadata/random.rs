//! Random ranges, cut into random messages and broken off at random, amount to the same set.

use icecore::base::extent::{Extent, ExtentSet};
use icecore::testkit::csi_server::{Code, Script, Step, Volume, cut, fail, raw};
use icecore::testkit::dice::{Dice, each_seed};

use crate::rig::{Rig, Wire, over_both, told};

const BLOCK: u64 = 4096;

fn volume(dice: &Dice) -> Volume {
    let blocks = dice.within(1..400);
    let capacity = blocks * BLOCK - dice.below(2) * dice.below(BLOCK);
    let is_fixed = dice.chance(500);
    let (mut extents, mut at) = (Vec::new(), dice.below(3));
    while at < blocks {
        let length = if is_fixed { 1 } else { dice.within(1..9) };
        let end = (at + length).min(blocks) * BLOCK;
        // A driver rounds the last block up, or does not.
        let end = if dice.chance(500) { end } else { end.min(capacity) };
        extents.push(Extent::between(at * BLOCK, end));
        at += length + if dice.chance(300) { 0 } else { dice.within(1..12) };
    }
    Volume { capacity, extents, is_fixed, in_a_message: 1 + dice.index(7) }
}

/// Every other call ends early in some way, but for a few at the end of the patience.
fn moody(seed: u64) -> Script {
    let dice = Dice::new(seed ^ 0xbad);
    let codes = [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Cancelled];
    let mut fruitless = 0;
    Script::new(move |_, steps| {
        let after = dice.index(steps.len() + 1);
        if after == 0 || steps.is_empty() {
            fruitless += 1;
        } else {
            fruitless = 0;
        }
        let is_calm = fruitless >= 2;
        match dice.below(if is_calm { 1 } else { 3 }) {
            0 => steps,
            1 => fail(steps, after, codes[dice.index(codes.len())]),
            // OK too early: caught by the confirmation, as long as it does not lie twice at the same place.
            _ => cut(steps, after.max(1)),
        }
    })
}

#[test]
fn the_same_set_comes_back_however_it_is_cut_and_broken() {
    each_seed(0..60, |seed| {
        let volume = volume(&Dice::new(seed));
        let whole = Extent::new(0, volume.capacity);
        let wanted = told(&volume).intersection(&ExtentSet::from(whole));
        over_both(|wire| {
            let rig = Rig::new(wire, volume.clone(), moody(seed));
            assert_eq!(rig.changed().unwrap().extents, wanted, "{wire:?}");
            assert!(rig.server.calls().iter().all(|call| u64::try_from(call.from).unwrap() <= volume.capacity));
        });
    });
}

#[test]
fn whatever_nonsense_is_told_ends_in_an_answer_or_an_error() {
    each_seed(0..200, |seed| {
        let dice = Dice::new(seed);
        let numbers = [i64::MIN, -1, 0, 1, 511, 4096, 65536, 1 << 20, (1 << 20) - 1, i64::MAX];
        let any = || numbers[dice.index(numbers.len())];
        let steps: Vec<Step> = (0..4)
            .map(|_| {
                let tuples: Vec<_> = (0..3).map(|_| (any(), any())).collect();
                let capacity = if any() < 0 { any() } else { 1 << 20 };
                Step::Send(raw((any() % 4) as i32, capacity, &tuples))
            })
            .collect();
        let volume = Volume { capacity: 1 << 20, extents: Vec::new(), is_fixed: false, in_a_message: 1 };
        let rig = Rig::new(Wire::Driver, volume, Script::always(steps));
        if let Ok(answer) = rig.changed() {
            assert!(answer.extents.as_slice().iter().all(|extent| extent.end() <= 1 << 20), "{answer:?}");
        }
    });
}
