//! When requests are sent: each as soon as the one before is answered, or so many a second whatever the answers do.
//! Must not know what is sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::answer_counts::Window;

/// Between two looks for requests that are due: not so fine that looking costs.
const TICK: Duration = Duration::from_micros(100);
/// What is due at the end and could not be sent yet may be sent so long.
const BACKLOG_LIMIT: Duration = Duration::from_secs(3);

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends as soon as it has its answer: the most that the server can do.
    Closed,
    /// So many a second over all connections, at even distances. Latency counts from when a request was due.
    Open(f64),
}

/// The pace of one thread's connections.
pub struct Clock {
    window: Window,
    schedule: Option<Schedule>,
}

/// Requests that are due at even distances.
struct Schedule {
    begin: Instant,
    distance: Duration,
    /// How many are or were due.
    released: AtomicU64,
    /// How many of them have a connection.
    taken: AtomicU64,
    /// Lets as many connections go on.
    due: Semaphore,
}

impl Clock {
    /// A clock from `begin` on.
    pub fn new(pace: Pace, begin: Instant, window: Window) -> Self {
        let schedule = match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(Schedule {
                begin,
                distance: Duration::from_secs_f64(1.0 / rate),
                released: AtomicU64::new(0),
                taken: AtomicU64::new(0),
                due: Semaphore::new(0),
            }),
        };
        Self { window, schedule }
    }

    /// Waits until a request is due, and tells since when; `None` at the end.
    pub async fn next(&self) -> Option<Instant> {
        match &self.schedule {
            None => Some(Instant::now()).filter(|now| *now < self.window.to),
            Some(schedule) => {
                schedule.due.acquire().await.ok()?.forget();
                Some(schedule.moment(schedule.taken.fetch_add(1, Ordering::Relaxed)))
            }
        }
    }

    /// The moment that says whether a request belongs to the window.
    pub fn mark(&self, due: Instant, done: Instant) -> Instant {
        match self.schedule {
            None => done,
            // or those that waited longest would be left out
            Some(_) => due,
        }
    }

    /// Lets requests become due until the end, and then waits for those that could not be sent yet: on a thread of its own,
    /// whose sleep is finer than the runtime's timer.
    pub fn tick(&self) {
        let Some(schedule) = &self.schedule else { return };
        while Instant::now() < self.window.to {
            thread::sleep(TICK);
            let due = schedule.due_until(Instant::now().min(self.window.to));
            let before = schedule.released.swap(due, Ordering::Relaxed);
            schedule.due.add_permits(usize::try_from(due - before).unwrap());
        }
        let limit = self.window.to + BACKLOG_LIMIT;
        while schedule.waiting() > 0 && Instant::now() < limit {
            thread::sleep(TICK);
        }
        schedule.due.close();
    }

    /// How many were due and never sent.
    pub fn unsent(&self) -> u64 {
        self.schedule.as_ref().map_or(0, Schedule::waiting)
    }
}

impl Schedule {
    fn moment(&self, number: u64) -> Instant {
        self.begin + Duration::from_nanos(nanos(self.distance) * number)
    }

    /// How many are due and have no connection.
    fn waiting(&self) -> u64 {
        self.released.load(Ordering::Relaxed) - self.taken.load(Ordering::Relaxed)
    }

    /// How many are due by then.
    fn due_until(&self, now: Instant) -> u64 {
        let since = nanos(now.saturating_duration_since(self.begin));
        since / nanos(self.distance)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}
