//! Partitions move between members, and each record is dealt with once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use paybridge::kafka::cluster::{TopicState, partition_counts};
use paybridge::kafka::group::{InputPosition, Polled, Revocation, TakeError};
use rdkafka::producer::Producer as _;

use super::member::{join, next_record, poll_until, positions, settle};
use super::worker::Worker;
use super::{GroupSetup, LIMIT, never, put};
use crate::support::kafka::Kafka;

/// Records in each of four partitions of each input.
const EACH: usize = 60;

#[test]
fn each_record_is_committed_once_while_partitions_move() {
    let setup = GroupSetup::new(Kafka::shared(), 4);
    for input in 0..2 {
        for partition in 0..4 {
            let keys = (0..EACH).map(|number| format!("{input}-{partition}-{number}"));
            setup.put(&setup.inputs[input], partition, keys);
        }
    }
    let all = 2 * 4 * EACH;
    let committed = AtomicUsize::new(0);
    let count = |before: &mut usize, worker: &Worker<'_>| {
        let more = worker.committed - *before;
        *before = worker.committed;
        committed.fetch_add(more, Ordering::SeqCst) + more
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut worker = Worker::new(&setup, "first");
            let mut before = 0;
            worker.work(|worker| count(&mut before, worker) >= all, || {});
            worker.leave();
        });
        // Members come, work a while, and leave.
        scope.spawn(|| {
            for number in 0..3 {
                let mut worker = Worker::new(&setup, &format!("passing-{number}"));
                let mut before = 0;
                let is_done = |worker: &Worker<'_>| {
                    let all_done = count(&mut before, worker) >= all;
                    all_done || worker.committed >= 20
                };
                worker.work(is_done, || {});
                println!("member {number} committed {}, {} broke", worker.committed, worker.broken);
                worker.leave();
            }
        });
    });
    check_each_once(&setup, all);
}

/// As many outcomes as records, no two of one record, and the ledger knows each.
fn check_each_once(setup: &GroupSetup<'_>, all: usize) {
    let outcomes = setup.outcomes();
    let mut distinct = outcomes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!((outcomes.len(), distinct.len()), (all, all));
    let partitions: Vec<i32> = (0..setup.partitions).collect();
    assert_eq!(setup.restore(&partitions, &never).unwrap().0.len(), all);
}

#[test]
fn nothing_is_read_before_it_is_taken_and_nothing_after_it_is_revoked() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    for partition in 0..2 {
        setup.put(&setup.inputs[0], partition, (0..1000).map(|number| number.to_string()));
    }
    let mut first = join(&setup);
    let [assigned] = settle(&setup, [&mut first]);
    for _ in 0..10 {
        assert!(!matches!(first.poll(Duration::from_millis(20)), Polled::Record(_)), "nothing was taken");
    }
    let position = |input, partition, next| InputPosition { input, partition, next };
    assert!(matches!(first.take(&assigned.generation, &[position(2, 0, 0)]), Err(TakeError::NoSuchInput(2))));
    first.take(&assigned.generation, &[position(0, 0, 5), position(0, 1, 900)]).unwrap();
    let start = |partition| if partition == 0 { 5 } else { 900 };
    let record = next_record(&mut first);
    assert_eq!(record.offset, start(record.partition), "read at its own explicit offset");
    assert_eq!(record.key, Some(record.offset.to_string().into_bytes()));
    // The rest is prefetched while the second joins; a revocation throws it away.
    let mut second = join(&setup);
    let mut is_over = false;
    let again = poll_until(&mut first, |polled| {
        let _joining = second.poll(Duration::from_millis(20));
        match polled {
            Polled::Revoked(revocation) => {
                assert_eq!(revocation, Revocation::InOrder);
                is_over = true;
                None
            }
            Polled::Assigned { generation, partitions } => Some((generation, partitions)),
            Polled::Record(record) => {
                assert!(!is_over, "{record:?} of an assignment that is over");
                None
            }
            _ => None,
        }
    });
    let (generation, partitions) = again;
    assert!(is_over && generation.epoch > assigned.generation.epoch);
    assert!(matches!(first.take(&assigned.generation, &[position(0, 0, 0)]), Err(TakeError::Superseded)));
    // What is read then is exactly what is asked for then, however much of it was fetched before.
    let partition = partitions[0];
    first.take(&generation, &[position(0, partition, 1)]).unwrap();
    for offset in 1..200 {
        let record = next_record(&mut first);
        assert_eq!((record.partition, record.offset), (partition, offset));
    }
}

