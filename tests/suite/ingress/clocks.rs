//! The ingress by a clock that is wrong: what it answers, what its records say, and that it finds out by itself.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use paybridge::config::Config;
use paybridge::kafka::topics;
use paybridge::provider::SignedWebhook;

use crate::support::bridge::{Answered, create_needed_topics, event_type, ready_to_confirm, sender};
use crate::support::daemon::{Client, Daemon, Exchange, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::exposition::Exposition;
use crate::support::kafka::{Kafka, Record};
use crate::support::shifted_clock::ShiftedClock;

const RIGHT: SignedDuration = SignedDuration::ZERO;

/// A daemon by a clock that is wrong, and its topics as `paybridge topics` lists them.
struct Wrong {
    kafka: &'static Kafka,
    daemon: Daemon,
    client: Client,
}

impl Wrong {
    fn by(shift: SignedDuration) -> Self {
        Self::with_topics(shift, |_, _| {})
    }

    /// The same, after something is done to its topics.
    fn with_topics(shift: SignedDuration, change: impl Fn(&Kafka, &str)) -> Self {
        let kafka = Kafka::shared();
        let text = configuration(kafka.bootstrap(), Settings::default());
        let config = Config::from_toml(&text, []).unwrap();
        create_needed_topics(kafka, &config);
        for topic in topics::needed(&config) {
            change(kafka, &topic.name);
        }
        let daemon = Daemon::run_with_clock(&text, ShiftedClock::by(shift));
        daemon.await_ready();
        Self { kafka, client: daemon.client(), daemon }
    }

    fn post(&self, source: &str, webhook: &SignedWebhook) -> Answered {
        match self.client.post(source, webhook) {
            Exchange::Answered(answered) => answered,
            other => panic!("{other:?}\n{}", self.daemon.log()),
        }
    }

    /// Posts an event that is accepted, and gives its record.
    fn accepted(&self, number: u64) -> Record {
        let answered = self.post("sg-main", &ready_to_confirm(&self.daemon.config, number));
        assert_eq!((answered.status.as_u16(), answered.json("status").as_str()), (200, "accepted"), "{answered:?}");
        let topic = format!("{}.smart-glocal.ready-to-confirm.v1", self.daemon.config.kafka.topic_prefix.as_ref());
        let id = answered.json("event_id");
        let mut records = self.kafka.read_all(&topic);
        records.retain(|record| record.header("ce_id") == Some(&id));
        records.remove(0)
    }

    /// A webhook of a sender whose signature covers its time, which is so far from now.
    fn standard(&self, number: u64, off: SignedDuration) -> SignedWebhook {
        let event = event_type("standard-webhooks", "received");
        sender(&self.daemon.config, "other").sample(event, Timestamp::now() + off, number)
    }

    fn trusted(&self) -> BTreeMap<String, f64> {
        let Exchange::Answered(answered) = self.client.admin("/metrics") else { panic!("{}", self.daemon.log()) };
        let shown = Exposition::read(&answered.text);
        let values = shown.values("paybridge_clock_trusted").into_iter();
        values.map(|(labels, value)| (labels.join(","), value)).collect()
    }

    #[track_caller]
    fn await_trusted(&self, expected: f64) {
        eventually(LIMIT, || match self.trusted() {
            trusted if trusted == BTreeMap::from([("ingress".to_owned(), expected)]) => Ok(()),
            other => Err(format!("trusted: {other:?}\n{}", self.daemon.log())),
        });
    }

    fn log_lines(&self, part: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(part)).count()
    }
}

/// How far a record's time is from now.
fn age(record: &Record) -> SignedDuration {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    SignedDuration::from_millis(now - record.timestamp.to_millis().unwrap())
}

const ACCUSED: &str = "the clock of this host differs from the brokers' clocks";
const AGREES: &str = "the clock of this host agrees with the brokers' clocks again";

