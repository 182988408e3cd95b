//! Times as scripts and people write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span};
use std::time::Duration;

use crate::base::clock::Timestamp;

/// RFC 3339 in UTC with milliseconds: `2026-05-31T14:00:00.000Z`.
pub(super) fn utc(moment: Timestamp) -> String {
    format!("{:.3}", instant(moment))
}

/// RFC 3339 in UTC with nanoseconds; nothing where the calendar has no such year.
pub(super) fn utc_nanoseconds(seconds: i64, nanoseconds: u32) -> Option<String> {
    let fraction = i32::try_from(nanoseconds).ok()?;
    let whole = jiff::Timestamp::new(seconds, 0).ok()?;
    let moment = whole.checked_add(SignedDuration::new(0, fraction)).ok()?;
    Some(format!("{moment:.9}"))
}

/// RFC 3339 to the minute on the clocks of `zone`: `2026-05-31T16:00+02:00`.
pub(super) fn local(moment: Timestamp, zone: &TimeZone) -> String {
    instant(moment).to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M%:z").to_string()
}

/// The name of a zone, or its offset from UTC when it has none.
pub(super) fn zone_name(zone: &TimeZone, now: Timestamp) -> String {
    zone.iana_name().map_or_else(|| zone.to_offset(instant(now)).to_string(), str::to_owned)
}

/// Reads a day, a minute, a second or an exact moment, and returns its last millisecond: "no later than that day" includes the day.
pub(super) fn parse_until(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let start = match (text.parse::<jiff::Timestamp>(), text.parse::<DateTime>()) {
        (Ok(exact), _) => exact.to_zoned(zone.clone()),
        (Err(_), Ok(local)) => local.to_zoned(zone.clone()).ok()?,
        (Err(_), Err(_)) => return None,
    };
    let end = start.checked_add(named_unit(text)).ok()?;
    u64::try_from(end.timestamp().as_millisecond()).ok()?.checked_sub(1).map(Timestamp)
}

/// The unit that a time is given to: `2026-05-31T14:00` is as long as its minute.
fn named_unit(text: &str) -> Span {
    const DATE: usize = "2026-05-31".len();
    const MINUTE: usize = "2026-05-31T14:00".len();
    match text.as_bytes().get(MINUTE) {
        _ if text.len() == DATE => Span::new().days(1),
        Some(b':') if text.contains('.') => Span::new().milliseconds(1),
        Some(b':') => Span::new().seconds(1),
        Some(_) | None => Span::new().minutes(1),
    }
}

/// Reads `90min`, `1h30m`, `45s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().map_err(|error| error.to_string())?;
    Duration::try_from(parsed).map_err(|_| "a wait is not negative".to_owned())
}

/// The calendar's name for a moment. What lies beyond the year 9999 counts as its last second.
fn instant(moment: Timestamp) -> jiff::Timestamp {
    let millis = i64::try_from(moment.0).ok();
    millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    #[test]
    fn a_time_means_all_of_the_unit_it_names() {
        for (text, last) in [
            ("2026-05-31", "2026-05-31T21:59:59.999Z"),
            ("2026-05-31T14:00", "2026-05-31T12:00:59.999Z"),
            ("2026-05-31 14:00", "2026-05-31T12:00:59.999Z"),
            ("2026-05-31T14:00:05", "2026-05-31T12:00:05.999Z"),
            ("2026-05-31T14:00Z", "2026-05-31T14:00:59.999Z"),
            ("2026-05-31T14:00+02:00", "2026-05-31T12:00:59.999Z"),
            ("2026-05-31T14:00:05Z", "2026-05-31T14:00:05.999Z"),
            ("2026-05-31T14:00:05.120Z", "2026-05-31T14:00:05.120Z"),
            ("2026-03-29", "2026-03-29T21:59:59.999Z"),
        ] {
            assert_eq!(parse_until(text, &berlin()).map(utc).as_deref(), Some(last), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "14:00", "2026"] {
            assert_eq!(parse_until(text, &berlin()), None, "{text}");
        }
    }

    #[test]
    fn moments_are_written_with_their_offset() {
        let moment = Timestamp(1_780_236_000_123);
        assert_eq!(utc(moment), "2026-05-31T14:00:00.123Z");
        assert_eq!(local(moment, &berlin()), "2026-05-31T16:00+02:00");
        assert_eq!(local(moment, &TimeZone::UTC), "2026-05-31T14:00+00:00");
        assert_eq!(zone_name(&berlin(), moment), "Europe/Berlin");
    }

    #[test]
    fn waits_are_hours_minutes_and_seconds() {
        for (text, seconds) in [("90min", 5400), ("1h30m", 5400), ("45s", 45), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(parse_duration("soon").is_err() && parse_duration("-5s").is_err());
    }
}
