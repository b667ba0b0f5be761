//! Tests of the whole program against a real Kafka, and of what other teams copy from us.
//!
//! They need Java 17, Maven and Python 3; `tests/run` sees to these and runs everything.

#[cfg(test)]
mod authority;
#[cfg(test)]
mod bridge;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod eventually;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod shifted_clock;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod volume;
#[cfg(test)]
mod wire;

#[cfg(test)]
mod calls;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod confirmation;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod dedup;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod engine_kafka;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod missing;
#[cfg(test)]
mod ordering;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod process;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod rolling;
#[cfg(test)]
mod subscribers;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tls;
