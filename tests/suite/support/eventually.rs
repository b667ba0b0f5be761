//! Waiting for a condition: the only place of the tests that sleeps.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `look` finds something, and gives it; or the last complaint, once `limit` is over.
pub fn try_eventually<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(complaint) if Instant::now() >= deadline => {
                return Err(format!("{complaint} (waited for {} s)", limit.as_secs()));
            }
            Err(_) => thread::sleep(POLL_INTERVAL),
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
