//! Reads every topic of the demonstration, tells each record and counts it.
//! Must not know who sent it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cluster::DemoCluster;
use super::session_counts::SessionCounts;
use super::step_printer::{Step, StepKind, StepPrinter};
use super::webhook_counts::WebhookCounts;
use crate::cli::line_style::{self, TOPIC, TOPIC_COLUMNS};
use crate::config::{ClientSide, Config};
use crate::kafka::decoded::{Decoded, ReadRecord, decode};
use crate::kafka::reader::{ReadStep, Start, TopicReader};
use crate::kafka::{client, topics};
use crate::message::DESCRIPTORS;
use crate::short_line::ShortLine;

/// How long finding the topics' ends may take.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// A record that was made longer ago was not made by our clock.
const SEEN_AFTER_MAX: Duration = Duration::from_secs(2);
/// How long a fetch waits for records, in milliseconds.
const FETCH_WAIT_MS: &str = "10";
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
        printer: StepPrinter,
    ) -> anyhow::Result<Self> {
        let mut client = client::base(&config.kafka, ClientSide::Common)?;
        // The in-memory Kafka lets a fetch wait for the whole of this time.
        client.set("fetch.wait.max.ms", FETCH_WAIT_MS);
        let told = topics::needed(config).into_iter().filter(|topic| !topic.is_internal());
        let messages: BTreeMap<String, &'static str> = told.map(|topic| (topic.name, topic.message)).collect();
        let names: Vec<String> = messages.keys().cloned().collect();
        // A new cluster has nothing older; on somebody's cluster, older records are not ours.
        let from = match cluster {
            DemoCluster::Mock { .. } => Start::Beginning,
            DemoCluster::Real { .. } => Start::End,
        };
        let opened = spawn_blocking(move || TopicReader::open(&client, &names, from, OPEN_WITHIN)).await?;
        let reader = opened.context("the topics cannot be read")?;
        let prefix = config.kafka.topic_prefix.as_ref().to_owned();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = spawn_blocking(move || {
            while !stopped.is_cancelled() {
                if let ReadStep::Record(record) = reader.next(LOOK_EVERY)? {
                    session_counts.seen(&record);
                    let at = made_at(&record);
                    let message = messages.get(&record.topic).copied();
                    let decoded = decode(*record, message, &DESCRIPTORS);
                    printer.json(&decoded);
                    tell(&printer, (&decoded, at), &prefix);
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

/// When a record was made, if that was just now: it is seen somewhat later, perhaps after what followed from it. A broker's clock
/// that differs from ours tells nothing of the order.
fn made_at(record: &ReadRecord) -> Instant {
    let (now, now_ms) = (Instant::now(), Timestamp::now().as_millisecond());
    let age_ms = record.timestamp_ms.and_then(|made_ms| u64::try_from(now_ms.saturating_sub(made_ms)).ok());
    let age = age_ms.map(Duration::from_millis).filter(|age| *age <= SEEN_AFTER_MAX).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

/// What is on the engine's topics needs no topic in its line: its kind of step says it.
fn tell(printer: &StepPrinter, (record, at): (&Decoded, Instant), prefix: &str) {
    let line = ShortLine::of(record, prefix);
    let text = line_style::text(&line.phrases);
    let (kind, text) = match line.topic.strip_prefix("confirmation.") {
        Some("outcome") => (StepKind::Outcome, text),
        Some(_) => (StepKind::Decision, text),
        None => (StepKind::Record, format!("{TOPIC}{:<TOPIC_COLUMNS$}{TOPIC:#}  {text}", line.topic)),
    };
    printer.blocking_step(&Step { at, subject: &line.subject, kind, text });
}
