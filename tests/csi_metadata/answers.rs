//! Whole answers: what is asked for, what is made of it, and that a second call confirms it.

use icecore::base::extent::{Extent, ExtentSet};
use icecore::rpc::snapshot_metadata::{BlockStyle, Metadata};
use icecore::testkit::csi_server::{Script, Step, Volume, cut, message};

use crate::rig::{BLOCK, Rig, Wire, over_both, six_blocks, told};

#[test]
fn changed_and_allocated_ranges_come_back_joined() {
    over_both(|wire| {
        for is_fixed in [true, false] {
            let volume = Volume { is_fixed, in_a_message: 4, ..six_blocks() };
            let rig = Rig::new(wire, volume.clone(), Script::honest());
            let style = Some(if is_fixed { BlockStyle::Fixed } else { BlockStyle::Variable });
            let whole = Metadata { extents: told(&volume), capacity: 1 << 20, style };
            assert_eq!(whole.extents.count(), 5);
            assert_eq!(rig.changed(), Ok(whole.clone()), "{wire:?}");
            assert_eq!(rig.allocated(), Ok(whole), "{wire:?}");
        }
    });
}

#[test]
fn every_field_of_the_question_arrives_and_no_deadline_is_set() {
    over_both(|wire| {
        let rig = Rig::new(wire, six_blocks(), Script::honest());
        rig.changed().unwrap();
        rig.allocated().unwrap();
        let calls = rig.server.calls();
        let (first, third) = (&calls[0], &calls[2]);
        assert_eq!((first.base.as_deref(), first.target.as_str()), (Some("base"), "target"));
        assert_eq!((third.base.as_deref(), third.target.as_str()), (None, "target"));
        for call in [first, third] {
            assert!(call.max_results > 0);
            // The host path driver ends a stream with OK when its deadline passes.
            assert!(!call.has_deadline);
            match wire {
                Wire::Kubernetes => assert_eq!(call.namespace.as_deref(), Some("shop")),
                Wire::Driver => assert_eq!(call.secrets, [("user".to_owned(), "hunter2".to_owned())]),
            }
        }
        let tokens: Vec<_> = calls.iter().filter_map(|call| call.token.clone()).collect();
        let fresh = ["token-0", "token-1", "token-2", "token-3"];
        assert_eq!(tokens, if wire == Wire::Kubernetes { &fresh[..] } else { &[] }, "each stream has a token of its own");
    });
}

#[test]
fn an_answer_is_confirmed_from_its_last_range_on() {
    over_both(|wire| {
        let rig = Rig::new(wire, six_blocks(), Script::honest());
        rig.changed().unwrap();
        assert_eq!(rig.starts(), [0, 201 * 4096]);
    });
}

#[test]
fn an_answer_that_reaches_the_end_of_the_volume_needs_no_confirmation() {
    over_both(|wire| {
        let last = Extent::new((1 << 20) - BLOCK, BLOCK);
        let rig = Rig::new(wire, Volume { extents: vec![last], ..six_blocks() }, Script::honest());
        assert_eq!(rig.changed().unwrap().extents, last.into());
        assert_eq!(rig.starts(), [0]);
    });
}

#[test]
fn no_message_at_all_twice_means_that_nothing_changed() {
    over_both(|wire| {
        let rig = Rig::new(wire, Volume { extents: Vec::new(), ..six_blocks() }, Script::honest());
        assert_eq!(rig.changed(), Ok(Metadata { extents: ExtentSet::new(), capacity: 1 << 20, style: None }));
        assert_eq!(rig.starts(), [0, 0]);
    });
}

#[test]
fn what_the_confirmation_brings_belongs_to_the_answer_and_is_confirmed_in_turn() {
    over_both(|wire| {
        let volume = six_blocks();
        // OK after nothing, after two messages, and after four.
        let script = Script::new(|call, steps| match call.number {
            0 => cut(steps, 0),
            1 | 2 => cut(steps, 2),
            _ => steps,
        });
        let rig = Rig::new(wire, volume.clone(), script);
        assert_eq!(rig.changed().unwrap().extents, told(&volume), "{wire:?}");
        let block = |number: i64| number * 4096;
        assert_eq!(rig.starts(), [0, 0, block(4), block(11), block(201)]);
    });
}

#[test]
fn messages_without_ranges_are_no_end() {
    over_both(|wire| {
        let volume = six_blocks();
        let empty = Step::Send(message(&volume, &[]));
        let script = Script::new(move |_, steps| steps.into_iter().flat_map(|step| [empty.clone(), step, empty.clone()]).collect());
        let rig = Rig::new(wire, volume.clone(), script);
        assert_eq!(rig.changed().unwrap().extents, told(&volume));
    });
}

#[test]
fn a_last_block_that_is_rounded_up_is_clipped_to_the_volume() {
    over_both(|wire| {
        let capacity = (1 << 20) + 512;
        let volume = Volume { capacity, extents: vec![Extent::new(0, BLOCK), Extent::new(1 << 20, BLOCK)], ..six_blocks() };
        let rig = Rig::new(wire, volume, Script::honest());
        let wanted: ExtentSet = [Extent::new(0, BLOCK), Extent::new(1 << 20, 512)].into_iter().collect();
        assert_eq!(rig.changed().unwrap().extents, wanted);
    });
}
