//! The confirmation engine with everything around it real: Kafka, the daemon, HTTP calls, and a simulated provider.

mod chaos;
mod decider;
mod guards;
mod life;
mod stage;
