//! How another producer takes the place of one that works: with other credentials, or because the old one is stuck.
//! Must not know where credentials come from.
//!
//! librdkafka has no safe way to change the credentials of a client that lives, nor to make it forget what it knows of a topic,
//! so another is made, and takes over once it has logged in and has its id: until then nothing changes, and where it does not
//! get that far nothing changes at all.
//!
//! Records of one key must not overtake each other, and two producers know nothing of each other's. So for the moment of
//! the exchange new records are held, the old producer's are waited for, and only then the new one gets what was held, in
//! order. That takes as long as an acknowledgement does, some milliseconds, and where it takes longer:
//!
//! - While the old producer is at work (a broker is slow, a leader moves), what was held goes to it after all, and the
//!   exchange is tried again later: nothing is lost by waiting.
//! - Where brokers refuse the old producer, or it is stuck with some partitions, it waits for nothing that can come. It is
//!   given up, and its records with it: their webhooks are answered 503, as they were without an exchange.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{Producer as _, PurgeConfig};
use tokio::time::{sleep, timeout};

use super::super::client_error::ClientError;
use super::taking_back::everything;
use super::{Batches, DRAIN_POLL, Producer, Publisher, PublisherSettings, StuckPartition};
use crate::metrics;

/// How long a new producer may take to log in and to get its id: half a second, usually. A refusal is not waited out.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// How long records are held at most: with the time that the new producer then has for them, no longer than until their
/// answers are due.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a stuck producer is replaced, as it is counted.
pub(super) const WRONG_BROKERS: &str = "wrong_brokers";

/// Why the old producer stays.
#[derive(Debug, thiserror::Error)]
pub enum NotRenewed {
    /// librdkafka makes no client of the properties.
    #[error("the new producer cannot be created: {0}")]
    Create(ClientError),
    /// It does not log in, or Kafka gives it no id.
    #[error("the new producer did not become ready: {0}")]
    NotReady(ClientError),
    /// What the old one has sent is not acknowledged.
    #[error("the old producer did not finish its records within the time that new records may wait")]
    Busy,
}

/// What becomes of records that the old producer does not get acknowledged in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// It stays for them.
    AwaitedByOld,
    /// They have failed.
    GivenUp,
}

/// Records are held for as long as it lives; however it ends, what was held is sent.
struct Pause<'a>(&'a Publisher);

impl Publisher {
    /// Goes on with a producer of these properties, once that one is ready.
    ///
    /// # Errors
    /// Why it goes on with the one that it has; to be tried again.
    pub async fn renew(&self, client: ClientConfig) -> Result<(), NotRenewed> {
        self.replace(Some(client), Late::AwaitedByOld).await
    }

    /// The partitions whose records have only timed out for long, while brokers are connected.
    pub fn stuck_partitions(&self) -> Vec<StuckPartition> {
        if self.is_cut_off() { Vec::new() } else { self.shared.stuck.list() }
    }

    /// Goes on with a new producer of the same properties. Records that the old one does not get acknowledged within a second have
    /// failed.
    ///
    /// # Errors
    /// As [`Publisher::renew`].
    pub async fn replace_stuck(&self) -> Result<(), NotRenewed> {
        self.replace(None, Late::GivenUp).await?;
        metrics::count(&self.shared.restarts, WRONG_BROKERS);
        Ok(())
    }

    async fn replace(&self, client: Option<ClientConfig>, late: Late) -> Result<(), NotRenewed> {
        let alone = self.renewing.lock().await;
        let present = (**self.shared.settings.load()).clone();
        let settings = PublisherSettings { client: client.unwrap_or_else(|| present.client.clone()), ..present };
        let successor = super::producer(&self.shared, &settings, Batches::Full).map_err(NotRenewed::Create)?;
        let (old, renewed) = match self.take_over(successor, settings, late).await {
            Ok(old) => (old, Ok(())),
            Err((unused, why)) => (vec![unused], Err(why)),
        };
        drop(alone);
        retire(old).await;
        renewed
    }

    /// Gives the producers that are of no use any more.
    async fn take_over(
        &self,
        successor: Producer,
        settings: PublisherSettings,
        late: Late,
    ) -> Result<Vec<Producer>, (Producer, NotRenewed)> {
        if !matches!(timeout(READY_WITHIN, successor.context().has_id()).await, Ok(true)) {
            let silent = || ClientError::Unreachable(format!("no producer id within {} s", READY_WITHIN.as_secs()));
            let client_error = successor.context().client_errors.most_specific().unwrap_or_else(silent);
            return Err((successor, NotRenewed::NotReady(client_error)));
        }
        let _alone = self.exchanging.lock().await;
        self.switch.pause();
        let pause = Pause(self);
        let patience = PAUSE_MAX.min(settings.message_timeout / 4);
        let is_busy = timeout(patience, self.all_sent_are_reported()).await.is_err();
        if is_busy && late == Late::AwaitedByOld && !self.is_refused() {
            return Err((successor, NotRenewed::Busy));
        }
        if is_busy && late == Late::GivenUp {
            // Before the new one gets what was held: records of one key keep their order, but for what brokers have already.
            self.switch.with_producer(|producer| producer.purge(everything()));
            let _reported = timeout(patience, self.all_sent_are_reported()).await.is_ok();
        }
        self.shared.settings.store(settings.into());
        let singly = self.shared.singly().producer.take();
        let old = self.put_in_place(successor);
        drop(pause);
        self.shared.has_producer_id.send_replace(true);
        // What happened to the new one before was not looked at.
        self.shared.suspected.notify_one();
        Ok(old.into_iter().chain(singly).collect())
    }

    /// Puts a producer in the place of the present one, which it gives.
    pub(super) fn put_in_place(&self, successor: Producer) -> Option<Producer> {
        successor.context().is_present.store(true, Ordering::Relaxed);
        let (old, refused) = self.switch.resume(Some(successor));
        if let Some(old) = &old {
            old.context().is_present.store(false, Ordering::Relaxed);
        }
        self.settle_refused(refused);
        self.shared.stuck.clear();
        old
    }

    async fn all_sent_are_reported(&self) {
        while self.sent_count() > 0 {
            sleep(DRAIN_POLL).await;
        }
    }

    /// Whether brokers refuse the present producer's credentials, some at least.
    fn is_refused(&self) -> bool {
        self.switch.with_producer(|producer| producer.context().is_refused())
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let (_none, refused) = self.0.switch.resume(None);
        self.0.settle_refused(refused);
    }
}

/// Ends producers: purging tells the fate of each record that they still have.
pub(super) async fn retire(producers: Vec<Producer>) {
    // Dropping blocks, so not on this thread.
    let stopped = tokio::task::spawn_blocking(move || {
        for producer in &producers {
            producer.purge(PurgeConfig::default().queue().inflight());
        }
        drop(producers);
    });
    if stopped.await.is_err() {
        tracing::error!("the old producer did not stop cleanly");
    }
}
