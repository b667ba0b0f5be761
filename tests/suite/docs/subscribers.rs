//! The example subscribers in other languages read what we write: a real Kafka, lz4, protobuf.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use paybridge::message::event::v1::{EventMetadata, Evidence, Money, Scheme};
use paybridge::message::smart_glocal::v1::{
    Customer, Operation, OperationKind, ReadyToConfirm, Session, SessionStatus,
};
use prost::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::cache::{CHECKOUT, kept, python_environment, run};
use crate::support::eventually::{LIMIT, try_eventually};
use crate::support::kafka::{Kafka, unique_prefix};

#[test]
fn python_reads_our_records() {
    check(python("subscriber.py"));
}

#[test]
fn java_reads_our_records() {
    check(java());
}

fn check(mut subscriber: Command) {
    let kafka = Kafka::shared();
    let topic = format!("{}.smart-glocal.ready-to-confirm.v1", unique_prefix());
    // the broker sees to it that lz4 is what subscribers get
    kafka.create_topics(&[(&topic, 1, &[("compression.type", "lz4")])]);
    produce(kafka, &topic);

    let folder = tempfile::tempdir().unwrap();
    let (output, errors) = (folder.path().join("output"), folder.path().join("errors"));
    let mut process = subscriber
        .args([kafka.bootstrap(), &topic, &format!("{topic}.group"), "--count", "2"])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&output).unwrap())
        .stderr(fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let ended = try_eventually(LIMIT, || process.try_wait().unwrap().ok_or_else(|| "it does not end".to_owned()));
    let _ = process.kill(); // it is gone, or has had its time
    process.wait().unwrap();
    let status = ended.unwrap_or_else(|complaint| panic!("{complaint}: {}{}", read(&output), read(&errors)));
    assert!(status.success(), "{status}: {}", read(&errors));
    let expected = "\
00000000000000000000000000000001 ps_1 SESSION_STATUS_IN_PROGRESS; \
OPERATION_KIND_PAYOUT po_1 1050.05 EUR customer-7; OPERATION_KIND_PAYMENT pm_2 9223372036854775807 JPY -
00000000000000000000000000000002 ps_2 \"half_done\"; OPERATION_KIND_PAYOUT po_3 -0.005 KWD -; \
OPERATION_KIND_PAYOUT po_4 7 minor units - -; OPERATION_KIND_PAYOUT po_5 - -
";
    assert_eq!(read(&output), expected);
}

fn produce(kafka: &Kafka, topic: &str) {
    let producer: FutureProducer = kafka.client().set("compression.type", "lz4").set("acks", "all").create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for event in events() {
        let (key, value) = (event.session.as_ref().unwrap().id.clone(), event.encode_to_vec());
        runtime.block_on(producer.send(FutureRecord::to(topic).key(&key).payload(&value), LIMIT)).unwrap();
    }
}

fn events() -> [ReadyToConfirm; 2] {
    let known = Session {
        id: "ps_1".to_owned(),
        status: SessionStatus::InProgress.into(),
        status_text: Some("in_progress".to_owned()),
        operations: vec![
            Operation {
                customer: Some(Customer { reference: Some("customer-7".to_owned()), ..Customer::default() }),
                ..operation(OperationKind::Payout, "po_1", Some(money(105_005, Some(2), Some("EUR"))))
            },
            operation(OperationKind::Payment, "pm_2", Some(money(i64::MAX, Some(0), Some("JPY")))),
        ],
        ..Session::default()
    };
    // what a subscriber meets rarely: a status of tomorrow, and amounts that are not told in full
    let strange = Session {
        id: "ps_2".to_owned(),
        status_text: Some("half_done".to_owned()),
        operations: vec![
            operation(OperationKind::Payout, "po_3", Some(money(-5, Some(3), Some("KWD")))),
            operation(OperationKind::Payout, "po_4", Some(money(7, None, None))),
            operation(OperationKind::Payout, "po_5", None),
        ],
        ..Session::default()
    };
    [event("00000000000000000000000000000001", known), event("00000000000000000000000000000002", strange)]
}

fn event(id: &str, session: Session) -> ReadyToConfirm {
    let evidence = Evidence {
        raw_body: Some(Bytes::from_static(&[b' '; 4096])), // something to compress
        scheme: Scheme::RsaPkcs1Sha256.into(),
        ..Evidence::default()
    };
    let metadata = EventMetadata { event_id: id.to_owned(), evidence: Some(evidence), ..EventMetadata::default() };
    ReadyToConfirm { metadata: Some(metadata), session: Some(session) }
}

fn operation(kind: OperationKind, id: &str, amount: Option<Money>) -> Operation {
    Operation { id: id.to_owned(), kind: kind.into(), amount, ..Operation::default() }
}

fn money(minor_units: i64, exponent: Option<u32>, currency: Option<&str>) -> Money {
    Money { currency: currency.map(str::to_owned), minor_units, exponent }
}

/// A Python program of the examples, before its arguments.
pub fn python(script: &str) -> Command {
    let folder = Path::new(CHECKOUT).join("tests/subscribers/python");
    let environment = python_environment("subscriber", &folder.join("requirements.txt")).unwrap();
    let mut command = Command::new(environment.join("bin/python"));
    // What it imports from beside it is compiled to nowhere.
    command.arg("-B").arg(folder.join(script));
    command
}

fn java() -> Command {
    let folder = Path::new(CHECKOUT).join("tests/subscribers/java");
    let mut inputs = files_below(&folder.join("src"));
    inputs.extend(files_below(&Path::new(CHECKOUT).join("proto")));
    let pom = folder.join("pom.xml");
    inputs.push(pom.clone());
    let built = kept("subscriber-java", &inputs, |built| {
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "-f"]).arg(&pom).arg(format!("-DbuildDirectory={}", built.display()));
        maven.args(["compile", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        run(maven.arg(format!("-DoutputDirectory={}", built.join("libraries").display()))).map(drop)
    })
    .unwrap();
    let class_path = format!("{}:{}/*", built.join("classes").display(), built.join("libraries").display());
    let mut command = Command::new("java");
    command.args(["-cp", &class_path, "subscriber.ReadyToConfirmSubscriber"]);
    command
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
