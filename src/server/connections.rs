//! The open connections of one listener: there are at most so many, and each ends when its time is over or its server's is.
//! Must not know sockets, hyper, or what the requests mean.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::activity::{CLOSING_TIMEOUT, ConnectionActivity, Seen};
use super::{ConnectionEvent, Events, Limits};

/// How often it is looked whose time is over: a connection ends at most so much late. Timers of their own would be exact, and
/// cost each connection a timer and each request two changes of it.
const SWEEP: Duration = Duration::from_millis(250);
/// A client that has sent no whole request for so long after its accept makes room before any that has sent one.
const SILENT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that were told to end are open a moment longer: for so many places there may be one more of them.
const PLACES_A_LEAVER: usize = 8;

/// All connections of one listener. Dropping it drops them.
pub(super) struct Connections {
    limits: Limits,
    events: Events,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
    sweeps: Interval,
    ending: CancellationToken,
    phase: EndPhase,
}

/// How far the server's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndPhase {
    /// It serves.
    Serve,
    /// HTTP/2 is told to end after its first request; HTTP/1.1 is told by its next answer.
    Drain,
    /// Who has no request and has not begun one is told to end, too.
    Stop,
}

struct Open {
    activity: Arc<ConnectionActivity>,
    task: AbortHandle,
    /// Since when it ends.
    ending: Option<Instant>,
    events: Events,
}

impl Connections {
    /// None yet. From `ending` on, those of HTTP/2 are told to end.
    pub(super) fn new(limits: Limits, events: Events, ending: CancellationToken) -> Self {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { limits, events, tasks: JoinSet::new(), open: HashMap::new(), sweeps, ending, phase: EndPhase::Serve }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether one more may come. Where all places are taken, a connection is told to end: one whose client is silent, else one
    /// that has been idle longest, else one whose next head has begun. One that gets a request at this very moment ends with
    /// its answer.
    pub(super) fn make_room(&mut self) -> bool {
        let max = self.limits.connections_max;
        if self.open.len() < max {
            return true;
        }
        let staying = self.open.values().filter(|open| open.ending.is_none()).count();
        let may_leave_one_more = self.open.len() < max.saturating_add(max.div_ceil(PLACES_A_LEAVER));
        if !may_leave_one_more || staying < max {
            return may_leave_one_more;
        }
        let staying = self.open.values_mut().filter(|open| open.ending.is_none());
        let idle = staying.map(|open| (open.activity.seen(), open)).filter(|(seen, _)| seen.handling == 0);
        let now = Instant::now();
        let is_silent =
            |seen: &Seen| seen.version.is_none() && now.saturating_duration_since(seen.idle_since) >= SILENT_TIMEOUT;
        let Some((_, longest)) = idle
            .min_by_key(|(seen, _)| (!is_silent(seen), seen.version.and(seen.head_since).is_some(), seen.idle_since))
        else {
            return false;
        };
        longest.tell(now);
        (self.events)(ConnectionEvent::MadeRoom);
        true
    }

    /// Runs one connection, in a task of its own.
    pub(super) fn add(
        &mut self,
        activity: Arc<ConnectionActivity>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let (task, events) = (self.tasks.spawn(connection), Arc::clone(&self.events));
        events(ConnectionEvent::Accepted);
        self.open.insert(task.id(), Open { activity, task, ending: None, events });
    }

    /// From now on every connection ends as soon as it can; one without a request a whole [`SWEEP`] later: one may be on its
    /// way, or in the kernel already.
    pub(super) fn stop(&mut self) {
        self.phase = EndPhase::Stop;
        self.sweeps.reset();
    }

    /// Waits until a connection has ended, or it is time to look whose time is over. To be called again and again.
    pub(super) async fn turn(&mut self) {
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next_with_id() => {
                self.open.remove(&ended.map_or_else(|error: JoinError| error.id(), |(id, ())| id));
            }
            now = self.sweeps.tick() => {
                if self.phase == EndPhase::Serve && self.ending.is_cancelled() {
                    self.phase = EndPhase::Drain;
                }
                let (limits, phase) = (&self.limits, self.phase);
                self.open.values_mut().for_each(|open| open.look(limits, phase, now));
            }
        }
    }
}

impl Open {
    /// Ends the connection if its time is over. No time runs while a request is handled.
    fn look(&mut self, limits: &Limits, phase: EndPhase, now: Instant) {
        let seen = self.activity.seen();
        let is_over = |since: Instant, timeout| now.saturating_duration_since(since) >= timeout;
        if let Some(ending) = self.ending {
            if seen.handling == 0 && is_over(ending.max(seen.idle_since), CLOSING_TIMEOUT) {
                self.task.abort();
            }
            return;
        }
        if phase != EndPhase::Serve && seen.version == Some(Version::HTTP_2) {
            return self.tell(now);
        }
        if seen.handling > 0 {
            return;
        }
        match (seen.version, seen.head_since) {
            // TLS and the version's detection are part of the first head.
            (None, _) if is_over(seen.idle_since, limits.header_read_timeout) => self.cut(now),
            (Some(_), Some(begun)) if is_over(begun, limits.header_read_timeout) => self.cut(now),
            (Some(_), None) if is_over(seen.idle_since, limits.keep_alive_timeout) => {
                (self.events)(ConnectionEvent::IdleTimedOut);
                self.tell(now);
            }
            // Not where a head has begun: hyper would drop it, and its own time is short.
            (_, None) if phase == EndPhase::Stop => self.tell(now),
            _ => {}
        }
    }

    fn tell(&mut self, now: Instant) {
        self.ending = Some(now);
        self.activity.tell_end(now);
    }

    fn cut(&mut self, now: Instant) {
        (self.events)(ConnectionEvent::HeadTimedOut);
        self.ending = Some(now);
        self.task.abort();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.events)(ConnectionEvent::Closed);
    }
}
