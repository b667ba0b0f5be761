//! When the daemon is ready, and what it says about its topics until then.
//! Must not know what the topics are for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tokio::time::sleep;

use crate::admin::Readiness;
use crate::finding::{Finding, Severity};
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
pub async fn find_topics(needed: Needed, client: ClientConfig, readiness: Readiness, metrics: Arc<Metrics>) {
    match Cluster::connect(&client) {
        Ok(cluster) => await_topics(&needed.topics, Arc::new(cluster), &readiness, &metrics).await,
        // Every other client is refused for the same reason, and says so.
        Err(trouble) => return tracing::error!("topics cannot be looked for: {trouble}"),
    }
    let findings = topic_findings(&client, &needed.topics, &needed.equal, LOOK_WITHIN).await;
    for Finding { severity, code, subject, message, action } in findings {
        match severity {
            Severity::Error => tracing::error!(code = code.as_str(), subject, action, "{message}"),
            Severity::Warning => tracing::warn!(code = code.as_str(), subject, action, "{message}"),
            Severity::Info => tracing::debug!(code = code.as_str(), subject, action, "{message}"),
        }
    }
    std::future::pending::<()>().await;
}

async fn await_topics(needed: &[Topic], cluster: Arc<Cluster>, readiness: &Readiness, metrics: &Metrics) {
    let names: Vec<String> = needed.iter().map(|topic| topic.name.clone()).collect();
    let mut told = String::new();
    loop {
        let (cluster, names) = (Arc::clone(&cluster), names.clone());
        let look = move || cluster.missing(&names, Instant::now() + TOPICS_EVERY);
        let asked = tokio::task::spawn_blocking(look).await;
        let finding = match asked {
            Ok(Ok(missing)) => {
                readiness.metadata.cancel();
                metrics.topics_missing.set(f64::from(u32::try_from(missing.len()).unwrap_or(u32::MAX)));
                if missing.is_empty() {
                    return tracing::info!("every topic is there");
                }
                format!("topics are missing, make them with `paybridge topics --create`: {}", missing.join(", "))
            }
            Ok(Err(trouble)) => format!("Kafka does not tell its topics: {trouble}"),
            Err(error) => format!("the look for topics failed: {error}"),
        };
        if finding != told {
            tracing::error!("{finding}");
            told = finding;
        }
        sleep(TOPICS_EVERY).await;
    }
}
