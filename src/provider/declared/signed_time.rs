//! Reads the times that senders write, strictly: a time that bounds replays has one reading.
//! Must not know a clock.

use std::borrow::Cow;

use jiff::Timestamp;

use super::settings::TimeFormat;
use crate::message::can_tell;

/// From so many digits on, a number is milliseconds: as seconds it would be after the year 5000.
const MILLISECOND_DIGITS: usize = 12;

/// The instant that a text of this format tells.
pub fn instant(text: &str, format: TimeFormat) -> Option<Timestamp> {
    match format {
        TimeFormat::UnixS => Timestamp::from_second(digits(text)?).ok(),
        TimeFormat::UnixMs => Timestamp::from_millisecond(digits(text)?).ok(),
        TimeFormat::Unix if text.len() < MILLISECOND_DIGITS => instant(text, TimeFormat::UnixS),
        TimeFormat::Unix => instant(text, TimeFormat::UnixMs),
        TimeFormat::Rfc3339 => dated(text)?.parse().ok().filter(|instant| can_tell(*instant)),
    }
}

/// How a sender writes an instant in this format.
pub fn written(at: Timestamp, format: TimeFormat) -> String {
    match format {
        TimeFormat::UnixS | TimeFormat::Unix => at.as_second().to_string(),
        TimeFormat::UnixMs => at.as_millisecond().to_string(),
        TimeFormat::Rfc3339 => format!("{at:.3}"),
    }
}

/// A number without a zero before it: senders' own libraries read it, write it again, and take that for what was signed.
fn digits(text: &str) -> Option<i64> {
    let one_reading = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| one_reading)
}

/// The text with a colon in its offset, which some senders leave out; none where it is no date and time with an offset. A year of four
/// digits, and an offset at its end: so nothing can be put before or behind it.
fn dated(text: &str) -> Option<Cow<'_, str>> {
    let bytes = text.as_bytes();
    let is_digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
    let has_date = (0..4).all(is_digit) && bytes.get(4) == Some(&b'-') && bytes.get(10) == Some(&b'T');
    let is_plain = bytes.iter().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(byte));
    let sign_at = |from_end: usize| {
        let place = bytes.len().checked_sub(from_end)?;
        bytes.get(place).filter(|sign| b"+-".contains(sign)).map(|_| place)
    };
    if !has_date || !is_plain {
        return None;
    }
    match (text.ends_with('Z'), sign_at(6), sign_at(5)) {
        (true, _, _) | (_, Some(_), _) => Some(Cow::Borrowed(text)),
        (_, None, Some(sign)) if sign > 18 => {
            let (before, minutes) = text.split_at_checked(sign.saturating_add(3))?;
            Some(Cow::Owned(format!("{before}:{minutes}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_format_and_nothing_else() {
        let at = Some("2024-05-27T10:00:00Z".parse().unwrap());
        for (text, format, expected) in [
            ("1716804000", TimeFormat::UnixS, at),
            ("1716804000000", TimeFormat::UnixMs, at),
            ("1716804000", TimeFormat::Unix, at),
            ("1716804000000", TimeFormat::Unix, at),
            ("2024-05-27T10:00:00Z", TimeFormat::Rfc3339, at),
            ("2024-05-27T12:00:00.000+02:00", TimeFormat::Rfc3339, at),
            ("+1716804000", TimeFormat::UnixS, None),
            ("01716804000", TimeFormat::UnixS, None),
            (" 1716804000", TimeFormat::UnixS, None),
            ("1716804000.5", TimeFormat::UnixS, None),
            ("", TimeFormat::UnixS, None),
            ("2024-05-27T10:00:00+0000", TimeFormat::Rfc3339, at),
            ("2024-05-27T12:00:00.5+0200", TimeFormat::Rfc3339, Some("2024-05-27T10:00:00.5Z".parse().unwrap())),
            ("2024-05-27T10:00-0000", TimeFormat::Rfc3339, None),
            ("2024-05-27 10:00:00Z", TimeFormat::Rfc3339, None),
            ("2024-05-27T10:00:00", TimeFormat::Rfc3339, None),
            ("2024-05-27T10:00:00Z[UTC]", TimeFormat::Rfc3339, None),
            ("12024-05-27T10:00:00Z", TimeFormat::Rfc3339, None),
            ("0000-12-31T23:59:59Z", TimeFormat::Rfc3339, None),
            ("1716804000", TimeFormat::Rfc3339, None),
        ] {
            assert_eq!(instant(text, format), expected, "{text} as {format:?}");
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let at: Timestamp = "2024-05-27T10:00:00Z".parse().unwrap();
        for format in [TimeFormat::UnixS, TimeFormat::UnixMs, TimeFormat::Unix, TimeFormat::Rfc3339] {
            assert_eq!(instant(&written(at, format), format), Some(at), "{format:?}");
        }
    }
}
