//! Tables for the calendar's odd corners, and for what a decision says.

use std::time::Duration;

use super::*;

const GONE: &str = "no rule keeps it";
pub(super) const CENTRAL_EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
/// The clocks of Newfoundland until 2011 went back from 00:01 to 23:01 of the day before.
pub(super) const NEWFOUNDLAND: &str = "NST3:30NDT,M3.2.0/0:01,M11.1.0/0:01";
/// An island that jumps over the date line once a year, so that a whole day is missing.
pub(super) const OVER_THE_DATE_LINE: &str = "WEST12EAST-12,M7.1.0/0,M12.1.0/0";

pub(super) fn zone(posix: &str) -> TimeZone {
    TimeZone::posix(posix).unwrap()
}

pub(super) fn at(text: &str) -> Timestamp {
    let instant: jiff::Timestamp = text.parse().unwrap();
    Timestamp(instant.as_millisecond().try_into().unwrap())
}

pub(super) fn point(id: u32, cut: Timestamp) -> Point<u32> {
    Point { id, cut, pinned: false, held: None }
}

fn policy(rules: &str) -> Policy {
    let mut policy = Policy::default();
    for rule in rules.split_whitespace() {
        let (name, value) = rule.split_once('=').unwrap();
        let count = value.parse().ok();
        match name {
            "last" => policy.keep_last = count,
            "hourly" => policy.keep_hourly = count,
            "daily" => policy.keep_daily = count,
            "weekly" => policy.keep_weekly = count,
            "monthly" => policy.keep_monthly = count,
            "yearly" => policy.keep_yearly = count,
            "within" => policy.keep_within = Some(value.parse().unwrap()),
            other => panic!("no rule {other}"),
        }
    }
    policy
}

