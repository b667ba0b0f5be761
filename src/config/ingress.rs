//! `[ingress]`: where webhooks are taken in, and the bounds of what is taken.
//! Must not open sockets or read certificates.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::address::{address, networks};
use crate::settings::Problem;
use crate::settings::list::within;

/// Even the record of an empty body holds parts of its request's head, some of them twice.
const RECORD_BYTES_LEAST: usize = 65_536;
/// Beside its body: its head of up to 16 KiB, as much of that in the record, and what its task takes.
const HEAD_BYTES_IN_FLIGHT: usize = 36_864;

/// The HTTP server for webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct IngressConfig {
    /// Whether webhooks are taken at all.
    pub enabled: bool,
    /// Where it listens.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// From the end of the request's head to the answer, in milliseconds, 2000 to 60000;
    /// Kafka gets a second less.
    #[serde(deserialize_with = "within::<2_000, 60_000, _, _>")]
    pub ack_timeout_ms: u64,
    /// The largest body, in bytes, 1024 to 16777216.
    #[serde(deserialize_with = "within::<1_024, 16_777_216, _, _>")]
    pub body_bytes_max: usize,
    /// Connections at once, 1 to 1000000.
    #[serde(deserialize_with = "within::<1, 1_000_000, _, _>")]
    pub connections_max: usize,
    /// Bytes of bodies and records until their delivery report, 103424 to 4294967295, and at least what one webhook may
    /// take: its head, its body and its record, which is five times the largest body and 36864 from 16 KiB on.
    #[serde(deserialize_with = "within::<103_424, 4_294_967_295, _, _>")]
    pub in_flight_bytes_max: u32,
    /// For a request's head, from accept, in milliseconds, 100 to 60000.
    #[serde(deserialize_with = "within::<100, 60_000, _, _>")]
    pub header_read_timeout_ms: u64,
    /// For a request's body, in milliseconds, 100 to 60000.
    #[serde(deserialize_with = "within::<100, 60_000, _, _>")]
    pub body_read_timeout_ms: u64,
    /// Idle between requests, in milliseconds, 100 to 3600000.
    #[serde(deserialize_with = "within::<100, 3_600_000, _, _>")]
    pub keep_alive_timeout_ms: u64,
    /// Proxies whose word on the client's address is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// TLS, when the bridge ends it itself.
    pub tls: Option<IngressTls>,
}

/// `[ingress.tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct IngressTls {
    /// PEM file with the server's certificate and its chain.
    pub cert_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
    /// PEM file with the authorities of client certificates; when set, every client needs one.
    pub client_ca_file: Option<PathBuf>,
}

impl Default for IngressConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            ack_timeout_ms: 8_000,
            body_bytes_max: 262_144,
            connections_max: 8_192,
            in_flight_bytes_max: 33_554_432,
            header_read_timeout_ms: 5_000,
            body_read_timeout_ms: 5_000,
            keep_alive_timeout_ms: 75_000,
            trusted_proxies: Vec::new(),
            tls: None,
        }
    }
}

impl IngressConfig {
    /// From the end of the request's head to the answer.
    pub fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    /// For a request's head.
    pub fn header_read_timeout(&self) -> Duration {
        Duration::from_millis(self.header_read_timeout_ms)
    }

    /// For a request's body.
    pub fn body_read_timeout(&self) -> Duration {
        Duration::from_millis(self.body_read_timeout_ms)
    }

    /// Idle between requests.
    pub fn keep_alive_timeout(&self) -> Duration {
        Duration::from_millis(self.keep_alive_timeout_ms)
    }

    /// The largest record: four times the largest body, for body, plaintext and decoded fields travel together; at
    /// least 64 KiB.
    pub fn record_bytes_max(&self) -> usize {
        self.body_bytes_max.saturating_mul(4).max(RECORD_BYTES_LEAST)
    }

    /// Whether every client has to show a certificate.
    pub fn requires_client_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some())
    }

    /// The bytes in flight that one webhook takes at most: its head, its body and its record.
    pub fn in_flight_least(&self) -> usize {
        let parts = [self.body_bytes_max, self.record_bytes_max(), HEAD_BYTES_IN_FLIGHT];
        parts.into_iter().fold(0, usize::saturating_add)
    }

    pub(super) fn check(&self) -> Option<Problem> {
        // With less room than one webhook takes it would be answered 503 for ever.
        let least = self.in_flight_least();
        let enough = usize::try_from(self.in_flight_bytes_max).is_ok_and(|bytes| bytes >= least);
        (!enough).then(|| {
            let message =
                "must have room for one webhook with its record: five times `ingress.body_bytes_max` and more";
            Problem::with_key("ingress.in_flight_bytes_max", message, format!("set it to {least} or more"))
        })
    }
}
