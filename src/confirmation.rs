//! The confirmation engine: one decision for each session that waits for the merchant's word, carried out once, told once.
//! Must not know the ingress, nor name a metric.

pub mod calls;
pub mod clock;
pub mod done;
pub mod engine;
pub mod evidence;
pub mod holding;
pub mod inputs;
pub mod ledger;
pub mod machine;
pub mod model;
pub mod owner;
pub mod partition;
pub mod records;
pub mod restoring;
pub mod rules;
#[cfg(test)]
pub mod strategies;
pub mod tally;
