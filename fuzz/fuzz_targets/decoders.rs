//! `cargo fuzz run -s none decoders`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::decoders::check(input));
