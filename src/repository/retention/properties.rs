//! Random histories: laws that every policy keeps, and a plain model that must agree.

use proptest::prelude::*;

use super::tests::{CENTRAL_EUROPE, NEWFOUNDLAND, OVER_THE_DATE_LINE, at, point, zone};
use super::*;

/// The rules said another way: bucket names from the calendar's own formatter, and a count over all points for each point.
mod model {
    use super::*;

    pub(super) fn keeps(point: &Point<u32>, all: &[Point<u32>], policy: &Policy, now: Timestamp, zone: &TimeZone) -> bool {
        let newer = |a: &Point<u32>, b: &Point<u32>| (a.cut, a.id) > (b.cut, b.id);
        let past: Vec<_> = all.iter().filter(|other| other.cut <= now).collect();
        if point.pinned || point.held.is_some() || point.cut > now || *policy == Policy::default() {
            return true;
        }
        let name = |point: &Point<u32>, format: &str| {
            let instant = jiff::Timestamp::from_millisecond(point.cut.0.try_into().unwrap()).unwrap();
            instant.to_zoned(zone.clone()).strftime(format).to_string()
        };
        let by_name = |format: &str, count: u32| {
            let mine = name(point, format);
            let newest = past.iter().all(|other| name(other, format) != mine || !newer(other, point));
            let mut before: Vec<_> = past.iter().filter(|other| newer(other, point)).map(|other| name(other, format)).collect();
            before.sort();
            before.dedup();
            newest && before.len() < count as usize
        };
        let last = past.iter().filter(|other| newer(other, point)).count() < policy.keep_last.unwrap_or(0) as usize;
        let within = policy.keep_within.is_some_and(|within| {
            let newest = past.iter().map(|other| other.cut).max().unwrap();
            point.cut >= within.before(newest, zone)
        });
        last || within
            || by_name("%Y-%m-%d %H %z", policy.keep_hourly.unwrap_or(0))
            || by_name("%Y-%m-%d", policy.keep_daily.unwrap_or(0))
            || by_name("%G %V", policy.keep_weekly.unwrap_or(0))
            || by_name("%Y-%m", policy.keep_monthly.unwrap_or(0))
            || by_name("%Y", policy.keep_yearly.unwrap_or(0))
    }
}

const LORD_HOWE: &str = "LHST-10:30LHDT-11,M10.1.0,M4.1.0";
const HOUR: u64 = 3_600_000;

/// Some histories are thick (many points an hour), some span years; all lie around changes of the clock.
fn history() -> impl Strategy<Value = Vec<Point<u32>>> {
    let spread = prop_oneof![Just(3 * HOUR), Just(72 * HOUR), Just(24 * 40 * HOUR), Just(24 * 2000 * HOUR)];
    let start =
        prop_oneof![Just("2026-10-24T22:00Z"), Just("2026-12-30T00:00Z"), Just("2026-07-04T00:00Z"), Just("2026-11-01T00:00Z")];
    (spread, start).prop_flat_map(|(spread, start)| {
        let one = (0..=spread, prop::bool::weighted(0.1), prop::option::weighted(0.1, Just("in use".to_owned())));
        prop::collection::vec(one, 0..40).prop_map(move |points| {
            let cut = |offset| Timestamp(at(start).0 + offset);
            (0..).zip(points).map(|(id, (offset, pinned, held))| Point { id, cut: cut(offset), pinned, held }).collect()
        })
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let count = || prop::option::weighted(0.4, 1..6_u32);
    let within = prop::option::weighted(0.3, prop::sample::select(vec!["1h", "5h", "1d", "9d", "2w", "1m", "1y2m"]));
    (count(), count(), count(), count(), count(), count(), within).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly, within)| Policy {
            keep_last: last,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            keep_within: within.map(|text| text.parse().unwrap()),
        },
    )
}

fn zones() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(vec!["UTC0", CENTRAL_EUROPE, NEWFOUNDLAND, OVER_THE_DATE_LINE, LORD_HOWE]).prop_map(zone)
}

/// A moment that some of the points lie after.
fn nows() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(at("2060-01-01T00:00Z")), Just(at("2026-10-25T01:00Z")), Just(at("2026-12-31T12:00Z"))]
}

