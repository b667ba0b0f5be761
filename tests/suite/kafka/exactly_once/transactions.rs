//! One transaction: all or nothing, fast, and every failure with one answer.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use paybridge::kafka::transaction::{
    Batch, CommitError, CommitFailure, Destination, Outgoing, RecordRefusal, StartError, TransactionSettings,
    Transactions,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::member::{join, settle};
use super::{GroupSetup, LIMIT, RECORD_BYTES_MAX, keys, never, put};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;

/// Transactions that are measured.
const MEASURED: usize = 200;

#[test]
fn records_and_offsets_become_visible_together() {
    let setup = GroupSetup::new(Kafka::shared(), 2);
    setup.put(&setup.inputs[0], 1, ["a".to_owned(), "b".to_owned()]);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions("process");
    let is_current = |epoch| epoch == group.epoch();
    // Looked at between the deliveries and the commit.
    let before = Cell::new(None);
    let look = |epoch| {
        before.set(Some(setup.outcomes()));
        is_current(epoch)
    };
    transactions.commit(&setup.batch(1, "a", 1), &assigned.generation, look).unwrap();
    assert_eq!(before.take(), Some(vec![]));
    assert_eq!(setup.outcomes(), ["a"]);
    let (ledger, restored) = setup.restore(&[1], &never).unwrap();
    assert_eq!(
        (ledger, restored[0].next.as_slice(), restored[0].ends.as_slice()),
        (keys(1, &["a"]), &[1, 0][..], &[2, 0][..])
    );
    // A tombstone, with headers and in its place; and offsets alone.
    let tombstone = Outgoing {
        topic: setup.ledger.as_str().into(),
        destination: Destination::Owned(1),
        key: b"a".to_vec(),
        value: None,
        headers: vec![("kept".into(), Some(b"yes".to_vec())), ("empty".into(), None)],
    };
    let offsets = [setup.next(0, 1, 2), setup.next(1, 1, 0)];
    transactions.commit(&Batch::new(vec![tombstone], &offsets).unwrap(), &assigned.generation, is_current).unwrap();
    transactions.commit(&Batch::new(Vec::new(), &offsets).unwrap(), &assigned.generation, is_current).unwrap();
    let (ledger, restored) = setup.restore(&[1], &never).unwrap();
    assert_eq!((ledger, restored[0].next.as_slice()), (keys(1, &[]), &[2, 0][..]));
    let last = setup.kafka.read_all(&setup.ledger).pop().unwrap();
    assert_eq!((last.partition, last.value, last.headers.len()), (1, None, 2));
}

#[test]
fn keys_go_where_every_java_client_puts_them() {
    let setup = GroupSetup::new(Kafka::shared(), 12);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions("process");
    let expected = java_partitions(&["ps_1", "ps_2", "ps_3230", "x"]);
    for key in expected.keys() {
        transactions.commit(&setup.batch(0, key, 0), &assigned.generation, |_| true).unwrap();
    }
    let records = setup.kafka.read_all(&setup.outcomes);
    let found: BTreeMap<String, i32> =
        records.into_iter().map(|record| (String::from_utf8(record.key.unwrap()).unwrap(), record.partition)).collect();
    assert_eq!(found, expected);
    assert!(setup.kafka.read_all(&setup.ledger).iter().all(|record| record.partition == 0));
}

/// murmur2 as Java has it, for 12 partitions.
fn java_partitions(keys: &[&str]) -> BTreeMap<String, i32> {
    let partition = |key: &str| {
        let hash = murmur2(key.as_bytes());
        i32::try_from((hash & 0x7fff_ffff) % 12).unwrap()
    };
    keys.iter().map(|key| ((*key).to_owned(), partition(key))).collect()
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap();
    let chunks = data.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (place, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[test]
fn a_record_that_is_too_large_is_named_and_the_rest_can_be_committed() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    let small = format!("{}.small", setup.outcomes);
    setup.kafka.create_topics(&[(&small, 1, &[("max.message.bytes", "2000")])]);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions("process");
    let record = |size: usize| noise(&setup.outcomes, 1, size);
    let small = |seed: u32, size: usize| noise(&small, seed, size);
    for (records, expected) in [
        // Larger than the producer takes.
        (vec![record(10), record(RECORD_BYTES_MAX + 1)], vec![1]),
        // Larger than its topic takes.
        (vec![record(10), small(1, 5000), record(10)], vec![1]),
        // With so much before it that some of that is not sent yet when it is refused.
        ((0..200).map(|_| record(30_000)).chain([small(1, 5000)]).collect(), vec![200]),
    ] {
        let batch = Batch::new(records, &[setup.next(0, 0, 0)]).unwrap();
        match transactions.commit(&batch, &assigned.generation, |_| true) {
            Err(CommitError::Refused { records }) => {
                let expected: Vec<_> = expected.into_iter().map(|number| (number, RecordRefusal::TooLarge)).collect();
                assert_eq!(records, expected);
            }
            other => panic!("{expected:?}: {other:?}"),
        }
        let rest: Vec<Outgoing> =
            batch.records().iter().filter(|record| record.value.as_ref().unwrap().len() < 2000).cloned().collect();
        let rest = Batch::new(rest, &[setup.next(0, 0, 0)]).unwrap();
        transactions.commit(&rest, &assigned.generation, |_| true).unwrap();
    }
    assert_eq!(setup.outcomes().len(), 3);
    // Too large together, as a batch of the producer's; each by itself goes.
    let company: Vec<Outgoing> = (1..=6).map(|seed| small(seed, 1500)).collect();
    let batch = Batch::new(company.clone(), &[setup.next(0, 0, 0)]).unwrap();
    match transactions.commit(&batch, &assigned.generation, |_| true) {
        Err(CommitError::Refused { records }) => println!("refused together: {records:?}"),
        // The producer may send them one by one.
        other => println!("together: {other:?}"),
    }
    for record in company {
        let batch = Batch::new(vec![record], &[setup.next(0, 0, 0)]).unwrap();
        transactions.commit(&batch, &assigned.generation, |_| true).unwrap();
    }
}

/// A record that no compression makes smaller.
fn noise(topic: &str, seed: u32, size: usize) -> Outgoing {
    let mut number = seed;
    let mut next = || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number.to_be_bytes()[0]
    };
    let value = (0..size).map(|_| next()).collect();
    Outgoing {
        topic: topic.into(),
        destination: Destination::ByKey,
        key: b"key".to_vec(),
        value: Some(value),
        headers: Vec::new(),
    }
}

