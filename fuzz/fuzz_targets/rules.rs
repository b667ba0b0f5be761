//! `cargo fuzz run -s none rules`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::rules::check(input));
