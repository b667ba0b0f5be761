//! The edge to Kafka: which topics there are, how records get there, and how they are looked at.
//! Must not know webhooks, HTTP or providers' rules; of providers it knows the event types, in the catalogue `topics` alone.

pub mod broker_clock;
pub mod client;
pub mod client_error;
pub mod client_log;
pub mod cloud_events;
pub mod cluster;
pub mod create;
pub mod decoded;
pub mod entry_producer;
pub mod follower;
pub mod group;
mod headers;
pub mod inspect;
pub mod key_search;
mod known_brokers;
pub mod partition;
pub mod present_records;
pub mod publish_once;
pub mod publisher;
pub mod reader;
pub mod record;
pub mod record_at;
pub mod restore;
pub mod scan;
pub mod topics;
pub mod transaction;
pub mod update;
pub mod wrong_protocol;
