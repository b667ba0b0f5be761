//! A member of the group as tests use it: polled until something happens.

use std::time::{Duration, Instant};

use paybridge::kafka::group::{Generation, GroupMember, GroupSettings, InputPosition, InputRecord, Polled};
use paybridge::kafka::restore::Restored;

use super::{GroupSetup, LIMIT};

/// How long one poll waits.
const SLICE: Duration = Duration::from_millis(20);

/// An assignment.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// What it is known by.
    pub generation: Generation,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// Joins the setup's group.
pub fn join(setup: &GroupSetup<'_>) -> GroupMember {
    join_with(setup, |_| {})
}

/// The same with other settings.
pub fn join_with(setup: &GroupSetup<'_>, set: impl Fn(&mut GroupSettings)) -> GroupMember {
    let mut settings = GroupSettings::new(setup.group_id.clone(), setup.inputs.clone());
    set(&mut settings);
    GroupMember::join(&setup.kafka.client(), &settings).unwrap()
}

/// Polls all members until each has an assignment after which nothing was revoked, and together they have all partitions.
pub fn settle<const COUNT: usize>(setup: &GroupSetup<'_>, members: [&mut GroupMember; COUNT]) -> [Assigned; COUNT] {
    let mut members = members.map(|group| (group, None::<Assigned>));
    let deadline = Instant::now() + LIMIT;
    loop {
        for (group, held) in &mut members {
            match group.poll(SLICE) {
                Polled::Assigned { generation, partitions } => *held = Some(Assigned { generation, partitions }),
                Polled::Revoked(_) => *held = None,
                Polled::Fatal(reason) => panic!("{reason}"),
                Polled::Record(_) | Polled::Idle | Polled::Error(_) => {}
            }
        }
        let count: usize = members.iter().flat_map(|(_, held)| held).map(|held| held.partitions.len()).sum();
        let is_settled = members.iter().all(|(_, held)| held.as_ref().is_some_and(|held| !held.partitions.is_empty()));
        if is_settled && count == usize::try_from(setup.partitions).unwrap() {
            return members.map(|(_, held)| held.unwrap());
        }
        assert!(Instant::now() < deadline, "the group does not settle: {count} partitions");
    }
}

/// Polls until something is found in what comes.
pub fn poll_until<T>(group: &mut GroupMember, mut find: impl FnMut(Polled) -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = find(group.poll(SLICE)) {
            return found;
        }
        assert!(Instant::now() < deadline, "what is polled for does not come");
    }
}

/// The next record.
pub fn next_record(group: &mut GroupMember) -> InputRecord {
    poll_until(group, |polled| match polled {
        Polled::Record(record) => Some(*record),
        _ => None,
    })
}

/// Where to go on with each input of what was restored.
pub fn positions(restored: &[Restored]) -> Vec<InputPosition> {
    let of = |restored: &Restored| {
        let partition = restored.partition;
        let position = move |(input, next)| InputPosition { input, partition, next };
        restored.next.clone().into_iter().enumerate().map(position).collect::<Vec<_>>()
    };
    restored.iter().flat_map(of).collect()
}
