//! The reader of requests for releases as a part of the daemon: where webhooks are taken, for it needs their keys.
//! Must not know what a request says.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::named;
use crate::config::{Config, SourceName};
use crate::ingress::source::Sources;
use crate::kafka::publisher::Publisher;
use crate::metrics::Metrics;
use crate::release::judge::{Judge, PresentKeys};
use crate::release::requests::RequestReader;

/// Starts it on a thread of its own; it leaves its group once `stop` is cancelled.
pub fn start(
    config: &Config,
    sources: &Sources,
    publisher: Arc<Publisher>,
    metrics: &Metrics,
    tasks: &mut JoinSet<&'static str>,
    stop: CancellationToken,
) {
    let keys = sources.iter().filter_map(|source| {
        let (name, running) = (SourceName::new(&source.name)?, Arc::clone(source));
        let present: PresentKeys = Box::new(move || Arc::clone(&running.with_keys().source));
        Some((name, present))
    });
    let keys: BTreeMap<SourceName, PresentKeys> = keys.collect();
    let reader = RequestReader {
        kafka: config.kafka.clone(),
        instance: config.bridge_instance.clone(),
        judge: Judge::new(config, keys),
        publisher,
        metrics: metrics.releases(),
        stop,
    };
    let read = async move {
        if tokio::task::spawn_blocking(move || reader.run()).await.is_err() {
            tracing::error!("bug: the thread that reads release requests panicked; the daemon stops");
        }
    };
    tasks.spawn(named("release requests", read));
}
