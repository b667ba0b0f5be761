//! The records of one key are found on its one partition: committed ones only, since a time, and not without bound.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use paybridge::kafka::decoded::ReadRecord;
use paybridge::kafka::key_search::{KeyRecords, KeySearch, SearchExtent};
use paybridge::kafka::reader::ReadError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::support::eventually::LIMIT;
use crate::support::kafka::{Kafka, unique_prefix};

/// One more than are kept.
const TOO_MANY: usize = 1001;

fn search(topic: &str, key: &str, since: Option<Timestamp>) -> Result<KeyRecords, ReadError> {
    let is_wanted = |found: &[u8]| found == key.as_bytes();
    let search = KeySearch { topic, partition_key: key.as_bytes(), is_wanted: &is_wanted, since };
    search.run(&Kafka::shared().client(), Instant::now() + LIMIT)
}

fn values(found: &KeyRecords) -> Vec<String> {
    let text = |record: &ReadRecord| String::from_utf8(record.value.clone().unwrap()).unwrap();
    found.records.iter().map(text).collect()
}

#[test]
fn finds_what_is_committed_of_one_key_since_a_time() {
    let (kafka, topic) = (Kafka::shared(), unique_prefix());
    kafka.create_topics(&[(&topic, 5, &[])]);
    let producer: ThreadedProducer<DefaultProducerContext> =
        kafka.client().set("transactional.id", &topic).set("partitioner", "murmur2_random").create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    let send = |key: &str, value: &str| {
        producer.send(BaseRecord::to(&topic).key(key).payload(value)).map_err(|(error, _)| error).unwrap();
    };
    producer.begin_transaction().unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        send(key, value);
    }
    producer.commit_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    send("a", "aborted");
    producer.flush(LIMIT).unwrap();
    producer.abort_transaction(LIMIT).unwrap();

    let found = search(&topic, "a", None).unwrap();
    assert_eq!((values(&found), found.left_out), (vec!["1".to_owned(), "3".to_owned()], 0));
    assert_eq!(found.extent, SearchExtent::ToTheEnd);
    assert!(found.records.iter().all(|record| record.partition == found.partition));
    let hour = SignedDuration::from_hours(1);
    assert_eq!(search(&topic, "a", Some(Timestamp::now() - hour)).unwrap(), found);
    assert_eq!(values(&search(&topic, "a", Some(Timestamp::now() + hour)).unwrap()), Vec::<String>::new());
    assert_eq!(values(&search(&topic, "c", None).unwrap()), Vec::<String>::new());
    assert!(matches!(search("no-such-topic", "a", None), Err(ReadError::Missing(_))));

    producer.begin_transaction().unwrap();
    for number in 0..TOO_MANY {
        send("many", &number.to_string());
    }
    producer.commit_transaction(LIMIT).unwrap();
    let found = search(&topic, "many", None).unwrap();
    assert_eq!((found.records.len(), found.left_out), (TOO_MANY - 1, 1));
    let newest = (TOO_MANY - 1).to_string();
    assert_eq!((values(&found)[0].as_str(), values(&found).last()), ("1", Some(&newest)), "the oldest is left out");
}
