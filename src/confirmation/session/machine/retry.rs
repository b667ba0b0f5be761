//! When a call is repeated: a backoff that grows, what the provider asks for, and no wait across a time that matters.
//! Pure: must not know which call it is.

use jiff::{SignedDuration, Timestamp};

use super::timing::{Policy, later};
use super::{Activity, StepContext};

/// The first backoff, and the longest, before jitter takes up to half of it away.
const BACKOFF_MIN: SignedDuration = SignedDuration::from_millis(500);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(60);
/// A last try is made this long before the window's end, whatever the provider asks to wait.
const LAST_TRY_BEFORE_END: SignedDuration = SignedDuration::from_secs(30);

impl Policy {
    /// When the next try is due about a session whose window began then: the wait grows, is spread, is at least what the
    /// provider asks for, and does not go across a time at which something has to happen.
    pub fn retry_at(
        &self,
        window_began_at: Timestamp,
        activity: &Activity,
        retry_after: Option<SignedDuration>,
        context: &StepContext,
    ) -> Timestamp {
        // The provider may ask for a longer wait than there is time: the ends of the window are not slept over.
        let wait = backoff(activity.failed_attempts, context.jitter).max(retry_after.unwrap_or_default());
        let until = later(context.now, wait);
        let window_end = later(window_began_at, self.window);
        let times = [later(window_end, -LAST_TRY_BEFORE_END), window_end, self.last_end_of(window_began_at)];
        times.into_iter().find(|time| *time > context.now).map_or(context.now, |time| until.min(time))
    }
}

/// How long to wait after so many failed attempts: doubled each time up to a minute, and by `jitter` at most halved.
pub fn backoff(failed_attempts: u32, jitter: u8) -> SignedDuration {
    let doubled =
        BACKOFF_MIN.saturating_mul(1_i32.checked_shl(failed_attempts.min(16)).unwrap_or(i32::MAX)).min(BACKOFF_MAX);
    doubled - doubled / 512 * i32::from(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::session::machine::tests::fixtures::{context, opening, policy};

    #[test]
    fn backoffs_grow_to_a_minute_and_are_at_most_halved() {
        for (failed_attempts, longest_ms) in
            [(0, 500), (1, 1_000), (5, 16_000), (7, 60_000), (40, 60_000), (u32::MAX, 60_000)]
        {
            assert_eq!(backoff(failed_attempts, 0), SignedDuration::from_millis(longest_ms));
            let shortest = backoff(failed_attempts, u8::MAX);
            assert!(
                shortest * 2 >= SignedDuration::from_millis(longest_ms)
                    && shortest * 2 < backoff(failed_attempts, 0) * 2
            );
        }
    }

    #[test]
    fn a_wait_ends_where_something_has_to_happen() {
        let (policy, opening, activity) = (policy(), opening(), Activity::default());
        let window_end = policy.window_end(&opening);
        let long = Some(SignedDuration::from_secs(800));
        for (now, expected) in [
            (window_end - SignedDuration::from_secs(700), window_end - LAST_TRY_BEFORE_END),
            (window_end - SignedDuration::from_secs(20), window_end),
            (window_end, policy.last_end(&opening).min(window_end + SignedDuration::from_secs(800))),
            (policy.last_end(&opening) - SignedDuration::from_secs(1), policy.last_end(&opening)),
        ] {
            assert_eq!(policy.retry_at(opening.window_began_at, &activity, long, &context(now)), expected, "{now}");
        }
    }
}
