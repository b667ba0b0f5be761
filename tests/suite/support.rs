//! What tests share: a real Kafka, the daemon in this process or as one of its own, the simulated provider beside it, and
//! ways to send, wait and read. Must not know what is tested; its own tests hold that the Kafka is real (`harness`).

pub mod alerts;
pub mod authority;
pub mod bridge;
pub mod cache;
pub mod daemon;
pub mod engine_events;
pub mod engine_setup;
pub mod eventually;
pub mod exposition;
pub mod failing_disk;
mod harness;
pub mod kafka;
pub mod ports;
pub mod shifted_clock;
pub mod stream;
pub mod system;
pub mod tally;
pub mod turn;
pub mod unnamed_brokers;
pub mod volume;
pub mod wire;
