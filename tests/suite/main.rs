//! Tests of the whole program against a real Kafka, and of what other teams copy from us.
//!
//! They need Java 17, Maven and Python 3; `tests/run` sees to these and runs everything.

#[cfg(test)]
mod bridge;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod eventually;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod stream;

#[cfg(test)]
mod delivery;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod process;
#[cfg(test)]
mod subscribers;
