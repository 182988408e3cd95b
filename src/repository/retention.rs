//! Which recovery points a retention policy keeps, and why: a pure function of points, policy, time and zone.
//!
//! Each counting rule walks from the newest point to the oldest, keeps the newest point of every bucket (an hour, a day, an ISO
//! week, a month, a year of the given time zone) and stops after so many buckets; a bucket without points does not count. A point
//! stays if any rule wants it. Every policy that is not empty keeps the newest point, so that a rule can never empty a repository
//! whose backups have stopped.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use jiff::tz::TimeZone;

use crate::base::clock::Timestamp;

mod bucket;
#[cfg(test)]
mod properties;
mod reason;
#[cfg(test)]
mod tests;
mod within;

pub use bucket::{Bucket, Period};
pub use reason::Reason;
pub use within::{InvalidWithin, Within};

/// What the rules need to know about one recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point<K> {
    /// Its identity; unique in a list, and the tie-break between points cut in the same millisecond.
    pub id: K,
    /// The moment whose data it holds.
    pub cut: Timestamp,
    /// A person asked to keep it.
    pub pinned: bool,
    /// Why something in progress needs it, if anything does.
    pub held: Option<String>,
}

/// How many points of each kind to keep. A rule that is absent or zero asks for nothing; `u32::MAX` asks for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The newest points, however close together.
    pub keep_last: Option<u32>,
    /// The newest point of each hour that has one.
    pub keep_hourly: Option<u32>,
    /// The newest point of each day that has one.
    pub keep_daily: Option<u32>,
    /// The newest point of each ISO week that has one.
    pub keep_weekly: Option<u32>,
    /// The newest point of each month that has one.
    pub keep_monthly: Option<u32>,
    /// The newest point of each year that has one.
    pub keep_yearly: Option<u32>,
    /// Everything no older than this, counted back from the newest point rather than from now.
    pub keep_within: Option<Within>,
}

/// What becomes of one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<K> {
    /// The point.
    pub id: K,
    /// Its moment.
    pub cut: Timestamp,
    /// True when it stays.
    pub keep: bool,
    /// Why; never empty. The only reason of a point that goes is [`Reason::NoRule`].
    pub reasons: Vec<Reason>,
}

/// Decides about every point of `points`, in any order; the answer is newest first.
///
/// An empty policy keeps everything. A point dated after `now` is kept, and takes no place in any rule: its clock is not to be
/// trusted, and it must not push out the points that are. Pinned and held points do take their places.
#[must_use]
pub fn decide<K: Clone + Ord>(points: &[Point<K>], policy: &Policy, now: Timestamp, zone: &TimeZone) -> Vec<Decision<K>> {
    let mut newest_first: Vec<&Point<K>> = points.iter().collect();
    newest_first.sort_by_key(|point| Reverse((point.cut, &point.id)));
    let mut decisions: Vec<Decision<K>> = newest_first.into_iter().map(|point| undecided(point, now)).collect();
    let future = decisions.partition_point(|decision| decision.cut > now);
    if let Some(past) = decisions.get_mut(future..) {
        policy.apply(past, zone);
    }
    decisions.iter_mut().for_each(settle);
    decisions
}

/// The reasons that no rule has a part in.
fn undecided<K: Clone>(point: &Point<K>, now: Timestamp) -> Decision<K> {
    let pinned = point.pinned.then_some(Reason::Pinned);
    let held = point.held.clone().map(Reason::Held);
    let future = (point.cut > now).then_some(Reason::AfterNow);
    Decision { id: point.id.clone(), cut: point.cut, keep: false, reasons: [pinned, held, future].into_iter().flatten().collect() }
}

fn settle<K>(decision: &mut Decision<K>) {
    decision.keep = !decision.reasons.is_empty();
    if !decision.keep {
        decision.reasons.push(Reason::NoRule);
    }
}

impl Policy {
    /// True when no rule asks for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keep_last.unwrap_or(0) == 0 && self.keep_within.is_none() && Period::ALL.iter().all(|period| self.count(*period) == 0)
    }

    /// How many buckets of `period` are asked for.
    #[must_use]
    pub fn count(&self, period: Period) -> u32 {
        let count = match period {
            Period::Hourly => self.keep_hourly,
            Period::Daily => self.keep_daily,
            Period::Weekly => self.keep_weekly,
            Period::Monthly => self.keep_monthly,
            Period::Yearly => self.keep_yearly,
        };
        count.unwrap_or(0)
    }

    /// Adds a reason to every decision of `past`, newest first, that a rule wants to keep.
    fn apply<K>(&self, past: &mut [Decision<K>], zone: &TimeZone) {
        if self.is_empty() {
            past.iter_mut().for_each(|decision| decision.reasons.push(Reason::EmptyPolicy));
            return;
        }
        keep_last(past, self.keep_last.unwrap_or(0));
        for period in Period::ALL {
            keep_buckets(past, period, self.count(period), zone);
        }
        if let Some(within) = self.keep_within {
            keep_within(past, within, zone);
        }
    }
}

fn keep_last<K>(past: &mut [Decision<K>], of: u32) {
    for (nth, decision) in (1..=of).zip(past) {
        decision.reasons.push(Reason::Last { nth, of });
    }
}

fn keep_buckets<K>(past: &mut [Decision<K>], period: Period, of: u32, zone: &TimeZone) {
    // A set, and not a look at the bucket before: where a clock goes back over midnight, a day that ended begins again.
    let mut seen = BTreeSet::new();
    let buckets = past.iter_mut().map(|decision| (Bucket::of(decision.cut, period, zone), decision));
    let newest_of_each = buckets.filter(|(bucket, _)| seen.insert(*bucket));
    for (nth, (bucket, decision)) in (1..=of).zip(newest_of_each) {
        decision.reasons.push(Reason::NewestOf { bucket, nth, of });
    }
}

fn keep_within<K>(past: &mut [Decision<K>], within: Within, zone: &TimeZone) {
    let Some(newest) = past.first().map(|decision| decision.cut) else { return };
    let start = within.before(newest, zone);
    for decision in past.iter_mut().take_while(|decision| decision.cut >= start) {
        decision.reasons.push(Reason::Within(within));
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("keep everything");
        }
        let last = self.keep_last.filter(|count| *count > 0).map(|count| format!("last {count}"));
        let counted = Period::ALL.into_iter().filter(|period| self.count(*period) > 0);
        let counted = counted.map(|period| format!("{period} {}", self.count(period)));
        let within = self.keep_within.map(|within| format!("within {within}"));
        let rules: Vec<String> = last.into_iter().chain(counted).chain(within).collect();
        write!(f, "keep {}", rules.join(", "))
    }
}
