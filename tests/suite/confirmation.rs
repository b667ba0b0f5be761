//! The confirmation engine with everything around it real: Kafka, the daemon, HTTP calls, and a simulated provider.

mod guards;
mod decider;
mod life;
mod stage;
