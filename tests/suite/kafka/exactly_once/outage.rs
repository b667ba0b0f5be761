//! The broker is killed in the middle of transactions, and everything is dealt with once all the same.

use std::cell::Cell;
use std::time::{Duration, Instant};

use paybridge::kafka::transaction::CommitError;

use super::member::{join, settle};
use super::worker::Worker;
use super::{GroupSetup, never};
use crate::support::kafka::Kafka;
use crate::support::stream::Random;

/// Records of the one partition.
const ALL: usize = 60;
/// How often the broker is killed.
const KILLS: usize = 2;

#[test]
fn a_broker_that_is_killed_in_a_transaction_neither_loses_nor_repeats_a_record() {
    let kafka = Kafka::start(&[]);
    let mut random = Random::printed();
    let setup = GroupSetup::new(&kafka, 1);
    setup.put(&setup.inputs[0], 0, (0..ALL).map(|number| number.to_string()));
    let mut worker = Worker::new(&setup, "process");
    let mut strikes: Vec<usize> = (0..KILLS).map(|kill| kill * ALL / KILLS + random.below(ALL / KILLS)).collect();
    strikes.reverse();
    let mut number = 0;
    std::thread::scope(|scope| {
        let mut restarts = Vec::new();
        // After the records are delivered and before the offsets are sent.
        let kill = || {
            if strikes.last() == Some(&number) {
                strikes.pop();
                kafka.kill_9();
                restarts.push(scope.spawn(|| kafka.restart()));
            }
            number += 1;
        };
        worker.work(|worker| worker.committed == ALL, kill);
    });
    assert!(worker.broken >= 1, "no transaction broke");
    let outcomes: Vec<usize> = setup.outcomes().iter().map(|key| key.parse().unwrap()).collect();
    assert_eq!(outcomes, (0..ALL).collect::<Vec<_>>());
    let (ledger, restored) = setup.restore(&[0], &never).unwrap();
    assert_eq!((ledger.len(), restored[0].next[0]), (ALL, i64::try_from(ALL).unwrap()));
    println!("{KILLS} kills broke {} transactions", worker.broken);
    worker.leave();
}

#[test]
fn a_frozen_broker_keeps_nobody_from_stopping() {
    let kafka = Kafka::start(&[]);
    let setup = GroupSetup::new(&kafka, 1);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions("process");
    // After the records are delivered.
    let looks = Cell::new(0);
    let freeze = |_| {
        if looks.replace(looks.get() + 1) == 1 {
            kafka.freeze();
        }
        true
    };
    let begin = Instant::now();
    let done = transactions.commit(&setup.batch(0, "frozen", 1), &assigned.generation, freeze);
    assert!(matches!(done, Err(CommitError::Unknown(_))), "{done:?}");
    println!("unknown after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    let begin = Instant::now();
    drop(transactions);
    println!("the producer is dropped in {:?}", begin.elapsed());
    let begin = Instant::now();
    group.leave(Duration::from_secs(2));
    println!("the member has left in {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    kafka.thaw();
}