#[test]
fn a_restart_with_the_same_id_ends_at_once_what_was_left_open() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    let dangling = setup.open_transaction("process", Duration::from_mins(1));
    put(&dangling, &setup.ledger, 0, ["lost".to_owned()]);
    drop(dangling);
    let begin = Instant::now();
    let _transactions = setup.transactions("process");
    let (ledger, _) = setup.restore(&[0], &never).unwrap();
    println!("ended in {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(10), "its timeout was waited for");
    assert_eq!(ledger, keys(0, &[]));
}

#[test]
fn a_transaction_that_timed_out_is_of_unknown_fate_and_another_producer_goes_on() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions_with("process", |settings| settings.timeout = Duration::from_secs(2));
    // Between the deliveries and the offsets, until Kafka has aborted it.
    let looks = Cell::new(0);
    let dawdle = |_| {
        if looks.replace(looks.get() + 1) == 1 {
            eventually(LIMIT, || is_stable(setup.kafka, &setup.ledger));
        }
        true
    };
    let done = transactions.commit(&setup.batch(0, "late", 1), &assigned.generation, dawdle);
    assert!(
        matches!(done, Err(CommitError::Unknown(CommitFailure::Offsets(_) | CommitFailure::Abort { .. }))),
        "{done:?}"
    );
    let begin = Instant::now();
    drop(transactions);
    println!("dropped in {:?}", begin.elapsed());
    let mut transactions = setup.transactions("process");
    assert_eq!(setup.restore(&[0], &never).unwrap().0, keys(0, &[]));
    transactions.commit(&setup.batch(0, "timely", 1), &assigned.generation, |_| true).unwrap();
    assert_eq!(setup.outcomes(), ["timely"]);
}

/// Whether a partition with something in it has no open transaction.
fn is_stable(kafka: &Kafka, topic: &str) -> Result<(), String> {
    let end = |isolation: &str| {
        let client: BaseConsumer = kafka.client().set("isolation.level", isolation).create().unwrap();
        client.fetch_watermarks(topic, 0, LIMIT).unwrap().1
    };
    match (end("read_committed"), end("read_uncommitted")) {
        (stable, end) if stable == end && end > 0 => Ok(()),
        (stable, end) => Err(format!("stable up to {stable} of {end}")),
    }
}

#[test]
fn without_kafka_a_start_fails_in_its_time_and_says_why() {
    let mut nowhere = ClientConfig::new();
    nowhere.set("bootstrap.servers", "127.0.0.1:1");
    let settings = TransactionSettings::new("process".to_owned(), RECORD_BYTES_MAX);
    let begin = Instant::now();
    match Transactions::start(&nowhere, &settings, Duration::from_secs(1)) {
        Err(error @ StartError::Initialize { .. }) => assert!(error.to_string().contains("127.0.0.1:1"), "{error}"),
        other => panic!("{:?}", other.map(drop)),
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn tells_how_long_a_transaction_takes() {
    let setup = GroupSetup::new(Kafka::shared(), 1);
    let mut group = join(&setup);
    let [assigned] = settle(&setup, [&mut group]);
    let mut transactions = setup.transactions("process");
    let mut took: Vec<Duration> = (0..MEASURED)
        .map(|number| {
            let batch = setup.batch(0, &number.to_string(), i64::try_from(number).unwrap());
            let begin = Instant::now();
            transactions.commit(&batch, &assigned.generation, |epoch| epoch == group.epoch()).unwrap();
            begin.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("p50 {:?}, p99 {:?}", took[MEASURED / 2], took[MEASURED * 99 / 100]);
    let begin = Instant::now();
    let records = (0..500).flat_map(|number| setup.batch(0, &number.to_string(), 0).records().to_vec()).collect();
    transactions.commit(&Batch::new(records, &[setup.next(0, 0, 0)]).unwrap(), &assigned.generation, |_| true).unwrap();
    println!("1000 records in {:?}", begin.elapsed());
}
