//! `cargo fuzz run -s none spool`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| paybridge_fuzz::spool::check(input));