fn words(decision: &Decision<u32>) -> String {
    decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Each row: when a point was cut, and what is said about it. The rows stand newest first, as the answer must.
fn check(rules: &str, posix: &str, rows: &[(&str, &str)]) {
    let points: Vec<_> = (0..).zip(rows).map(|(id, (when, _))| point(id, at(when))).collect();
    let decisions = decide(&points, &policy(rules), at("2100-01-01T00:00Z"), &zone(posix));
    let said: Vec<_> = decisions.iter().map(|decision| (rows[decision.id as usize].0, words(decision))).collect();
    let expected: Vec<_> = rows.iter().map(|(when, words)| (*when, (*words).to_owned())).collect();
    assert_eq!(said, expected, "{rules} in {posix}");
    for decision in decisions {
        assert_eq!(decision.keep, decision.reasons != [Reason::NoRule]);
    }
}

#[test]
fn weeks_are_iso_weeks_also_over_new_year() {
    check(
        "weekly=3",
        "UTC0",
        &[
            ("2027-01-04T00:00Z", "newest of 2027-W01 (weekly 1 of 3)"),
            ("2027-01-03T23:59Z", "newest of 2026-W53 (weekly 2 of 3)"),
            ("2027-01-01T12:00Z", GONE),
            ("2026-12-28T00:00Z", GONE),
            ("2026-12-27T23:59Z", "newest of 2026-W52 (weekly 3 of 3)"),
            ("2026-12-20T12:00Z", GONE),
        ],
    );
    check(
        "weekly=9",
        "UTC0",
        &[
            ("2025-01-05T12:00Z", "newest of 2025-W01 (weekly 1 of 9)"),
            ("2024-12-30T00:00Z", GONE),
            ("2024-12-29T12:00Z", "newest of 2024-W52 (weekly 2 of 9)"),
        ],
    );
}

#[test]
fn buckets_without_points_do_not_count() {
    check(
        "monthly=3 yearly=3",
        "UTC0",
        &[
            ("2026-11-21T00:00Z", "newest of 2026-11 (monthly 1 of 3); newest of 2026 (yearly 1 of 3)"),
            ("2026-11-01T00:00Z", GONE),
            ("2026-02-28T00:00Z", "newest of 2026-02 (monthly 2 of 3)"),
            ("2019-12-31T23:59Z", "newest of 2019-12 (monthly 3 of 3); newest of 2019 (yearly 2 of 3)"),
            ("2019-11-30T00:00Z", GONE),
            ("2001-05-05T00:00Z", "newest of 2001 (yearly 3 of 3)"),
            ("2000-05-05T00:00Z", GONE),
        ],
    );
}

#[test]
fn the_hour_that_comes_twice_is_two_hours() {
    check(
        "hourly=4",
        CENTRAL_EUROPE,
        &[
            ("2026-10-25T03:10+01:00", "newest of 2026-10-25 03:00+01 (hourly 1 of 4)"),
            ("2026-10-25T02:50+01:00", "newest of 2026-10-25 02:00+01 (hourly 2 of 4)"),
            ("2026-10-25T02:10+01:00", GONE),
            ("2026-10-25T02:50+02:00", "newest of 2026-10-25 02:00+02 (hourly 3 of 4)"),
            ("2026-10-25T02:10+02:00", GONE),
            ("2026-10-25T01:59+02:00", "newest of 2026-10-25 01:00+02 (hourly 4 of 4)"),
            ("2026-10-25T00:59+02:00", GONE),
        ],
    );
}

#[test]
fn a_day_is_the_day_of_the_zone() {
    let rows = |first, second, third| [("2026-11-21T22:30Z", first), ("2026-11-21T00:30Z", second), ("2026-11-20T23:30Z", third)];
    let (one, two) = ("newest of 2026-11-21 (daily 1 of 2)", "newest of 2026-11-20 (daily 2 of 2)");
    check("daily=2", "UTC0", &rows(one, GONE, two));
    check("daily=2", CENTRAL_EUROPE, &rows(one, GONE, GONE));
    check("daily=2", "PST8", &rows(one, two, GONE));
}

#[test]
fn a_day_that_begins_twice_is_one_day() {
    check(
        "daily=9",
        NEWFOUNDLAND,
        &[
            ("2026-11-01T12:00-03:30", "newest of 2026-11-01 (daily 1 of 9)"),
            ("2026-10-31T23:30-03:30", "newest of 2026-10-31 (daily 2 of 9)"),
            ("2026-11-01T00:00:30-02:30", GONE),
            ("2026-10-31T23:59-02:30", GONE),
        ],
    );
}

#[test]
fn days_within_follow_the_local_clock_and_hours_do_not() {
    // The clock went forward on 29 March: that day had 23 hours.
    let noon = ("2026-03-29T12:00+02:00", "within 1d of the newest");
    check(
        "within=1d",
        CENTRAL_EUROPE,
        &[noon, ("2026-03-28T12:00+01:00", "within 1d of the newest"), ("2026-03-28T11:59:59.999+01:00", GONE)],
    );
    let noon = ("2026-03-29T12:00+02:00", "within 24h of the newest");
    check(
        "within=24h",
        CENTRAL_EUROPE,
        &[noon, ("2026-03-28T11:00+01:00", "within 24h of the newest"), ("2026-03-28T10:59:59.999+01:00", GONE)],
    );
}

#[test]
fn months_within_end_with_the_shorter_month() {
    check(
        "within=1m",
        "UTC0",
        &[
            ("2026-03-31T00:00Z", "within 1m of the newest"),
            ("2026-02-28T00:00Z", "within 1m of the newest"),
            ("2026-02-27T23:59Z", GONE),
        ],
    );
}

#[test]
fn the_newest_point_is_within_even_where_the_day_before_it_is_missing() {
    // Noon of the first Sunday of July, which the date line has just swallowed: a day back is the same moment.
    let newest = at("2026-07-06T12:00+12:00");
    let one_day: Within = "1d".parse().unwrap();
    assert!(one_day.before(newest, &zone(OVER_THE_DATE_LINE)) <= newest);
    check("within=1d", OVER_THE_DATE_LINE, &[("2026-07-06T12:00+12:00", "within 1d of the newest")]);
}

#[test]
fn a_span_counts_from_the_newest_point_and_not_from_now() {
    check(
        "within=7d",
        "UTC0",
        &[("2001-01-08T00:00Z", "within 7d of the newest"), ("2001-01-01T00:00Z", "within 7d of the newest")],
    );
}

#[test]
fn an_empty_policy_keeps_everything_and_says_so() {
    let words = "the policy has no rules and keeps everything";
    for rules in ["", "last=0", "last=0 hourly=0 daily=0 weekly=0 monthly=0 yearly=0"] {
        check(rules, "UTC0", &[("2026-01-02T00:00Z", words), ("2026-01-01T00:00Z", words)]);
        assert!(policy(rules).is_empty());
        assert_eq!(policy(rules).to_string(), "keep everything");
    }
    for rules in ["last=1", "hourly=1", "daily=1", "weekly=1", "monthly=1", "yearly=1", "within=1h"] {
        assert!(!policy(rules).is_empty(), "{rules}");
        check(rules, "UTC0", &[("2026-02-02T00:00Z", &words_of_the_newest(rules)), ("2024-02-01T00:00Z", GONE)]);
    }
}

fn words_of_the_newest(rules: &str) -> String {
    let newest = decide(&[point(0, at("2026-02-02T00:00Z"))], &policy(rules), at("2027-01-01T00:00Z"), &TimeZone::UTC);
    assert!(newest[0].keep, "{rules}");
    words(&newest[0])
}

#[test]
fn points_dated_after_now_stay_and_take_no_place() {
    let now = at("2026-11-21T12:00Z");
    let points =
        [point(0, Timestamp(u64::MAX)), point(1, now.plus(Duration::from_millis(1))), point(2, now), point(3, Timestamp(0))];
    let decisions = decide(&points, &policy("last=1 yearly=1"), now, &TimeZone::UTC);
    let said: Vec<_> = decisions.iter().map(|decision| (decision.id, decision.keep, words(decision))).collect();
    let future = "dated after now; check the clock of the machine that cut it".to_owned();
    assert_eq!(
        said,
        [
            (0, true, future.clone()),
            (1, true, future),
            (2, true, "last 1 of 1; newest of 2026 (yearly 1 of 1)".to_owned()),
            (3, false, GONE.to_owned())
        ]
    );
}

#[test]
fn pinned_and_held_points_stay_and_take_their_places() {
    let held = Point { held: Some("a restore reads it".into()), ..point(1, Timestamp(2)) };
    let pinned = Point { pinned: true, held: Some("legal".into()), ..point(0, Timestamp(1)) };
    let decisions =
        decide(&[pinned, held, point(2, Timestamp(3)), point(3, Timestamp(0))], &policy("last=2"), Timestamp(9), &TimeZone::UTC);
    let said: Vec<_> = decisions.iter().map(|decision| (decision.id, words(decision))).collect();
    let expected = [(2, "last 1 of 2"), (1, "held: a restore reads it; last 2 of 2"), (0, "pinned; held: legal"), (3, GONE)];
    assert_eq!(said, expected.map(|(id, words)| (id, words.to_owned())));
}

#[test]
fn one_moment_is_told_apart_by_the_identity() {
    let decisions = decide(
        &[point(7, Timestamp(5)), point(9, Timestamp(5)), point(8, Timestamp(5))],
        &policy("last=1"),
        Timestamp(5),
        &TimeZone::UTC,
    );
    let said: Vec<_> = decisions.iter().map(|decision| (decision.id, decision.keep)).collect();
    assert_eq!(said, [(9, true), (8, false), (7, false)]);
}

#[test]
fn a_policy_reads_as_words() {
    assert_eq!(policy("last=5 daily=7 weekly=0 yearly=2 within=14d").to_string(), "keep last 5, daily 7, yearly 2, within 14d");
    let all = Reason::Last { nth: 3, of: u32::MAX };
    assert_eq!(all.to_string(), "last 3 of all");
}