#[test]
fn an_ingress_by_a_wrong_clock_takes_webhooks_and_finds_out_that_it_is_wrong() {
    for hours in [-4, 25] {
        let wrong = Wrong::by(SignedDuration::from_hours(hours));
        wrong.await_trusted(1.0); // nobody told it the time yet
        let record = wrong.accepted(1);
        assert!(age(&record).abs() < SignedDuration::from_mins(1), "{hours} h: the record's time is not the broker's");
        wrong.await_trusted(0.0);
        wrong.accepted(2);
        assert_eq!((wrong.log_lines(ACCUSED), wrong.log_lines(AGREES)), (1, 0), "{}", wrong.daemon.log());
        let line = wrong.daemon.log().lines().find(|line| line.contains(ACCUSED)).unwrap().to_owned();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (offset, side) = line["offset"].as_str().unwrap().rsplit_once(' ').unwrap();
        let offset: SignedDuration = offset.parse().unwrap();
        let expected = SignedDuration::from_hours(hours);
        assert_eq!(side, if expected.is_negative() { "behind" } else { "ahead" }, "{line}");
        assert!((offset - expected.abs()).abs() < SignedDuration::from_mins(1), "{line}");

        // Set right while it runs, it is believed without another record.
        wrong.daemon.shift_clock(RIGHT);
        wrong.await_trusted(1.0);
        wrong.accepted(3);
        wrong.await_trusted(1.0);
        assert_eq!((wrong.log_lines(ACCUSED), wrong.log_lines(AGREES)), (1, 1), "{}", wrong.daemon.log());
    }
}

#[test]
fn a_clock_that_is_set_wrong_while_it_runs_is_found_with_the_next_record() {
    let wrong = Wrong::by(RIGHT);
    wrong.accepted(1);
    wrong.daemon.shift_clock(SignedDuration::from_hours(-4));
    wrong.accepted(2);
    wrong.await_trusted(0.0);
}

#[test]
fn a_topic_that_keeps_its_producers_time_proves_nothing() {
    let four_hours = SignedDuration::from_hours(4);
    let producers_time = [("message.timestamp.type", "CreateTime")];
    let wrong = Wrong::with_topics(-four_hours, |kafka, topic| kafka.alter_topic(topic, &producers_time));
    let record = wrong.accepted(1);
    assert!((age(&record) - four_hours).abs() < SignedDuration::from_mins(1), "{record:?}");
    wrong.await_trusted(1.0);
    assert_eq!(wrong.log_lines(ACCUSED), 0, "{}", wrong.daemon.log());
}

#[test]
fn a_right_signature_with_another_time_is_refused_only_by_a_clock_that_is_known_to_be_right() {
    let stale = SignedDuration::from_mins(-10);
    let right = Wrong::by(RIGHT);
    let outcome = |answered: &Answered| (answered.status.as_u16(), answered.json("status"));
    // The report of a record brings the proof.
    right.accepted(1);
    let answered = right.post("other", &right.standard(1, stale));
    assert_eq!(outcome(&answered), (401, "unauthentic".to_owned()));
    assert_eq!(outcome(&right.post("other", &right.standard(2, RIGHT))), (200, "accepted".to_owned()));

    let wrong = Wrong::by(SignedDuration::from_hours(-4));
    let now = wrong.standard(1, RIGHT);
    for webhook in [&now, &wrong.standard(2, stale)] {
        let answered = wrong.post("other", webhook);
        assert_eq!(outcome(&answered), (503, "unavailable".to_owned()));
        assert!(answered.headers.contains_key("retry-after"), "{answered:?}");
    }
    // Nothing but these came, and yet the clock is found to be wrong: a sample of them is kept.
    wrong.await_trusted(0.0);
    let unsigned = SignedWebhook { headers: Vec::new(), ..now.clone() };
    assert_eq!(outcome(&wrong.post("other", &unsigned)), (401, "unauthentic".to_owned()));
    wrong.daemon.shift_clock(RIGHT);
    eventually(LIMIT, || match outcome(&wrong.post("other", &now)) {
        (200, status) if status == "accepted" => Ok(()),
        other => Err(format!("{other:?}\n{}", wrong.daemon.log())),
    });
    let answered = wrong.post("other", &wrong.standard(3, stale));
    assert_eq!(outcome(&answered), (401, "unauthentic".to_owned()), "{answered:?}");
}
