//! Answers that break a rule, and answers that are a refusal: never a range of them is believed.

use icecore::rpc::snapshot_metadata::{Course, Limits};
use icecore::testkit::csi_server::{Code, Script, Step, Volume, fail, raw};

use crate::rig::{PATIENT, Rig, over_both, six_blocks};

const FIXED: i32 = 1;
const VARIABLE: i32 = 2;
const SIZE: i64 = 1 << 20;

fn variable(tuples: &[(i64, i64)]) -> Step {
    Step::Send(raw(VARIABLE, SIZE, tuples))
}

fn fixed(tuples: &[(i64, i64)]) -> Step {
    Step::Send(raw(FIXED, SIZE, tuples))
}

#[test]
fn an_answer_that_breaks_a_rule_is_no_answer() {
    let good = || variable(&[(0, 4096)]);
    let rows: Vec<(Vec<Step>, &str)> = vec![
        (vec![variable(&[(8192, 4096), (0, 4096)])], "bytes 0+4096 comes after bytes 8192+4096"),
        (vec![variable(&[(8192, 4096)]), good()], "bytes 0+4096 comes after bytes 8192+4096"),
        (vec![variable(&[(0, 4096), (4095, 10)])], "bytes 4095+10 overlaps bytes 0+4096"),
        (vec![good(), good()], "bytes 0+4096 overlaps bytes 0+4096"),
        (vec![variable(&[(SIZE, 4096)])], "beyond the end of a volume of 1048576"),
        (vec![variable(&[(0, i64::MAX)])], "beyond the end"),
        (vec![variable(&[(SIZE - 1, 10), (SIZE + 9, 1)])], "beyond the end"),
        (vec![variable(&[(0, 0)])], "a range of 0 bytes at 0"),
        (vec![variable(&[(0, -1)])], "a range of -1 bytes at 0"),
        (vec![variable(&[(-4096, 4096)])], "a range of 4096 bytes at -4096"),
        (vec![good(), Step::Send(raw(VARIABLE, SIZE * 2, &[(8192, 1)]))], "has 1048576 bytes first and 2097152 later"),
        (vec![good(), Step::Send(raw(VARIABLE, 0, &[(8192, 1)]))], "has 1048576 bytes first and 0 later"),
        (vec![Step::Send(raw(0, SIZE, &[(0, 4096)]))], "does not say how its ranges are told"),
        (vec![Step::Send(raw(7, SIZE, &[(0, 4096)]))], "does not say how its ranges are told"),
        (vec![good(), fixed(&[(8192, 4096)])], "as Variable first and as Fixed later"),
        (vec![fixed(&[(0, 4096), (8192, 512)])], "blocks of 4096 bytes, but bytes 8192+512"),
        (vec![Step::Send(raw(VARIABLE, SIZE - 512, &[(0, 1)]))], "the snapshot has 1048064 bytes, but the device has 1048576"),
        (vec![Step::Send(raw(VARIABLE, 0, &[]))], "the snapshot has 0 bytes"),
        (vec![Step::Send(raw(VARIABLE, -1, &[]))], "the snapshot has -1 bytes"),
        (vec![Step::Endless(raw(VARIABLE, SIZE, &[]))], "more than 1000 messages without a range"),
    ];
    over_both(|wire| {
        for (steps, words) in &rows {
            let rig = Rig::new(wire, six_blocks(), Script::always(steps.clone()));
            let error = rig.changed().expect_err(words);
            assert!(error.to_string().contains(words), "{wire:?}: {error} lacks {words:?}");
            assert_eq!(error.course(), Course::ReadAll, "{error}");
            assert!(error.fallback_reason().contains(words));
            assert_eq!(rig.server.calls().len(), 1, "a driver at fault is not asked again: {error}");
        }
    });
}

#[test]
fn a_fault_in_a_resumed_stream_spoils_what_came_before_it() {
    over_both(|wire| {
        let script = Script::new(|call, steps| match call.number {
            0 => fail(steps, 3, Code::Unavailable),
            _ => vec![Step::Send(raw(FIXED, SIZE, &[(65536, 8192)]))],
        });
        let rig = Rig::new(wire, six_blocks(), script);
        assert!(rig.changed().unwrap_err().to_string().contains("blocks of 4096 bytes"), "{wire:?}");
    });
}

#[test]
fn an_endless_answer_ends_at_its_bound() {
    over_both(|wire| {
        let limits = Limits { tuples: 100, ..PATIENT };
        let many: Vec<_> = (0..300).map(|n| variable(&[(n * 4, 1)])).collect();
        let rig = Rig::with(wire, six_blocks(), Script::always(many), limits);
        assert!(rig.changed().unwrap_err().to_string().contains("more than 100 ranges"));
    });
}

#[test]
fn a_message_too_long_to_take_is_refused_unread() {
    over_both(|wire| {
        let tuples: Vec<(i64, i64)> = (0..1_000_000).map(|n| (n, 1)).collect();
        let rig = Rig::new(wire, six_blocks(), Script::always(vec![variable(&tuples)]));
        let error = rig.changed().unwrap_err();
        assert!(error.to_string().contains("OUT_OF_RANGE"), "{error}");
        assert_eq!(error.course(), Course::ReadAll);
    });
}

#[test]
fn each_final_code_ends_the_question_at_once_and_says_what_to_do() {
    let rows = [
        (Code::NotFound, Course::ReadAll, "gone from the storage"),
        (Code::FailedPrecondition, Course::ReadAll, "does not track changes"),
        (Code::InvalidArgument, Course::ReadAll, "cannot tell this"),
        (Code::Unimplemented, Course::ReadAll, "does not offer this"),
        (Code::OutOfRange, Course::ReadAll, "too large"),
        (Code::DataLoss, Course::ReadAll, "lost its records"),
        (Code::AlreadyExists, Course::ReadAll, "no answer to this question"),
        (Code::PermissionDenied, Course::Refuse, "volumesnapshots"),
    ];
    over_both(|wire| {
        for (code, course, words) in rows {
            for after in [0, 2] {
                let rig = Rig::new(wire, six_blocks(), Script::new(move |_, steps| fail(steps, after, code)));
                let error = rig.changed().unwrap_err();
                assert_eq!(error.course(), course, "{wire:?} {error}");
                assert!(error.to_string().contains(words), "{wire:?} {error}");
                assert_eq!((rig.server.calls().len(), rig.clock.slept().len()), (1, 0), "{code:?}");
            }
        }
    });
}

#[test]
fn a_base_that_is_gone_only_when_the_answer_is_confirmed_leaves_no_answer() {
    over_both(|wire| {
        let script = Script::new(|call, steps| if call.number == 0 { steps } else { vec![Step::Fail(Code::NotFound)] });
        let rig = Rig::new(wire, Volume { is_fixed: false, ..six_blocks() }, script);
        assert_eq!(rig.changed().unwrap_err().course(), Course::ReadAll);
    });
}
