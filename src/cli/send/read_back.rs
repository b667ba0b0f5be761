//! Finds events that were sent on their topic, as a subscriber would. Must not know how they got there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::SignedDuration;
use tokio::task::spawn_blocking;

use crate::cli::tell;
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
}

impl ReadBack {
    /// Begins before anything is sent, so that nothing is missed. `within` is for all events together, once they were sent.
    ///
    /// # Errors
    /// The time is negative, or the topic cannot be read.
    pub async fn open(config: &Config, topic: String, within: SignedDuration) -> anyhow::Result<Self> {
        let within = Duration::try_from(within).context("--read-back must not be negative: write it as 30s")?;
        let client = client::base(&config.kafka, ClientSide::Common)?;
        let reader = spawn_blocking(move || TopicReader::open(&client, &[topic], Start::End, OPEN_WITHIN)).await??;
        Ok(Self { reader, within })
    }

    /// Those of the events that were not found in time.
    ///
    /// # Errors
    /// The topic cannot be read any more.
    pub async fn missing(self, event_ids: BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
        spawn_blocking(move || self.look_for(event_ids)).await?
    }

    fn look_for(self, mut missing: BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
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
