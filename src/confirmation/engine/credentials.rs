//! How the engine goes on with other credentials: its clients are made anew between two transactions.
//! Must not know where credentials come from, nor whether Kafka takes them: whoever gives them has seen that it does.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;
use tokio::sync::oneshot;

use super::Engine;
use super::start::EnginePlan;
use crate::kafka::client_error::ClientError;
use crate::kafka::group::GroupMember;

/// Other properties for the engine's clients.
pub struct CredentialRenewal {
    /// The properties; Kafka takes their credentials.
    pub client: ClientConfig,
    /// Told once the clients are made of them, or why they cannot be.
    pub done: oneshot::Sender<Result<(), ClientError>>,
}

/// Where they come from: the same for engines that follow each other in one process.
#[derive(Clone)]
pub struct CredentialRenewals(Arc<Mutex<Receiver<CredentialRenewal>>>);

impl CredentialRenewals {
    /// What is sent to the other end.
    pub fn new(receiver: Receiver<CredentialRenewal>) -> Self {
        Self(Arc::new(Mutex::new(receiver)))
    }

    /// The next one that is there.
    pub fn next(&self) -> Option<CredentialRenewal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok()
    }
}

impl Engine {
    /// Takes other properties into use, if there are some: the next turn makes a producer of them, another member joins
    /// the group before the present one leaves, and the ledger is read by clients of theirs. No transaction is open between
    /// two turns; what is called just now is asked about, as after any rebalance.
    pub(super) fn renew_credentials(&mut self) {
        let Some(CredentialRenewal { client, done }) = self.renewals.next() else { return };
        let joined = GroupMember::join(&client, &self.group_settings);
        let renewed = joined.map(|group| {
            tracing::info!("the confirmation engine restarts its Kafka clients with the changed credentials");
            self.partition_counts.renew(client.clone());
            self.client = client;
            (self.producer, self.tried_producer) = (None, None);
            self.telemetry.rebuilt();
            self.replace_member(group);
        });
        // Whoever waited may have gone on.
        let _gone = done.send(renewed);
    }
}

impl EnginePlan {
    /// The same before there is an engine. A producer that is there already is made anew when Kafka refuses it.
    pub(super) fn renew(&mut self) {
        if let Some(CredentialRenewal { client, done }) = self.renewals.next() {
            self.client = client;
            let _gone = done.send(Ok(()));
        }
    }
}
