//! Keeps what happens often from filling the log: one line when it begins, then at most one a minute, with a count and the
//! latest example.
//! Must not know what is logged, and reads no clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;

/// The time from one line to the next.
pub const LINE_EVERY: Duration = Duration::from_mins(1);

/// How much longer events wait for one that makes a line of them all: it knows more of itself than was kept of them.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(15);

/// Counts one kind of event, and says when a line about it is due. `T` is what the line tells of the latest event.
#[derive(Debug)]
pub struct LogLimit<T> {
    counted: Mutex<Counted<T>>,
}

#[derive(Debug)]
struct Counted<T> {
    last_line: Option<Instant>,
    since_then: u64,
    latest: Option<T>,
}

impl<T> Default for LogLimit<T> {
    fn default() -> Self {
        Self { counted: Mutex::new(Counted { last_line: None, since_then: 0, latest: None }) }
    }
}

impl<T> LogLimit<T> {
    /// Counts one event without a line.
    pub fn add(&self, event: T) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.since_then += 1;
        counted.latest = Some(event);
    }

    /// Whether the next event makes a line due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.is_due_after(LINE_EVERY, now)
    }

    /// If a line is due: how many events it is about, and the latest of them. Ask with each event.
    pub fn due(&self, now: Instant) -> Option<(u64, T)> {
        self.take_after(LINE_EVERY, now)
    }

    /// The same for events that no later one made a line of. Ask now and then, or the last events of a burst are never told.
    pub fn left_over(&self, now: Instant) -> Option<(u64, T)> {
        self.take_after(LINE_EVERY + LEFT_OVER_AFTER, now)
    }

    fn is_due_after(&self, time: Duration, now: Instant) -> bool {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.last_line.is_none_or(|last| now.saturating_duration_since(last) >= time)
    }

    fn take_after(&self, time: Duration, now: Instant) -> Option<(u64, T)> {
        if !self.is_due_after(time, now) {
            return None;
        }
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = counted.latest.take()?;
        counted.last_line = Some(now);
        Some((std::mem::take(&mut counted.since_then), latest))
    }
}

/// What kind of reason it is: the words before the first colon. What follows differs by broker, time and number.
pub fn kind_of(reason: &str) -> &str {
    reason.split_once(':').map_or(reason, |(kind, _)| kind)
}

/// A time as people write it, in whole seconds: `4m 12s`.
pub fn whole_seconds(time: Duration) -> String {
    format!("{:#}", SignedDuration::from_secs(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_at_the_first_event_and_then_once_a_minute_while_there_are_more() {
        let (limit, begin) = (LogLimit::default(), Instant::now());
        let due = |seconds| limit.due(begin + Duration::from_secs(seconds));
        let count = |seconds| {
            limit.add(seconds);
            due(seconds)
        };
        assert_eq!(due(0), None);
        assert_eq!(
            [count(0), count(1), count(59), count(60), count(61)],
            [Some((1, 0)), None, None, Some((3, 60)), None]
        );
        let left_over = |seconds| limit.left_over(begin + Duration::from_secs(seconds));
        assert_eq!([left_over(134), left_over(135), left_over(500)], [None, Some((1, 61)), None]);
    }
}
