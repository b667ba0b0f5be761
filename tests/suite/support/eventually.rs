//! Waiting for a condition, or for a time in which something may happen: the only place of the tests that sleeps.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what comes by itself and has no promised time. Far longer than it takes, for the machine may do other
/// things too; shorter than the 5 minutes after which librdkafka looks at its topics anew without being asked.
pub const LIMIT: Duration = Duration::from_mins(3);
/// How long a daemon may take to end: far beyond its drain delay and its grace, which are 20 s in tests, and still not for ever.
pub const ENDS_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks: longer the longer the wait is, for a look may ask Kafka, and other tests want the processor, too.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// So much of the wait so far is one pause.
const PAUSE_SHARE: u32 = 16;

/// Looks until `look` finds something, and gives it; or the last complaint, once `limit` is over.
pub fn try_eventually<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let begun = Instant::now();
    let deadline = begun + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(complaint) if Instant::now() >= deadline => {
                return Err(format!("{complaint} (waited for {} s)", limit.as_secs()));
            }
            Err(_) => thread::sleep((begun.elapsed() / PAUSE_SHARE).clamp(PAUSE_MIN, PAUSE_MAX)),
        }
    }
}

/// The same, for tests: panics with the last complaint.
#[track_caller]
pub fn eventually<T>(limit: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    match try_eventually(limit, look) {
        Ok(found) => found,
        Err(complaint) => panic!("{complaint}"),
    }
}

/// Lets time pass in which something may happen.
pub fn pause(time: Duration) {
    thread::sleep(time);
}
