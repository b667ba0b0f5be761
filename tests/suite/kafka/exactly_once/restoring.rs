//! A restore sees every commit of whoever owned the partition before, and nothing of what is aborted.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use paybridge::kafka::restore::{RestoreError, RestoreStep, Restored, Wanted, restore};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::Producer as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::member::{join, settle};
use super::{GroupSetup, LIMIT, keys, never, put};
use crate::support::kafka::Kafka;

/// Commits that are followed by a restore at once.
const RACES: usize = 60;
/// Records of a large ledger.
const MANY: usize = 200_000;

fn list(topic: &str, partition: i32, offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    list
}

/// Stores an offset of the group as an owner would, without a transaction.
fn store(setup: &GroupSetup<'_>, input: usize, partition: i32, offset: i64) {
    let client: BaseConsumer = group_client(setup).create().unwrap();
    client.commit(&list(&setup.inputs[input], partition, offset), CommitMode::Sync).unwrap();
}

fn group_client(setup: &GroupSetup<'_>) -> ClientConfig {
    let mut client = setup.kafka.client();
    client.set("group.id", &setup.group_id).set("enable.auto.commit", "false");
    client
}

#[test]
fn an_empty_partition_is_restored_to_nothing() {
    let setup = GroupSetup::new(Kafka::shared(), 3);
    let restored = |partition| Restored { partition, was_read: false, next: vec![0, 0], ends: vec![0, 0] };
    assert_eq!(setup.restore(&[2, 0], &never).unwrap(), (keys(0, &[]), vec![restored(2), restored(0)]));
    assert_eq!(setup.restore(&[], &never).unwrap(), (keys(0, &[]), vec![]));
}

#[test]
fn goes_on_at_the_committed_offset_or_at_the_start_where_there_is_no_such_place() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    setup.put(&setup.inputs[0], 0, (0..10).map(|number| number.to_string()));
    setup.put(&setup.inputs[1], 0, (0..3).map(|number| number.to_string()));
    let admin: AdminClient<DefaultClientContext> = setup.kafka.client().create().unwrap();
    let removed = admin.delete_records(&list(&setup.inputs[0], 0, 4), &AdminOptions::new());
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(removed).unwrap();
    for (stored, expected) in [
        ([None, None], [4, 0]),
        ([Some(2), Some(3)], [4, 3]), // what was stored first is removed by now
        ([Some(7), Some(0)], [7, 0]),
        ([Some(10), Some(4)], [10, 0]), // the second never got that far: it was made anew
    ] {
        for (input, offset) in stored.into_iter().enumerate() {
            if let Some(offset) = offset {
                store(&setup, input, 0, offset);
            }
        }
        let (_, restored) = setup.restore(&[0], &never).unwrap();
        let was_read = stored != [None, None];
        let expected = Restored { partition: 0, was_read, next: expected.to_vec(), ends: vec![10, 3] };
        assert_eq!(restored, [expected], "{stored:?}");
    }
}

#[test]
fn waits_for_an_open_transaction_and_sees_what_was_committed_behind_it() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    put_committed(&setup, "before");
    let dangling = setup.open_transaction("dead", Duration::from_secs(5));
    put(&dangling, &setup.ledger, 0, ["aborted".to_owned()]);
    drop(dangling); // its owner is dead: nobody ends it but its timeout
    put_committed(&setup, "behind");
    let begin = Instant::now();
    let (ledger, _) = setup.restore(&[0], &never).unwrap();
    println!("waited {:?}", begin.elapsed());
    assert_eq!(ledger, keys(0, &["before", "behind"]));
}

fn put_committed(setup: &GroupSetup<'_>, key: &str) {
    let producer = setup.open_transaction("owner", LIMIT);
    put(&producer, &setup.ledger, 0, [key.to_owned()]);
    producer.commit_transaction(LIMIT).unwrap();
}

#[test]
fn waits_for_a_transaction_that_has_sent_its_offsets_and_sees_it_committed() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    setup.put(&setup.inputs[0], 0, (0..5).map(|number| number.to_string()));
    let owner = setup.open_transaction("owner", Duration::from_mins(1));
    put(&owner, &setup.ledger, 0, ["committed".to_owned()]);
    let client: BaseConsumer = group_client(&setup).create().unwrap();
    let metadata = client.group_metadata().unwrap();
    owner.send_offsets_to_transaction(&list(&setup.inputs[0], 0, 5), &metadata, LIMIT).unwrap();
    // The restore looks whether it is cancelled when it has to wait: that is when the owner commits.
    let waits = Cell::new(0);
    let commit = || {
        if waits.replace(waits.get() + 1) == 0 {
            owner.commit_transaction(LIMIT).unwrap();
        }
        false
    };
    let (ledger, restored) = setup.restore(&[0], &commit).unwrap();
    assert!(waits.get() > 0, "it did not wait");
    assert_eq!(ledger, keys(0, &["committed"]));
    assert_eq!(restored, [Restored { partition: 0, was_read: true, next: vec![5, 0], ends: vec![5, 0] }]);
}

