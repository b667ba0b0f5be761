//! Three nodes that each have every record: one is killed, one is frozen, all are frozen, all are killed at once. Nothing that was
//! answered 200 is lost, whoever asks is answered in time, memory stays flat, and the daemon is back as soon as anybody could be.
//!
//! In the long form all are frozen for a minute:
//! ```text
//! PAYBRIDGE_OUTAGE=full cargo test --test suite ingress::outage::nodes -- --nocapture
//! ```
//! It prints what was measured, a line for each outage. `PAYBRIDGE_TEST_SEED` repeats the webhooks and the choice of nodes.

use std::env;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::provider::SignedWebhook;

use super::probe::{SinceFirst, send_until_acknowledged};
use crate::ingress::kills::{Load, Over};
use crate::support::bridge::{create_needed_topics, ready_to_confirm, sender};
use crate::support::daemon::{Client, Daemon, Exchange, Settings, configuration};
use crate::support::eventually::{LIMIT, eventually, pause};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::stream::{Random, Stream, check_answer, printed_seed};
use crate::support::system::memory_mib;

/// Asks for the long form.
const FORM_VARIABLE: &str = "PAYBRIDGE_OUTAGE";
/// Longer than nodes wait for one that is silent (4 s), and than the daemon waits for an acknowledgement.
const AWAY: Duration = Duration::from_secs(9);
/// Long enough to read all large webhooks within it, also on a busy machine.
const ACK_TIMEOUT: Duration = Duration::from_secs(6);
/// The contract: the first 200 comes within that time of the first acknowledgement that anybody gets.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// The contract: memory grows by less than `in_flight_bytes_max` and this.
const MEMORY_SLACK_MIB: f64 = 32.0;
/// Webhooks that are answered 200 before the first outage and after each.
const BETWEEN: usize = 100;
/// Large webhooks that come at once while nobody acknowledges: more than fit in flight.
const FLOOD: u64 = 150;

/// What happens to the nodes.
#[derive(Clone, Copy, Debug)]
enum Outage {
    OneKilled,
    OneFrozen,
    AllFrozen,
    AllKilled,
}

/// A daemon on three nodes, and a topic of the probe's own.
struct Setting<'a> {
    kafka: &'a Kafka,
    daemon: &'a Daemon,
    flood: Vec<SignedWebhook>,
    probe_topic: String,
    all_frozen_for: Duration,
    /// Its memory before the first outage.
    memory_mib: f64,
}

#[test]
fn webhooks_survive_nodes_that_are_killed_and_frozen_one_of_them_and_all_at_once() {
    let seed = printed_seed();
    let kafka = Kafka::shared_cluster();
    let settings = Settings { ack_timeout: ACK_TIMEOUT, ..Settings::on_three_nodes() };
    let daemon = Daemon::run(&configuration(kafka.bootstrap(), settings));
    create_needed_topics(&kafka, &daemon.config);
    daemon.await_ready();
    let probe_topic = format!("{}.probe", unique_prefix());
    kafka.create_topics(&[(&probe_topic, 1, &[("min.insync.replicas", "2")])]);
    let mut setting = Setting {
        kafka: &kafka,
        daemon: &daemon,
        flood: flood(&daemon.config),
        probe_topic,
        all_frozen_for: all_frozen_for(),
        memory_mib: 0.0,
    };
    let mut random = Random::of(seed ^ 1);
    let account = Load::of(&daemon, seed).run(|stream| {
        stream.await_more_taken(BETWEEN);
        setting.memory_mib = memory_mib(daemon.pid(), "VmRSS");
        for outage in [Outage::OneKilled, Outage::OneFrozen, Outage::AllFrozen, Outage::AllKilled] {
            setting.survive(outage, stream, random.below(3));
        }
    });
    let tally = account.acknowledged.tally(&kafka);
    println!("seed {seed}: {} sent, {tally}, the slowest answered after {:?}", account.sent, account.slowest);
    tally.assert_nothing_is_lost();
    assert_eq!(account.broken, 0, "webhooks without an answer");
}

/// How long all nodes are frozen.
fn all_frozen_for() -> Duration {
    match env::var(FORM_VARIABLE).as_deref() {
        Ok("full") => Duration::from_mins(1),
        Ok(other) => panic!("{FORM_VARIABLE} is {other}: set it to full, or not at all"),
        Err(_) => AWAY,
    }
}