fn kept(points: &[Point<u32>], policy: &Policy, now: Timestamp, zone: &TimeZone) -> Vec<u32> {
    let decisions = decide(points, policy, now, zone);
    decisions.into_iter().filter(|decision| decision.keep).map(|decision| decision.id).collect()
}

proptest! {
    #[test]
    fn every_decision_agrees_with_the_plain_model(points in history(), policy in policies(), now in nows(), zone in zones()) {
        let decisions = decide(&points, &policy, now, &zone);
        prop_assert_eq!(decisions.len(), points.len());
        for decision in decisions {
            let point = points.iter().find(|point| point.id == decision.id).unwrap();
            prop_assert_eq!(decision.keep, model::keeps(point, &points, &policy, now, &zone), "{:?} {:?}", point, decision.reasons);
        }
    }

    #[test]
    fn applied_again_to_what_it_kept_a_policy_forgets_nothing(points in history(), policy in policies(), now in nows(), zone in zones()) {
        let first = kept(&points, &policy, now, &zone);
        let survivors: Vec<_> = points.into_iter().filter(|point| first.contains(&point.id)).collect();
        prop_assert_eq!(kept(&survivors, &policy, now, &zone), first);
    }

    #[test]
    fn a_larger_policy_keeps_a_superset(points in history(), small in policies(), more in policies(), now in nows(), zone in zones()) {
        prop_assume!(!small.is_empty());
        let sum = |a: Option<u32>, b: Option<u32>| Some(a.unwrap_or(0) + b.unwrap_or(0));
        let large = Policy {
            keep_last: sum(small.keep_last, more.keep_last),
            keep_hourly: sum(small.keep_hourly, more.keep_hourly),
            keep_daily: sum(small.keep_daily, more.keep_daily),
            keep_weekly: sum(small.keep_weekly, more.keep_weekly),
            keep_monthly: sum(small.keep_monthly, more.keep_monthly),
            keep_yearly: sum(small.keep_yearly, more.keep_yearly),
            keep_within: small.keep_within.map_or(more.keep_within, |_| Some("10y".parse().unwrap())),
        };
        let by_large = kept(&points, &large, now, &zone);
        for id in kept(&points, &small, now, &zone) {
            prop_assert!(by_large.contains(&id), "{} is kept by {} and not by {}", id, small, large);
        }
    }

    #[test]
    fn the_order_of_the_list_changes_nothing(
        (points, shuffled) in history().prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle())),
        policy in policies(), now in nows(), zone in zones(),
    ) {
        prop_assert_eq!(decide(&points, &policy, now, &zone), decide(&shuffled, &policy, now, &zone));
    }

    #[test]
    fn keep_last_alone_keeps_exactly_the_newest(points in history(), count in 1..50_u32, zone in zones()) {
        let points: Vec<_> = points.into_iter().map(|plain| point(plain.id, plain.cut)).collect();
        let mut newest_first: Vec<_> = points.iter().map(|point| (point.cut, point.id)).collect();
        newest_first.sort();
        let newest: Vec<_> = newest_first.into_iter().rev().take(count as usize).map(|(_, id)| id).collect();
        let policy = Policy { keep_last: Some(count), ..Policy::default() };
        prop_assert_eq!(kept(&points, &policy, at("2060-01-01T00:00Z"), &zone), newest);
    }

    #[test]
    fn pinned_points_and_the_newest_one_always_stay(points in history(), policy in policies(), now in nows(), zone in zones()) {
        let kept = kept(&points, &policy, now, &zone);
        let newest = points.iter().filter(|point| point.cut <= now).max_by_key(|point| (point.cut, point.id));
        for point in points.iter().filter(|point| point.pinned || point.held.is_some()).chain(newest) {
            prop_assert!(kept.contains(&point.id), "{:?}", point);
        }
    }

    #[test]
    fn any_moment_and_any_span_is_decided_without_panicking(
        cuts in prop::collection::vec(any::<u64>(), 0..9), now in any::<u64>(), policy in policies(), zone in zones(),
    ) {
        let points: Vec<_> = (0..).zip(cuts).map(|(id, cut)| point(id, Timestamp(cut))).collect();
        prop_assert_eq!(decide(&points, &policy, Timestamp(now), &zone).len(), points.len());
    }
}
