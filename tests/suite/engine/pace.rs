//! How fast the confirmation engine is, and how much memory it takes: the scenarios of `benches/confirmation.rs`, each the
//! program itself against a real Kafka and a simulated provider that answers at once.
//! Must not judge: a scenario checks that what it measures happened, never how long it took.

mod backlog;
pub mod figures;
mod latency;
mod outcomes;
mod restore;
mod setup;
mod takeover;

use crate::support::kafka::Kafka;
use figures::Figure;

/// How much each scenario has to do.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Webhooks, one after the other, after a tenth as many to get warm.
    pub webhooks: u32,
    /// Sessions that wait for a call.
    pub backlog: u32,
    /// Sessions that wait for a decision.
    pub open: u32,
    /// After how long Kafka ends a dangling transaction, in milliseconds.
    pub dangling_ms: u32,
}

/// Enough to see that it runs.
pub const SMOKE: Sizes = Sizes { webhooks: 5, backlog: 60, open: 200, dangling_ms: 1000 };

/// Measures on a Kafka.
pub type Scenario = fn(&Kafka, Sizes) -> Vec<Figure>;

/// Every scenario by its name. The first ones get the broker warm for the others.
pub const SCENARIOS: [(&str, Scenario); 6] = [
    ("warm-up", backlog::warm_up),
    ("latency", latency::measure),
    ("backlog-rules", backlog::by_rules),
    ("backlog-decisions", backlog::by_decisions),
    ("take-over", takeover::measure),
    ("restore", restore::measure),
];

#[test]
fn every_scenario_of_the_benchmark_runs_and_tells_its_figures() {
    let mut figures = figures::Figures::default();
    for (name, scenario) in SCENARIOS {
        figures.add(name, scenario(Kafka::shared(), SMOKE));
    }
    let (table, json) = (figures.table(), figures.json());
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    let told = told["figures"].as_array().unwrap();
    for (name, _) in SCENARIOS {
        assert!(told.iter().any(|figure| figure["scenario"] == name && figure["value"].is_number()), "{name}: {json}");
    }
    assert_eq!(table.lines().count(), told.len() + 2, "{table}");
}
