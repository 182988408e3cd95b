//! Answers that break off: taken up again where they ended, for as long as that brings something.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use icecore::base::cancel::Cancel;
use icecore::base::extent::Extent;
use icecore::rpc::snapshot_metadata::{Address, Course, Credentials, Limits, MetadataError, Question, SnapshotMetadata};
use icecore::testkit::csi_server::{Code, Script, Step, Volume, fail, honest, message};
use icecore::testkit::manual_clock::ManualClock;

use crate::rig::{BLOCK, NoTokens, PATIENT, Rig, Wire, over_both, six_blocks, told};

/// Codes of a trouble that may pass.
const PASSING: [Code; 7] = [
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Internal,
    Code::Unknown,
    Code::Cancelled,
    Code::Aborted,
    Code::ResourceExhausted,
];

#[test]
fn a_stream_that_breaks_off_is_resumed_at_the_end_of_its_last_range_with_a_fresh_token() {
    over_both(|wire| {
        for code in PASSING {
            let volume = six_blocks();
            let rig = Rig::new(wire, volume.clone(), Script::at_first(move |steps| fail(steps, 3, code)));
            assert_eq!(rig.changed().unwrap().extents, told(&volume), "{wire:?} {code:?}");
            assert_eq!(rig.starts(), [0, 5 * 4096, 201 * 4096], "{wire:?} {code:?}");
            let tokens: Vec<_> = rig.server.calls().into_iter().filter_map(|call| call.token).collect();
            assert_eq!(tokens.len(), if wire == Wire::Kubernetes { 3 } else { 0 });
            assert!(tokens.windows(2).all(|pair| pair[0] != pair[1]));
        }
    });
}

#[test]
fn a_confirmation_that_fails_is_asked_for_again() {
    over_both(|wire| {
        let script = Script::new(|call, steps| if call.number == 1 { fail(steps, 0, Code::Unavailable) } else { steps });
        let rig = Rig::new(wire, six_blocks(), script);
        assert_eq!(rig.changed().unwrap().extents, told(&six_blocks()));
        assert_eq!(rig.starts(), [0, 201 * 4096, 201 * 4096]);
    });
}

#[test]
fn a_token_that_expires_on_the_way_is_replaced_and_a_second_refusal_ends_it() {
    let volume = six_blocks();
    let script = Script::at_first(|steps| fail(steps, 2, Code::Unauthenticated));
    let rig = Rig::new(Wire::Kubernetes, volume.clone(), script);
    assert_eq!(rig.changed().unwrap().extents, told(&volume));
    assert_eq!(rig.server.calls()[1].token.as_deref(), Some("token-1"));
    assert!(rig.clock.slept().is_empty(), "a fresh token needs no patience");

    let rig = Rig::new(Wire::Kubernetes, volume, Script::always(vec![Step::Fail(Code::Unauthenticated)]));
    let error = rig.changed().unwrap_err();
    assert_eq!((error.course(), rig.server.calls().len()), (Course::Refuse, 2));
    assert!(error.to_string().contains("UNAUTHENTICATED") && error.to_string().contains("audience"), "{error}");
}

#[test]
fn every_stream_may_bring_a_little_but_one_that_brings_nothing_is_tried_a_few_times_only() {
    over_both(|wire| {
        let blocks = (0..40).map(|block| Extent::new(block * 3 * BLOCK, BLOCK)).collect();
        let volume = Volume { extents: blocks, ..six_blocks() };
        let rig = Rig::new(
            wire,
            volume.clone(),
            Script::new(|_, steps| if steps.is_empty() { steps } else { fail(steps, 1, Code::Internal) }),
        );
        assert_eq!(rig.changed().unwrap().extents, told(&volume), "40 streams broke off, but each brought a block");

        let rig = Rig::new(wire, volume, Script::new(|call, steps| fail(steps, usize::from(call.number < 2), Code::Unavailable)));
        let error = rig.changed().unwrap_err();
        assert_eq!(error.course(), Course::RetryLater);
        assert!(matches!(error, MetadataError::Interrupted { streams: 6, at_bytes: 16384, .. }), "{error:?}");
        assert!(error.fallback_reason().contains("UNAVAILABLE (as the script says)"), "{error}");
        let waits: Vec<u64> = rig.clock.slept().iter().map(Duration::as_secs).collect();
        assert_eq!(waits, [1, 1, 2, 4, 5], "a stream that brought something starts the waits anew");
    });
}

#[test]
fn streams_that_each_end_with_ok_a_little_further_on_are_bounded_in_number() {
    over_both(|wire| {
        let limits = Limits { streams: 4, ..PATIENT };
        let rig = Rig::with(wire, six_blocks(), Script::new(|_, steps| steps.into_iter().take(1).collect()), limits);
        let error = rig.changed().unwrap_err();
        assert_eq!((error.clone(), error.course()), (MetadataError::TooManyStreams { streams: 4 }, Course::ReadAll));
    });
}

#[test]
fn a_stream_that_hangs_is_left_and_taken_up_again() {
    over_both(|wire| {
        let limits = Limits { message_wait: Duration::from_millis(300), ..PATIENT };
        let hang = |mut steps: Vec<Step>, after: usize| {
            steps.truncate(after);
            steps.push(Step::Hang);
            steps
        };
        let volume = six_blocks();
        // Long enough for a busy machine to answer in, when it does not hang.
        let patient = Limits { message_wait: Duration::from_secs(3), ..PATIENT };
        let rig = Rig::with(wire, volume.clone(), Script::at_first(move |steps| hang(steps, 2)), patient);
        assert_eq!(rig.changed().unwrap().extents, told(&volume));
        assert_eq!(rig.starts(), [0, 4 * 4096, 201 * 4096]);

        let rig = Rig::with(wire, volume, Script::new(move |_, steps| hang(steps, 0)), limits);
        let error = rig.changed().unwrap_err();
        assert!(matches!(&error, MetadataError::Interrupted { streams: 2, last, .. } if last.contains("silent")), "{error}");
    });
}

