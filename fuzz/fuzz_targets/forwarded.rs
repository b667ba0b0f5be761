//! `cargo fuzz run -s none forwarded`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::forwarded::check(input));
