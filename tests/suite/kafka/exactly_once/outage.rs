//! The broker is killed in the middle of transactions, and everything is dealt with once all the same; and however brokers are
//! away, a transaction has an end.

use std::cell::Cell;
use std::time::{Duration, Instant};

use paybridge::kafka::group::{GroupMember, GroupSettings, Polled};
use paybridge::kafka::transaction::{
    Batch, CommitError, Destination, NextOffset, Outgoing, TransactionSettings, Transactions,
};
use rdkafka::ClientConfig;
use rdkafka::mocking::{MockCluster, MockCoordinator};

use super::member::{join, poll_until, settle};
use super::worker::Worker;
use super::{GroupSetup, LIMIT, RECORD_BYTES_MAX, never};
use crate::support::kafka::{Kafka, unique_prefix};
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

/// The call of librdkafka's that sends the input offsets waits for the coordinator for as long as that is away, whatever its
/// timeout says. The broker of the records is there.
#[test]
fn a_coordinator_of_the_group_that_is_away_keeps_no_transaction_open() {
    let cluster = MockCluster::new(2).unwrap();
    let prefix = unique_prefix();
    let (group_id, process) = (format!("{prefix}.group"), format!("{prefix}.process"));
    let topics = ["input", "ledger"].map(|name| format!("{prefix}.{name}"));
    for topic in &topics {
        cluster.create_topic(topic, 1, 1).unwrap();
        cluster.partition_leader(topic, 0, Some(1)).unwrap();
    }
    cluster.coordinator(MockCoordinator::Transaction(process.clone()), 1).unwrap();
    cluster.coordinator(MockCoordinator::Group(group_id.clone()), 2).unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    let [input, ledger] = topics;
    let mut group = GroupMember::join(&client, &GroupSettings::new(group_id, vec![input.clone()])).unwrap();
    let generation = poll_until(&mut group, |polled| match polled {
        Polled::Assigned { generation, .. } => Some(generation),
        _ => None,
    });
    let settings = TransactionSettings::new(process, RECORD_BYTES_MAX);
    let mut transactions = Transactions::start(&client, &settings, LIMIT).unwrap();
    let record = Outgoing {
        topic: ledger.as_str().into(),
        destination: Destination::Owned(0),
        key: b"key".to_vec(),
        value: None,
        headers: Vec::new(),
    };
    let batch = |next| {
        let offset = NextOffset { topic: input.as_str().into(), partition: 0, next };
        Batch::new(vec![record.clone()], &[offset]).unwrap()
    };
    transactions.commit(&batch(1), &generation, |_| true).unwrap();
    // After the records are delivered.
    let looks = Cell::new(0);
    let away = |_| {
        if looks.replace(looks.get() + 1) == 1 {
            cluster.broker_down(2).unwrap();
        }
        true
    };
    let begin = Instant::now();
    let done = transactions.commit(&batch(2), &generation, away);
    println!("unknown after {:?}", begin.elapsed());
    assert!(matches!(done, Err(CommitError::Unknown(_))), "{done:?}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    drop(transactions);
    cluster.broker_up(2).unwrap();
    let mut transactions = Transactions::start(&client, &settings, LIMIT).unwrap();
    transactions.commit(&batch(2), &generation, |_| true).unwrap();
}
