//! Tests of the machine: each rule by the shortest life of a session that shows it, and properties of generated histories.

mod behaviour;
pub mod fixtures;
mod late;
mod opening;
mod properties;
mod simulation;
