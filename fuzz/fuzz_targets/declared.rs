//! `cargo fuzz run -s none declared`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::declared::check(input));
