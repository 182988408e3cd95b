//! Calendar buckets: the hour, day, week, month or year that a moment falls in.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

use crate::base::clock::Timestamp;

/// The length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// An hour of the local clock; the two hours that share a name when a clock goes back stay two.
    Hourly,
    /// A local day.
    Daily,
    /// An ISO 8601 week, Monday to Sunday.
    Weekly,
    /// A local month.
    Monthly,
    /// A local year.
    Yearly,
}

impl Period {
    /// Every period, shortest first.
    pub const ALL: [Self; 5] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

/// One hour, day, week, month or year. It displays as people write it: `2026-W47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// An hour, told from its twin on the night the clock goes back by the offset from UTC.
    Hour(Date, i8, Offset),
    /// A day.
    Day(Date),
    /// A year of ISO weeks, which is not always the calendar's, and a week of it.
    Week(i16, i8),
    /// A year and a month.
    Month(i16, i8),
    /// A year.
    Year(i16),
}

impl Bucket {
    /// The bucket of `period` that `moment` falls in, where the clocks of `zone` hang.
    #[must_use]
    pub fn of(moment: Timestamp, period: Period, zone: &TimeZone) -> Self {
        let instant = instant(moment);
        let offset = zone.to_offset(instant);
        let local = offset.to_datetime(instant);
        let date = local.date();
        match period {
            Period::Hourly => Self::Hour(date, local.hour(), offset),
            Period::Daily => Self::Day(date),
            Period::Weekly => {
                let week = date.iso_week_date();
                Self::Week(week.year(), week.week())
            }
            Period::Monthly => Self::Month(date.year(), date.month()),
            Period::Yearly => Self::Year(date.year()),
        }
    }

    /// How long the bucket is.
    #[must_use]
    pub fn period(&self) -> Period {
        match self {
            Self::Hour(..) => Period::Hourly,
            Self::Day(..) => Period::Daily,
            Self::Week(..) => Period::Weekly,
            Self::Month(..) => Period::Monthly,
            Self::Year(..) => Period::Yearly,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hour(date, hour, offset) => write!(f, "{date} {hour:02}:00{offset}"),
            Self::Day(date) => write!(f, "{date}"),
            Self::Week(year, week) => write!(f, "{year:04}-W{week:02}"),
            Self::Month(year, month) => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
        }
    }
}

/// The calendar's name for a moment. What lies beyond the year 9999 counts as its last second.
pub(super) fn instant(moment: Timestamp) -> jiff::Timestamp {
    let millis = i64::try_from(moment.0).ok();
    millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).unwrap_or(jiff::Timestamp::MAX)
}
