//! What an answer's head says about time: when to come again, and what time it is for the provider.
//! Pure: must not read a clock, nor know what was asked.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

/// A session's window is four hours: a provider that asks for a longer wait is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// The provider's time, by `Date` in its one form of today (RFC 9110, IMF-fixdate). Cut to whole seconds.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    parse_date(headers.get(DATE)?.to_str().ok()?)
}

/// How long to wait, as `Retry-After` says: seconds, or a date, which is compared with the provider's own `Date`, else against
/// `now`. At most 15 minutes; nothing where it does not parse.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit are very many seconds.
        text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let wait = parse_date(text)?.duration_since(date(headers).unwrap_or(now));
        Duration::try_from(wait).unwrap_or(Duration::ZERO)
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// Our wall clock minus the provider's, where an exchange began at `began` by ours and its head was there after `passed`:
/// the provider wrote its time about midway. Exact to half of `passed` and a second.
pub fn clock_skew(headers: &HeaderMap, began: Timestamp, passed: Duration) -> Option<SignedDuration> {
    let midway = SignedDuration::try_from(passed / 2).ok()?;
    Some(began.duration_since(date(headers)?).saturating_add(midway))
}

fn parse_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2024-05-27T02:03:00Z";

    fn headers(retry_after: &str, date: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(RETRY_AFTER, retry_after), (DATE, date)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        headers
    }

    #[test]
    fn waits_as_long_as_asked_within_a_bound() {
        let theirs = "Mon, 27 May 2024 03:00:00 GMT";
        for (asked, date, expect) in [
            ("", "", None),
            ("soon", "", None),
            ("-5", "", None),
            ("1.5", "", None),
            ("Mon, 99 May 2024 02:03:10 GMT", "", None),
            ("é", "", None),
            ("0", "", Some(0)),
            (" 7 ", "", Some(7)),
            ("900", "", Some(900)),
            ("901", "", Some(900)),
            ("99999999999999999999999999", "", Some(900)),
            ("Mon, 27 May 2024 02:03:10 GMT", "", Some(10)),
            ("Mon, 27 May 2024 02:02:00 GMT", "", Some(0)),
            ("Tue, 28 May 2024 02:02:00 GMT", "", Some(900)),
            ("Mon, 27 May 2024 03:00:20 GMT", theirs, Some(20)),
            ("Mon, 27 May 2024 03:00:20 GMT", "yesterday", Some(900)),
        ] {
            let waits = retry_after(&headers(asked, date), NOW.parse().unwrap());
            assert_eq!(waits, expect.map(Duration::from_secs), "{asked} {date}");
        }
    }

    #[test]
    fn tells_how_far_our_clock_is_ahead_of_theirs() {
        for (date, passed, expect) in [
            ("", 0, None),
            ("now", 0, None),
            ("Mon, 27 May 2024 02:03:00 GMT", 0, Some(0)),
            ("Mon, 27 May 2024 02:03:05 GMT", 10_000, Some(0)),
            ("Mon, 27 May 2024 02:02:00 GMT", 2000, Some(61_000)),
            ("Mon, 27 May 2024 03:03:00 GMT", 0, Some(-3_600_000)),
        ] {
            let skew = clock_skew(&headers("", date), NOW.parse().unwrap(), Duration::from_millis(passed));
            assert_eq!(skew, expect.map(SignedDuration::from_millis), "{date} {passed}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(asked in "[ -~]{0,40}", date in "[ -~]{0,40}", passed in any::<u64>()) {
            let (headers, now) = (headers(&asked, &date), NOW.parse().unwrap());
            let waits = retry_after(&headers, now);
            prop_assert!(waits.is_none_or(|waits| waits <= RETRY_AFTER_MAX));
            clock_skew(&headers, now, Duration::from_secs(passed));
        }
    }
}