#[test]
fn sees_every_commit_although_its_markers_are_still_being_written() {
    let setup = GroupSetup::new(Kafka::shared(), 4);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions("owner");
    let mut expected = BTreeSet::new();
    for number in 0..RACES {
        let key = number.to_string();
        let next = i64::try_from(number).unwrap();
        let records =
            assigned.partitions.iter().flat_map(|partition| setup.batch(*partition, &key, 0).records().to_vec());
        let offsets: Vec<_> = assigned.partitions.iter().map(|partition| setup.next(0, *partition, next)).collect();
        let batch = paybridge::kafka::transaction::Batch::new(records.collect(), &offsets).unwrap();
        transactions.commit(&batch, &assigned.generation, |_| true).unwrap();
        expected.extend(assigned.partitions.iter().map(|partition| (*partition, key.clone())));
        let (ledger, _) = setup.restore(&assigned.partitions, &never).unwrap();
        assert_eq!(ledger, expected, "after commit {number}");
    }
}

#[test]
fn gives_up_when_it_is_cancelled_and_says_what_it_waits_for_when_it_is_stuck() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    let dangling = setup.open_transaction("open", Duration::from_mins(1));
    put(&dangling, &setup.ledger, 0, ["open".to_owned()]);
    let begin = Instant::now();
    assert!(matches!(setup.restore(&[0], &|| true), Err(RestoreError::Cancelled)));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let stuck = setup.restore_within(Duration::from_secs(1), &[0], &never).unwrap_err();
    assert!(matches!(stuck, RestoreError::Stuck { step: RestoreStep::OpenTransactions, .. }), "{stuck:?}");
    let told = stuck.to_string();
    let expected = format!(
        "the restore waited 1 s for the end of transactions that are open in the ledger: {} 0 ends at 1 and is stable up to Some(0); \
         maybe a transaction hangs: look for it with `kafka-transactions.sh find-hanging --max-transaction-timeout 1`",
        setup.ledger
    );
    assert_eq!(told, expected);
    let client: BaseConsumer = group_client(&setup).create().unwrap();
    let metadata = client.group_metadata().unwrap();
    dangling.send_offsets_to_transaction(&list(&setup.inputs[0], 0, 0), &metadata, LIMIT).unwrap();
    let stuck = setup.restore_within(Duration::from_secs(1), &[0], &never).unwrap_err();
    assert!(matches!(stuck, RestoreError::Stuck { step: RestoreStep::CommittedOffsets, .. }), "{stuck:?}");
    dangling.abort_transaction(LIMIT).unwrap();
}

#[test]
fn without_kafka_it_fails_in_its_time_and_says_why() {
    let mut nowhere = ClientConfig::new();
    nowhere.set("bootstrap.servers", "127.0.0.1:1");
    let (inputs, patience) = (["one".to_owned()], Duration::from_secs(1));
    let wanted = Wanted { group_id: "group", inputs: &inputs, ledger: "ledger", partitions: &[0], patience };
    let begin = Instant::now();
    let stuck = restore(&nowhere, &wanted, &never, &mut |_, _, _| {}).unwrap_err();
    assert!(matches!(stuck, RestoreError::Stuck { step: RestoreStep::CommittedOffsets, .. }), "{stuck:?}");
    assert!(stuck.to_string().contains("127.0.0.1:1"), "{stuck}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn reads_a_large_ledger_in_seconds() {
    let setup = GroupSetup::new(Kafka::shared(), 4);
    for partition in 0..4 {
        setup.put(&setup.ledger, partition, (0..MANY / 4).map(|number| format!("sg-main/ps_{number}")));
    }
    let begin = Instant::now();
    let (ledger, _) = setup.restore(&[0, 1, 2, 3], &never).unwrap();
    println!("{MANY} records in {:?}", begin.elapsed());
    assert_eq!(ledger.len(), MANY);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
