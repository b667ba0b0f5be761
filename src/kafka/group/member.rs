//! What librdkafka calls for a group's member: assignments and revocations become epochs and events.
//! Must not take a partition: that is done once its state is restored. Its callbacks run inside the member's own polls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;

use super::super::client_error::{ClientError, ClientErrors};
use super::super::known_brokers::KnownBrokers;
use super::contact::BrokerContact;
use super::{Generation, Polled, Revocation};

/// How librdkafka ends the report of a connection that worked, and was closed: `(after 1500ms in state UP)`.
const CLOSED_WHILE_UP: &str = "in state UP";

/// A member as librdkafka sees it.
pub(super) struct MemberContext {
    inputs: Vec<String>,
    epoch: AtomicU64,
    holds_assignment: AtomicBool,
    /// In the order in which they happened, until they are polled.
    events: Mutex<VecDeque<Polled>>,
    /// Where partitions end, by input and partition.
    ends: Mutex<BTreeMap<(usize, i32), i64>>,
    contact: BrokerContact,
    brokers: KnownBrokers,
    /// Connections that do not come about.
    client_errors: ClientErrors,
    /// Connections that worked and were closed.
    closings: ClientErrors,
}

impl MemberContext {
    pub(super) fn new(inputs: Vec<String>) -> Self {
        Self {
            inputs,
            epoch: AtomicU64::new(0),
            holds_assignment: AtomicBool::new(false),
            events: Mutex::default(),
            ends: Mutex::default(),
            contact: BrokerContact::default(),
            brokers: KnownBrokers::default(),
            client_errors: ClientErrors::default(),
            closings: ClientErrors::default(),
        }
    }

    pub(super) fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// What is wrong with connections, each time once. One that was closed is no error before all have been gone for some seconds.
    pub(super) fn connection_error(&self, now: Instant) -> Option<ClientError> {
        let closing = || if self.contact.is_lost(now) { self.closings.take() } else { None };
        self.client_errors.take().or_else(closing)
    }

    /// Any broker is connected now, or none.
    fn connected(&self, is_connected: bool, now: Instant) {
        self.contact.connected(is_connected, now);
        if is_connected {
            self.client_errors.works();
            self.closings.works();
            // What was closed before explains no later outage.
            self.closings.take();
        }
    }

    /// Where a report of a connection belongs.
    fn errors_of(&self, report: &str) -> &ClientErrors {
        if report.contains(CLOSED_WHILE_UP) { &self.closings } else { &self.client_errors }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Whether an assignment was not revoked yet.
    pub(super) fn holds_assignment(&self) -> bool {
        self.holds_assignment.load(Ordering::SeqCst)
    }

    pub(super) fn next_event(&self) -> Option<Polled> {
        self.events().pop_front()
    }

    pub(super) fn end(&self, input: usize, partition: i32) -> Option<i64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&(input, partition)).copied()
    }

    /// Accepts the assignment without reading anything: an empty one of our own keeps the membership.
    fn assigned(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<Polled, KafkaError> {
        consumer.assign(&TopicPartitionList::new())?;
        let Some(metadata) = consumer.group_metadata() else {
            return Ok(Polled::Fatal("the client has no group".to_owned()));
        };
        self.holds_assignment.store(true, Ordering::SeqCst);
        let generation = Generation { epoch: self.raise_epoch(), metadata: Arc::new(metadata) };
        Ok(Polled::Assigned { generation, partitions: together(&self.inputs, partitions) })
    }

    /// First the epoch, so that nothing of the old one passes while partitions are given up.
    fn revoked(&self, consumer: &BaseConsumer<Self>) -> Result<Polled, KafkaError> {
        self.raise_epoch();
        self.holds_assignment.store(false, Ordering::SeqCst);
        let revocation = if consumer.assignment_lost() { Revocation::Lost } else { Revocation::InOrder };
        consumer.unassign()?;
        Ok(Polled::Revoked(revocation))
    }

    /// The membership is of no use any more, which is told as the next event.
    pub(super) fn fail(&self, reason: String) {
        self.events().push_back(Polled::Fatal(reason));
    }

    fn raise_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Polled>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoked(consumer),
            error => {
                tracing::error!(error = %RDKafkaErrorCode::from(error), "the consumer group's rebalance failed");
                self.revoked(consumer)
            }
        };
        // Without a word to librdkafka the group would stand still.
        let event = done.unwrap_or_else(|error| Polled::Fatal(format!("a rebalance could not be answered: {error}")));
        self.events().push_back(event);
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.errors_of(message).log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.errors_of(reason).error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if self.brokers.learn(&statistics) {
            self.fail("it knows no Kafka broker any more".to_owned());
        }
        self.connected(statistics.brokers.values().any(|broker| broker.state == "UP"), Instant::now());
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (input, name) in self.inputs.iter().enumerate() {
            let partitions = statistics.topics.get(name).into_iter().flat_map(|topic| topic.partitions.values());
            // Negative: not known.
            let known = partitions.filter(|partition| partition.hi_offset >= 0);
            ends.extend(known.map(|partition| ((input, partition.partition), partition.hi_offset)));
        }
    }
}

