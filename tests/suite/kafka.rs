//! The edge to Kafka: credentials, rights, and the rules that carry "exactly once".

pub mod credentials;
mod exactly_once;
mod follower;
mod key_search;
mod rights;
