//! Reads every topic of the demonstration, prints each record and counts it.
//! Must not know who sent it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::cluster::DemoCluster;
use super::output;
use super::session_counts::SessionCounts;
use super::webhook_counts::WebhookCounts;
use crate::config::{ClientSide, Config};
use crate::kafka::decoded::decode;
use crate::kafka::reader::{ReadStep, Start, TopicReader};
use crate::kafka::{client, topics};
use crate::message::DESCRIPTORS;

/// How long finding the topics' ends may take.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How long to wait for a record before looking whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reading, until told to stop.
pub struct RecordReader {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl RecordReader {
    /// Starts reading; what is sent after this returned is seen.
    ///
    /// # Errors
    /// The topics cannot be read.
    pub async fn start(
        config: &Config,
        cluster: &DemoCluster,
        (counts, session_counts): (Arc<WebhookCounts>, Arc<SessionCounts>),
    ) -> anyhow::Result<Self> {
        let client = client::base(&config.kafka, ClientSide::Common)?;
        // The engine's own memory is nobody else's to read.
        let told = topics::needed(config).into_iter().filter(|topic| topic.message != topics::LEDGER_MESSAGE);
        let messages: BTreeMap<String, &'static str> = told.map(|topic| (topic.name, topic.message)).collect();
        let names: Vec<String> = messages.keys().cloned().collect();
        // A new cluster has nothing older; on somebody's cluster, older records are not ours.
        let from = match cluster {
            DemoCluster::Mock { .. } => Start::Beginning,
            DemoCluster::Real { .. } => Start::End,
        };
        let opened = spawn_blocking(move || TopicReader::open(&client, &names, from, OPEN_WITHIN)).await?;
        let reader = opened.context("the topics cannot be read")?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = spawn_blocking(move || {
            while !stopped.is_cancelled() {
                if let ReadStep::Record(record) = reader.next(LOOK_EVERY)? {
                    session_counts.seen(&record);
                    let message = messages.get(&record.topic).copied();
                    let decoded = decode(*record, message, &DESCRIPTORS);
                    output::record(&decoded);
                    if decoded.message.is_some() {
                        counts.seen(&decoded.topic, decoded.event_id.as_deref().unwrap_or_default());
                    }
                }
            }
            Ok(())
        });
        Ok(Self { stop, task })
    }

    /// Stops reading.
    ///
    /// # Errors
    /// Reading had ended before.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await.context("the reader panicked")?
    }
}