/// The partitions of which every input has been assigned; the others are of no use, and logged.
fn together(inputs: &[String], assigned: &TopicPartitionList) -> Vec<i32> {
    let mut counts: BTreeMap<i32, BTreeSet<usize>> = BTreeMap::new();
    for element in assigned.elements() {
        if let Some(input) = inputs.iter().position(|input| input == element.topic()) {
            counts.entry(element.partition()).or_default().insert(input);
        }
    }
    let (whole, partial): (Vec<_>, Vec<_>) = counts.into_iter().partition(|(_, of)| of.len() == inputs.len());
    if !partial.is_empty() {
        let partitions: Vec<i32> = partial.into_iter().map(|(partition, _)| partition).collect();
        tracing::error!(
            ?partitions,
            "partitions are not taken, because not every input topic has been assigned them: \
             is a topic missing, are their partition counts unequal, or has a member another subscription?"
        );
    }
    whole.into_iter().map(|(partition, _)| partition).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_closed_connection_is_an_error_once_none_is_there_for_some_seconds_and_a_refused_one_at_once() {
        let (member, begin) = (MemberContext::new(Vec::new()), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let report = |report: &str| member.log(RDKafkaLogLevel::Info, "FAIL", report);
        let told = |seconds| member.connection_error(at(seconds)).map(|error| error.to_string());
        member.connected(true, at(0));
        report("a:1/1: Disconnected (after 1500ms in state UP)");
        member.connected(false, at(2));
        assert_eq!(told(6), None);
        assert!(told(7).unwrap().ends_with("a:1/1: Disconnected (after 1500ms in state UP)"));
        assert_eq!(told(8), None, "each is told once");
        report("a:1/1: Disconnected (after 3ms in state UP)");
        member.connected(true, at(9));
        member.connected(false, at(11));
        assert_eq!(told(60), None, "it explains no later outage");
        member.connected(true, at(61));
        report("b:1/2: Connect failed: refused (after 0ms in state CONNECT)");
        member.connected(true, at(63));
        assert!(told(63).unwrap().contains("b:1/2"), "one broker of several that cannot be reached is told");
        member.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "wrong password");
        assert_eq!(told(64), Some("Kafka refuses the credentials: wrong password".to_owned()));
    }

    #[test]
    fn takes_a_partition_only_if_every_input_has_it() {
        let inputs = ["a", "b"].map(str::to_owned);
        for (assigned, expected) in [
            (vec![], vec![]),
            (vec![("a", 0)], vec![]),
            (vec![("a", 0), ("b", 1)], vec![]),
            (vec![("a", 0), ("c", 0)], vec![]),
            (vec![("b", 1), ("a", 0), ("b", 0), ("a", 1), ("a", 2)], vec![0, 1]),
        ] {
            let mut list = TopicPartitionList::new();
            for (topic, partition) in &assigned {
                list.add_partition(topic, *partition);
            }
            assert_eq!(together(&inputs, &list), expected, "{assigned:?}");
        }
    }
}
