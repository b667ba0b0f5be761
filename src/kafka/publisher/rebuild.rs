//! How another producer takes the place of one that is unusable: after a fatal error, or because it knows no broker any more.
//! Must not ask Kafka.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use tokio::time::sleep;

use super::super::client_error::ClientError;
use super::renewal::{self, WRONG_BROKERS};
use super::{Batches, Producer, Publisher};
use crate::metrics;

/// Every `reason` for which another producer takes the place of one.
pub const RESTART_REASONS: [&str; 3] = [FATAL_ERROR, WRONG_BROKERS, BROKERS_FORGOTTEN];
const FATAL_ERROR: &str = "fatal_error";
const BROKERS_FORGOTTEN: &str = "brokers_forgotten";

/// Between two rebuilds: a producer that may not write at all dies at once, each time.
const GAP: Duration = Duration::from_secs(5);

impl Publisher {
    /// Rebuilds the producer when it is unusable; never ends by itself.
    ///
    /// # Errors
    /// librdkafka refuses to make another producer.
    pub async fn keep_alive(self: Arc<Self>) -> Result<(), ClientError> {
        loop {
            self.shared.suspected.notified().await;
            if self.rebuild_if_unusable().await? {
                sleep(GAP).await;
            }
        }
    }

    /// Whether it was rebuilt.
    async fn rebuild_if_unusable(&self) -> Result<bool, ClientError> {
        let alone = self.exchanging.lock().await;
        // Asked for, because the report has the code of the cause and does not say that it is fatal.
        let reason = if let Some((code, reason)) = self.fatal_error() {
            tracing::error!(
                %code,
                reason,
                "the producer met a fatal error and is rebuilt; its records in flight are answered 503"
            );
            FATAL_ERROR
        } else if self.has_forgotten_brokers() {
            tracing::warn!(
                "the producer knows no Kafka broker any more and is rebuilt; its records in flight are answered 503"
            );
            BROKERS_FORGOTTEN
        } else {
            // The one that sends records one by one is made anew when it is needed.
            let forgetful = self.shared.singly().producer.take_if(|singly| singly.context().has_forgotten_brokers());
            drop(alone);
            renewal::retire(forgetful.into_iter().collect()).await;
            return Ok(false);
        };
        let successor = super::producer(&self.shared, &self.shared.settings.load(), Batches::Full)?;
        let old = self.put_in_place(successor);
        // It may be the one with the error.
        let old_singly = self.shared.singly().producer.take();
        drop(alone);
        metrics::count(&self.shared.restarts, reason);
        renewal::retire(old_singly.into_iter().chain(old).collect()).await;
        Ok(true)
    }

    fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        let singly = || self.shared.singly().producer.as_ref()?.client().fatal_error();
        self.switch.with_producer(|producer| producer.client().fatal_error()).or_else(singly)
    }

    fn has_forgotten_brokers(&self) -> bool {
        self.switch.with_producer(|producer: &Producer| producer.context().has_forgotten_brokers())
    }
}
