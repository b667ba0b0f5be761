//! How much is measured: all that the bars are about, or just enough to see that it runs.
//! Must not know how anything is measured.

use std::time::Duration;

use crate::support::system;
use crate::webhooks::Kind;

/// Whether measurements are told one by one.
#[derive(Clone, Copy, Debug)]
pub enum Voice {
    /// Somebody waits for them.
    Loud,
    /// Only what is wrong is told, at the end.
    Quiet,
}

/// The extent of a run.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Each program is started so often, in turn with the others; what is told is the median.
    pub rounds: usize,
    /// After a start, before its measurement.
    pub warm_up: Duration,
    /// One measurement.
    pub measure: Duration,
    /// Whether measurements are told one by one.
    pub voice: Voice,
    /// Load for each node of Kafka before the first measurement: its Java machine compiles what it does often.
    pub broker_warm_up: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Connections that only wait.
    pub idle_connections: usize,
    /// How long records wait for others to share their request, in milliseconds.
    pub lingers_ms: Vec<u32>,
    /// Webhooks a second at which each one's cost is compared.
    pub rates: Vec<f64>,
    /// Bodies whose cost is compared, in bytes, and the rate for it.
    pub bodies: (Vec<usize>, f64),
    /// Numbers of sources whose cost is compared, and the rate for it.
    pub sources: (Vec<u64>, f64),
    /// Webhooks are signed and kept so many at a time.
    pub chunk: u64,
    /// The most a second that any program here is expected to take of a kind without a costly check.
    rate_max: f64,
}

impl Sizes {
    /// What the bars are about.
    pub fn full() -> Self {
        Self {
            rounds: 3,
            warm_up: Duration::from_millis(1500),
            measure: Duration::from_secs(5),
            voice: Voice::Loud,
            broker_warm_up: Duration::from_secs(30),
            connections: 256,
            idle_connections: 2_000,
            lingers_ms: vec![1, 5],
            rates: vec![1000.0, 3000.0, 10_000.0],
            bodies: (vec![300, 1024, 4096, 16_384, 65_536], 500.0),
            sources: (vec![1, 1000], 3000.0),
            chunk: 20_000,
            rate_max: 30_000.0,
        }
    }

    /// Enough to see that it runs, also as a debug build on a busy machine.
    pub fn smoke() -> Self {
        Self {
            rounds: 1,
            warm_up: Duration::from_millis(200),
            measure: Duration::from_millis(1200),
            voice: Voice::Quiet,
            broker_warm_up: Duration::from_millis(500),
            connections: 8,
            idle_connections: 40,
            lingers_ms: vec![1],
            rates: vec![100.0, 200.0],
            bodies: (vec![300, 4096], 100.0),
            sources: (vec![1, 20], 100.0),
            chunk: 1000,
            rate_max: 3000.0,
        }
    }

    /// The most webhooks of a kind a second that the daemon is expected to take: a public key costs, and so do the
    /// signatures that are made for nothing.
    pub fn rate_max(&self, kind: &Kind) -> f64 {
        let pairs_of_cores = f64::from(u32::try_from(system::cores()).unwrap()) / 2.0;
        let share = if kind.provider == "smart-glocal" { 1.0 } else { 2.0 };
        self.rate_max * share * pairs_of_cores.max(1.0)
    }

    /// A number of webhooks, as whole chunks.
    pub fn whole(&self, count: f64) -> u64 {
        let mut chunks = 1;
        while f64::from(u32::try_from(chunks * self.chunk).unwrap()) < count {
            chunks += 1;
        }
        chunks * self.chunk
    }
}
