//! Trouble of one topic on three nodes: the right to write to it is withdrawn and given back, its leaders
//! move, it is deleted and made again. Only its webhooks are answered 503, and all goes on by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use paybridge::config::Config;
use paybridge::kafka::topics;
use paybridge::provider::SignedWebhook;

use super::LIMIT;
use crate::ingress::kills::Load;
use crate::support::bridge::{
    create_needed_topics, create_topics, event_type, ready_to_confirm, restarts_series, sender,
};
use crate::support::daemon::{Client, Daemon, Exchange, Settings, configuration};
use crate::support::eventually::eventually;
use crate::support::kafka::{Kafka, User};
use crate::support::stream::{Stream, check_answer, printed_seed};

/// Long enough for topics that are in no trouble, on a machine that does other things too.
const ACK_TIMEOUT: Duration = Duration::from_secs(8);
/// Webhooks of all types that are answered 200 before, between and after.
const BETWEEN: usize = 50;

/// A daemon that has only the rights that it needs, and the topic that is in trouble.
struct Setting<'a> {
    kafka: &'a Kafka,
    config: &'a Config,
    client: Client,
    topic: String,
}

#[test]
fn only_webhooks_of_the_topic_in_trouble_are_refused_and_all_goes_on_by_itself() {
    let seed = printed_seed();
    let kafka = Kafka::shared_cluster();
    let text = configuration(kafka.bootstrap(), Settings { ack_timeout: ACK_TIMEOUT, ..Settings::on_three_nodes() });
    let config = Config::from_toml(&text, []).unwrap();
    let prefix = config.kafka.topic_prefix.as_ref();
    let all = ["--operation", "All", "--resource-pattern-type", "prefixed", "--topic", prefix];
    kafka.allow(User::Limited, &[&all]);
    // Before the start: for a moment it would refuse what has no topic yet.
    create_needed_topics(&kafka, &config);
    let daemon = Daemon::run(&kafka.logged_in(&text, User::Limited));
    daemon.await_ready();
    let setting = Setting {
        kafka: &kafka,
        config: &config,
        client: daemon.client(),
        topic: format!("{prefix}.smart-glocal.ready-to-confirm.v1"),
    };
    let account = Load::of(&daemon, seed).run(|stream| {
        stream.await_more_taken(BETWEEN);
        setting.right_is_withdrawn(stream);
        setting.leaders_move(stream);
        setting.topic_is_deleted(stream);
        setting.topic_is_replaced(stream);
    });
    let refused: BTreeSet<&String> = account.refused.keys().collect();
    let tally = account.acknowledged.but_for(&setting.topic).tally(&kafka);
    println!("seed {seed}: {} sent, refused {:?}, on other topics {tally}", account.sent, account.refused);
    assert!(refused.iter().all(|topic| **topic == setting.topic), "{refused:?}");
    tally.assert_nothing_is_lost();
}

impl Setting<'_> {
    fn right_is_withdrawn(&self, stream: &Stream) {
        let write = ["--operation", "Write", "--topic", &self.topic];
        self.kafka.forbid(User::Limited, &write);
        self.await_answer(2, 503);
        self.others_are_taken(2);
        self.kafka.forbid_no_more(User::Limited, &write);
        self.await_answer(2, 200);
        stream.await_more_taken(BETWEEN);
    }

    /// Nobody loses anything by it but time.
    fn leaders_move(&self, stream: &Stream) {
        self.kafka.move_leaders(&[&self.topic]);
        self.await_answer(3, 200);
        stream.await_more_taken(BETWEEN);
    }

    fn topic_is_deleted(&self, stream: &Stream) {
        self.kafka.delete_topic(&self.topic);
        self.await_answer(4, 503);
        self.others_are_taken(4);
        self.make_again();
        self.await_answer(4, 200);
        stream.await_more_taken(BETWEEN);
    }

    /// The topic is there again at once, and other nodes lead it. Its leaders moved before, so the client takes these for older ones,
    /// unless it asked in the moment without a topic.
    fn topic_is_replaced(&self, stream: &Stream) {
        const TRIES_MAX: u64 = 5;
        let replaced = || self.client.metric(&restarts_series("wrong_brokers")).unwrap();
        for number in 5.. {
            self.replace_topic();
            self.await_answer(number, 200);
            self.others_are_taken(number);
            stream.await_more_taken(BETWEEN);
            if replaced() > 0 {
                break;
            }
            assert!(number < 5 + TRIES_MAX, "no client was stuck with a deleted topic");
        }
    }

    fn replace_topic(&self) {
        self.kafka.move_leaders(&[&self.topic]);
        let before = self.kafka.leaders(&self.topic);
        loop {
            self.kafka.delete_topic(&self.topic);
            self.make_again();
            // Kafka chooses the first node at random.
            if self.kafka.leaders(&self.topic) != before {
                break;
            }
        }
    }

    fn make_again(&self) {
        let needed = topics::needed(self.config);
        let again: Vec<_> = needed.into_iter().filter(|topic| topic.name == self.topic).collect();
        create_topics(self.kafka, &again);
    }

    /// Posts a webhook of the topic, the same one, until it is answered so.
    #[track_caller]
    fn await_answer(&self, number: u64, status: u16) {
        let webhook = ready_to_confirm(self.config, 1_000_000 + number);
        eventually(LIMIT, || match self.post("sg-main", &webhook) {
            told if told == status => Ok(()),
            told => Err(format!("{told}, not {status}")),
        });
    }

    /// Of another topic of the same source, and of another source.
    #[track_caller]
    fn others_are_taken(&self, number: u64) {
        let others = [("sg-main", "smart-glocal", "payment-finished"), ("other", "standard-webhooks", "received")];
        for (source, provider, part) in others {
            let webhook = sender(self.config, source).sample(
                event_type(provider, part),
                jiff::Timestamp::now(),
                1_000_000 + number,
            );
            assert_eq!(self.post(source, &webhook), 200, "{part}");
        }
    }

    #[track_caller]
    fn post(&self, source: &str, webhook: &SignedWebhook) -> u16 {
        match self.client.post(source, webhook) {
            Exchange::Answered(answered) => {
                check_answer(&answered, ACK_TIMEOUT);
                answered.status.as_u16()
            }
            gone => panic!("{gone:?}"),
        }
    }
}
