//! The `paybridge` command: parses the arguments, runs the command, and makes an exit code of its end.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A webhook is some hundred small allocations, freed on other threads than their own: the system's allocator spends a fifth
/// of the processor on them. librdkafka's go through this one too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    paybridge::cli::main(std::env::args_os(), std::env::vars_os())
}
