//! Finds events that were sent on their topic, as a subscriber would. Must not know how they got there.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::task::spawn_blocking;

use crate::cli::{WrongUsage, tell};
use crate::config::{ClientSide, Config};
use crate::kafka::client;
use crate::kafka::reader::{ReadStep, Start, TopicReader};

/// How long Kafka may take until reading begins.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long one look for a record takes at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reads one topic from where it ended when this was made.
pub struct ReadBack {
    reader: TopicReader,
    within: Duration,
    topic: String,
    bootstrap_servers: String,
}

/// What was found.
#[derive(Debug)]
pub struct ReadBackReport {
    sent: usize,
    missing: usize,
    within: Duration,
    topic: String,
    bootstrap_servers: String,
}

impl ReadBackReport {
    /// Whether every event was found.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }
}

impl fmt::Display for ReadBackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, missing, within, topic, bootstrap_servers } = self;
        write!(f, "read back {} of {sent} from {topic}", sent.saturating_sub(*missing))?;
        if *missing == 0 {
            return Ok(());
        }
        write!(
            f,
            "; {missing} did not come within {within:?}. Likely causes:\n  - the daemon writes to another Kafka or has another \
             kafka.topic_prefix: this command reads {topic} on {bootstrap_servers}\n  - the answer was not \"accepted\": a \
             \"duplicate\" is published once only, and what is \"quarantined\" or \"unrecognized\" goes to the topic of that name\n  \
             - Kafka is slow: give more time with --read-back"
        )
    }
}

impl ReadBack {
    /// Begins before anything is sent, so that nothing is missed. `within` is for all events together, once they were sent.
    ///
    /// # Errors
    /// The time is negative, or the topic cannot be read.
    pub async fn open(config: &Config, topic: &str, within: SignedDuration) -> anyhow::Result<Self> {
        let negative = |_| WrongUsage("--read-back must not be negative: write it as 30s".to_owned());
        let within = Duration::try_from(within).map_err(negative)?;
        let client = client::base(&config.kafka, ClientSide::Common)?;
        let topics = [topic.to_owned()];
        let reader = spawn_blocking(move || TopicReader::open(&client, &topics, Start::End, OPEN_WITHIN)).await??;
        let (topic, bootstrap_servers) = (topic.to_owned(), config.kafka.bootstrap_servers.clone());
        Ok(Self { reader, within, topic, bootstrap_servers })
    }

    /// Waits until the events were found, or the time is over.
    ///
    /// # Errors
    /// The topic cannot be read any more.
    pub async fn look_for(self, event_ids: BTreeSet<String>) -> anyhow::Result<ReadBackReport> {
        spawn_blocking(move || {
            let sent = event_ids.len();
            let missing = self.missing(event_ids)?.len();
            let Self { within, topic, bootstrap_servers, .. } = self;
            Ok(ReadBackReport { sent, missing, within, topic, bootstrap_servers })
        })
        .await?
    }

    /// Those of the events that were not found in time.
    fn missing(&self, mut missing: BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
        let deadline = Instant::now() + self.within;
        let mut interrupted = false;
        while !missing.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.reader.next(left.min(LOOK_EVERY))? {
                ReadStep::Record(record) => {
                    record.header("ce_id").map(|id| missing.remove(id));
                }
                ReadStep::Interrupted(error) if !interrupted => {
                    tell(&format!("{error}; going on when it does"));
                    interrupted = true;
                }
                ReadStep::Interrupted(_) | ReadStep::Idle => {}
            }
            if left.is_zero() {
                break;
            }
        }
        Ok(missing)
    }
}
