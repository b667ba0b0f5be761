//! `cargo fuzz run -s none providers`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::providers::check(input));
