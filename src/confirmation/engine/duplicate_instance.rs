//! Looks, for a while after the start and on a thread of its own, whether another process has this one's `bridge_instance`.
//! Must not keep the engine from working: it only tells.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::STOP_POLL;
use super::telemetry;
use crate::kafka::group::SESSION_TIMEOUT;
use crate::kafka::group::members::{self, MemberSeen};

/// How often, how many times, and how long one answer may take.
const LOOK_EVERY: Duration = Duration::from_secs(4);
const LOOKS: u32 = 10;
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// A member that is seen for so long is alive. After a crash the group still has this process's member of before, for as
/// long as its session lasts.
const ALIVE_AFTER: Duration = SESSION_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Whom to look for.
pub(super) struct DuplicateInstanceCheck {
    /// The engine's clients.
    pub(super) client: ClientConfig,
    /// The group.
    pub(super) group_id: String,
    /// What this process's member calls itself.
    pub(super) instance: String,
    /// Ends the looking.
    pub(super) stop: CancellationToken,
}

impl DuplicateInstanceCheck {
    /// Looks in the background, and tells once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn look_for(self) -> std::io::Result<()> {
        thread::Builder::new().name("group members".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        let mut seen = BTreeMap::new();
        for _ in 0..LOOKS {
            let members = members::members(&self.client, &self.group_id, LOOK_WITHIN).unwrap_or_default();
            let alive = alive(&mut seen, members, &self.instance, Instant::now());
            // One of them is this process.
            if alive.len() > 1 {
                return telemetry::duplicate_instance(&self.group_id, &self.instance, &members::hosts(&alive));
            }
            let next = Instant::now() + LOOK_EVERY;
            while Instant::now() < next {
                if self.stop.is_cancelled() {
                    return;
                }
                thread::sleep(STOP_POLL);
            }
        }
    }
}

/// The members of this name that were there for long. `seen` is since when each one is there.
fn alive(
    seen: &mut BTreeMap<MemberSeen, Instant>,
    members: Vec<MemberSeen>,
    instance: &str,
    now: Instant,
) -> Vec<MemberSeen> {
    let turn: Vec<MemberSeen> = members.into_iter().filter(|member| member.client_id == instance).collect();
    seen.retain(|member, _| turn.contains(member));
    let since = |member: &MemberSeen| *seen.entry(member.clone()).or_insert(now);
    let ages: Vec<Instant> = turn.iter().map(since).collect();
    let is_old = |(_, since): &(MemberSeen, Instant)| now.duration_since(*since) >= ALIVE_AFTER;
    turn.into_iter().zip(ages).filter(is_old).map(|(member, _)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, client_id: &str) -> MemberSeen {
        MemberSeen { id: id.to_owned(), client_id: client_id.to_owned(), host: "h".to_owned() }
    }

    #[test]
    fn only_members_of_the_name_that_outlive_a_session_are_alive() {
        let mut seen = BTreeMap::new();
        let begun = Instant::now();
        let mut look = |after: u64, members: &[MemberSeen]| {
            let alive = alive(&mut seen, members.to_vec(), "pod-0", begun + Duration::from_secs(after));
            alive.into_iter().map(|member| member.id).collect::<Vec<_>>()
        };
        let (dead, ours) = (member("dead", "pod-0"), member("ours", "pod-0"));
        let (other, twin) = (member("other", "pod-1"), member("twin", "pod-0"));
        let none: [String; 0] = [];
        assert_eq!(look(0, &[dead.clone(), other.clone()]), none);
        assert_eq!(look(8, &[dead.clone(), ours.clone(), other.clone()]), none);
        // The dead one's session is over before it counts.
        assert_eq!(look(14, &[ours.clone(), other.clone(), twin.clone()]), none);
        assert_eq!(look(23, &[ours.clone(), other.clone(), twin.clone()]), ["ours"]);
        assert_eq!(look(29, &[ours, other, twin]), ["ours", "twin"]);
    }
}
