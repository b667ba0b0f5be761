//! paybridge: payment providers' webhooks in, typed, ordered, replayable events on Kafka out.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod finding;
pub mod ingress;
pub mod kafka;
pub mod message;
pub mod metrics;
pub mod provider;
pub mod server;
