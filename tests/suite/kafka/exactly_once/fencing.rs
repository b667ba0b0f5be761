//! Who has lost a partition commits nothing for it, whatever it believes.

use std::time::Duration;

use jiff::Timestamp;
use paybridge::kafka::group::{GroupMember, Polled, Revocation};
use paybridge::kafka::transaction::{CommitError, CommitFailure, Transactions};

use super::member::{Assigned, join, join_with, poll_until, settle};
use super::{GroupSetup, keys, never};
use crate::support::kafka::Kafka;

/// The epoch check is our own; what is tested here is Kafka's.
fn unchecked(_: u64) -> bool {
    true
}

/// Two members of two partitions, after the first had both: its assignment before, its present one, and the other's.
fn moved(setup: &GroupSetup<'_>) -> ([GroupMember; 2], Assigned, [Assigned; 2]) {
    let mut first = join(setup);
    let [before] = settle(setup, [&mut first]);
    let mut second = join(setup);
    let after = settle(setup, [&mut first, &mut second]);
    ([first, second], before, after)
}

#[track_caller]
fn check_fenced(done: Result<Option<Timestamp>, CommitError>) {
    match done {
        Err(CommitError::Fenced(CommitFailure::Offsets(error))) => println!("fenced: {error}"),
        other => panic!("not fenced: {other:?}"),
    }
}

#[track_caller]
fn check_nothing_is_there(setup: &GroupSetup<'_>) {
    assert!(setup.outcomes().is_empty());
    let partitions: Vec<i32> = (0..setup.partitions).collect();
    let (keys, restored) = setup.restore(&partitions, &never).unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    assert!(restored.iter().all(|restored| restored.next == [0, 0]), "{restored:?}");
}

#[test]
fn a_transaction_of_an_old_generation_is_refused_and_leaves_nothing_to_see() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    let (_members, before, [first, second]) = moved(&setup);
    assert_eq!(before.partitions, [0, 1]);
    let mut transactions = setup.transactions("first");
    for assigned in [&first, &second] {
        // Of the partition that it lost, and of the one that it has again.
        check_fenced(transactions.commit(
            &setup.batch(assigned.partitions[0], "late", 1),
            &before.generation,
            unchecked,
        ));
    }
    check_nothing_is_there(&setup);
    // The same producer, under the assignment that it has.
    transactions.commit(&setup.batch(first.partitions[0], "timely", 1), &first.generation, unchecked).unwrap();
    assert_eq!(setup.outcomes(), ["timely"]);
}

#[test]
fn a_member_that_has_lost_a_partition_is_fenced_although_it_is_a_member_again() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    let ([mut first, second], before, [_, _]) = moved(&setup);
    // Both partitions return to it, under a generation of its own.
    second.leave(Duration::from_secs(10));
    let [again] = settle(&setup, [&mut first]);
    assert_eq!(again.partitions, before.partitions);
    let mut transactions = setup.transactions("first");
    check_fenced(transactions.commit(&setup.batch(0, "late", 1), &before.generation, unchecked));
    check_nothing_is_there(&setup);
    transactions.commit(&setup.batch(0, "timely", 1), &again.generation, |epoch| epoch == first.epoch()).unwrap();
    assert_eq!(setup.restore(&[0], &never).unwrap().0, keys(0, &["timely"]));
}

#[test]
fn offsets_that_do_not_move_fence_as_well() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    let (_members, before, [first, _]) = moved(&setup);
    let partition = first.partitions[0];
    let mut transactions = setup.transactions("first");
    for _ in 0..2 {
        transactions.commit(&setup.batch(partition, "same", 0), &first.generation, unchecked).unwrap();
        check_fenced(transactions.commit(&setup.batch(partition, "late", 0), &before.generation, unchecked));
    }
    assert_eq!(setup.outcomes(), ["same", "same"]);
}

#[test]
fn an_epoch_that_is_over_is_not_even_sent() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    let (members, before, _) = moved(&setup);
    let mut transactions = setup.transactions("first");
    let is_current = |epoch| epoch == members[0].epoch();
    let over = transactions.commit(&setup.batch(0, "late", 1), &before.generation, is_current);
    assert!(matches!(over, Err(CommitError::Fenced(CommitFailure::Superseded))), "{over:?}");
    // It may also end while the records are on their way.
    let looks = std::cell::Cell::new(0);
    let ends = |_| looks.replace(looks.get() + 1) == 0;
    let over = transactions.commit(&setup.batch(0, "late", 1), &before.generation, ends);
    assert!(matches!(over, Err(CommitError::Fenced(CommitFailure::Superseded))), "{over:?}");
    check_nothing_is_there(&setup);
}

#[test]
fn a_member_that_stood_still_for_too_long_is_fenced_and_joins_again() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    let mut sleeper = join_with(&setup, |settings| {
        settings.session_timeout = Duration::from_secs(2);
        settings.poll_interval_max = Duration::from_secs(2);
    });
    let [before] = settle(&setup, [&mut sleeper]);
    let epoch = sleeper.epoch();
    let mut transactions: Transactions = setup.transactions("sleeper");
    // Nobody polls the first any more, until the second has all.
    let mut second = join(&setup);
    let [all] = settle(&setup, [&mut second]);
    assert_eq!(all.partitions, [0, 1]);
    // It does not know yet, so its own epoch is no help.
    check_fenced(transactions.commit(&setup.batch(0, "late", 1), &before.generation, |now| now == epoch));
    check_nothing_is_there(&setup);
    // In order, if the second joined while the first was still a member; else lost.
    poll_until(&mut sleeper, |polled| match polled {
        Polled::Revoked(Revocation::InOrder | Revocation::Lost) => Some(()),
        Polled::Assigned { .. } => panic!("assigned before it was revoked"),
        _ => None,
    });
    let [again, other] = settle(&setup, [&mut sleeper, &mut second]);
    assert!(again.generation.epoch > before.generation.epoch);
    let partition = again.partitions[0];
    transactions.commit(&setup.batch(partition, "timely", 1), &again.generation, unchecked).unwrap();
    assert_ne!(other.partitions, again.partitions);
    assert_eq!(setup.outcomes(), ["timely"]);
}
