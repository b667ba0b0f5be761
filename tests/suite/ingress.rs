//! Webhooks, from the socket to their records: what is taken, answered, kept and told, whatever Kafka and clients do.

mod adyen;
mod clocks;
mod declared;
mod dedup;
mod delivery;
mod evidence;
mod flood;
mod keys;
mod kills;
mod limits;
mod log;
mod metrics;
mod missing;
mod ordering;
mod outage;
mod quarantine;
mod rolling;
mod shared_dedup;
mod spool;
mod tls;
