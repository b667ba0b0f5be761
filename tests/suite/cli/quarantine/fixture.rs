//! A configuration with topics of its own, records that are held on them, and the program that looks at these.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use jiff::Timestamp;
use paybridge::config::Config;
use paybridge::message::event::v1::{
    AuthenticationFailure, EventMetadata, Evidence, QuarantineReason, QuarantinedWebhook, RejectedWebhook,
    UnrecognizedWebhook,
};
use paybridge::message::release::v1::release_entry::Entry;
use paybridge::message::release::v1::{ReleaseEntry, ReleaseMarker};
use paybridge::message::timestamp;
use paybridge::provider::SignedWebhook;
use prost::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::bridge::{create_needed_topics, event_type, sender};
use crate::support::daemon::{Settings, configuration, program};
use crate::support::kafka::Kafka;

/// The event id of webhooks that never had one.
pub(super) const NO_ID: &str = "";

/// The topics of a configuration with a source of each provider, and its file.
pub(super) struct HeldFixture {
    pub(super) kafka: &'static Kafka,
    pub(super) config: Config,
    folder: TempDir,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) code: i32,
    pub(super) output: String,
    pub(super) errors: String,
}

/// A record to be held.
pub(super) enum Held {
    Quarantined(QuarantineReason),
    Unrecognized,
    Rejected { cut: bool },
}

impl HeldFixture {
    /// With topics on the shared Kafka.
    pub(super) fn new() -> Self {
        let kafka = Kafka::shared();
        Self::of(kafka, &configuration(kafka.bootstrap(), Settings::default()))
    }

    /// The same with this configuration.
    pub(super) fn of(kafka: &'static Kafka, text: &str) -> Self {
        let config = Config::from_toml(text, []).unwrap();
        create_needed_topics(kafka, &config);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("paybridge.toml"), text).unwrap();
        Self { kafka, config, folder }
    }

    /// A topic's full name.
    pub(super) fn topic(&self, part: &str) -> String {
        format!("{}.{part}.v1", self.config.kafka.topic_prefix.as_ref())
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("paybridge.toml")
    }

    /// `paybridge quarantine` with these arguments.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("quarantine").args(arguments).arg("--config").arg(self.file());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Printed {
        finished(self.command(arguments).spawn().unwrap())
    }

    /// So many webhooks of a declared sender, each another event.
    pub(super) fn received(&self, count: u64) -> Vec<SignedWebhook> {
        let (sender, event_type) = (sender(&self.config, "other"), event_type("standard-webhooks", "received"));
        (0..count).map(|number| sender.sample(event_type, Timestamp::now(), number)).collect()
    }

    /// A Smart Glocal `ready_to_confirm`.
    pub(super) fn ready(&self, number: u64) -> SignedWebhook {
        sender(&self.config, "sg-main").sample(event_type("smart-glocal", "ready-to-confirm"), Timestamp::now(), number)
    }

    /// Puts webhooks of a source on the topics that hold them, as the ingress would.
    pub(super) fn hold<'w>(
        &self,
        source: &str,
        webhooks: impl IntoIterator<Item = (&'w SignedWebhook, Held, &'w str)>,
    ) {
        let producer: FutureProducer =
            self.kafka.client().set("partitioner", "murmur2_random").set("linger.ms", "5").create().unwrap();
        let records: Vec<(String, Vec<u8>)> =
            webhooks.into_iter().map(|(webhook, held, id)| self.record(source, webhook, &held, id)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for batch in records.chunks(1000) {
                let start = |(number, (topic, value)): (usize, &(String, Vec<u8>))| {
                    // As those of many sources: over all partitions.
                    let partition = i32::try_from(number).unwrap() % self.config.kafka.partitions;
                    let record = FutureRecord::to(topic).key(source).partition(partition).payload(value);
                    producer.send_result(record).unwrap()
                };
                let sent: Vec<_> = batch.iter().enumerate().map(start).collect();
                for report in sent {
                    report.await.unwrap().unwrap();
                }
            }
        });
    }

    fn record(&self, source: &str, webhook: &SignedWebhook, held: &Held, event_id: &str) -> (String, Vec<u8>) {
        let digest: [u8; 32] = Sha256::digest(&webhook.body).into();
        let headers = webhook.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let cut = matches!(held, Held::Rejected { cut: true });
        let evidence = Evidence {
            raw_body: Some(if cut { webhook.body.slice(..1) } else { webhook.body.clone() }),
            body_sha256: Bytes::copy_from_slice(&digest),
            headers: headers.collect(),
            remote_address: "192.0.2.1".to_owned(),
            path_suffix: webhook.path_suffix.clone(),
            ..Evidence::default()
        };
        let metadata = Some(EventMetadata {
            event_id: event_id.to_owned(),
            source: source.to_owned(),
            received_at: Some(timestamp(Timestamp::now())),
            evidence: Some(evidence),
            ..EventMetadata::default()
        });
        match held {
            Held::Quarantined(reason) => {
                let detail = "session.id: missing, empty, or unreadable".to_owned();
                let message = QuarantinedWebhook { metadata, reason: (*reason).into(), detail, ..Default::default() };
                (self.topic("quarantine"), message.encode_to_vec())
            }
            Held::Unrecognized => {
                let message = UnrecognizedWebhook { metadata, ..Default::default() };
                (self.topic("unrecognized"), message.encode_to_vec())
            }
            Held::Rejected { cut } => {
                let failure = AuthenticationFailure::SignatureMismatch.into();
                let body_bytes = webhook.body.len().try_into().unwrap();
                let message = RejectedWebhook { metadata, failure, body_bytes, body_cut: *cut };
                (self.topic("rejected"), message.encode_to_vec())
            }
        }
    }

    /// The markers of releases, in their order.
    pub(super) fn markers(&self) -> Vec<ReleaseMarker> {
        let records = self.kafka.read_all(&self.topic("quarantine-release"));
        let marker = |value: Vec<u8>| match ReleaseEntry::decode(value.as_slice()).unwrap().entry {
            Some(Entry::Marker(marker)) => Some(marker),
            Some(Entry::Request(_)) | None => None,
        };
        records.into_iter().filter_map(|record| marker(record.value?)).collect()
    }
}

/// Waits for a command's end.
pub(super) fn finished(child: Child) -> Printed {
    let output = child.wait_with_output().unwrap();
    Printed {
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}
