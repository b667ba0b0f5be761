//! Takes changed Kafka credentials into use while the daemon runs: files of passwords, keys and certificates.
//! Must not know what is in them, nor how a part goes on with others.
//!
//! A file may change before brokers know what is in it, or after: so a part that gets no further with the new ones keeps
//! the old, which may still do, and it is tried again until they work or the files change once more.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rdkafka::ClientConfig;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::keys::LOOK_EVERY;
use crate::config::files::FileReader;
use crate::config::{ClientSide, Kafka};
use crate::confirmation::engine::CredentialRenewal;
use crate::ingress::shared_dedup::SharedDedup;
use crate::kafka::client;
use crate::kafka::cluster::ClusterClient;
use crate::kafka::publisher::Publisher;
use crate::metrics::{KeyReloads, Metrics};
use crate::provider::KeyFiles as _;

/// How long a client may take to log in before it is tried again later.
const LOG_IN_WITHIN: Duration = Duration::from_secs(5);
/// How long the engine may take to end what it does just now: longer than a transaction that goes wrong at every step.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Whose clients are made anew.
#[derive(Clone)]
pub enum ClientOwner {
    /// The ingress's producer, and then what tells other replicas of its events: the producer proves first that the new ones may
    /// write.
    Ingress(Arc<Publisher>, Option<Arc<SharedDedup>>),
    /// The confirmation engine's producer, its member of the group, and what reads its ledger.
    Engine(Sender<CredentialRenewal>),
}

/// Watches the files.
pub struct CredentialWatch {
    kafka: Arc<Kafka>,
    files: Arc<FileReader>,
    parts: Vec<ClientOwner>,
    reloads: KeyReloads,
}

impl CredentialWatch {
    /// Remembers what the files hold: to be made before the first client is.
    pub fn new(kafka: &Kafka, metrics: &Metrics) -> Self {
        let files = FileReader::new();
        remember(kafka, &files);
        let reloads = metrics.key_reloads("_kafka");
        Self { kafka: Arc::new(kafka.clone()), files: Arc::new(files), parts: Vec::new(), reloads }
    }

    /// Renews this part's clients too.
    pub fn add(&mut self, part: ClientOwner) {
        self.parts.push(part);
    }

    /// Looks at the files again and again; never ends by itself.
    pub async fn run(self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The parts that go on with old credentials, and what was told last about it.
        let (mut behind, mut told) = (Vec::new(), String::new());
        loop {
            ticks.tick().await;
            if self.changed().await {
                behind = self.parts.clone();
                told.clear();
            }
            if !behind.is_empty() {
                self.catch_up(&mut behind, &mut told).await;
            }
        }
    }

    /// Whether a file holds something else than when it was last asked.
    async fn changed(&self) -> bool {
        let (kafka, files) = (Arc::clone(&self.kafka), Arc::clone(&self.files));
        // Reading files blocks.
        let looked = tokio::task::spawn_blocking(move || {
            let changed = files.changed();
            if changed {
                // Before any client is made: what changes after this is seen by the next look.
                remember(&kafka, &files);
            }
            changed
        });
        looked.await.unwrap_or_default()
    }

    /// Renews the parts that are behind, and leaves those that could not be.
    async fn catch_up(&self, behind: &mut Vec<ClientOwner>, told: &mut String) {
        let mut errors = Vec::new();
        for part in std::mem::take(behind) {
            if let Err(error) = self.renew(&part).await {
                errors.push(format!("{}: {error:#}", part.name()));
                behind.push(part);
            }
        }
        if behind.is_empty() {
            self.reloads.used.increment(1);
            return tracing::info!("changed Kafka credentials are in use");
        }
        self.reloads.unusable.increment(1);
        let error = errors.join("; ");
        if *told != error {
            tracing::error!(
                error = error,
                "changed Kafka credentials cannot be used; the old ones stay in use; retrying"
            );
            *told = error;
        }
    }

    async fn renew(&self, part: &ClientOwner) -> anyhow::Result<()> {
        let (kafka, side) = (Arc::clone(&self.kafka), part.side());
        let client =
            tokio::task::spawn_blocking(move || client::base(&kafka, side)).await.context("reading files")??;
        match part {
            ClientOwner::Ingress(publisher, shared) => {
                publisher.renew(client.clone()).await?;
                match shared {
                    Some(shared) => renew_dedup(Arc::clone(shared), client).await,
                    None => Ok(()),
                }
            }
            ClientOwner::Engine(renewals) => renew_engine(renewals, client).await,
        }
    }
}

async fn renew_dedup(shared: Arc<SharedDedup>, client: ClientConfig) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || shared.renew(client)).await.context("ending the old clients")??;
    Ok(())
}

/// The engine gives up the clients that it has, so it is seen first that Kafka takes the new ones' credentials.
async fn renew_engine(renewals: &Sender<CredentialRenewal>, client: ClientConfig) -> anyhow::Result<()> {
    let properties = client.clone();
    let log_in = move || ClusterClient::connect(&properties)?.describe(&[], Instant::now() + LOG_IN_WITHIN);
    tokio::task::spawn_blocking(log_in).await.context("logging in")??;
    let (done, is_done) = oneshot::channel();
    renewals.send(CredentialRenewal { client, done }).map_err(|_| anyhow!("the engine has ended"))?;
    let taken = timeout(TAKEN_WITHIN, is_done).await.context("the engine is busy")?;
    Ok(taken.context("the engine has ended")??)
}

impl ClientOwner {
    fn side(&self) -> ClientSide {
        match self {
            Self::Ingress(..) => ClientSide::Ingress,
            Self::Engine(_) => ClientSide::Engine,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ingress(..) => "ingress",
            Self::Engine(_) => "confirmation engine",
        }
    }
}

fn remember(kafka: &Kafka, files: &FileReader) {
    for path in kafka.credential_files() {
        // One that cannot be read is remembered as such.
        let _content = files.read(&path).ok();
    }
}
