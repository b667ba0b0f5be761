//! Reads the times that senders write, strictly: a time that bounds replays has one reading.
//! Must not know a clock.

use jiff::Timestamp;

use super::settings::TimeFormat;

/// From so many digits on, a number is milliseconds: as seconds it would be after the year 5000.
const MILLISECOND_DIGITS: usize = 12;

/// The instant that a text of this format tells.
pub fn instant(text: &str, format: TimeFormat) -> Option<Timestamp> {
    match format {
        TimeFormat::UnixS => Timestamp::from_second(digits(text)?).ok(),
        TimeFormat::UnixMs => Timestamp::from_millisecond(digits(text)?).ok(),
        TimeFormat::Unix if text.len() < MILLISECOND_DIGITS => instant(text, TimeFormat::UnixS),
        TimeFormat::Unix => instant(text, TimeFormat::UnixMs),
        TimeFormat::Rfc3339 if has_date_form(text) => text.parse().ok(),
        TimeFormat::Rfc3339 => None,
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

fn digits(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A year of four digits, and an offset at its end: so nothing can be put before or behind it.
fn has_date_form(text: &str) -> bool {
    let bytes = text.as_bytes();
    let year = bytes.get(..4).is_some_and(|year| year.iter().all(u8::is_ascii_digit));
    let end = text.ends_with('Z')
        || bytes.len().checked_sub(6).and_then(|at| bytes.get(at)).is_some_and(|sign| b"+-".contains(sign));
    let letters = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(&byte));
    year && bytes.get(4) == Some(&b'-') && bytes.get(10) == Some(&b'T') && end && letters
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
            (" 1716804000", TimeFormat::UnixS, None),
            ("1716804000.5", TimeFormat::UnixS, None),
            ("", TimeFormat::UnixS, None),
            ("2024-05-27 10:00:00Z", TimeFormat::Rfc3339, None),
            ("2024-05-27T10:00:00", TimeFormat::Rfc3339, None),
            ("2024-05-27T10:00:00Z[UTC]", TimeFormat::Rfc3339, None),
            ("12024-05-27T10:00:00Z", TimeFormat::Rfc3339, None),
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
