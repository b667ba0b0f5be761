//! `cargo fuzz run -s none rules`
#![no_main]
#![expect(clippy::print_stderr, reason = "the engine shows what is printed there")]

// The engine ends at every panic, also at one of the evaluator, which the daemon catches: here it ends at those that nobody catches.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |input: &[u8]| paybridge_fuzz::rules::check(input)
);
