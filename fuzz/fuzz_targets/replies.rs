//! `cargo fuzz run -s none replies`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::replies::check(input));