/// librdkafka ends the process where a partition is given up twice before it has stopped once.
#[test]
fn partitions_are_taken_anew_as_often_as_one_likes() {
    let setup = GroupSetup::new(Kafka::shared(), 4);
    for partition in 0..4 {
        setup.put(&setup.inputs[0], partition, (0..100).map(|number| number.to_string()));
    }
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let from = |next| (0..4).map(|partition| InputPosition { input: 0, partition, next }).collect::<Vec<_>>();
    for next in 0..100 {
        group.take(&assigned.generation, &from(next)).unwrap();
        group.take(&assigned.generation, &from(next)[1..]).unwrap();
        // One that is not there is no different.
        group.take(&assigned.generation, &[InputPosition { input: 0, partition: 9, next: 0 }]).unwrap();
        group.take(&assigned.generation, &[]).unwrap();
    }
    group.take(&assigned.generation, &from(42)).unwrap();
    assert_eq!(next_record(&mut group).offset, 42);
    group.take(&assigned.generation, &from(7)).unwrap();
    // What was taken just now is revoked at once.
    group.leave(LIMIT);
}

#[test]
fn a_partition_that_not_every_input_has_is_not_taken() {
    let mut setup = GroupSetup::new(Kafka::shared(), 2);
    let wide = format!("{}.wide", setup.group_id);
    setup.kafka.create_topics(&[(&wide, 4, &[])]);
    setup.inputs.push(wide);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    assert_eq!(assigned.partitions, [0, 1]);
    // Which the counts tell before anybody joins.
    let topics = setup.inputs.iter().cloned().chain(["nowhere".to_owned()]).collect::<Vec<_>>();
    let counts = partition_counts(&setup.kafka.client(), &topics, Instant::now() + LIMIT).unwrap();
    let counts: Vec<_> = topics.iter().map(|topic| counts[topic].clone()).collect();
    assert_eq!(counts, [Ok(2), Ok(2), Ok(4), Err(TopicState::Missing)]);
}

#[test]
fn positions_reach_the_end_behind_markers_and_the_lag_tells_what_is_left() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    // Record, marker; and in the other input nothing but an aborted record and its marker.
    for (input, is_kept) in [(0, [true]), (1, [false])] {
        let producer = setup.open_transaction("team", LIMIT);
        put(&producer, &setup.inputs[input], 0, ["key".to_owned()]);
        match is_kept {
            [true] => producer.commit_transaction(LIMIT).unwrap(),
            [false] => producer.abort_transaction(LIMIT).unwrap(),
        }
    }
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let (_, restored) = setup.restore(&assigned.partitions, &never).unwrap();
    assert_eq!(restored[0].ends, [2, 2]);
    group.take(&assigned.generation, &positions(&restored)).unwrap();
    let mut records = 0;
    poll_until(&mut group, |_| Some(())); // nothing yet, or the record: counted below by its offset
    poll_until_reached(&mut group, &restored[0].ends, &mut records);
    // The lag comes from the statistics, some seconds later.
    setup.put(&setup.inputs[0], 0, (0..7).map(|number| number.to_string()));
    while records < 4 {
        if let Polled::Record(_) = group.poll(Duration::from_millis(20)) {
            records += 1;
        }
    }
    let begin = Instant::now();
    let lag = loop {
        match (group.end(0, 0), group.lag().unwrap()) {
            (Some(9), lag) => break lag,
            _ => assert!(begin.elapsed() < LIMIT, "the end is not told: {:?}", group.end(0, 0)),
        }
        if let Polled::Record(_) = group.poll(Duration::from_millis(20)) {
            records += 1;
        }
    };
    println!("lag {lag} told after {:?}", begin.elapsed());
    poll_until_reached(&mut group, &[9, 2], &mut records);
    assert_eq!(group.lag().unwrap(), 0);
}

fn poll_until_reached(group: &mut paybridge::kafka::group::GroupMember, ends: &[i64], records: &mut usize) {
    let begin = Instant::now();
    while !group.positions().unwrap().iter().all(|at| at.next == ends[at.input]) {
        assert!(begin.elapsed() < LIMIT, "{:?}", group.positions());
        if let Polled::Record(_) = group.poll(Duration::from_millis(20)) {
            *records += 1;
        }
    }
}

#[test]
fn who_leaves_in_order_is_not_waited_for() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    let (mut first, mut second) = (join(&setup), join(&setup));
    settle(&setup, [&mut first, &mut second]);
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| second.leave(Duration::from_secs(10)));
        let [all] = settle(&setup, [&mut first]);
        assert_eq!(all.partitions, [0, 1]);
    });
    println!("taken over in {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(8), "the session's end was waited for: {:?}", begin.elapsed());
}