/// Webhooks as large as they may be.
fn flood(config: &Config) -> Vec<SignedWebhook> {
    let sender = sender(config, "sg-main");
    let large = |number| {
        let mut body = ready_to_confirm(config, number).body.to_vec();
        body.resize(config.ingress.body_bytes_max, b' ');
        sender.sign("", body.into(), Timestamp::now(), 0)
    };
    (1_000_000..1_000_000 + FLOOD).map(large).collect()
}

impl Setting<'_> {
    /// The outage, its end, and what the daemon makes of both.
    fn survive(&self, outage: Outage, stream: &Stream, number: usize) {
        let node = &self.kafka.nodes()[number];
        let client = self.daemon.client();
        match outage {
            Outage::OneKilled => node.kill_9(),
            Outage::OneFrozen => node.freeze(),
            Outage::AllFrozen => self.kafka.freeze(),
            Outage::AllKilled => self.kafka.kill_9(),
        }
        match outage {
            Outage::OneKilled => await_brokers(&client, 2),
            Outage::OneFrozen => pause(AWAY),
            Outage::AllFrozen => self.endure(&client, self.all_frozen_for),
            Outage::AllKilled => self.endure(&client, AWAY),
        }
        let behind = self.first_200_behind_the_probe(stream, || match outage {
            Outage::OneKilled => node.restart(),
            Outage::OneFrozen => node.thaw(),
            Outage::AllFrozen => self.kafka.thaw(),
            Outage::AllKilled => self.kafka.restart(),
        });
        assert!(behind <= BACK_WITHIN, "{outage:?}: the first 200 came {behind:?} after the probe's acknowledgement");
        stream.await_more_taken(BETWEEN);
        // Else the next outage would leave too few.
        self.kafka.await_in_sync([self.probe_topic.as_str()]);
        self.kafka.await_in_sync(topics(&self.daemon.config).iter().map(String::as_str));
        let [grown, peak] = ["VmRSS", "VmHWM"].map(|field| memory_mib(self.daemon.pid(), field) - self.memory_mib);
        println!(
            "{outage:?}: the first 200 came {behind:?} after the probe's acknowledgement, memory grew by {grown:.0} MiB, \
             {peak:.0} MiB for a moment"
        );
        let bound = f64::from(self.daemon.config.ingress.in_flight_bytes_max) / 1024.0 / 1024.0 + MEMORY_SLACK_MIB;
        assert!(grown < bound, "{outage:?}: memory grew by {grown:.1} MiB; {bound:.1} MiB are the bound");
    }

    /// Nobody acknowledges for so long; more comes than fits, and is refused in time.
    fn endure(&self, client: &Client, time: Duration) {
        let begun = Instant::now();
        thread::scope(|scope| {
            for webhook in &self.flood {
                scope.spawn(|| match client.post("sg-main", webhook) {
                    Exchange::Answered(answered) => {
                        check_answer(&answered, ACK_TIMEOUT);
                        assert_eq!(answered.status, 503, "{answered:?}");
                    }
                    other => panic!("{other:?}"),
                });
            }
        });
        pause(time.saturating_sub(begun.elapsed()));
    }

    /// Ends the outage, and gives how long after the probe's first acknowledgement the first webhook is answered 200.
    fn first_200_behind_the_probe(&self, stream: &Stream, end: impl FnOnce() + Send) -> Duration {
        let (over, since_first) = (AtomicBool::new(false), SinceFirst::default());
        thread::scope(|scope| {
            let _over = Over(&over);
            scope.spawn(|| {
                send_until_acknowledged(self.kafka.client(), &self.probe_topic, &over, since_first.clone());
            });
            let ending = scope.spawn(end);
            stream.await_more_taken(1);
            let behind = since_first.elapsed();
            ending.join().unwrap();
            behind
        })
    }
}

fn topics(config: &Config) -> Vec<String> {
    paybridge::kafka::topics::needed(config).into_iter().map(|topic| topic.name).collect()
}

#[track_caller]
fn await_brokers(client: &Client, count: u64) {
    eventually(LIMIT, || match client.metric("paybridge_kafka_brokers_up") {
        Some(up) if up == count => Ok(()),
        up => Err(format!("{up:?} brokers are up, not {count}")),
    });
}
