//! paybridge: payment providers' webhooks in, typed, ordered, replayable events on Kafka out.

pub mod config;
pub mod message;
pub mod provider;
pub mod server;
