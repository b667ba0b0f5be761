//! What every Kafka client of ours has in common. Must not know what a client is for.

use rdkafka::ClientConfig;

use crate::config::{ClientSide, Kafka};
use crate::settings::ConfigErrors;

/// A client's configuration: the user's properties, and those that no client goes without.
///
/// # Errors
/// A property's file cannot be read.
pub fn base(kafka: &Kafka, side: ClientSide) -> Result<ClientConfig, ConfigErrors> {
    let mut config = ClientConfig::new();
    // Defaults that a user may change.
    config.set("client.id", "paybridge").set("socket.keepalive.enable", "true").set("reconnect.backoff.max.ms", "2000"); // librdkafka's 10 s prolong every outage
    for (name, value) in kafka.client_properties(side)? {
        config.set(name, value);
    }
    // A look-up must never make a topic: brokers make them by default, with settings that keep no promise.
    config.set("bootstrap.servers", &kafka.bootstrap_servers).set("allow.auto.create.topics", "false");
    Ok(config)
}
