//! The messages that other teams read: Rust types made from `proto/`, their descriptors, and the files themselves.
//! Must not know how a message is made or where it goes.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

#[expect(missing_docs, clippy::pedantic, reason = "generated; the comments stand in proto/, which buf checks")]
mod packages {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use packages::paybridge::*;

/// `proto/` as one encoded `FileDescriptorSet`: with the files that it imports, and with comments.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The `.proto` files of `proto/` and its `buf.yaml`: path below `proto/`, and text.
pub const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Descriptors of every message of `proto/`, to decode a record by its full message name.
pub static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET).unwrap_or_default());

/// The first second that protobuf's timestamps have: the beginning of year 1.
const FIRST_SECOND: i64 = -62_135_596_800;

/// The instant that a timestamp of protobuf means; none where protobuf has no such timestamp, or it is out of range here
/// (after 9999-12-30T22:00:00Z).
pub fn instant(timestamp: &prost_types::Timestamp) -> Option<jiff::Timestamp> {
    let sound = timestamp.seconds >= FIRST_SECOND && (0..1_000_000_000).contains(&timestamp.nanos);
    if sound { jiff::Timestamp::new(timestamp.seconds, timestamp.nanos).ok() } else { None }
}

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

/// Whether a message can tell this instant: protobuf's timestamps begin with year 1, and others are read by nobody.
pub fn can_tell(instant: jiff::Timestamp) -> bool {
    timestamp(instant).seconds >= FIRST_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_those_that_protobuf_and_we_both_have() {
        let of =
            |seconds, nanos| instant(&prost_types::Timestamp { seconds, nanos }).map(|instant| instant.to_string());
        for (seconds, nanos, expected) in [
            (0, -1, None),
            (0, 1_000_000_000, None),
            (FIRST_SECOND - 1, 0, None),
            (i64::MIN, 0, None),
            (i64::MAX, 0, None),
            (0, 1_000, Some("1970-01-01T00:00:00.000001Z")),
            (-1, 500_000_000, Some("1969-12-31T23:59:59.5Z")),
            (FIRST_SECOND, 0, Some("0001-01-01T00:00:00Z")),
        ] {
            assert_eq!(of(seconds, nanos).as_deref(), expected, "{seconds} {nanos}");
        }
    }

    #[test]
    fn a_timestamp_means_the_instant_it_was_made_of() {
        for text in ["1969-12-31T23:59:59.25Z", "1970-01-01T00:00:00Z", "2026-02-03T04:05:06.789Z"] {
            let whole: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(instant(&timestamp(whole)), Some(whole));
        }
    }

    #[test]
    fn tells_the_instants_that_it_reads() {
        for (text, expected) in [
            ("-009999-01-02T01:59:59Z", false),
            ("0000-12-31T23:59:59.999999999Z", false),
            ("0001-01-01T00:00:00Z", true),
            ("9999-12-30T22:00:00.999999999Z", true),
        ] {
            let told: jiff::Timestamp = text.parse().unwrap();
            assert_eq!((can_tell(told), instant(&timestamp(told)).is_some()), (expected, expected), "{text}");
        }
    }
}
