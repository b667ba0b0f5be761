//! The open connections, of which there are at most so many, and whom the server tells how far its end is. Where all places
//! are taken, the connection that has been idle longest makes room for a new one.
//! Must not know sockets, hyper, or what the requests mean.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{Activity, Step};

/// Connections that make room are open for a moment longer than they count: at most one for so many places.
const PLACES_A_LEAVER: usize = 8;

/// All places of one listener.
pub(super) struct Places {
    max: usize,
    epoch: Instant,
    header_read_timeout: Duration,
    keep_alive_timeout: Duration,
    taken: Mutex<Taken>,
}

struct Taken {
    step: Step,
    last: u64,
    open: HashMap<u64, Arc<Activity>>,
    /// Those that make room, until they are closed.
    leaving: HashMap<u64, Arc<Activity>>,
}

/// A connection's place, until this is dropped.
pub(super) struct Place {
    /// What the connection that has it is doing.
    pub(super) activity: Arc<Activity>,
    number: u64,
    places: Arc<Places>,
}

/// How a place was found.
pub(super) enum Found {
    /// It was free.
    Free(Place),
    /// The connection that had been idle longest is ending.
    MadeRoom(Place),
    /// Every connection has a request, or so many are making room already.
    Full,
}

impl Places {
    /// `max` places for connections with these timeouts.
    pub(super) fn new(max: usize, header_read_timeout: Duration, keep_alive_timeout: Duration) -> Self {
        let taken = Mutex::new(Taken { step: Step::Serve, last: 0, open: HashMap::new(), leaving: HashMap::new() });
        Self { max, epoch: Instant::now(), header_read_timeout, keep_alive_timeout, taken }
    }

    /// Finds a place for a connection that is accepted now.
    pub(super) fn find(self: &Arc<Self>) -> Found {
        let mut taken = self.taken();
        if taken.open.len() < self.max {
            return Found::Free(self.take(&mut taken));
        }
        let leaving_max = self.max.div_ceil(PLACES_A_LEAVER);
        let longest = taken.longest_idle().filter(|_| taken.leaving.len() < leaving_max);
        let Some((number, activity)) = longest.and_then(|number| taken.open.remove_entry(&number)) else {
            return Found::Full;
        };
        // It may have got a request just now: then it ends with the answer.
        activity.tell(Step::MakeRoom);
        taken.leaving.insert(number, activity);
        Found::MadeRoom(self.take(&mut taken))
    }

    /// Tells every connection, and those to come, how far the end is.
    pub(super) fn tell(&self, step: Step) {
        let mut taken = self.taken();
        taken.step = taken.step.max(step);
        for activity in taken.open.values().chain(taken.leaving.values()) {
            activity.tell(step);
        }
    }

    fn take(self: &Arc<Self>, taken: &mut Taken) -> Place {
        let activity = Activity::new(self.header_read_timeout, self.keep_alive_timeout, self.epoch, taken.step);
        let activity = Arc::new(activity);
        taken.last = taken.last.wrapping_add(1);
        taken.open.insert(taken.last, Arc::clone(&activity));
        Place { activity, number: taken.last, places: Arc::clone(self) }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn longest_idle(&self) -> Option<u64> {
        let idle = self.open.iter().filter_map(|(number, activity)| Some((activity.idle_since()?, *number)));
        idle.min().map(|(_, number)| number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.open.remove(&self.number);
        taken.leaving.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max: usize) -> Arc<Places> {
        Arc::new(Places::new(max, Duration::from_secs(5), Duration::from_secs(75)))
    }

    fn free(places: &Arc<Places>) -> Place {
        let Found::Free(place) = places.find() else { panic!("no place is free") };
        place
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_makes_room_once_and_a_busy_one_never() {
        let places = places(3);
        let [busy, answered, silent] = [0; 3].map(|_| free(&places));
        let _handling = busy.activity.request_begins(false);
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(answered.activity.request_begins(false));
        let Found::MadeRoom(new) = places.find() else { panic!("nobody makes room") };
        let steps = [&busy, &answered, &silent, &new].map(|place| place.activity.step());
        assert_eq!(steps, [Step::Serve, Step::Serve, Step::MakeRoom, Step::Serve]);
        assert!(matches!(places.find(), Found::Full), "the one that makes room is open still");
        drop(silent);
        let Found::MadeRoom(_newer) = places.find() else { panic!("nobody makes room") };
        assert_eq!(answered.activity.step(), Step::MakeRoom);
        drop(new);
        let _free = free(&places);
    }

    #[tokio::test]
    async fn none_makes_room_while_all_are_busy_and_all_are_told_of_the_end() {
        let places = places(1);
        let place = free(&places);
        let handling = place.activity.request_begins(false);
        assert!(matches!(places.find(), Found::Full));
        drop(handling);
        let Found::MadeRoom(new) = places.find() else { panic!("nobody makes room") };
        places.tell(Step::Stop);
        assert_eq!([&place, &new].map(|place| place.activity.step()), [Step::MakeRoom, Step::Stop]);
        drop((place, new));
        assert_eq!(free(&places).activity.step(), Step::Stop);
    }
}
