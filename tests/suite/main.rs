//! Tests of the whole program against a real Kafka, and of what other teams copy from us.
//!
//! They need Java 17, Maven and Python 3; `tests/run` sees to these and runs everything.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod ingress;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod senders;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
