//! The messages that other teams read: Rust types made from `proto/`, and their descriptors.
//! Must not know how a message is made or where it goes.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

#[expect(missing_docs, clippy::pedantic, reason = "generated; the comments stand in proto/, which buf checks")]
mod packages {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use packages::paybridge::*;

/// Descriptors of every message of `proto/`, to decode a record by its full message name.
pub static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(bytes).unwrap_or_default()
});

/// A wall-clock instant as protobuf has it.
pub fn timestamp(instant: jiff::Timestamp) -> prost_types::Timestamp {
    let nanos = instant.subsec_nanosecond();
    let (seconds, nanos) = match nanos {
        0.. => (instant.as_second(), nanos),
        // protobuf counts nanoseconds forward from the second, also before 1970
        _ => (instant.as_second() - 1, nanos + 1_000_000_000),
    };
    prost_types::Timestamp { seconds, nanos }
}
