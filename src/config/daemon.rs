//! `[admin]`, `[shutdown]` and `[log]`: how the daemon is watched, stopped, and heard.
//! Must not do any of the three.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::address::address;
use crate::settings::Problem;
use crate::settings::list::within;

/// `[admin]`: the HTTP server for `/livez`, `/readyz` and `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)) }
    }
}

impl Admin {
    pub(super) fn check(&self, ingress: SocketAddr) -> Option<Problem> {
        let same_host =
            self.listen.ip() == ingress.ip() || self.listen.ip().is_unspecified() || ingress.ip().is_unspecified();
        // Port 0 lets the system choose, and it chooses two.
        let clash = same_host && self.listen.port() == ingress.port() && ingress.port() != 0;
        clash.then(|| {
            Problem::with_key("admin.listen", "is the address of `ingress.listen`", "give each a port of its own")
        })
    }
}

/// `[shutdown]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Goes on serving for so long while endpoints are withdrawn, in milliseconds, 0 to 300000.
    #[serde(deserialize_with = "within::<0, 300_000, _, _>")]
    pub drain_delay_ms: u64,
    /// For what is in flight, after that, in milliseconds, 100 to 300000.
    #[serde(deserialize_with = "within::<100, 300_000, _, _>")]
    pub grace_ms: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_delay_ms: 5_000, grace_ms: 20_000 }
    }
}

impl Shutdown {
    /// Goes on serving for so long while endpoints are withdrawn.
    pub fn drain_delay(&self) -> Duration {
        Duration::from_millis(self.drain_delay_ms)
    }

    /// For what is in flight, after that.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The least important level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Somebody has to act.
    Error,
    /// Somebody should look.
    Warn,
    /// Steps in the daemon's life.
    #[default]
    Info,
    /// Each webhook and record.
    Debug,
    /// Each step of each.
    Trace,
}

impl LogLevel {
    /// As a `tracing` filter writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
