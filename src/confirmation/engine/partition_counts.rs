//! Asks Kafka, on a thread of its own, whether the engine's topics still have the partitions that it began with.
//! Must not wait for the engine, nor end it: the engine looks at what was seen between two transactions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::ClientConfig;

use super::EngineError;
use crate::kafka::cluster::{ClusterClient, Counts};

/// How often Kafka is asked, and how long an answer may take: together less than the 30 s within which nothing more may be
/// decided. A group's member asks every five minutes by itself, and reads nothing of new partitions until then.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The watch; dropping it ends it.
pub(super) struct PartitionCountWatch {
    client: Arc<ArcSwap<ClientConfig>>,
    changed: Receiver<String>,
    /// Dropped with the watch, which its thread hears.
    _end: Sender<()>,
}

impl PartitionCountWatch {
    /// Watches `topics`, which have so many partitions each.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn begin(client: ClientConfig, topics: BTreeSet<String>, partitions: i32) -> std::io::Result<Self> {
        let client = Arc::new(ArcSwap::from_pointee(client));
        let (tell, changed) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let topics: Vec<String> = topics.into_iter().collect();
        let expected = usize::try_from(partitions).unwrap_or_default();
        let poll = PartitionCountPoll { client: Arc::clone(&client), topics, expected, cluster: None };
        thread::Builder::new().name("partition counts".to_owned()).spawn(move || poll.run(&ended, &tell))?;
        Ok(Self { client, changed, _end: end })
    }

    /// Goes on with other credentials once the present connection is of no use any more.
    pub(super) fn renew(&self, client: ClientConfig) {
        self.client.store(Arc::new(client));
    }

    /// What was seen so far.
    ///
    /// # Errors
    /// A topic has another number of partitions by now.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        match self.changed.try_recv() {
            Ok(changed) => Err(EngineError::PartitionsChanged(changed)),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => Err(EngineError::Unwatched),
        }
    }
}

/// What the thread has.
struct PartitionCountPoll {
    client: Arc<ArcSwap<ClientConfig>>,
    topics: Vec<String>,
    expected: usize,
    /// The connection, while it is of use.
    cluster: Option<ClusterClient>,
}

impl PartitionCountPoll {
    fn run(mut self, ended: &Receiver<()>, tell: &Sender<String>) {
        while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            // Without an answer nothing is known to have changed; that Kafka is away others tell.
            let changed = self.counts().and_then(|counts| changed(counts, self.expected));
            if let Some(changed) = changed {
                // Nobody is there any more: the engine ends.
                let _unheard = tell.send(changed);
            }
        }
    }

    fn counts(&mut self) -> Option<Counts> {
        let connected = self.cluster.take().map_or_else(|| ClusterClient::connect(&self.client.load()), Ok);
        let cluster = connected.ok()?;
        // One that gives no answer is not kept: its credentials may have changed.
        let counts = cluster.partition_counts(&self.topics, Instant::now() + LOOK_WITHIN).ok()?;
        self.cluster = Some(cluster);
        Some(counts)
    }
}

/// The topics that have another number of partitions. One that Kafka does not tell of is none: it may be back the next time.
fn changed(counts: Counts, expected: usize) -> Option<String> {
    let counts = counts.into_iter().filter_map(|(name, count)| Some((name, count.ok()?)));
    let other = counts.filter(|(_, count)| *count != expected);
    let told: Vec<String> = other.map(|(name, count)| format!("{name} has {count} instead of {expected}")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::cluster::TopicState;

    #[test]
    fn only_topics_that_are_there_with_another_number_have_changed() {
        for (counts, expected) in [
            (vec![("a", Ok(3)), ("b", Ok(3))], None),
            (vec![("a", Ok(3)), ("b", Ok(4))], Some("b has 4 instead of 3")),
            (vec![("a", Ok(2)), ("b", Ok(4))], Some("a has 2 instead of 3, b has 4 instead of 3")),
            (vec![("a", Err(TopicState::Missing)), ("b", Err(TopicState::Hidden))], None),
        ] {
            let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            assert_eq!(changed(counts, 3).as_deref(), expected);
        }
    }
}
