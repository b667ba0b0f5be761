//! Tests of the whole program against a real Kafka.

fn main() {}
