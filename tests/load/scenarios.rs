//! What is measured, by name.
//! Must not know how.

mod compare;
mod idle;
mod memory;
mod scaling;

use crate::measured::Measured;
use crate::report::Report;
use crate::setup::{Case, LoadSetup};
use crate::subject::Subject;

/// Measures on a setup.
pub type Scenario = fn(&mut LoadSetup) -> Report;

/// Every scenario by its name.
pub const SCENARIOS: [(&str, Scenario); 8] = [
    ("unipaas", compare::unipaas),
    ("smart-glocal", compare::smart_glocal),
    ("undostres", compare::undostres),
    ("memory", memory::measure),
    ("idle", idle::measure),
    ("scaling-rate", scaling::with_rate),
    ("scaling-size", scaling::with_size),
    ("scaling-sources", scaling::with_sources),
];

/// Measures programs in turn, round after round, so that what else the machine does befalls them alike; the median of each.
fn in_turn(setup: &mut LoadSetup, report: &mut Report, scenario: &str, entries: &[(Subject, Case)]) -> Vec<Measured> {
    let mut rounds = vec![Vec::new(); entries.len()];
    for _ in 0..setup.sizes.rounds {
        for ((subject, case), rounds) in entries.iter().zip(&mut rounds) {
            rounds.push(setup.measure(scenario, *subject, *case));
        }
    }
    rounds.into_iter().map(|rounds| report.keep(rounds)).collect()
}
