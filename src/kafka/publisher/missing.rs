//! The topics that Kafka is known not to have. librdkafka would hold a record for one of them for seconds, in which the topic may
//! come, and its webhook would wait as long for its 503.
//! Must not ask Kafka which those are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::producer::Producer as _;
use tokio::sync::Notify;

use super::{Producer, Publisher};

/// How long one question about a topic that is there again may take.
const METADATA_WITHIN: Duration = Duration::from_secs(1);

/// What is known of missing topics.
#[derive(Default)]
pub(super) struct MissingTopics {
    names: ArcSwap<BTreeSet<String>>,
    /// A record failed, maybe for the lack of its topic.
    suspected: Notify,
}

impl MissingTopics {
    /// Whether a topic is known to be missing.
    pub(super) fn has(&self, topic: &str) -> bool {
        let names = self.names.load();
        !names.is_empty() && names.contains(topic)
    }

    /// A record failed, maybe for the lack of its topic.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }
}

impl Publisher {
    /// Kafka has not these topics, and all others: records for these fail at once. Blocks for a moment where one is there again.
    pub fn set_missing(&self, missing: BTreeSet<String>) {
        let missing = Arc::new(missing);
        let before = self.shared.missing.names.swap(Arc::clone(&missing));
        for topic in before.difference(&missing) {
            // The client may remember for minutes that the topic was not there: the answer to a question of its own mends that.
            let _asked = self.switch.with_producer(|producer| has_answer(producer, Some(topic)));
        }
    }

    /// Whether Kafka is known not to have a topic.
    pub fn is_missing(&self, topic: &str) -> bool {
        self.shared.missing.has(topic)
    }

    /// Whether no broker is connected, and the log has said so.
    pub fn is_cut_off(&self) -> bool {
        self.shared.outage.is_on()
    }

    /// Connects anew, unless it can connect no more: a client without records to send does not try by itself. Blocks for a moment.
    pub fn reconnect(&self) {
        let topic = self.shared.topics.keys().next().map(String::as_str);
        let _connected = self.switch.with_producer(|producer| has_answer(producer, topic));
    }

    /// Waits until a record fails, maybe for the lack of its topic.
    pub async fn suspects_missing(&self) {
        self.shared.missing.suspected.notified().await;
    }
}

/// Asks about a topic. Not where nobody would answer: whoever exchanges the producer would wait for that.
fn has_answer(producer: &Producer, topic: Option<&str>) -> bool {
    !producer.context().has_forgotten_brokers() && producer.client().fetch_metadata(topic, METADATA_WITHIN).is_ok()
}
