//! What the fuzz targets check: each takes any bytes, does with them what the daemon would, and asserts what must hold then.
//! Must not know the engine that makes the bytes: the targets in `fuzz_targets` do, and `tests/corpora.rs` does without one.
#![expect(clippy::panic, reason = "a fuzz target says what is wrong by ending")]

pub mod declared;
pub mod decoders;
pub mod fixtures;
pub mod forwarded;
mod held;
pub mod providers;
mod records;
pub mod replies;
mod request;
pub mod rules;
pub mod spool;
mod subject;

/// A check: it takes any bytes, and ends the process where something does not hold.
pub type Check = fn(&[u8]);

/// Every target by its name. One more belongs here, below `fuzz_targets`, and in `Cargo.toml`.
pub const TARGETS: [(&str, Check); 7] = [
    ("declared", declared::check),
    ("decoders", decoders::check),
    ("forwarded", forwarded::check),
    ("providers", providers::check),
    ("replies", replies::check),
    ("rules", rules::check),
    ("spool", spool::check),
];
