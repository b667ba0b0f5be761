//! Tests of the tests' own Kafka: that it is real, keeps what it acknowledged, and refuses who has no permission.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _};

use super::cache;
use super::eventually::{LIMIT, eventually};
use super::kafka::{Kafka, Record, User, unique_prefix};

#[test]
fn reads_what_was_produced() {
    let kafka = Kafka::shared();
    let topic = format!("{}.events.v1", unique_prefix());
    kafka.create_topics(&[(&topic, 3, &[("retention.ms", "3600000")])]);
    assert_eq!(kafka.read_all(&topic), []);
    produce(&kafka.client(), &topic, "first").unwrap();
    produce(&kafka.client(), &topic, "second").unwrap();
    let records = kafka.read_all(&topic);
    let [first, _] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(first.header("kind"), Some("test"));
    assert_eq!(values(&records), ["first", "second"]);
    assert_eq!((records[0].partition, records[0].offset), (records[1].partition, 0), "one key, one partition");
}

#[test]
fn shows_no_record_of_an_aborted_transaction() {
    let kafka = Kafka::shared();
    let topic = format!("{}.events.v1", unique_prefix());
    kafka.create_topics(&[(&topic, 1, &[])]);
    let producer: FutureProducer = kafka.client().set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    for (value, commit) in [("aborted", false), ("committed", true)] {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, value).unwrap();
        let end = if commit { producer.commit_transaction(LIMIT) } else { producer.abort_transaction(LIMIT) };
        end.unwrap();
    }
    assert_eq!(values(&kafka.read_all(&topic)), ["committed"]);
}

#[test]
fn makes_no_topic_by_itself() {
    let kafka = Kafka::shared();
    let topic = format!("{}.missing.v1", unique_prefix());
    let mut client = kafka.client();
    client.set("topic.metadata.propagation.max.ms", "1000"); // how long a new topic may stay unknown
    let error = produce(&client, &topic, "lost").unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownTopicOrPartition));
}

#[test]
fn lets_the_admin_write_and_the_reader_only_read() {
    let kafka = Kafka::shared();
    let topic = format!("{}.events.v1", unique_prefix());
    kafka.create_topics(&[(&topic, 1, &[])]);
    produce(&kafka.client_as(User::Admin), &topic, "allowed").unwrap();

    let mut reader = kafka.client_as(User::Reader);
    let error = produce(&reader, &topic, "refused").unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    let consumer: BaseConsumer = reader.set("group.id", &topic).set("auto.offset.reset", "earliest").create().unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let value = eventually(LIMIT, || match consumer.poll(Duration::from_millis(100)) {
        Some(Ok(message)) => Ok(message.payload().map(<[u8]>::to_vec)),
        other => Err(format!("the reader reads {other:?}")),
    });
    assert_eq!(value.as_deref(), Some(&b"allowed"[..]));
}

#[test]
fn refuses_a_wrong_password() {
    let kafka = Kafka::shared();
    let mut client = kafka.client_as(User::Admin);
    let client: BaseConsumer = client.set("sasl.password", "wrong").create().unwrap();
    assert!(client.fetch_metadata(None, Duration::from_secs(3)).is_err());
}

#[test]
fn keeps_an_acknowledged_record_when_killed_frozen_and_stopped() {
    let kafka = Kafka::start(&[("num.network.threads", "2")]);
    let topic = format!("{}.events.v1", unique_prefix());
    kafka.create_topics(&[(&topic, 1, &[])]);
    produce(&kafka.client(), &topic, "before the kill").unwrap();
    kafka.kill_9();
    let mut impatient = kafka.client();
    impatient.set("message.timeout.ms", "1000");
    produce(&impatient, &topic, "nobody there").unwrap_err();
    kafka.restart();
    assert_eq!(values(&kafka.read_all(&topic)), ["before the kill"]);

    let producer: FutureProducer = impatient.create().unwrap();
    send(&producer, &topic, "before the frost").unwrap();
    kafka.freeze();
    send(&producer, &topic, "in the frost").unwrap_err();
    kafka.thaw();
    produce(&kafka.client(), &topic, "after the frost").unwrap();

    kafka.stop();
    kafka.restart();
    let mut values = values(&kafka.read_all(&topic));
    values.retain(|value| value != "in the frost"); // not acknowledged: it may be there or not
    assert_eq!(values, ["before the kill", "before the frost", "after the frost"]);
}

#[test]
#[should_panic(expected = "no.such.Authorizer")]
fn shows_the_log_of_a_node_that_does_not_start() {
    Kafka::start(&[("authorizer.class.name", "no.such.Authorizer")]);
}

#[test]
fn leaves_no_process_behind_when_the_tests_are_gone() {
    let folder = tempfile::tempdir().unwrap().keep();
    let pid_file = folder.with_extension("pid");
    let mut supervisor = Command::new("sh")
        .arg(Path::new(cache::CHECKOUT).join("tests/kafka/supervise.sh"))
        .arg(&folder)
        .args(["sh", "-c", "echo $$ >\"$1\"; exec sleep 600", "sh"])
        .arg(&pid_file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // what a killed process leaves of its pipe: the orders already given, then the end
    supervisor.stdin.take().unwrap().write_all(b"START\n").unwrap();
    assert!(supervisor.wait().unwrap().success());
    assert!(!folder.exists(), "{} is still there", folder.display());
    if let Ok(pid) = fs::read_to_string(&pid_file) {
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "process {pid} is still there");
        fs::remove_file(&pid_file).unwrap();
    }
}

fn produce(client: &ClientConfig, topic: &str, value: &str) -> Result<(), KafkaError> {
    send(&client.create().unwrap(), topic, value)
}

fn send(producer: &FutureProducer, topic: &str, value: &str) -> Result<(), KafkaError> {
    let headers = OwnedHeaders::new().insert(Header { key: "kind", value: Some("test") });
    let record = FutureRecord::to(topic).key("one key").payload(value).headers(headers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(producer.send(record, LIMIT)).map(drop).map_err(|(error, _)| error)
}

fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.value.clone().unwrap_or_default()).unwrap()).collect()
}
