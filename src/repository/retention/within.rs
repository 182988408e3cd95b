//! A span of calendar time in short words: `14d`, `6m`, `1y2m10d3h`.

use std::fmt;
use std::str::FromStr;

use jiff::Span;
use jiff::tz::TimeZone;
use thiserror::Error;

use super::bucket::instant;
use crate::base::clock::Timestamp;

/// The most of one unit. Far past any backup that exists, and inside what the calendar can count of every unit.
const MAX_COUNT: u32 = 10_000;

/// Text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidWithin {
    /// A number without a unit, a unit without a number, or something else.
    #[error("{0:?} is no span of time: write numbers with y, m (months), w, d or h, such as 14d or 1y2m10d3h")]
    Unreadable(String),
    /// One unit, twice.
    #[error("{0:?} names one unit twice: add the two up")]
    Repeated(String),
    /// More than the calendar is asked to count.
    #[error("{0:?} is too long: write at most {MAX_COUNT} of a unit, or take a longer unit")]
    TooLong(String),
    /// Nothing at all.
    #[error("{0:?} is no time at all: leave the rule out instead")]
    Zero(String),
}

/// A span of years, months, weeks, days and hours; never zero. Days and longer follow the local calendar, so a day may have 23 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    /// In the order of [`UNITS`]; none above [`MAX_COUNT`].
    counts: [u32; UNITS.len()],
}

/// The letters, longest unit first. `m` is a month: nobody keeps backups by the minute.
const UNITS: [char; 5] = ['y', 'm', 'w', 'd', 'h'];

impl Within {
    /// The moment that lies this long before `newest` on the clocks of `zone`; 1970 when that is earlier.
    #[must_use]
    pub fn before(self, newest: Timestamp, zone: &TimeZone) -> Timestamp {
        let start = instant(newest).to_zoned(zone.clone()).checked_sub(self.span());
        let millis = start.map_or(0, |start| start.timestamp().as_millisecond());
        Timestamp(u64::try_from(millis).unwrap_or(0))
    }

    /// None of the setters can panic: [`MAX_COUNT`] is within the range of each.
    fn span(self) -> Span {
        let [years, months, weeks, days, hours] = self.counts.map(i64::from);
        Span::new().years(years).months(months).weeks(weeks).days(days).hours(hours)
    }
}

impl FromStr for Within {
    type Err = InvalidWithin;

    fn from_str(text: &str) -> Result<Self, InvalidWithin> {
        let mut counts = [None; UNITS.len()];
        let mut rest = text;
        while !rest.is_empty() {
            let (count, unit, after) = first_part(rest).ok_or_else(|| InvalidWithin::Unreadable(text.into()))?;
            let count = count.parse().ok().filter(|count| *count <= MAX_COUNT);
            let count: u32 = count.ok_or_else(|| InvalidWithin::TooLong(text.into()))?;
            let slot = UNITS.iter().zip(&mut counts).find_map(|(letter, slot)| (*letter == unit).then_some(slot));
            let slot = slot.ok_or_else(|| InvalidWithin::Unreadable(text.into()))?;
            if slot.replace(count).is_some() {
                return Err(InvalidWithin::Repeated(text.into()));
            }
            rest = after;
        }
        match counts.map(Option::unwrap_or_default) {
            _ if text.is_empty() => Err(InvalidWithin::Unreadable(text.into())),
            counts if counts == [0; UNITS.len()] => Err(InvalidWithin::Zero(text.into())),
            counts => Ok(Self { counts }),
        }
    }
}

/// Digits, the letter after them, and what follows.
fn first_part(text: &str) -> Option<(&str, char, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
    let (count, rest) = text.split_at_checked(digits)?;
    let unit = rest.chars().next()?;
    Some((count, unit, rest.get(unit.len_utf8()..)?))
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.counts.iter().zip(UNITS).filter(|(count, _)| **count > 0);
        parts.into_iter().try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_display_as_people_write_them() {
        for (text, shown) in
            [("14d", "14d"), ("6m", "6m"), ("1y2m10d3h", "1y2m10d3h"), ("3h2w", "2w3h"), ("01d0h", "1d"), ("10000h", "10000h")]
        {
            assert_eq!(text.parse::<Within>().map(|within| within.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused_with_the_reason() {
        for text in ["", "d", "14", "14 d", "14D", "-1d", "+1d", "1d ", "1s", "1dé", "é", "1é", "1.5d", "１d"] {
            assert_eq!(text.parse::<Within>(), Err(InvalidWithin::Unreadable(text.into())), "{text:?}");
        }
        assert_eq!("1d2d".parse::<Within>(), Err(InvalidWithin::Repeated("1d2d".into())));
        assert_eq!("0d1h0d".parse::<Within>(), Err(InvalidWithin::Repeated("0d1h0d".into())));
        for text in ["10001h", "4294967296d", "99999999999999999999999y"] {
            assert_eq!(text.parse::<Within>(), Err(InvalidWithin::TooLong(text.into())), "{text:?}");
        }
        assert_eq!("0y0h".parse::<Within>(), Err(InvalidWithin::Zero("0y0h".into())));
    }

    #[test]
    fn the_longest_span_of_every_unit_reaches_back_without_panicking() {
        let newest = Timestamp(1_790_000_000_000);
        for text in ["10000y", "10000m", "10000w", "10000y10000m10000w10000d10000h"] {
            let within: Within = text.parse().unwrap();
            assert_eq!(within.before(newest, &TimeZone::UTC), Timestamp(0), "{text}");
        }
        let within: Within = "10000h".parse().unwrap();
        assert_eq!(within.before(newest, &TimeZone::UTC), Timestamp(newest.0 - 10_000 * 3_600_000));
        assert_eq!(within.before(Timestamp(5), &TimeZone::UTC), Timestamp(0));
    }
}
