//! The confirmation engine with everything around it real: Kafka, the daemon, HTTP calls, and a simulated provider.

mod amounts;
mod backlog;
mod chaos;
mod clocks;
mod counted;
mod deadline;
mod decider;
mod decisions;
mod ends;
mod events;
mod finished;
mod forged;
mod growth;
mod guards;
mod ledger;
mod life;
mod misplaced;
mod neighbours;
mod our_trouble;
mod privacy;
mod provider;
mod refused;
mod replays;
mod sources;
pub mod stage;
mod start;
mod unread;
