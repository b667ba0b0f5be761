//! How long a restarted engine needs for its open sessions, and how much memory they take.
//! Must not know how the program does it.

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::Sizes;
use super::figures::{Bar, Figure};
use super::setup::{ASSIGNED, Ingress, LIMIT, PaceSetup, WORKS, await_logged, await_metric};
use crate::support::daemon::Daemon;
use crate::support::kafka::Kafka;
use crate::support::system::memory_mib;

/// What shows that all sessions are there.
const OPEN: &str = "paybridge_confirmation_open_sessions";

/// An engine opens the sessions; two others, one after the other, restore them.
pub fn measure(kafka: &Kafka, sizes: Sizes) -> Vec<Figure> {
    let setup = PaceSetup::new(kafka, Ingress::Off, "");
    let provider = setup.provider();
    let engine = setup.engine(&provider);
    await_logged(&engine, WORKS);
    let empty = memory_mib(engine.pid(), "VmRSS");
    setup.write_sessions(sizes.open);
    await_metric(&engine, OPEN, sizes.open);
    let opened = memory_mib(engine.pid(), "VmHWM");
    end(engine);

    let engine = setup.engine(&provider);
    let restored = seconds_of_restore(&engine, sizes.open);
    let (after, most) = (memory_mib(engine.pid(), "VmRSS"), memory_mib(engine.pid(), "VmHWM"));
    end(engine);

    let dead = leave_a_transaction_open(&setup, sizes.dangling_ms);
    let engine = setup.engine(&provider);
    let behind = seconds_of_restore(&engine, sizes.open);
    end(engine);
    drop(dead);
    vec![
        Figure::new("from assignment to work", restored, "s", Bar::AtMost(10.0)),
        Figure::new("from assignment to work, behind a dangling transaction", behind, "s", Bar::AtMost(30.0)),
        Figure::new("most memory of the process that restored", most, "MiB", Bar::AtMost(200.0)),
        Figure::new("its memory afterwards", after, "MiB", Bar::None),
        Figure::new("most memory of the process that opened the sessions", opened, "MiB", Bar::AtMost(200.0)),
        Figure::new("memory of a process without sessions", empty, "MiB", Bar::None),
    ]
}

fn seconds_of_restore(engine: &Daemon, sessions: u32) -> f64 {
    let works = await_logged(engine, WORKS);
    let assigned = await_logged(engine, ASSIGNED);
    await_metric(engine, OPEN, sessions);
    works.duration_since(assigned).as_secs_f64()
}

fn end(engine: Daemon) {
    let mut engine = engine;
    engine.signal("TERM");
    assert_eq!(engine.await_end(), Some(0));
}

/// As a member leaves it that dies within its transaction, and does not come back.
fn leave_a_transaction_open(setup: &PaceSetup<'_>, timeout_ms: u32) -> ThreadedProducer<DefaultProducerContext> {
    let topic = setup.topic("confirmation.ledger.v1");
    let mut client = setup.kafka.client();
    client.set("transactional.id", &topic).set("transaction.timeout.ms", timeout_ms.to_string());
    // No longer than the transaction's, or librdkafka makes no client.
    client.set("message.timeout.ms", timeout_ms.to_string()).set("socket.timeout.ms", timeout_ms.to_string());
    let producer: ThreadedProducer<DefaultProducerContext> = client.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::to(&topic).partition(0).key("never").payload("committed");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();
    producer
}
