//! When the daemon is ready, and what it says about its topics until then.
//! Must not know what the topics are for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::admin::Readiness;
use crate::config::{ClientSide, Kafka};
use crate::finding::{Finding, Severity};
use crate::kafka::client;
use crate::kafka::cluster::Cluster;
use crate::kafka::inspect::topic_findings;
use crate::kafka::topics::Topic;
use crate::metrics::Metrics;

/// How often Kafka is asked for its topics until all are there, and how long one look may take.
const TOPICS_EVERY: Duration = Duration::from_secs(2);
/// How long the one look at the topics' settings may take.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

/// What Kafka must have.
pub struct Needed {
    /// The topics.
    pub topics: Vec<Topic>,
    /// Names of topics that must have the same number of partitions.
    pub equal: Vec<String>,
}

/// Asks Kafka for its topics until none is missing, tells once what `check` would say of them, and then only waits. The
/// first answer is the latch. Missing topics do not keep the daemon from being ready: their webhooks are answered 503, and
/// all others would be lost to their providers if it were not.
pub async fn find_topics(needed: Needed, kafka: Kafka, readiness: Readiness, metrics: Arc<Metrics>) {
    let kafka = Arc::new(kafka);
    await_topics(&needed.topics, &kafka, &readiness, &metrics).await;
    let findings = match client::base(&kafka, ClientSide::Common) {
        Ok(client) => topic_findings(&client, &needed.topics, &needed.equal, LOOK_WITHIN).await,
        Err(error) => {
            tracing::warn!(%error, "the topics' settings cannot be looked at");
            Vec::new()
        }
    };
    for Finding { severity, code, subject, message, action } in findings {
        match severity {
            Severity::Error => tracing::error!(code = code.as_str(), subject, action, "{message}"),
            Severity::Warning => tracing::warn!(code = code.as_str(), subject, action, "{message}"),
            Severity::Info => tracing::debug!(code = code.as_str(), subject, action, "{message}"),
        }
    }
    std::future::pending::<()>().await;
}

async fn await_topics(needed: &[Topic], kafka: &Arc<Kafka>, readiness: &Readiness, metrics: &Metrics) {
    let names: Arc<[String]> = needed.iter().map(|topic| topic.name.clone()).collect();
    let (mut cluster, mut told) = (None, String::new());
    loop {
        let (kafka, names, kept) = (Arc::clone(kafka), Arc::clone(&names), cluster.take());
        // Every client's calls block, its end too.
        let asked = tokio::task::spawn_blocking(move || look(&kafka, kept, &names)).await;
        let finding = match asked {
            Ok(Look { cluster: kept, missing: Ok(missing) }) => {
                cluster = kept;
                readiness.metadata.cancel();
                metrics.topics_missing.set(f64::from(u32::try_from(missing.len()).unwrap_or(u32::MAX)));
                if missing.is_empty() {
                    return tracing::info!("every topic is there");
                }
                format!("topics are missing, make them with `paybridge topics --create`: {}", missing.join(", "))
            }
            Ok(Look { cluster: kept, missing: Err(trouble) }) => {
                cluster = kept;
                format!("Kafka does not tell its topics: {trouble}")
            }
            Err(error) => format!("the look for topics failed: {error}"),
        };
        if finding != told {
            tracing::error!("{finding}");
            told = finding;
        }
        sleep(TOPICS_EVERY).await;
    }
}

/// What a look brought.
struct Look {
    /// The connection, where it is of use for the next look.
    cluster: Option<Cluster>,
    /// The topics that are missing.
    missing: Result<Vec<String>, String>,
}

/// Looks through `kept`, or a new connection. One that Kafka refuses is not kept: its credentials may have changed.
fn look(kafka: &Kafka, kept: Option<Cluster>, names: &[String]) -> Look {
    let cluster = match kept.map_or_else(|| connect(kafka), Ok) {
        Ok(cluster) => cluster,
        Err(trouble) => return Look { cluster: None, missing: Err(trouble) },
    };
    match cluster.missing(names, Instant::now() + TOPICS_EVERY) {
        Ok(missing) => Look { cluster: Some(cluster), missing: Ok(missing) },
        Err(trouble) => {
            let kept = (!trouble.is_refusal()).then_some(cluster);
            Look { cluster: kept, missing: Err(trouble.to_string()) }
        }
    }
}

fn connect(kafka: &Kafka) -> Result<Cluster, String> {
    let client = client::base(kafka, ClientSide::Common).map_err(|error| error.to_string())?;
    Cluster::connect(&client).map_err(|trouble| trouble.to_string())
}