#[test]
fn a_resumed_stream_may_begin_early_repeat_itself_or_begin_at_zero() {
    over_both(|wire| {
        let volume = six_blocks();
        let all = honest(&volume, 0);
        let early = Step::Send(message(&Volume { is_fixed: false, ..volume.clone() }, &[Extent::new(3 * BLOCK, 8 * BLOCK)]));
        let rest = |from: usize| all[from..].to_vec();
        let rows: Vec<(&str, bool, Vec<Step>)> = vec![
            ("its last range again", true, rest(2)),
            ("the range before, too", true, rest(1)),
            ("everything again", true, rest(0)),
            (
                "a range that reaches back",
                false,
                [vec![early], honest(&Volume { is_fixed: false, ..volume.clone() }, 11 * BLOCK)].concat(),
            ),
        ];
        for (name, is_fixed, resumed) in rows {
            let script = Script::new(move |call, steps| match call.number {
                0 => fail(steps, 3, Code::Unavailable),
                1 => resumed.clone(),
                _ => steps,
            });
            let rig = Rig::new(wire, Volume { is_fixed, ..volume.clone() }, script);
            let answer = rig.changed().unwrap().extents;
            assert!(told(&volume).difference(&answer).is_empty(), "{wire:?} {name}");
            let more = answer.difference(&told(&volume)).bytes();
            assert_eq!(more, if is_fixed { 0 } else { 5 * BLOCK }, "{wire:?} {name}");
        }
    });
}

#[test]
fn a_driver_that_never_resumes_is_believed_when_it_ends_and_given_up_when_it_does_not() {
    over_both(|wire| {
        let volume = six_blocks();
        let all = honest(&volume, 0);
        let script = {
            let all = all.clone();
            Script::new(move |call, _| if call.number == 0 { fail(all.clone(), 3, Code::Internal) } else { all.clone() })
        };
        let rig = Rig::new(wire, volume.clone(), script);
        assert_eq!(rig.changed().unwrap().extents, told(&volume));

        let rig = Rig::new(wire, volume, Script::always(fail(all, 3, Code::Internal)));
        assert!(matches!(rig.changed(), Err(MetadataError::Interrupted { streams: 5, at_bytes: 20480, .. })));
    });
}

#[test]
fn a_request_to_stop_is_heard_in_the_middle_of_a_silence() {
    over_both(|wire| {
        let cancel = Cancel::new();
        let heard = cancel.clone();
        let script = Script::new(move |_, _| {
            heard.cancel();
            vec![Step::Hang]
        });
        let mut rig = Rig::new(wire, six_blocks(), script);
        rig.cancel = cancel;
        let error = rig.changed().unwrap_err();
        assert_eq!((error.clone(), error.course()), (MetadataError::Cancelled, Course::Stop));
    });
}

#[test]
fn an_answer_that_takes_too_long_is_none() {
    over_both(|wire| {
        let clock = Arc::new(ManualClock::default());
        let passing = Arc::clone(&clock);
        let volume = six_blocks();
        let empty = message(&volume, &[]);
        let script = Script::new(move |_, _| {
            passing.advance(Duration::from_secs(4000));
            vec![Step::Endless(empty.clone())]
        });
        let rig = Rig::new(wire, volume, script);
        let client = rig.client_with(clock, PATIENT);
        let question = Question::Allocated { snapshot: "target".to_owned() };
        let error = client.ask(&question, 1 << 20, &Cancel::new()).unwrap_err();
        assert_eq!((error.clone(), error.course()), (MetadataError::TooSlow { limit: Duration::from_secs(3600) }, Course::ReadAll));
        assert!(error.to_string().contains("60 minutes"));
    });
}

#[test]
fn nobody_at_the_address_is_worth_a_few_tries() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [format!("http://{free}"), "unix:///nowhere/at/all.sock".to_owned()] {
        let clock = Arc::new(ManualClock::default());
        let credentials = Credentials::Driver { secrets: BTreeMap::new() };
        let client = SnapshotMetadata::new(&Address::parse(&address).unwrap(), None, credentials, PATIENT, clock.clone()).unwrap();
        let error = client.ask(&Question::Allocated { snapshot: "s".to_owned() }, 1, &Cancel::new()).unwrap_err();
        assert!(matches!(error, MetadataError::Interrupted { streams: 5, at_bytes: 0, .. }), "{error:?}");
        assert_eq!(error.course(), Course::RetryLater);
        assert_eq!(clock.slept().len(), 4);
    }
}

#[test]
fn without_a_token_nothing_is_asked() {
    let rig = Rig::new(Wire::Kubernetes, six_blocks(), Script::honest());
    let credentials = Credentials::Sidecar { namespace: "shop".to_owned(), tokens: Arc::new(NoTokens) };
    let address = Address::parse(rig.server.address()).unwrap();
    let client = SnapshotMetadata::new(&address, None, credentials, PATIENT, rig.clock.clone()).unwrap();
    let error = client.ask(&Question::Allocated { snapshot: "s".to_owned() }, 1 << 20, &Cancel::new()).unwrap_err();
    assert_eq!((error.clone(), error.course()), (MetadataError::NoToken { reason: "the file is gone".to_owned() }, Course::Refuse));
    assert!(rig.server.calls().is_empty());
}
