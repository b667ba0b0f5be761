//! Who has lost a partition commits nothing for it, whatever it believes.

use std::time::Duration;

use jiff::Timestamp;
use paybridge::kafka::group::{GroupMember, Polled, Revocation};
use paybridge::kafka::transaction::{CommitError, CommitFailure, Transactions};

use super::member::{Assigned, join, join_with, poll_until, settle};
use super::{Stage, keys, never};
use crate::support::kafka::Kafka;

/// The epoch check is our own; what is tested here is Kafka's.
fn unchecked(_: u64) -> bool {
    true
}

/// Two members of two partitions, after the first had both: its assignment before, its present one, and the other's.
fn moved(stage: &Stage<'_>) -> ([GroupMember; 2], Assigned, [Assigned; 2]) {
    let mut first = join(stage);
    let [before] = settle(stage, [&mut first]);
    let mut second = join(stage);
    let after = settle(stage, [&mut first, &mut second]);
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
fn check_nothing_is_there(stage: &Stage<'_>) {
    assert!(stage.outcomes().is_empty());
    let partitions: Vec<i32> = (0..stage.partitions).collect();
    let (keys, restored) = stage.restore(&partitions, &never).unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    assert!(restored.iter().all(|restored| restored.next == [0, 0]), "{restored:?}");
}

#[test]
fn a_transaction_of_an_old_generation_is_refused_and_leaves_nothing_to_see() {
    let stage = Stage::new(Kafka::shared(), 2);
    let (_members, before, [first, second]) = moved(&stage);
    assert_eq!(before.partitions, [0, 1]);
    let mut transactions = stage.transactions("first");
    for assigned in [&first, &second] {
        // Of the partition that it lost, and of the one that it has again.
        check_fenced(transactions.commit(
            &stage.batch(assigned.partitions[0], "late", 1),
            &before.generation,
            unchecked,
        ));
    }
    check_nothing_is_there(&stage);
    // The same producer, under the assignment that it has.
    transactions.commit(&stage.batch(first.partitions[0], "timely", 1), &first.generation, unchecked).unwrap();
    assert_eq!(stage.outcomes(), ["timely"]);
}

#[test]
fn a_member_that_has_lost_a_partition_is_fenced_although_it_is_a_member_again() {
    let stage = Stage::new(Kafka::shared(), 2);
    let ([mut first, second], before, [_, _]) = moved(&stage);
    // Both partitions return to it, under a generation of its own.
    second.leave(Duration::from_secs(10));
    let [again] = settle(&stage, [&mut first]);
    assert_eq!(again.partitions, before.partitions);
    let mut transactions = stage.transactions("first");
    check_fenced(transactions.commit(&stage.batch(0, "late", 1), &before.generation, unchecked));
    check_nothing_is_there(&stage);
    transactions.commit(&stage.batch(0, "timely", 1), &again.generation, |epoch| epoch == first.epoch()).unwrap();
    assert_eq!(stage.restore(&[0], &never).unwrap().0, keys(0, &["timely"]));
}

#[test]
fn offsets_that_do_not_move_fence_as_well() {
    let stage = Stage::new(Kafka::shared(), 2);
    let (_members, before, [first, _]) = moved(&stage);
    let partition = first.partitions[0];
    let mut transactions = stage.transactions("first");
    for _ in 0..2 {
        transactions.commit(&stage.batch(partition, "same", 0), &first.generation, unchecked).unwrap();
        check_fenced(transactions.commit(&stage.batch(partition, "late", 0), &before.generation, unchecked));
    }
    assert_eq!(stage.outcomes(), ["same", "same"]);
}

#[test]
fn an_epoch_that_is_over_is_not_even_sent() {
    let stage = Stage::new(Kafka::shared(), 2);
    let (members, before, _) = moved(&stage);
    let mut transactions = stage.transactions("first");
    let is_current = |epoch| epoch == members[0].epoch();
    let over = transactions.commit(&stage.batch(0, "late", 1), &before.generation, is_current);
    assert!(matches!(over, Err(CommitError::Fenced(CommitFailure::Superseded))), "{over:?}");
    // It may also end while the records are on their way.
    let looks = std::cell::Cell::new(0);
    let ends = |_| looks.replace(looks.get() + 1) == 0;
    let over = transactions.commit(&stage.batch(0, "late", 1), &before.generation, ends);
    assert!(matches!(over, Err(CommitError::Fenced(CommitFailure::Superseded))), "{over:?}");
    check_nothing_is_there(&stage);
}

#[test]
fn a_member_that_stood_still_for_too_long_is_fenced_and_joins_again() {
    let stage = Stage::new(Kafka::shared(), 2);
    let mut sleeper = join_with(&stage, |settings| {
        settings.session_timeout = Duration::from_secs(2);
        settings.poll_interval_max = Duration::from_secs(2);
    });
    let [before] = settle(&stage, [&mut sleeper]);
    let epoch = sleeper.epoch();
    let mut transactions: Transactions = stage.transactions("sleeper");
    // Nobody polls the first any more, until the second has all.
    let mut second = join(&stage);
    let [all] = settle(&stage, [&mut second]);
    assert_eq!(all.partitions, [0, 1]);
    // It does not know yet, so its own epoch is no help.
    check_fenced(transactions.commit(&stage.batch(0, "late", 1), &before.generation, |now| now == epoch));
    check_nothing_is_there(&stage);
    // In order, if the second joined while the first was still a member; else lost.
    poll_until(&mut sleeper, |polled| match polled {
        Polled::Revoked(Revocation::InOrder | Revocation::Lost) => Some(()),
        Polled::Assigned { .. } => panic!("assigned before it was revoked"),
        _ => None,
    });
    let [again, other] = settle(&stage, [&mut sleeper, &mut second]);
    assert!(again.generation.epoch > before.generation.epoch);
    let partition = again.partitions[0];
    transactions.commit(&stage.batch(partition, "timely", 1), &again.generation, unchecked).unwrap();
    assert_ne!(other.partitions, again.partitions);
    assert_eq!(stage.outcomes(), ["timely"]);
}
