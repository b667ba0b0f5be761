//! The metrics of calls to providers.
//! Must not know which operations and outcomes there are.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Gauge, Histogram, counter, gauge, histogram};

use super::{Labelled, Metrics, catalogue, count, labelled};

/// The metrics of all calls.
pub struct CallMetrics {
    outcomes: BTreeMap<&'static str, Labelled>,
    durations: BTreeMap<&'static str, Histogram>,
    /// Calls that are on their way.
    pub in_flight: Gauge,
}

impl Metrics {
    /// The metrics of calls, zeroed; of all operations and all that each can end with.
    pub fn calls(&self, operations: &[&'static str], outcomes: &[&'static str]) -> CallMetrics {
        metrics::with_local_recorder(&*self.recorder, || {
            let calls = |operation: &'static str| {
                labelled(outcomes, |outcome| counter!(catalogue::CALLS, "operation" => operation, "outcome" => outcome))
            };
            let duration = |operation: &'static str| histogram!(catalogue::CALL_DURATION, "operation" => operation);
            let in_flight = gauge!(catalogue::CALLS_IN_FLIGHT);
            in_flight.set(0.0);
            CallMetrics {
                outcomes: operations.iter().map(|operation| (*operation, calls(operation))).collect(),
                durations: operations.iter().map(|operation| (*operation, duration(operation))).collect(),
                in_flight,
            }
        })
    }

    /// Whether calls of one source are held back: 1, else 0.
    pub fn breaker_open(&self, source: &str) -> Gauge {
        metrics::with_local_recorder(&*self.recorder, || {
            let open = gauge!(catalogue::BREAKER_OPEN, "source" => source.to_owned());
            open.set(0.0);
            open
        })
    }
}

impl CallMetrics {
    /// A call was answered, or could not be sent.
    pub fn answered(&self, operation: &str, outcome: &str) {
        if let Some(outcomes) = self.outcomes.get(operation) {
            count(outcomes, outcome);
        }
    }

    /// A call that was sent had its answer after `elapsed`.
    pub fn lasted(&self, operation: &str, elapsed: Duration) {
        if let Some(duration) = self.durations.get(operation) {
            duration.record(elapsed);
        }
    }
}
